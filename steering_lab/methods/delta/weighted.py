"""What a delta is optimised for, and weighted sums of it.

    J = w_1 J_1 + w_2 J_2 + ...        0.5 * ImitateInstructed(...) + 0.5 * ContrastClosedBook(...)

Each term is measured along its own continuation, so that terms need not agree on what is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

from steering_lab.methods.delta.target import Target
from steering_lab.models.hooked_model import HookedModel


@runtime_checkable
class Objective(Protocol):
    """One objective per prompt. `described` is JSON that determines the target; `take` keeps those of some prompts."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int]) -> "Objective": ...

    def described(self, model: HookedModel) -> Mapping[str, Any]: ...

    def target(self, model: HookedModel, prompts: Sequence[str]) -> Target: ...


class Weighted(NamedTuple):
    """One term of a sum.

    Args:
        weight: What its loss is multiplied by, above 0.
        objective: What it wants.
    """

    weight: float
    objective: Objective


class Weighable:
    """An objective that can be weighted and added: inherit it in one of your own."""

    def __mul__(self, weight: Real | float) -> "WeightedSum":
        if not isinstance(weight, Real):
            return NotImplemented
        return WeightedSum((Weighted(float(weight), self),))  # type: ignore[arg-type]

    __rmul__ = __mul__

    def __add__(self, other: "Objective | WeightedSum") -> "WeightedSum":
        if not isinstance(other, Objective | WeightedSum):
            return NotImplemented
        return WeightedSum((*terms_of(self), *terms_of(other)))  # type: ignore[arg-type]


@dataclass(frozen=True)
class WeightedSum(Weighable):
    """The weighted sum of objectives for the same prompts; written `0.5 * a + 0.5 * b`.

    Args:
        terms: The objectives with their weights; a weighted sum is flattened, not nested.

    Raises:
        ValueError: no term, a weight that is not a finite number above 0, or objectives for different numbers of
            prompts.
    """

    terms: tuple[Weighted, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a weighted sum needs at least one objective")
        for weight, _ in self.terms:
            if not (isfinite(weight) and weight > 0):
                raise ValueError(
                    f"the weight of an objective is {weight:g}: choose a finite number above 0; what is to become less"
                    " likely is a loss of your own (`OwnLoss`)"
                )
        if len(sizes := {len(objective) for _, objective in self.terms}) > 1:
            raise ValueError(f"objectives for {sorted(sizes)} prompts cannot be added: each is for the same prompts")

    def __len__(self) -> int:
        return len(self.terms[0].objective)

    def __mul__(self, weight: Real | float) -> "WeightedSum":
        if not isinstance(weight, Real):
            return NotImplemented
        return WeightedSum(tuple(Weighted(float(weight) * own, objective) for own, objective in self.terms))

    __rmul__ = __mul__

    def take(self, rows: Sequence[int]) -> "WeightedSum":
        """The same for the prompts `rows`."""
        return WeightedSum(tuple(Weighted(weight, objective.take(rows)) for weight, objective in self.terms))

    def described(self, model: HookedModel) -> Mapping[str, Any]:
        each = [(weight, objective.described(model)) for weight, objective in self.terms]
        name = " + ".join(f"{weight:g} x {one['name']}" for weight, one in each)
        return {"name": name, "terms": [[weight, dict(one)] for weight, one in each]}


AnyObjective = Objective | WeightedSum


def terms_of(objective: AnyObjective) -> tuple[Weighted, ...]:
    """The terms of a sum, or the objective itself with weight 1."""
    return objective.terms if isinstance(objective, WeightedSum) else (Weighted(1.0, objective),)
