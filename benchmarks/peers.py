"""The peers as their users would use them: a cell at a time, all prompts in one batch, greedy.

Each writer continues prompts under one cell. All edit what leaves block `layer - 1`, which is what enters `layer`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.subjects import Cell, Subject, hf_texts
from steering_lab.evaluation.running.grid import PlaceName

Writer = Callable[[Cell, Sequence[str], int, PlaceName], list[str]]


def writers(subject: Subject) -> tuple[dict[str, Writer], dict[str, str]]:
    """Every peer that can be had, and for the others the reason why not."""
    found: dict[str, Writer] = {}
    missing: dict[str, str] = {}
    for name, make in (
        ("plain Hugging Face hooks", hooks_writer),
        ("steering-vectors", steering_vectors_writer),
        ("repeng", repeng_writer),
    ):
        try:
            found[name] = make(subject)
        except Exception as error:  # whatever a package that was written for other versions runs into
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    return found, missing


def blocks_of(hf_model: Any) -> torch.nn.ModuleList:
    """The transformer blocks of a Hugging Face model."""
    base = hf_model.base_model
    return next(m for m in base.children() if isinstance(m, torch.nn.ModuleList))


def hooks_writer(subject: Subject) -> Writer:
    """A forward-pre-hook of torch on the block, put there by hand."""

    def write(cell: Cell, prompts: Sequence[str], new_tokens: int, place: PlaceName) -> list[str]:
        with _hooked(subject.plain, cell, place):
            return hf_texts(subject, prompts, new_tokens)

    return write


@contextmanager
def _hooked(hf_model: Any, cell: Cell, place: PlaceName) -> Iterator[None]:
    weight = next(hf_model.parameters())
    added = (cell.coeff * cell.row).to(weight)

    def hook(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if place == "everywhere":
            return (args[0] + added, *args[1:])
        stream = args[0].clone()
        stream[:, -1] += added
        return (stream, *args[1:])

    handle = blocks_of(hf_model)[cell.layer].register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def steering_vectors_writer(subject: Subject) -> Writer:
    """`SteeringVector.apply`."""
    from steering_vectors import SteeringVector

    def write(cell: Cell, prompts: Sequence[str], new_tokens: int, place: PlaceName) -> list[str]:
        weight = next(subject.plain.parameters())
        where: dict[str, Any] = {} if place == "everywhere" else {"token_indices": slice(-1, None)}
        if place != "everywhere":
            where["min_token_index"] = None
        vector = SteeringVector({cell.layer - 1: cell.row.to(weight)})
        with vector.apply(subject.plain, multiplier=cell.coeff, **where):
            return hf_texts(subject, prompts, new_tokens)

    return write


def repeng_writer(subject: Subject) -> Writer:
    """`ControlModel.set_raw_control`; at the last prompt token alone by an operator of its own."""
    repeng = import_repeng()

    def at_last(stream: Tensor, added: Tensor) -> Tensor:
        return torch.cat([stream[:, :-1], stream[:, -1:] + added[:, -1:]], dim=1)

    def write(cell: Cell, prompts: Sequence[str], new_tokens: int, place: PlaceName) -> list[str]:
        weight = next(subject.plain.parameters())
        control = repeng.ControlModel(subject.plain, [cell.layer - 1])
        try:
            how = {} if place == "everywhere" else {"operator": at_last}
            control.set_raw_control({cell.layer - 1: (cell.coeff * cell.row).to(weight)}, **how)
            return hf_texts(subject, prompts, new_tokens, control)
        finally:
            control.unwrap()

    return write


def import_repeng() -> Any:
    """repeng 0.4.0, which names numpy's `float_` in an annotation: under numpy 2 it is given it under its new name."""
    vars(np).setdefault("float_", np.float64)
    import repeng

    return repeng
