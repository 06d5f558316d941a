"""What an optimisation of deltas found: for each prompt its vectors, and what they did and cost; means of several."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add

import pandas as pd
import torch

from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.descent import Descent, project


@dataclass(frozen=True, eq=False)
class Result:
    """The best delta of one problem, one vector for each site.

    Args:
        vectors: The delta at each site.
        losses: J in nats at the start and, best so far, after every proposal.
        kl: KL(unsteered || steered) in nats, averaged over the target's steps.
        relative_norms: The length of each vector over the residual norm at its site.
        resid_norms: The residual norm at each site.
        forward_equivalents: What it cost this problem alone, in plain passes over its prompts: tokens x layers read, to
            make the target too, and twice the layers above the lowest site for each pass back (an upper bound: weights
            get no gradient).
        seconds: Its share of the batch's wall time.
        cached: Whether it was found on disk, so that nothing was spent now.
    """

    vectors: tuple[SteeringVector, ...]
    losses: tuple[float, ...]
    kl: float
    relative_norms: tuple[float, ...]
    resid_norms: tuple[float, ...]
    forward_equivalents: float
    seconds: float
    cached: bool = False

    def intervention(self) -> Intervention:
        """The vectors, from the last prompt token on."""
        return reduce(add, (vector.from_last_prompt_token() for vector in self.vectors))


@dataclass(frozen=True, eq=False)
class OptimisedDelta:
    """The `results`: one for each prompt, the same for all where `shared`; None where the gate was shut."""

    results: tuple[Result | None, ...]
    shared: bool = False

    @property
    def problems(self) -> tuple[Result, ...]:
        """The distinct results, in the order of their prompts."""
        return tuple({id(result): result for result in self.results if result is not None}.values())

    def intervention(self, prompt: int = 0) -> Intervention:
        """What to do to `prompt`: its vectors from the last prompt token on, or nothing behind a shut gate."""
        result = self.results[prompt]
        return Intervention() if result is None else result.intervention()

    def per_row(self) -> list[Intervention]:
        """One intervention for each prompt, as `steer` takes them."""
        return [self.intervention(i) for i in range(len(self.results))]

    def table(self) -> pd.DataFrame:
        """One row per problem and evaluation: problem, evaluation (0 is the start), loss in nats, best so far."""
        rows = [
            {"problem": problem, "evaluation": k, "loss": loss}
            for problem, result in enumerate(self.problems)
            for k, loss in enumerate(result.losses)
        ]
        return pd.DataFrame(rows, columns=["problem", "evaluation", "loss"])


def ensemble(members: Sequence[OptimisedDelta], *, max_norm: float = Descent.max_norm) -> OptimisedDelta:
    """The mean of several optimisations of the same prompts (paraphrases, alphas, starts), back inside the budget.

    Deltas are averaged, never activations of different prompts. `source.details` of each vector holds the cosines
    between members there, mean and lowest: where they are low, the mean is short and stands for none of them. Losses
    and KL of the mean are unknown (NaN); its cost is the members' sum.

    Args:
        members: The optimisations.
        max_norm: The budget: the longest delta, in residual norms.

    Raises:
        ValueError: fewer than two members, or members that differ in prompts, gates or sites.
    """
    if len(members) < 2:
        raise ValueError(f"an ensemble needs at least two members, not {len(members)}")
    shapes = {tuple(o and tuple(v.site for v in o.vectors) for o in m.results) for m in members}
    if len(shapes) != 1 or len({m.shared for m in members}) != 1:
        raise ValueError("members of an ensemble share their prompts, gates, sites and whether one delta serves all")
    merged: dict[tuple[int, ...], Result] = {}
    results: list[Result | None] = []
    for of_prompt in zip(*(m.results for m in members), strict=True):
        some = [result for result in of_prompt if result is not None]
        same = tuple(map(id, some))
        results.append(merged.setdefault(same, _mean(some, max_norm)) if some else None)
    return OptimisedDelta(tuple(results), members[0].shared)


def _mean(members: Sequence[Result], max_norm: float) -> Result:
    deltas = torch.stack([torch.cat([v.rows for v in m.vectors]) for m in members])  # member site d_model
    scales = torch.tensor([members[0].resid_norms])
    mean = project(deltas.mean(dim=0, keepdim=True), scales, max_norm)[0]
    units = torch.nn.functional.normalize(deltas, dim=-1)
    cosines = torch.einsum("isd,jsd->sij", units, units)
    pairs = torch.triu_indices(len(members), len(members), 1)
    vectors = []
    for row, between, vector in zip(mean, cosines[:, pairs[0], pairs[1]], members[0].vectors, strict=True):
        details = {
            "method": "mean of optimised deltas",
            "members": [asdict(m.vectors[0].source) for m in members],
            "cosines_between_members": {"mean": round(float(between.mean()), 4), "min": round(float(between.min()), 4)},
        }
        source = replace(vector.source, recipe=f"mean of {len(members)} optimised deltas", details=details)
        vectors.append(SteeringVector(row[None].clone(), vector.site, source))
    return Result(
        tuple(vectors),
        losses=(),
        kl=float("nan"),
        relative_norms=tuple((mean.norm(dim=-1) / scales[0]).tolist()),
        resid_norms=members[0].resid_norms,
        forward_equivalents=sum(m.forward_equivalents for m in members),
        seconds=sum(m.seconds for m in members),
        cached=all(m.cached for m in members),
    )
