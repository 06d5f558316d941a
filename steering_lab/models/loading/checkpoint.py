"""What a folder or a hub name holds, seen from its small files before any weights are read.

What cannot be opened is refused in a sentence with what is there, or missing, and with what does work.
"""

import json
from pathlib import Path
from typing import Any

from steering_lab.models.bridging import known_architectures
from steering_lab.models.loading.adapter import ADAPTER_CONFIG, is_adapter
from steering_lab.models.refusal import refusal

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in one file, or in several behind an index


def check_files(name: str) -> None:
    """Passes where `name` is a folder with configuration and weights, or may be a name on the hub.

    Raises:
        OSError: a single file, an adapter, a folder without configuration or weights, or a path that is not there.
    """
    path = Path(name)
    if path.is_file():
        raise OSError(
            f"cannot load {name!r}: it is a file but no GGUF file: pass a GGUF file, or the folder of a model"
        )
    if not path.exists():
        if path.is_absolute() or name.startswith((".", "~")):
            raise OSError(f"cannot load {name!r}: there is no such folder or file")
        return
    if is_adapter(name):
        base = json.loads((path / ADAPTER_CONFIG).read_text()).get("base_model_name_or_path") or "its base model"
        raise OSError(
            f"{name!r} is a PEFT adapter of {base}, not a whole model: load_model({base!r}, adapter={name!r})"
        )
    held = "a folder that a model's save_pretrained wrote holds both"
    gguf = sorted(file.name for file in path.glob("*.gguf"))
    if gguf:
        held = f"pass its GGUF file: load_model({str(path / gguf[0])!r})"
    if not (path / "config.json").is_file():
        raise OSError(f"cannot load {name!r}: the folder holds no config.json, and so no saved model; {held}")
    if not any((path / file).is_file() for whole in _WEIGHTS for file in (whole, f"{whole}.index.json")):
        raise OSError(f"cannot load {name!r}: the folder holds no weights ({' or '.join(_WEIGHTS)}); {held}")


def model_class(name: str, config: Any) -> Any:
    """transformers' automatic class for the text decoder: the one for images and text where the other knows it not.

    Args:
        name: The model, as an error names it.
        config: Its Hugging Face configuration.

    Raises:
        ModelRefused: no decoder (`check_decoder`), or one that transformers or TransformerLens runs as no text model.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    kind = config.model_type
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    named = config.architectures[0] if config.architectures else ""
    architecture = named or type(config).__name__
    own = None if named == "BloomModel" else getattr(transformers, named, None)  # BLOOM's own checkpoints are named so
    check_decoder(name, config, architecture, own)
    if not causal and kind not in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise refusal(name, architecture, f"transformers {transformers.__version__} opens it as no model of text")
    opener = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForImageTextToText
    known_architectures(name, config, named or opener._model_mapping[type(config)].__name__)
    return opener


def check_decoder(name: str, config: Any, architecture: str, own: Any) -> None:
    """Passes where a model predicts the next token from those before it.

    Args:
        name: What the model is called.
        config: Its configuration.
        architecture: The name of its class, for the refusal.
        own: The class itself, or None where it is not known.

    Raises:
        ModelRefused: an encoder, an encoder-decoder, or a model with another head than the vocabulary's.
    """
    from transformers.models.auto import modeling_auto

    kind = getattr(config, "model_type", "")
    if getattr(config, "is_encoder_decoder", False):
        raise refusal(name, architecture, "it is an encoder-decoder, and only decoders are steered here")
    masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES  # of these, `is_decoder` says what is one
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if masked and not (causal and getattr(config, "is_decoder", False)):
        raise refusal(name, architecture, "it is an encoder, which reads both ways, and only decoders are steered here")
    if own is not None and not getattr(own, "can_generate", lambda: True)():
        raise refusal(name, architecture, "it has no head that predicts the next token")


def check_tokenizer(name: str, tokenizer: Any) -> None:
    """Passes where the tokenizer knows any text; without its files transformers makes one of special tokens alone.

    Args:
        name: The model, as an error names it.
        tokenizer: What was loaded with it.

    Raises:
        OSError: it knows none.
    """
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    if set(tokenizer.get_vocab()) <= added | set(tokenizer.all_special_tokens):
        raise no_tokenizer(name, "no vocabulary beside the weights")


def no_tokenizer(name: str, reason: str) -> OSError:
    """The error of the model `name` that comes without a tokenizer, and the `reason`, ready to raise."""
    return OSError(
        f"{name!r} holds no tokenizer that can be opened ({reason}): save it there with"
        f" tokenizer.save_pretrained(...), or pass load_model({name!r}, tokenizer=...)"
    )


def check_complete(name: str, architecture: str, missing: Any) -> None:
    """Passes where the checkpoint held every weight; transformers fills the others with random numbers.

    Args:
        name: The model, as an error names it.
        architecture: Its class, as an error names it.
        missing: Names of weights that the checkpoint did not hold.

    Raises:
        ModelRefused: some were missing.
    """
    if missing:
        shown = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        raise refusal(name, architecture, f"its checkpoint lacks {len(missing)} of its weights ({shown})")
