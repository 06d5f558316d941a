"""PEFT adapters: a LoRA's change added to the weights before anything is hooked."""

from pathlib import Path
from typing import Any

ADAPTER_CONFIG = "adapter_config.json"


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds a PEFT adapter, which needs the model it was trained on, and not a whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def merged(hf_model: Any, adapter: Path) -> Any:
    """The model with the adapter's change added to its weights; the adapter's own modules are gone.

    Raises:
        OSError: no adapter in the folder.
        ImportError: PEFT is not installed.
        ValueError: the adapter adds to the prompt and not to the weights.
    """
    if not is_adapter(adapter):
        raise OSError(f"{adapter} holds no {ADAPTER_CONFIG}: an adapter is a folder that PEFT's save_pretrained wrote")
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise ImportError(f"the adapter {adapter} needs one more package: pip install peft") from error
    adapted = PeftModel.from_pretrained(hf_model, str(adapter))
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = type(adapted.base_model).__name__
        raise ValueError(f"the adapter {adapter} adds to the prompt, not to the weights ({kind}): it cannot be merged")
    return adapted.merge_and_unload()
