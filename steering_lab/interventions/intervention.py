"""What will be done to the residual stream, as a value: a sum of deltas, each with its place.

    resid + sum_i coeff_i * delta_i(resid)

Every delta is computed from the same unedited `resid`. So `+` commutes, `*` scales the effect (half an ablation removes
half of the projection), `a - a` does nothing and `Intervention()` is the unsteered model. Values only: nothing here
knows a model; `steering.steer` is where they meet one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.interventions.source import Source
from steering_lab.models import display
from steering_lab.models.hook_points import HookSite
from steering_lab.models.integers import Whole, whole_number
from steering_lab.models.tokens import ForwardPass

Rule = Literal["at", "everywhere", "from_last_prompt_token", "generated"]
Setting = float | int | str | bool | None


@dataclass(frozen=True)
class Place:
    """Which tokens an edit touches by its `rule`, in absolute positions: 0 is the prompt's first real token.

    Padding is never touched. "at" starts at token `start` of the prompt, counted from its end where negative, and
    lasts as many tokens as the edit has rows; it never reaches generated tokens. `clip` drops rows that stand beyond
    the prompt, otherwise a prompt too short for them is an error.

    Raises:
        ValueError: a start that is not an integer.
    """

    rule: Rule
    start: Whole = 0
    clip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", whole_number(self.start, "a position"))

    def __str__(self) -> str:
        return f"{self.rule}({self.start})" if self.rule == "at" else self.rule

    @property
    def name(self) -> str:
        """What it is called in tables: front, everywhere, from_last_prompt_token, generated, or at(3)."""
        return "front" if (self.rule, self.start) == ("at", 0) else str(self)

    @property
    def late(self) -> bool:
        """Whether it leaves all of a long prompt but its end alone."""
        return self.rule in ("from_last_prompt_token", "generated") or (self.rule == "at" and self.start < 0)

    def begins(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Absolute position of the first touched token, behind prompts of these lengths."""
        match self.rule:
            case "at":
                return self.start + (lengths if self.start < 0 else torch.zeros_like(lengths))
            case "from_last_prompt_token":
                return lengths - 1
            case "generated":
                return lengths
        return torch.zeros_like(lengths)

    def check_room(self, forward_pass: ForwardPass, n_rows: Int[Tensor, " batch"]) -> None:
        """Nothing when every prompt has room for its `n_rows` rows; none need no room.

        Args:
            forward_pass: Holds the lengths of the prompts.
            n_rows: Rows that are added, one a token.

        Raises:
            ValueError: a prompt is too short and `clip` is off.
        """
        if self.rule != "at" or self.clip or forward_pass.decoding:
            return
        first = self.begins(forward_pass.prompt_lengths)
        lacking = ((first < 0) | (first + n_rows > forward_pass.prompt_lengths)) & (n_rows > 0)
        if bool(lacking.any()):
            row = int(lacking.nonzero()[0])
            raise ValueError(
                f"the vector is {int(n_rows[row])} tokens from position {self.start}, prompt"
                f" {int(forward_pass.rows[row])} is {int(forward_pass.prompt_lengths[row])}:"
                " choose a longer prompt, too_long='clip', or pad_prompts()"
            )

    def touched(self, forward_pass: ForwardPass, n_rows: int) -> Bool[Tensor, "batch pos"]:
        """True at the tokens of `forward_pass` that an edit of `n_rows` rows acts on."""
        offset = forward_pass.positions - self.begins(forward_pass.prompt_lengths)[:, None]
        touched = (offset >= 0) & (forward_pass.positions >= 0)
        if self.rule == "at":
            touched &= (offset < n_rows) & (forward_pass.positions < forward_pass.prompt_lengths[:, None])
        return touched


