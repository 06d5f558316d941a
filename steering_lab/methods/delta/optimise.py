"""Gradient steering at inference: a residual-stream delta optimised for an objective, the weights frozen.

    delta* = argmin J( model with delta_l added at each site l, from the last prompt token on ),  |delta_l| <= rho R_l

R_l is the median length of the residuals at the last prompt token, rho the budget (`Descent.max_norm`). One delta per
prompt, all descending in one batch as independent problems, or one shared by all prompts. The result is steering
vectors like any other: decoding with them costs what plain decoding costs.

Relatives: plug-and-play language models (Dathathri et al. 2020, arXiv:1912.02164), latent steering vectors (Subramani
et al. 2022, arXiv:2205.05124), one-shot steering vectors (Dunefsky and Cohan 2025, arXiv:2502.18862). Different from
them: steps normalised to the residual norm, backtracking, several sites at once, one delta for every token.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.delta.cache import find_result, hash_json, keep_result, result_key
from steering_lab.methods.delta.delta_pass import DeltaPass, Unsteered
from steering_lab.methods.delta.descent import Descended, Descent, Evaluation, descend
from steering_lab.methods.delta.result import OptimisedDelta, Result
from steering_lab.methods.delta.target import Target
from steering_lab.methods.delta.weighted import AnyObjective, terms_of
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.progress import progress_bar


@torch.inference_mode(False)  # whose tensors no gradient could pass
def optimise_delta(
    model: HookedModel,
    prompts: str | Sequence[str],
    sites: HookSite | Sequence[HookSite],
    objective: AnyObjective,
    *,
    descent: Descent | None = None,
    shared: bool = False,
    init: Sequence[SteeringVector] | None = None,
    gate: Sequence[bool] | None = None,
    cache: str | Path | None = None,
    batch_size: int = 32,
) -> OptimisedDelta:
    """Deltas at `sites` that lower the objective on each prompt, or on all together with `shared`.

    They are those of the unedited model, whatever steering block is open. `init` starts every problem from one-row
    vectors, one for each site, instead of from zero. Prompts whose `gate` is False are left alone. `cache` is a folder:
    a problem that is found there, by everything that determines it, costs nothing.

    Args:
        model: The model that is read.
        prompts: One prompt or several.
        sites: Where deltas are added.
        objective: What they are optimised for, one entry per prompt; or a weighted sum, `0.5 * a + 0.5 * b`.
        descent: How far and how long to go.
        shared: Whether one delta serves all prompts.
        init: One-row vectors, one for each site, that every problem starts from; None is zero.
        gate: Prompts where it is False are left alone.
        cache: A folder where finished deltas are kept and found.
        batch_size: Prompts optimised in one batch.

    Raises:
        ValueError: no site, one named twice or outside the model, another number of objectives or gates than prompts,
            an `init` that does not fit, or prompts too long for their target; nothing has run then.
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    sites = [sites] if isinstance(sites, HookSite) else list(sites)
    descent = descent or Descent()
    _check(model, prompts, sites, objective, init, gate, batch_size)
    rows = [i for i in range(len(prompts)) if gate is None or gate[i]]
    problems = ([rows] if rows else []) if shared else [[i] for i in rows]
    settings = {"sites": [site.name for site in sites], "descent": asdict(descent), "shared": shared}
    folder = None if cache is None else Path(cache)
    found: dict[int, Result] = {}
    keys: dict[int, str] = {}
    if folder is not None:
        for k, problem in enumerate(problems):
            keys[k] = result_key(model, [prompts[i] for i in problem], objective.take(problem), init, settings)
            if (result := find_result(folder, keys[k])) is not None:
                found[k] = result
    missing = [k for k in range(len(problems)) if k not in found]
    step = 1 if shared else batch_size
    parts = [missing[first : first + step] for first in range(0, len(missing), step)]
    for part in progress_bar(parts, what="optimise deltas", delay=2.0):
        batch = Batch(model, prompts, [problems[k] for k in part], sites, objective, batch_size)
        for k, result in zip(part, batch.optimise(descent, init, settings), strict=True):
            found[k] = result
            if folder is not None:
                keep_result(folder, keys[k], result)
    results = {i: found[k] for k, problem in enumerate(problems) for i in problem}
    return OptimisedDelta(tuple(results.get(i) for i in range(len(prompts))), shared)


