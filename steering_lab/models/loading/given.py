"""What `load_model` was given: things that are no model are refused in a sentence with what to pass instead."""

import difflib
import inspect
from typing import Any

from steering_lab.models.hooked_model import HookedModel

WAYS = (
    "'organism', 'smollm2', a name on the Hugging Face hub, a folder, a GGUF file, a Hugging Face model in memory with"
    " its tokenizer, or a TransformerLens model"
)
NAMES = {
    "organism": "organism",
    "smollm2": "smollm2",
    "smollm2-135m-instruct": "smollm2",
}  # as written, as it is called


def check_name(name: str) -> None:
    """Passes where `name` says anything.

    Raises:
        ValueError: it is empty.
    """
    if not name.strip():
        raise ValueError(f"the name of a model is empty ({name!r}): pass {WAYS}")


def near_name(name: str) -> str | None:
    """The name of this package's own that `name` may have been meant for: a misspelling, or other capitals."""
    close = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.75)
    return NAMES[close[0]] if close and name not in NAMES.values() else None


def check_in_memory(given: Any) -> None:
    """Passes where `given` may be a Hugging Face model or a TransformerLens model in memory.

    Raises:
        ValueError: it is a `HookedModel` already, a class, or nothing with a configuration.
    """
    kind = type(given).__name__
    if isinstance(given, HookedModel):
        raise ValueError(
            f"{given.name} is loaded already (a HookedModel): use it as it is, or pass what it was loaded from to load"
            " it in another way"
        )
    if inspect.isclass(given):
        raise ValueError(f"{given.__name__} is a class, not a model made of it: pass {WAYS}")
    if hasattr(given, "hook_dict"):
        return
    if not hasattr(given, "forward"):
        said = " ".join(repr(given).split())
        raise ValueError(f"{said if len(said) <= 60 else said[:60] + '...'} ({kind}) is no model: pass {WAYS}")
    if not hasattr(given, "config"):
        raise ValueError(f"{kind} is a torch module without a `config`, and so no model known here: pass {WAYS}")
