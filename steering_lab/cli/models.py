"""`steering-lab models`: what is at hand without a network."""

from pathlib import Path

import tyro


def models(paths: tyro.conf.Positional[tuple[Path, ...]] = ()) -> None:
    """List the models that need no network: organism, smollm2, the Hugging Face hub's cache, and given paths.

    Example: steering-lab models my_finetune/ ~/models/*.gguf

    Args:
        paths: Folders written by save_pretrained, PEFT adapters, GGUF files: what each holds, or why it cannot open.
    """
    from steering_lab.models.loading.at_hand import given, models_at_hand

    found = [*models_at_hand(), *(given(path) for path in paths)]
    width = max(len(model.name) for model in found)
    for model in found:
        print(f"{model.name.ljust(width)}   {model.what}")