@dataclass(frozen=True, eq=False)
class Edit:
    """One way to change the stream at `site`; `rows` has one row, or one per consecutive token.

    Subclasses give `delta`, and may be dataclasses with fields of their own (`settings`). `source` says which model the
    rows belong to; rows made by hand, being optimised say, may have none, and then only their width is checked.
    Gradients reach `rows`.

    Raises:
        ValueError: a field of a subclass that is neither a number nor text (once the edit is placed).
    """

    rows: Float[Tensor, "row d_model"]
    site: HookSite
    source: Source | None = None
    verb: ClassVar[str] = "add"

    @property
    def label(self) -> str:
        """What the rows are, in words."""
        return (self.source and self.source.recipe) or "the vector"

    @property
    def name(self) -> str:
        """What it does, in words."""
        return self.verb.replace("_", " ")

    @property
    def norm(self) -> float:
        """The length of the longest row, in residual-stream units."""
        return float(self.rows.detach().float().norm(dim=-1).max())

    @property
    def settings(self) -> dict[str, Setting]:
        """Every field beside rows, site and source, by name: by which two edits of one kind and equal rows differ.

        Raises:
            ValueError: a field that is neither a number, text, True or False, nor None.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rows", "site", "source")}
        for name, value in own.items():
            if not isinstance(value, Real | str | None):
                raise ValueError(
                    f"{type(self).__name__}.{name} is a {type(value).__name__}: the fields of an edit beside rows, site"
                    " and source are numbers, text or None; put what belongs to a token into rows"
                )
        return {name: value if isinstance(value, int | str | None) else float(value) for name, value in own.items()}

    def delta(self, resid: Float[Tensor, "*batch d_model"], row: Float[Tensor, "*batch d_model"]) -> Any:
        """What is added to each `resid`, given the row that belongs to its token."""
        raise NotImplementedError

    def reach(self, row: Float[Tensor, "*batch d_model"]) -> Any:
        """How long the delta of each row is where the stream is of length 1, about: what no stream may be asked for."""
        return row.norm(dim=-1)

    def at_front(self, *, too_long: Literal["error", "clip"] = "error") -> "Intervention":
        """Row k at token k of the prompt, the beginning-of-text token being token 0: ActAdd's own place.

        Args:
            too_long: "error" refuses a prompt shorter than the rows; "clip" leaves out the rows that find no token.
        """
        return self.at(0, too_long=too_long)

    def at(self, start: SupportsIndex, *, too_long: Literal["error", "clip"] = "error") -> "Intervention":
        """Rows at consecutive prompt tokens from `start`, or from the prompt's end where it is negative.

        Raises:
            ValueError: an unknown `too_long`.
        """
        if too_long not in ("error", "clip"):
            raise ValueError(
                f"too_long is {too_long!r}: choose 'error' or 'clip' (or lengthen prompts with pad_prompts)"
            )
        return self._placed(Place("at", whole_number(start, "a position"), clip=too_long == "clip"))

    def everywhere(self) -> "Intervention":
        """The one row at every token, of the prompt and of what is generated."""
        return self._placed(Place("everywhere"))

    def from_last_prompt_token(self) -> "Intervention":
        """The one row at the last token of the prompt and at every generated token: ContextFocus's place."""
        return self._placed(Place("from_last_prompt_token"))

    def generated(self) -> "Intervention":
        """The one row at generated tokens only."""
        return self._placed(Place("generated"))

    def _placed(self, place: Place) -> "Intervention":
        if place.rule != "at" and self.rows.shape[0] != 1:
            raise ValueError(
                f"{self.label} has {self.rows.shape[0]} rows, one per token: place it with at_front()"
                f" or at(i), or take one row with .row(-1) or .mean_row()"
            )
        return Intervention((Term(self, place, 1.0),))


class Add(Edit):
    """delta = row."""

    def delta(self, resid: Float[Tensor, "*batch d_model"], row: Float[Tensor, "*batch d_model"]) -> Any:
        return row


class Ablate(Edit):
    """delta = -(resid . u) u with u the row's direction: removes the projection on it."""

    verb: ClassVar[str] = "ablate"

    def delta(self, resid: Float[Tensor, "*batch d_model"], row: Float[Tensor, "*batch d_model"]) -> Any:
        direction = torch.nn.functional.normalize(row, dim=-1)
        return -(resid * direction).sum(-1, keepdim=True) * direction

    def reach(self, row: Float[Tensor, "*batch d_model"]) -> Any:
        return torch.ones_like(row[..., 0])


@dataclass(frozen=True, eq=False)
class Clamp(Edit):
    """delta = (to - resid . u) u: sets the projection on the row's direction to `to`, in residual-stream units.

    Raises:
        ValueError: `to` is not finite.
    """

    to: float = 0.0
    verb: ClassVar[str] = "clamp"

    def __post_init__(self) -> None:
        if not isfinite(self.to):
            raise ValueError(f"clamp to {self.to}: the projection that is set must be finite")

    @property
    def name(self) -> str:
        return f"clamp to {self.to:g}"

    def delta(self, resid: Float[Tensor, "*batch d_model"], row: Float[Tensor, "*batch d_model"]) -> Any:
        direction = torch.nn.functional.normalize(row, dim=-1)
        return (self.to - (resid * direction).sum(-1, keepdim=True)) * direction

    def reach(self, row: Float[Tensor, "*batch d_model"]) -> Any:
        return torch.full_like(row[..., 0], max(1.0, abs(self.to)))


