"""A group of cells as one piece of work: done here or elsewhere, whole or not at all.

A piece of work is plain values (`Work.plain`), so that another process, which has the model's weights and nothing else
of ours, can do it. One that fails gives its error, and the others go on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.writing import Example, example_key
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.memory import is_out_of_memory
from steering_lab.models.provenance import software

Rows = list[dict[str, Any]]
Found = Mapping[str, Rows]  # by the condition's name
Together = Callable[..., Iterator[tuple[str, Rows]]]


class Failed(NamedTuple):
    """Why a group has no cells: the `error` that was raised."""

    error: Exception


class CellsFailed(RuntimeError):
    """Some cells of `total` could not be computed; all others were, and are kept. `errors` by the cell's name."""

    def __init__(self, errors: Mapping[str, str], total: int) -> None:
        self.errors = dict(errors)
        listed = "".join(f"\n  {name}: {error}" for name, error in errors.items())
        super().__init__(f"{len(errors)} of {total} cells failed; the same command tries them again:{listed}")


@dataclass(frozen=True)
class Written:
    """Writes an example as it was written once: `texts` by its key take a function's place."""

    texts: Mapping[str, str]

    def __call__(self, example: Example) -> str:
        """The text that stands for `example`."""
        return self.texts[example_key(example)]


@dataclass(frozen=True, eq=False)
class Work:
    """Conditions that run together on `examples`; `together` computes them, and takes the model and the fields.

    Args:
        together: A function of a module, whose name another process can import.
        conditions: They share a rule.
        examples: Bare prompts or questions.
        rest: What else `together` takes: decoding, batch size, permissions.
        reading: How the bare prompt is written where it is not the example itself.
    """

    together: Together
    conditions: Sequence[Condition]
    examples: Sequence[Example]
    rest: tuple[Any, ...]
    reading: Callable[[Example], str] | None = None

    @property
    def names(self) -> list[str]:
        """The cells' names."""
        return [condition.name for condition in self.conditions]

    def plain(self) -> "Work":
        """The same work without a function that holds a model: every prompt is written out."""
        conditions = [
            replace(c, write=self._written(c.write), without_context=self._written(c.without_context))
            for c in self.conditions
        ]
        return replace(self, conditions=conditions, reading=self._written(self.reading))

    def on(self, model: HookedModel) -> Found | Failed:
        """The group's cells by `model`, or why there are none.

        Raises:
            MemoryError, torch.OutOfMemoryError: not even one row fits; no other group would do better.
        """
        try:
            return dict(self.together(model, self.conditions, self.examples, *self.rest, self.reading))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return Failed(error)

    def _written(self, write: Callable[[Example], str] | None) -> Any:
        return None if write is None else Written({example_key(e): write(e) for e in self.examples})


def numerics_of(model: HookedModel) -> dict[str, Any]:
    """What of `model` determines a cell's rows beside the work: part of its key, the same wherever that is done."""
    runtime = model.runtime  # asking for it counts the hooks on the backend
    return {
        "weights": model.fingerprint, "basis": model.basis, "prefix": model.prefix, "dtype": str(model.dtype),
        "device": model.device.type, "runtime": runtime.name, "attention": runtime.attention, **software(),
    }  # fmt: skip


Elsewhere = Callable[[HookedModel, Sequence[Work]], Iterator[tuple[Work, Found | Failed]]]


def here(model: HookedModel, works: Sequence[Work]) -> Iterator[tuple[Work, Found | Failed]]:
    """Each of `works` done by `model` in this process, one after the other."""
    for work in works:
        yield work, work.on(model)
