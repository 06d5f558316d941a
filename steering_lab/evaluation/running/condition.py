"""Conditions: the columns of a comparison. Unsteered, prompting, every cell of a sweep and every control is one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, get_args

from steering_lab.evaluation.running.writing import Example, Prefixed, example_key
from steering_lab.interventions.intervention import Intervention, Placed, check_placed
from steering_lab.models.generation import LogitsRule
from steering_lab.models.hook_points import HookSite
from steering_lab.tables import Factors, Role, Unit

Value = TypeVar("Value")


class Budget(NamedTuple):
    """The `most` that a method may do, in `unit`, where that bounds it and no coefficient does."""

    most: float
    unit: Unit


ResidNorms = Mapping[HookSite, float]


@dataclass(frozen=True, eq=False)
class Condition:
    """What is done to an example: how it is written, how the stream is edited, which rule combines two streams.

    Its facts in tables are `factors`. Layer, coefficient and place follow from the intervention, and the role of most
    conditions too; what cannot follow is given here, once.

    Args:
        name: Its own name, which no other condition of a run has.
        intervention: One for all examples, or one for each by its `example_key` (deltas found per query, gates).
        write: How an example is put to the model.
        rule: What combines the next-token logits with those of a second stream.
        without_context: Writes the second stream's prompt for a contrastive `rule`.
        method: What was done, by its name, the same at every layer and coefficient; the condition's own by default.
        role: What it is there for. By default "control" where `control_of` is given, "steered" where the stream is
            edited, else "baseline". So "unsteered" has to be said, and "baseline" of a rival that edits too.
        control_of: The method that this is a control of.
        draw: Which of a control's random draws.
        budget: What bounded the method, where that is not the coefficient.
        resid_norms: The median residual norm at each site: the denominators of `relative_norm`. One mapping for all
            examples, or one for each by its `example_key`.

    Raises:
        ValueError: a rule without its second prompt, or the reverse; a vector or an edit that was not placed; a role
            that contradicts the rest, a draw of no control, a budget or a residual norm that is not above 0.
    """

    name: str
    intervention: Placed | Mapping[str, Placed] = field(default_factory=Intervention)
    write: Callable[[Example], str] = field(default_factory=Prefixed)
    rule: LogitsRule | None = None
    without_context: Callable[[Example], str] | None = None
    method: str = field(default="", kw_only=True)
    role: Role | None = field(default=None, kw_only=True)
    control_of: str | None = field(default=None, kw_only=True)
    draw: int | None = field(default=None, kw_only=True)
    budget: Budget | None = field(default=None, kw_only=True)
    resid_norms: ResidNorms | Mapping[str, ResidNorms] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for one in self._by_example.values():
            check_placed(one)
        if (self.rule is None) != (self.without_context is None):
            raise ValueError(f"condition {self.name!r}: a rule and without_context go together, give both or neither")
        if not self.name:
            raise ValueError("a condition needs a name")
        if why := self._contradiction():
            raise ValueError(f"condition {self.name!r} {why}")

    def _contradiction(self) -> str:
        """What of the given facts cannot be, or nothing."""
        if self.role not in (None, *get_args(Role)):
            return f"has the role {self.role!r}: choose one of {', '.join(get_args(Role))}"
        if self.role == "unsteered" and (self._steers or self.rule is not None):
            return "has the role 'unsteered', but edits the stream or has a rule"
        if self.role == "steered" and not self._steers:
            return "has the role 'steered', but edits nothing"
        if self.role is not None and (self.role == "control") != (self.control_of is not None):
            return f"has the role {self.role!r}, but control_of is {self.control_of!r}"
        if self.draw is not None and self.control_of is None:
            return f"is draw {self.draw} of no control: say control_of"
        if self.budget is not None and not self.budget.most > 0:
            return f"has a budget of {self.budget.most}: it must be above 0"
        return ""

    @property
    def _by_example(self) -> Mapping[str, Placed]:
        """Its interventions by example, the one for all under no example's key."""
        return self.intervention if isinstance(self.intervention, Mapping) else {"": self.intervention}

    @property
    def _steers(self) -> bool:
        """Whether it is a way to edit the stream, be it one that leaves some or all examples alone."""
        return isinstance(self.intervention, Mapping) or bool(self.intervention.terms)

    @cached_property
    def factors(self) -> Factors:
        """Its facts in tables. None where there is no edit, or where its edits differ (of examples, or in one sum).

        Raises:
            ValueError: no residual norm above 0 for a site that is edited.
        """
        terms = [term for one in self._by_example.values() for term in one.terms]
        derived: Role = "control" if self.control_of else "steered" if self._steers else "baseline"
        unit: Unit = "coeff" if self.budget is None else self.budget.unit
        return Factors(
            method=self.method or self.name,
            role=self.role or derived,
            place=_shared(term.place.name for term in terms),
            control_of=self.control_of,
            layer=_shared(term.edit.site.layer for term in terms),
            coeff=0.0 if self.role == "unsteered" else _shared(term.coeff for term in terms),
            budget=None if self.budget is None else float(self.budget.most),
            unit=unit if self._steers else None,
            relative_norm=self._relative_norm(),
            draw=self.draw,
        )

    def _relative_norm(self) -> float | None:
        """Mean over the edits of |coefficient x longest row| / median |residual| at the site."""
        if self.resid_norms is None:
            return None
        given: Mapping[Any, Any] = self.resid_norms
        shares = []
        for key, one in self._by_example.items():
            norms = given.get(key, given)
            for term in one.terms:
                if not norms.get(term.edit.site, 0) > 0:
                    raise ValueError(f"condition {self.name!r} edits {term.edit.site}: resid_norms has no norm there")
                shares.append(abs(term.coeff) * term.edit.norm / norms[term.edit.site])
        return sum(shares) / len(shares) if shares else None

    def intervention_for(self, example: Example) -> Intervention:
        """What is done to `example`. Raises ValueError where each example has its own and this one has none."""
        if isinstance(self.intervention, Intervention):
            return self.intervention
        key = example_key(example)
        if key not in self.intervention:
            raise ValueError(
                f"condition {self.name!r} has {len(self.intervention)} interventions by example, none for {key!r}"
            )
        return self.intervention[key]


def _shared(values: Iterable[Value]) -> Value | None:
    """The one value of all, or None."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


UNSTEERED = Condition("unsteered", role="unsteered")


def prompting(prefix: str, write: Prefixed | None = None) -> Condition:
    """The baseline that writes `prefix` before every prompt instead of editing the stream, else as `write` does.

    Raises:
        ValueError: an empty prefix, which is the unsteered text under another name.
    """
    if not prefix:
        raise ValueError("prompting('') writes nothing before a prompt: that is UNSTEERED")
    return Condition(f"prompting {prefix.strip()}", write=replace(write or Prefixed(), prefix=prefix))
