"""Folders written by `save_pretrained`, and names on the Hugging Face hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from steering_lab.models.loading.checkpoint import (
    check_complete,
    check_files,
    check_tokenizer,
    model_class,
    no_tokenizer,
)
from steering_lab.models.loading.given import near_name
from steering_lab.models.loading.hub import hub_answers, hub_left_alone
from steering_lab.models.loading.placement import places, say_size, weights_size
from steering_lab.models.loading.sources import Opened, weight_bar

Quantization = Literal["8bit", "4bit"]


def open_pretrained(
    name: str,
    *,
    tokenizer: Any = None,
    device: torch.device,
    dtype: torch.dtype | str,
    revision: str | None = None,
    device_map: Any = None,
    quantization: Any = None,
) -> Opened:
    """The model of a folder or a hub name, its weights put where they belong one by one, and its tokenizer.

    Args:
        name: The folder, or the name on the hub.
        tokenizer: Instead of the one beside the weights, which is then not looked for.
        device: Where the weights go.
        dtype: What they become; "auto" is what they are.
        revision: A branch, tag or commit on the hub.
        device_map: transformers' placement over several devices, instead of `device`.
        quantization: "8bit", "4bit", or a configuration of transformers.

    Raises:
        OSError: neither a folder with a saved model nor a model that the hub gave, or no tokenizer with it.
        ValueError: no decoder of text that can be opened, weights missing, a `device_map` of no kind, or more memory
            than there is.
        ImportError: a quantization, and its package is not installed.
    """
    check_files(name)
    local = Path(name).exists()
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    if not local:
        options["local_files_only"] = not hub_answers()
    with hub_left_alone(options.get("local_files_only", False)):
        config = _config(name, local, options)
        opener = model_class(display_name(name), config)
        tokenizer = tokenizer or _tokenizer(name, local, options)
        scheme, quantisation = _quantization(quantization, config)
        bits = _bits(scheme or getattr(config, "quantization_config", None))
        size = weights_size(opener, config, dtype, bits)
        where, packed = places(device, device_map), quantisation is not None
        say_size(display_name(name), size, where, packable=not packed, at_most=packed and bits is None)
        if scheme is not None:
            options["quantization_config"] = scheme
        try:
            with weight_bar(shown=not local):
                hf_model, found = opener.from_pretrained(
                    name,
                    config=config,
                    dtype=dtype,
                    attn_implementation="eager",
                    device_map={"": device} if device_map is None else device_map,
                    output_loading_info=True,
                    **options,
                )
        except (OSError, ValueError) as error:
            raise _not_given(name, local, options, error) from error
    check_complete(display_name(name), type(hf_model).__name__, found["missing_keys"])
    return Opened(hf_model, tokenizer, display_name(name), revision, quantisation)


def _config(name: str, local: bool, options: dict[str, Any]) -> Any:
    """The model's configuration."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise _not_given(name, local, options, error) from error


def _tokenizer(name: str, local: bool, options: dict[str, Any]) -> Any:
    """The tokenizer beside the weights."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        if options.get("local_files_only"):
            raise _not_given(name, local, options, error) from error
        raise no_tokenizer(name, " ".join(str(error).split())[:160]) from error
    check_tokenizer(name, tokenizer)
    return tokenizer


def display_name(name: str) -> str:
    """A hub name stays whole; of a folder only its last part is kept, since a path means nothing elsewhere."""
    return Path(name).resolve().name if Path(name).is_absolute() or Path(name).exists() else name


def _quantization(asked: Any, config: Any) -> tuple[Any, str | None]:
    """The options of `from_pretrained`, and the words for people; a checkpoint may be quantised already."""
    stored = getattr(config, "quantization_config", None)
    if asked is None:
        if stored is None:
            return None, None
        method = stored.get("quant_method") if isinstance(stored, dict) else stored.quant_method
        return None, f"quantised ({getattr(method, 'value', method)})"
    if stored is not None:
        raise ValueError("this checkpoint is quantised already: leave quantization out")
    if not isinstance(asked, str):
        method = getattr(asked, "quant_method", type(asked).__name__)
        return asked, f"quantised ({getattr(method, 'value', method)})"
    if asked not in ("8bit", "4bit"):
        raise ValueError(f"quantization is {asked!r}: choose '8bit', '4bit' or a configuration of transformers")
    if find_spec("bitsandbytes") is None:
        raise ImportError(f"quantization={asked!r} needs one more package: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**{f"load_in_{asked}": True}), f"quantised to {asked[0]} bits (bitsandbytes)"


def _bits(scheme: Any) -> int | None:
    """To how many bits a quantization packs a weight, or None where it does not say."""
    facts = scheme if isinstance(scheme, dict) else getattr(scheme, "__dict__", {})
    for bits in (4, 8):
        if facts.get(f"load_in_{bits}bit") or facts.get(f"_load_in_{bits}bit") or facts.get("bits") == bits:
            return bits
    return None


def _not_given(name: str, local: bool, options: dict[str, Any], error: Exception) -> OSError:
    """What to say of a model that could not be opened, in one sentence."""
    reason = str(error).strip().splitlines()[0]
    if "trust_remote_code" in str(error):
        reason = "it brings code of its own, which is not run here: open it yourself and pass the model in memory"
    if local:
        return OSError(f"cannot load {name!r}: the folder holds no saved model that can be opened ({reason})")
    if options["local_files_only"] and "code of its own" not in reason:
        reason = "it cannot be reached from here, and its cache does not hold the model"
    near = near_name(name)
    hint = "" if near is None else f"Did you mean {near!r}? "
    return OSError(
        f"cannot load {name!r}: it is no folder with a saved model here, and the Hugging Face hub did not give it"
        f" ({reason}). {hint}Check the spelling and the network, or pass a local folder, a GGUF file, a model in"
        " memory, 'smollm2' or 'organism'"
    )