class Term:
    """One weighted target of all rows of a batch, and the passes that measure it.

    Args:
        model: The model that is read.
        ids: Each row's prompt.
        sites: Where deltas are added.
        weight: What its loss is multiplied by.
        target: What is wanted of each row.
        batch_size: Rows in one pass.
    """

    def __init__(
        self,
        model: HookedModel,
        ids: Sequence[Sequence[int]],
        sites: Sequence[HookSite],
        weight: float,
        target: Target,
        batch_size: int,
    ) -> None:
        self.weight, self.target = weight, target
        more = max(map(len, target.tokens)) - 1
        groups = model.batching.groups([model.batching.kind(len(row), more) for row in ids])
        self.parts = [own[i : i + batch_size] for own in groups for i in range(0, len(own), batch_size)]
        self.targets = [target.take(part) for part in self.parts]
        self.passes = [
            DeltaPass(model, [ids[i] for i in part], own.tokens, sites)
            for part, own in zip(self.parts, self.targets, strict=True)
        ]
        self.unsteered = [one.unsteered() for one in self.passes]

    def batches(self) -> Iterator[tuple[list[int], DeltaPass, Target, Unsteered]]:
        """The rows of each pass, the pass, what is wanted of them and what the unsteered model does there."""
        return zip(self.parts, self.passes, self.targets, self.unsteered, strict=True)

    def resid_norms(self) -> Float[Tensor, "row site"]:
        """The residual norm of each row at each site, at its last prompt token."""
        norms = torch.cat([seen.resid_norms for seen in self.unsteered])
        return norms[torch.tensor([i for part in self.parts for i in part], device=norms.device).argsort()]

    def keeps_prefix(self, rows: Sequence[int]) -> bool:
        """Whether every pass over `rows` reads from the last prompt token on."""
        return all(
            one.keeps_prefix
            for part, one in zip(self.parts, self.passes, strict=True)
            if not set(part).isdisjoint(rows)
        )


class Batch:
    """Problems that descend together: their prompts in passes of `batch_size` rows, each row owned by a problem.

    Args:
        model: The model that is read.
        prompts: All prompts.
        problems: The numbers of each problem's prompts.
        sites: Where deltas are added.
        objective: What they are optimised for, one entry per prompt.
        batch_size: Rows in one pass.
    """

    def __init__(
        self,
        model: HookedModel,
        prompts: Sequence[str],
        problems: Sequence[Sequence[int]],
        sites: Sequence[HookSite],
        objective: AnyObjective,
        batch_size: int,
    ) -> None:
        self.started = time.perf_counter()
        self.model, self.sites = model, list(sites)
        rows = [i for problem in problems for i in problem]
        self.prompts = [prompts[i] for i in rows]
        self.objective: AnyObjective = objective.take(rows)
        self.ids = [model.token_ids(prompt) for prompt in self.prompts]
        self.owner = torch.tensor([k for k, problem in enumerate(problems) for _ in problem], device=model.device)
        self.n_rows = torch.bincount(self.owner, minlength=len(problems))
        self.terms = [
            Term(model, self.ids, sites, weight, one.target(model, self.prompts), batch_size)
            for weight, one in terms_of(self.objective)
        ]
        norms = self.terms[0].resid_norms()
        self.scales = torch.stack([norms[self.owner == k].median(dim=0).values for k in range(len(problems))])

    def optimise(
        self, descent: Descent, init: Sequence[SteeringVector] | None, settings: dict[str, Any]
    ) -> list[Result]:
        """The result of every problem.

        Args:
            descent: How far and how long to go.
            init: One-row vectors, one for each site, that all problems start from; None is zero.
            settings: What the deltas were asked for, for their provenance: sites, descent, shared.
        """
        start = torch.zeros(*self.scales.shape, self.model.d_model, device=self.model.device)
        if init is not None:
            start = start + torch.cat([vector.rows for vector in init]).to(start)
        with torch.enable_grad():
            end = descend(self.evaluate, start, self.scales, descent)
        seconds = (time.perf_counter() - self.started) / len(self.n_rows)
        return [self._result(k, end, seconds, init is not None, settings) for k in range(len(self.n_rows))]

    def evaluate(self, deltas: Float[Tensor, "problem site d_model"]) -> Evaluation:
        """Means over each problem's prompts, by one pass forth and back.

        Args:
            deltas: What is added at each problem's sites; they are read and not changed.
        """
        totals = Evaluation(
            torch.zeros_like(deltas[:, 0, 0]), torch.zeros_like(deltas), torch.zeros_like(deltas[:, 0, 0])
        )
        for term in self.terms:
            for part, one, target, before in term.batches():
                owner = self.owner[part]
                leaf = deltas.detach()[owner].requires_grad_()
                steered, stream = one.seeing(leaf, target.reads)
                losses = term.weight * target.losses(steered, stream)
                (gradient,) = torch.autograd.grad(losses.sum(), leaf)
                kl = _kl(target, before, steered.detach()) / len(self.terms)
                for total, per_row in zip(totals, (losses, gradient, kl), strict=True):
                    total.index_add_(0, owner, per_row.detach())
        count = self.n_rows.to(deltas)
        return Evaluation(totals.loss / count, totals.gradient / count[:, None, None], totals.kl / count)

    @torch.no_grad()
    def kl(self, deltas: Float[Tensor, "problem site d_model"]) -> Float[Tensor, " problem"]:
        """KL(unsteered || steered) in nats, as in `evaluate`, by one pass forth.

        Args:
            deltas: What is added at each problem's sites; 0 gives 0.
        """
        total = torch.zeros_like(deltas[:, 0, 0])
        for term in self.terms:
            for part, one, target, before in term.batches():
                total.index_add_(0, self.owner[part], _kl(target, before, one(deltas[self.owner[part]])))
        return total / self.n_rows.to(deltas) / len(self.terms)

    def _result(self, k: int, end: Descended, seconds: float, started_elsewhere: bool, settings: Any) -> Result:
        deltas, norms = end.deltas[k].detach().float().cpu(), self.scales[k].cpu()
        rows = (self.owner == k).nonzero()[:, 0].tolist()
        measured: dict[str, Any] = {
            "losses": end.losses[k],
            "kl": float(end.kl[k]),
            "relative_norms": tuple((deltas.norm(dim=-1) / norms).tolist()),
            "resid_norms": tuple(norms.tolist()),
            "forward_equivalents": self._cost(rows, int(end.n_evaluated[k])),
            "seconds": seconds,
        }
        described = dict(self.objective.take(rows).described(self.model))
        asked = {
            "method": "optimised delta",
            "objective": {key: described[key] for key in described if isinstance(described[key], (str, int, float))},
            "objective_sha256": hash_json(described),
            "prompts_sha256": hash_json([self.ids[i] for i in rows]),
            "n_prompts": len(rows),
            "first_prompt": self.prompts[rows[0]],
            "init": started_elsewhere,
            "passes": "from the last prompt token" if self._keeps_prefix(rows) else "whole prompts",
        }
        source = Source.of(self.model, f"optimised delta ({described['name']})", **asked, **settings, **measured)
        vectors = (SteeringVector(row[None].clone(), s, source) for row, s in zip(deltas, self.sites, strict=True))
        return Result(tuple(vectors), **measured)

    def _cost(self, rows: Sequence[int], n_evaluated: int) -> float:
        """Plain passes over the problem's prompts that its own share of the work amounts to."""
        lowest = min(site.layer + (site.stream == "resid_post") for site in self.sites)
        back = 2 * (self.model.n_layers - lowest) / self.model.n_layers
        prompt = sum(len(self.ids[i]) for i in rows)
        prefix, total = prompt - len(rows), 0.0
        for term in self.terms:
            forced = sum(len(term.target.tokens[i]) for i in rows)
            made = sum(term.target.tokens_run[i] for i in rows) if term.target.tokens_run else 0
            once, each = (prefix, forced) if term.keeps_prefix(rows) else (0, prefix + forced)
            total += made + once + each * (1 + n_evaluated * (1 + back))
        return total / prompt

    def _keeps_prefix(self, rows: Sequence[int]) -> bool:
        """Whether every pass over the problem's rows reads from the last prompt token on."""
        return all(term.keeps_prefix(rows) for term in self.terms)


