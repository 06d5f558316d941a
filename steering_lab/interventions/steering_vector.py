"""What was computed: rows of the residual stream at one site, which know where they come from.

A vector is a value: arithmetic returns a new one, nothing normalises it silently. Saved as safetensors with a JSON
header, so that any tool can read the numbers and `safe_open` shows the provenance without running code.
"""

from dataclasses import asdict, dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.interventions.intervention import Ablate, Add, Clamp, Edit, Intervention, PreserveNorm, add_rows
from steering_lab.interventions.source import Source
from steering_lab.interventions.vector_file import read_vector, write_vector
from steering_lab.models import display
from steering_lab.models.hook_points import Site, check_is_site
from steering_lab.models.integers import whole_number

LONGEST = 1e19  # of a row, in residual-stream units: the square root of the largest float32, rounded down


@dataclass(frozen=True, eq=False, repr=False)
class SteeringVector:
    """Rows, of a `source`, to add to the residual stream at `site`: one row, or one per consecutive token.

    Whatever is given, `rows` is a float32 copy on the CPU without gradients; one dimension means one row.

    Raises:
        ValueError: not a tensor of floating-point rows, no row, a value or the square of a length that is not finite in
            float32, or no site.
    """

    rows: Float[Tensor, "*row d_model"]
    site: Site
    source: Source

    def __post_init__(self) -> None:
        check_is_site(self.site)
        object.__setattr__(self, "rows", _as_rows(self.rows))
        if not bool(torch.isfinite(self.rows).all()):
            raise ValueError(f"{self.source.recipe} at {self.site} has values that are not finite in float32")
        if not (norm := float(self.rows.double().norm(dim=-1).max())) < LONGEST:
            raise ValueError(
                f"{self.source.recipe} at {self.site} has norm {norm:.2g}: its square is not finite in float32, in"
                f" which models compute norms; stay below {LONGEST:.0e}"
            )

    # -- measures -----------------------------------------------------------------------------------------------------
    @property
    def norms(self) -> Float[Tensor, " row"]:
        """Euclidean length of each row, in residual-stream units."""
        return self.rows.float().norm(dim=-1)

    @property
    def norm(self) -> float:
        """The length of the longest row."""
        return float(self.norms.max())

    # -- algebra ------------------------------------------------------------------------------------------------------
    def __add__(self, other: "SteeringVector") -> "SteeringVector":
        """The sum, zero rows continuing the shorter vector.

        Raises:
            ValueError: another site, or another basis, weights or prefix, since the sum would belong to no model:
                superpose interventions instead, `a.at_front() + b.at_front()`.
        """
        if not isinstance(other, SteeringVector):
            return NotImplemented
        mine, others = ((v.site, *v.source.belongs_to) for v in (self, other))
        if mine != others:
            raise ValueError(
                f"cannot add a vector at {other.site} ({other.source.where}) to one at {self.site}"
                f" ({self.source.where}): place both and add the interventions"
            )
        parts = {"parts": [asdict(self.source), asdict(other.source)]}
        source = replace(self.source, recipe=f"{self.source.recipe} + {other.source.recipe}", details=parts)
        return SteeringVector(add_rows(self.rows, other.rows), self.site, source)

    def __mul__(self, factor: Real | float) -> "SteeringVector":
        if not isinstance(factor, Real):
            return NotImplemented
        return self._from(self.rows * float(factor), f"{float(factor):g} x ({self.source.recipe})")

    __rmul__ = __mul__

    def __truediv__(self, divisor: Real | float) -> "SteeringVector":
        return self * (1.0 / float(divisor)) if isinstance(divisor, Real) else NotImplemented

    def __neg__(self) -> "SteeringVector":
        return self._from(-self.rows, f"-({self.source.recipe})")

    def __sub__(self, other: "SteeringVector") -> "SteeringVector":
        return self + -other if isinstance(other, SteeringVector) else NotImplemented

    def unit(self) -> "SteeringVector":
        """Each row at length 1, zero rows staying zero: a direction."""
        return self._from(torch.nn.functional.normalize(self.rows, dim=-1), f"unit({self.source.recipe})")

    def row(self, index: SupportsIndex) -> "SteeringVector":
        """One row on its own, e.g. `row(-1)` for use at every token.

        Raises:
            ValueError: an index that is no integer, or that the vector has no row for.
        """
        index, n_rows = whole_number(index, "the index of a row"), self.rows.shape[0]
        if not -n_rows <= index < n_rows:
            raise ValueError(f"row {index} is outside {-n_rows}..{n_rows - 1}: {self!r}")
        return self._from(self.rows[index], f"row {index} of ({self.source.recipe})")

    def mean_row(self) -> "SteeringVector":
        """The mean over rows, as one row."""
        return self._from(self.rows.mean(dim=0, keepdim=True), f"mean row of ({self.source.recipe})")

    def described(self, recipe: str, /, **details: Any) -> "SteeringVector":
        """The same rows under another recipe, with more details: for methods that build on another method."""
        source = replace(self.source, recipe=recipe, details={**self.source.details, **details})
        return SteeringVector(self.rows, self.site, source)

    def _from(self, rows: Tensor, recipe: str) -> "SteeringVector":
        return SteeringVector(rows, self.site, replace(self.source, recipe=recipe))

    # -- placing ------------------------------------------------------------------------------------------------------
    def _edit(self, kind: type[Edit] = Add, **options: Any) -> Edit:
        return kind(self.rows, self.site, self.source, **options)

    def at_front(self, *, too_long: Any = "error") -> Intervention:
        """Add row k at token k of the prompt (`Edit.at_front`).

        Args:
            too_long: As in `Edit.at_front`.
        """
        return self._edit().at_front(too_long=too_long)

    def at(self, start: SupportsIndex, *, too_long: Any = "error") -> Intervention:
        """Add the rows at consecutive prompt tokens from `start` (`Edit.at`).

        Args:
            start: The token of the first row; negative counts from the prompt's end.
            too_long: As in `Edit.at_front`.
        """
        return self._edit().at(start, too_long=too_long)

    def everywhere(self) -> Intervention:
        """Add the one row at every token (`Edit.everywhere`)."""
        return self._edit().everywhere()

    def from_last_prompt_token(self) -> Intervention:
        """Add the one row from the last prompt token on (`Edit.from_last_prompt_token`)."""
        return self._edit().from_last_prompt_token()

    def generated(self) -> Intervention:
        """Add the one row at generated tokens only (`Edit.generated`)."""
        return self._edit().generated()

    # -- files --------------------------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> Path:
        """Write `path` (safetensors): tensor `direction.<hook name>`, provenance as JSON under "steering_lab"."""
        return write_vector(path, self.rows, self.site, self.source)

    @classmethod
    def load(cls, path: str | Path) -> "SteeringVector":
        """The vector that `save` wrote to `path`, bit for bit.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no steering vector of a format known here, or one that changed since it was written.
        """
        return cls(*read_vector(path))

    def __repr__(self) -> str:
        shape = f"{self.rows.shape[0]} row{'s' * (self.rows.shape[0] > 1)} x {self.rows.shape[1]}"
        return (
            f"SteeringVector({self.source.recipe} at {self.site} of {self.source.model}: {shape}, norm {self.norm:.3g})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: where it comes from, how long each row is and what was read there, diagnostics."""
        source, n_rows = self.source, self.rows.shape[0]
        details = dict(source.details)
        read = details.get("tokens")
        per_row = read if isinstance(read, list) and all(len(column) == n_rows for column in read) else []
        if per_row:
            del details["tokens"]
        facts = {
            "site": str(self.site),
            "model": f"{source.where}, {source.dtype}",
            "revision": source.revision,
            "rows": f"{n_rows} x {self.rows.shape[1]}",
            "norm": self.norm,
        }
        columns = ["row", *(f"token of prompt {k}" for k in range(1, len(per_row) + 1)), "norm"]
        tokens = ([repr(token) for token in column] for column in per_row)
        table = display.rows(columns, zip(range(n_rows), *tokens, self.norms.tolist(), strict=True))
        return display.card(source.recipe, display.facts({**facts, **details, "software": source.software}), table)


def _as_rows(rows: Any) -> Float[Tensor, "row d_model"]:
    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        what = f"{rows.dtype} tensor" if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(f"rows are a tensor of floating-point numbers, not a {what}")
    if rows.ndim not in (1, 2) or rows.numel() == 0:
        raise ValueError(
            f"rows have shape {list(rows.shape)}: a steering vector needs at least one row, [d_model] or [row, d_model]"
        )
    own = rows.detach().to("cpu", torch.float32, copy=True)
    return own.reshape(-1, own.shape[-1]).contiguous()


def random_like(vector: SteeringVector, seed: SupportsIndex) -> SteeringVector:
    """Gaussian rows with the lengths of `vector`'s rows: the norm-matched random control. Zero rows stay zero.

    Raises:
        ValueError: a seed that is not an integer.
    """
    seed = whole_number(seed, "a seed")
    noise = torch.randn(vector.rows.shape, generator=torch.Generator().manual_seed(seed))
    rows = torch.nn.functional.normalize(noise, dim=-1) * vector.norms[:, None]
    source = replace(vector.source, recipe=f"random like ({vector.source.recipe})", details={"seed": seed})
    return SteeringVector(rows, vector.site, source)


def ablate(vector: SteeringVector) -> Edit:
    """The edit that removes the projection on `vector`'s direction; place it, e.g. `ablate(v).everywhere()`.

    Raises:
        ValueError: more than one row, or a zero vector, which has no direction.
    """
    return _direction(vector)._edit(Ablate)


def clamp(vector: SteeringVector, to: float) -> Edit:
    """The edit that sets the projection on `vector`'s direction to `to`, in residual-stream units.

    Raises:
        ValueError: more than one row, a zero vector, or a `to` that is not finite.
    """
    return _direction(vector)._edit(Clamp, to=float(to))


def preserving_norm(vector: SteeringVector) -> Edit:
    """The edit that adds `vector` and then restores the stream's length: a rotation toward it."""
    return vector._edit(PreserveNorm)


def _direction(vector: SteeringVector) -> SteeringVector:
    if vector.rows.shape[0] != 1 or not vector.norm > 0:
        raise ValueError(f"{vector!r} is not one direction: take a non-zero row with .row(i) first")
    return vector
