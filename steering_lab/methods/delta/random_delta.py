"""Random deltas that move the model as far as optimised ones do: the control of gradient steering.

A delta found by descent is short and moves the model far, so a random direction of its length says little. Here a
random direction of each problem is as long as it takes to reach the same KL(unsteered || steered).
"""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import SupportsIndex

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.optimise import Batch
from steering_lab.methods.delta.result import OptimisedDelta, Result
from steering_lab.methods.delta.weighted import AnyObjective
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.integers import whole_number

DOUBLINGS, HALVINGS = 10, 12  # of the optimised delta's length, then of the gap around the wanted KL


@torch.no_grad()
@torch.inference_mode(False)
def random_at_equal_kl(
    model: HookedModel,
    prompts: Sequence[str],
    objective: AnyObjective,
    found: OptimisedDelta,
    seed: SupportsIndex,
    *,
    batch_size: int = 32,
) -> OptimisedDelta:
    """For each problem of `found` one random direction a site, at the length at which its KL is that of the optimum.

    Lengths at several sites have the optimum's proportions. The length is the first at which doubling and bisection
    find the KL; where even 2^10 of the optimum's lengths stay below it, that length. `kl` of each result says what was
    reached; its losses are empty and its cost is unknown (NaN).

    Args:
        model: The model that is read.
        prompts: Those that `found` was optimised on.
        objective: Its objective, whose targets' steps the KL is over.
        found: The optimised deltas.
        seed: What directions are drawn by.
        batch_size: Prompts in one pass.

    Raises:
        ValueError: another number of prompts than `found` has results, or a seed that is not an integer.
    """
    if len(prompts) != len(found.results):
        raise ValueError(f"{len(prompts)} prompts for {len(found.results)} optimised deltas: give those they are of")
    seed, rows = whole_number(seed, "a seed"), [i for i, result in enumerate(found.results) if result is not None]
    if not rows:
        return found
    optima = found.problems
    problems = [rows] if found.shared else [[i] for i in rows]
    sites = [vector.site for vector in optima[0].vectors]
    rng = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(
        torch.randn(len(optima), len(sites), model.d_model, generator=rng), dim=-1
    )
    step = 1 if found.shared else batch_size
    drawn: list[Result] = []
    for first in range(0, len(optima), step):
        part = slice(first, first + step)
        batch = Batch(model, list(prompts), problems[part], sites, objective, batch_size)
        drawn += _drawn(batch, optima[part], directions[part].to(model.device), seed)
    by_row = {i: result for problem, result in zip(problems, drawn, strict=True) for i in problem}
    return OptimisedDelta(tuple(by_row.get(i) for i in range(len(prompts))), found.shared)


def _drawn(
    batch: Batch, optima: Sequence[Result], directions: Float[Tensor, "problem site d_model"], seed: int
) -> list[Result]:
    lengths = torch.tensor([[vector.norm for vector in o.vectors] for o in optima], device=directions.device)
    ray, wanted = directions * lengths[..., None], torch.tensor([o.kl for o in optima], device=directions.device)
    scale = _scales(batch, ray, wanted)
    deltas = ray * scale[:, None, None]
    reached = batch.kl(deltas).tolist()
    results = []
    for optimum, rows, kl in zip(optima, deltas.cpu(), reached, strict=True):
        details = {"method": "random delta", "seed": seed, "kl": kl, "kl_wanted": optimum.kl}
        vectors = tuple(
            SteeringVector(
                row[None].clone(), v.site, replace(v.source, recipe="random delta at equal KL", details=details)
            )
            for row, v in zip(rows, optimum.vectors, strict=True)
        )
        norms = tuple(v.norm / norm for v, norm in zip(vectors, optimum.resid_norms, strict=True))
        results.append(Result(vectors, (), kl, norms, optimum.resid_norms, forward_equivalents=nan, seconds=nan))
    return results


def _scales(batch: Batch, ray: Float[Tensor, "problem site d_model"], wanted: Tensor) -> Float[Tensor, " problem"]:
    """How far along its ray each problem reaches its KL."""
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(DOUBLINGS):
        short = batch.kl(ray * high[:, None, None]) < wanted
        if not bool(short.any()):
            break
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = batch.kl(ray * middle[:, None, None]) < wanted
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return torch.where(wanted > 0, high, 0.0)