def _kl(target: Target, before: Unsteered, steered: Float[Tensor, "batch step d_vocab"]) -> Float[Tensor, " batch"]:
    """KL(unsteered || steered) of each row, averaged over its target's steps, in nats."""
    own = tuple(said[: len(tokens)] for said, tokens in zip(before.log_probs, target.tokens, strict=True))
    return Target(target.tokens, own).losses(steered)


def _check(
    model: HookedModel,
    prompts: Sequence[str],
    sites: Sequence[HookSite],
    objective: AnyObjective,
    init: Sequence[SteeringVector] | None,
    gate: Sequence[bool] | None,
    batch_size: int,
) -> None:
    if not prompts or len(objective) != len(prompts):
        raise ValueError(f"the objective is for {len(objective)} prompts, {len(prompts)} were given: one for each")
    if gate is not None and len(gate) != len(prompts):
        raise ValueError(f"{len(gate)} gates for {len(prompts)} prompts: one for each")
    if not sites or len(set(sites)) != len(sites):
        raise ValueError(f"sites are {[str(site) for site in sites]}: name at least one, and none twice")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be 1 or more")
    for site in sites:
        model.check_site(site)
    if init is not None and ([v.site for v in init] != list(sites) or any(len(v.rows) != 1 for v in init)):
        raise ValueError("init needs one vector of one row for each site, in the order of the sites")
    if init is not None and any(v.source.basis != model.basis or v.rows.shape[1] != model.d_model for v in init):
        raise ValueError(
            f"init was made for another width or basis than {model.name}: make its vectors with this model"
        )
