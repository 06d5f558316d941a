"""Folders written by `save_pretrained`, and names on the Hugging Face hub."""

import json
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from steering_lab.models.loading.adapter import ADAPTER_CONFIG, is_adapter
from steering_lab.models.loading.placement import say_size, weights_size
from steering_lab.models.loading.sources import Opened, weight_bar

HUB_PATIENCE = 4.0  # seconds
Quantization = Literal["8bit", "4bit"]


def open_pretrained(
    name: str,
    *,
    device: torch.device,
    dtype: torch.dtype | str,
    revision: str | None = None,
    device_map: Any = None,
    quantization: Any = None,
) -> Opened:
    """The model and tokenizer of a folder or a hub name, its weights put where they belong one by one.

    Raises:
        OSError: neither a folder with a saved model nor a model that the hub gave.
        ValueError: more memory than there is.
        ImportError: a quantization, and its package is not installed.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    local = Path(name).exists()
    if is_adapter(name):
        base = json.loads((Path(name) / ADAPTER_CONFIG).read_text()).get("base_model_name_or_path") or "its base model"
        raise OSError(
            f"{name!r} is a PEFT adapter of {base}, not a whole model: load_model({base!r}, adapter={name!r})"
        )
    options: dict[str, Any] = {"revision": revision}
    if not local:
        options["local_files_only"] = not _hub_answers()
    try:
        config = AutoConfig.from_pretrained(name, **options)
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise _not_given(name, local, options, error) from error
    scheme, quantisation = _quantization(quantization, config)
    if scheme is not None:
        options["quantization_config"] = scheme
    elif quantisation is None and device_map is None:
        say_size(name, weights_size(AutoModelForCausalLM, config, dtype), device)
    try:
        with weight_bar(shown=not local):
            hf_model = AutoModelForCausalLM.from_pretrained(
                name,
                config=config,
                dtype=dtype,
                attn_implementation="eager",
                device_map={"": device} if device_map is None else device_map,
                **options,
            )
    except (OSError, ValueError) as error:
        raise _not_given(name, local, options, error) from error
    return Opened(hf_model, tokenizer, display_name(name), revision, quantisation)


def display_name(name: str) -> str:
    """A hub name stays whole; of a folder only its last part is kept, since a path means nothing elsewhere."""
    return Path(name).resolve().name if Path(name).is_absolute() or Path(name).exists() else name


def _quantization(asked: Any, config: Any) -> tuple[Any, str | None]:
    """What `from_pretrained` is told, and what people are told; a checkpoint may be quantised already."""
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


def _not_given(name: str, local: bool, options: dict[str, Any], error: Exception) -> OSError:
    """What to say of a model that could not be opened, in one sentence."""
    reason = str(error).strip().splitlines()[0]
    if local:
        return OSError(f"cannot load {name!r}: the folder holds no saved model that can be opened ({reason})")
    if options["local_files_only"]:
        reason = "it cannot be reached from here, and its cache does not hold the model"
    return OSError(
        f"cannot load {name!r}: it is no folder with a saved model here, and the Hugging Face hub did not give it"
        f" ({reason}). Check the spelling and the network, or pass a local folder, a GGUF file, a model in memory,"
        " 'smollm2' or 'organism'"
    )


def _hub_answers() -> bool:
    """Whether the hub can be reached, known within seconds; its own client would try for more than a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered: list[bool] = []

    def ask() -> None:
        import httpx

        try:
            httpx.head(constants.ENDPOINT, timeout=HUB_PATIENCE)
            answered.append(True)
        except httpx.HTTPError:
            pass

    thread = threading.Thread(target=ask, daemon=True)  # a name server that never answers has no time limit of its own
    thread.start()
    thread.join(HUB_PATIENCE + 0.5)
    return bool(answered)
