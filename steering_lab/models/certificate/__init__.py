"""What holds for a model, measured on the model in hand: parity with Hugging Face, batches, caches, lens, refusals.

    certificate(load_model("gpt2")) -> Certificate

A pure value to print, to keep as JSON and to compare. Prompts are short; a length where rotary scaling changes, or a
sliding window of thousands of tokens, is not reached, and the certificate says how long its texts were.
"""

from typing import Any

from steering_lab.models.certificate.checks import all_lines
from steering_lab.models.certificate.plain import plain_model
from steering_lab.models.certificate.setup import NEW, CheckSetup
from steering_lab.models.certificate.value import Certificate, CheckLine
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.provenance import software

__all__ = ["Certificate", "CheckLine", "certificate"]


def certificate(model_or_name: Any, *, plain: Any = None, **options: Any) -> Certificate:
    """What holds for the model, in about thirty short passes.

    Takes a `HookedModel` or whatever `load_model` takes, with `load_model`'s options. `plain` is the Hugging Face model
    itself where it is at hand; otherwise its modules are copied once more around the same weights.

    Args:
        model_or_name: A `HookedModel`, or whatever `load_model` takes.
        plain: The Hugging Face model itself; None copies its modules.
        **options: Of `load_model`, for a name.

    Raises:
        ValueError: options for a model that is loaded already; and whatever `load_model` raises where it refuses.
    """
    if isinstance(model_or_name, HookedModel):
        if options:
            raise ValueError(f"{', '.join(options)}: the model is loaded already, options are for names and folders")
        model = model_or_name
    else:
        model = load_model(model_or_name, **options)
    setup = _setup(model, plain)
    lines = tuple(all_lines(setup))
    longest = {"longest_text": max(map(len, setup.rows)), "new_tokens": NEW}
    return Certificate(model.facts() | {"architecture": _architecture(model)} | longest, dict(software()), lines)


def _setup(model: HookedModel, plain: Any) -> CheckSetup:
    without = model.refused.get("plain runtime", "a TransformerLens object came without Hugging Face's own model")
    return CheckSetup(model, plain_model(model) if plain is None else plain, without)


def _architecture(model: HookedModel) -> str:
    original = getattr(model.backend, "original_model", None)
    return type(model.backend if original is None else original).__name__
