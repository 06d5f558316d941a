"""Adapters trained after tokens were added: the base model's embeddings get the rows that the adapter brings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fit_vocabulary(hf_model: Any, adapter: Path, tokenizer: Any = None) -> None:
    """Resizes the model's embeddings to those the adapter was trained on, where its folder holds every added row.

    Args:
        hf_model: The base model, changed in place.
        adapter: The adapter's folder.
        tokenizer: The one that the adapter comes with; None counts none of its tokens.

    Raises:
        ValueError: tokens were added and the adapter's folder does not hold their rows.
    """
    here = hf_model.get_input_embeddings().weight.shape[0]
    config = json.loads((adapter / "adapter_config.json").read_text())
    saved, trained = _saved_rows(hf_model, adapter, config), _trained_tokens(config)
    asked = max(len(tokenizer) if tokenizer is not None else 0, max(trained, default=-1) + 1)
    if saved is None and asked > here and _tied(hf_model) and set(trained) >= set(range(here, asked)):
        saved = asked
    wanted = here if saved is None else saved
    if asked > wanted:
        raise ValueError(
            f"it was trained with {asked} tokens, this model embeds {here}, and the adapter's folder does not hold the"
            " added rows of both embeddings: save it with save_embedding_layers=True, or merge it where it was trained"
        )
    if wanted != here:
        hf_model.resize_token_embeddings(wanted, mean_resizing=False)


def _tied(hf_model: Any) -> bool:
    out = hf_model.get_output_embeddings()
    return out is None or out.weight is hf_model.get_input_embeddings().weight


def _saved_rows(hf_model: Any, adapter: Path, config: Mapping[str, Any]) -> int | None:
    """How many rows of input and output embedding alike the adapter's folder holds; None where it lacks one."""
    shapes, found = _saved_shapes(adapter), []
    for module in (hf_model.get_input_embeddings(), hf_model.get_output_embeddings()):
        name = next((name for name, other in hf_model.named_modules() if other is module), "")
        ends = (f"{name}.weight", f"{name}.base_layer.weight")
        found.append(next((shape[0] for key, shape in shapes.items() if name and key.endswith(ends)), None))
        own_copy = name.split(".")[-1] in (config.get("modules_to_save") or [])
        if _tied(hf_model) and found[-1] and (not own_copy or config.get("ensure_weight_tying")):
            return found[-1]  # the one weight that both share
    return found[0] if found[0] == found[1] else None


def _saved_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        return {}
    with safe_open(file, framework="pt") as tensors:
        return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118 it is no dict


def _trained_tokens(config: Mapping[str, Any]) -> list[int]:
    """Ids of the single tokens whose embeddings the adapter trained."""
    found = config.get("trainable_token_indices") or []
    rows = found.values() if isinstance(found, dict) else [found]
    return sorted({int(i) for row in rows for i in row})