class PreserveNorm(Edit):
    """delta = (resid + row) |resid| / |resid + row| - resid: adds the row and keeps the length of the stream.

    A coefficient on the placed edit scales this delta; to add more of the vector, scale the vector.
    """

    verb: ClassVar[str] = "preserve_norm"

    def delta(self, resid: Float[Tensor, "*batch d_model"], row: Float[Tensor, "*batch d_model"]) -> Any:
        return torch.nn.functional.normalize(resid + row, dim=-1) * resid.norm(dim=-1, keepdim=True) - resid

    def reach(self, row: Float[Tensor, "*batch d_model"]) -> Any:
        return torch.ones_like(row[..., 0])


@dataclass(frozen=True, eq=False)
class Term:
    """One `edit`, the `place` where it acts, and the `coeff` by which its delta is multiplied.

    Raises:
        ValueError: a coefficient that is not finite, or an edit with a field that is no setting (`Edit.settings`).
    """

    edit: Edit
    place: Place
    coeff: float

    def __post_init__(self) -> None:
        if not isfinite(self.coeff):
            raise ValueError(f"the coefficient of {self.edit.label} is {self.coeff}: it must be finite")
        _ = self.edit.settings  # refused here, where the edit is placed, not in the middle of a run

    def __str__(self) -> str:
        return f"{self.coeff:+g} x {self.edit.verb} {self.edit.label} {self.place} {self.edit.site}"


@dataclass(frozen=True, eq=False)
class Intervention:
    """A sum of placed edits, its `terms`; `Intervention()` is nothing. `a + b` superposes, `2 * a` doubles the effect.

    To let one edit see the result of another instead, nest two `with steer(...)` blocks.
    """

    terms: tuple[Term, ...] = ()

    def __add__(self, other: "Intervention") -> "Intervention":
        if not isinstance(other, Intervention):
            return NotImplemented
        return Intervention(self.terms + other.terms)

    def __mul__(self, coeff: Real | float) -> "Intervention":
        if not isinstance(coeff, Real):  # NumPy's scalars, as a sweep's axes give them, are Real too
            return NotImplemented
        return Intervention(tuple(replace(term, coeff=term.coeff * float(coeff)) for term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Intervention":
        return self * -1.0

    def __sub__(self, other: "Intervention") -> "Intervention":
        return self + -other if isinstance(other, Intervention) else NotImplemented

    def __truediv__(self, divisor: Real | float) -> "Intervention":
        return self * (1.0 / float(divisor)) if isinstance(divisor, Real) else NotImplemented

    @property
    def sites(self) -> tuple[HookSite, ...]:
        """The hook sites that are edited, each once, in the order of the stream."""
        return tuple(sorted({term.edit.site for term in self.terms}))

    def at_site(self, site: HookSite) -> Iterator[Term]:
        """The terms that act at `site`."""
        return (term for term in self.terms if term.edit.site == site)

    def __repr__(self) -> str:
        return f"Intervention({'; '.join(map(str, self.terms)) or 'nothing'})"

    def _repr_html_(self) -> str:
        """What a notebook shows: one row per term; `norm` is of its vector's longest row, without the coefficient."""
        if not self.terms:
            return display.card("Intervention: nothing")
        rows = [
            (term.coeff, term.edit.name, term.edit.label, str(term.place), str(term.edit.site), term.edit.norm)
            for term in self.terms
        ]
        return display.card("Intervention", display.rows(("coeff", "edit", "of", "where", "site", "norm"), rows))


if TYPE_CHECKING:
    Placed = Intervention
else:
    Placed = object
"""The type of a parameter that takes anything and, once `check_placed` has been through it, is an intervention."""


def check_placed(given: object) -> None:
    """Nothing when `given` is an intervention.

    Raises:
        ValueError: it is not, say a vector or an edit without a place.
    """
    if isinstance(given, Intervention):
        return
    how = ".at_front(), .everywhere() or .from_last_prompt_token()"
    if hasattr(given, "to_tokens"):
        raise ValueError("a model is given where the intervention is wanted: write steer(model, vector.everywhere())")
    if isinstance(given, Mapping):
        raise ValueError("a mapping is no intervention: place each vector and add them: a.everywhere() + ...")
    if not hasattr(given, "at_front"):
        raise ValueError(f"a {type(given).__name__} is no intervention: place a vector with {how}")
    what = f"{given.name} {given.label}" if isinstance(given, Edit) else repr(given)
    raise ValueError(f"{what} has no place yet: say at which tokens it acts, with {how}")


def add_rows(
    left: Float[Tensor, "left d_model"], right: Float[Tensor, "right d_model"]
) -> Float[Tensor, "longer d_model"]:
    """The sum of the rows `left` and `right`, the shorter continued with zero rows."""
    longer = max(left.shape[0], right.shape[0])
    return sum(torch.nn.functional.pad(x, (0, 0, 0, longer - x.shape[0])) for x in (left, right))  # type: ignore[return-value]
