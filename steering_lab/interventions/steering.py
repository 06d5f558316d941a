"""The only place where an edit meets a model.

`with steer(model, intervention):` compiles the intervention into one hook per site, checks everything before the first
hook is placed, and takes every hook away again however the block ends. `enable()` and `disable()` do the same by hand.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce
from typing import Unpack

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.interventions.intervention import (
    Add,
    Edit,
    Intervention,
    Place,
    Placed,
    Term,
    add_rows,
    check_placed,
)
from steering_lab.interventions.source import Permissions
from steering_lab.interventions.steering_vector import LONGEST
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel, StreamEdit
from steering_lab.models.tokens import ForwardPass


class Steering:
    """An intervention that a model is under while it is enabled: what `steer` returns.

    As a block, `with steer(model, intervention):`, it is enabled where the block begins and its hooks are taken away
    however the block ends. Without a block whoever calls `enable()` removes the hooks, by `disable()`: an exception in
    between does not. A handle that is lost while it is enabled takes its hooks with it and says so in a warning: keep
    it in a variable. Inside a block `disable()` and `enable()` switch it off and on again; the block's end leaves it
    disabled. Several that are enabled compose in the order of enabling, and may be disabled in any.
    """

    def __init__(self, model: HookedModel, edits: Mapping[HookSite, StreamEdit]) -> None:
        self.model = model
        self._edits = dict(edits)
        self._placed: ExitStack | None = None

    @property
    def enabled(self) -> bool:
        """Whether its hooks are in the model now."""
        return self._placed is not None

    def enable(self) -> "Steering":
        """Itself, after placing its hooks; they stay until `disable()`.

        Raises:
            ValueError: it is enabled already, and would be added twice.
        """
        if self.enabled:
            raise ValueError(
                "this steering is enabled already: disable() it first, or call steer again to add it twice"
            )
        with ExitStack() as placing:
            placing.enter_context(self.model.hooks(self._edits))
            self._placed = placing.pop_all()
        return self

    def disable(self) -> None:
        """Takes its hooks out of the model; where they are out already, nothing happens."""
        placed, self._placed = self._placed, None
        if placed is not None:
            placed.close()

    def __enter__(self) -> HookedModel:
        self.enable()
        return self.model

    def __exit__(self, *_: object) -> None:
        self.disable()

    def __del__(self) -> None:
        if getattr(self, "_placed", None) is None or sys.is_finalizing():
            return
        self.disable()
        warnings.warn(
            "a steering was lost while enabled, and its hooks were removed: write handle = steer(...), and"
            " handle.disable() at the end",
            RuntimeWarning,
            stacklevel=2,
        )

    def __repr__(self) -> str:
        sites = ", ".join(map(str, self._edits)) or "nowhere"
        return f"Steering({self.model.name!r} at {sites}, {'enabled' if self.enabled else 'disabled'})"


def steer(
    model: HookedModel,
    intervention: Placed | Sequence[Placed],
    *,
    allow_other_model: bool = False,
    allow_other_prefix: bool = False,
) -> Steering:
    """The model under `intervention` until the block ends; a sequence gives every batch row an intervention of its own.

    Blocks nest, and the inner one sees what the outer one left. Passes must go through `model.logits`,
    `model.residuals` or `generate`, which give the hooks each token's position. Without a block, `handle = steer(...)`
    places nothing until `handle.enable()`, and who enables it disables it (`Steering`).

    A vector belongs to the weights it was made with, by their fingerprint, and to what stood in front of the texts.
    `allow_other_model` lets one of other or unknown weights through (a fine-tune's, say), `allow_other_prefix` one made
    behind another prefix; width and basis are never waived.

    Args:
        model: The model that is steered.
        intervention: One for all rows of a batch, or one for each.
        allow_other_model: Let a vector of other or unknown weights through.
        allow_other_prefix: Let a vector made behind another prefix through.

    Raises:
        ValueError: a vector or an edit that was not placed, a layer outside the model, a vector of another width, a
            sum at one site too large for the model's precision, or a vector of elsewhere (`Source.check`).
    """
    shared = isinstance(intervention, Intervention)
    interventions = list(intervention) if isinstance(intervention, Sequence) else [intervention]
    for one in interventions:
        check_placed(one)
        _check(model, one, allow_other_model=allow_other_model, allow_other_prefix=allow_other_prefix)
    sites = sorted({site for one in interventions for site in one.sites})
    return Steering(model, {site: _SiteEdit(site, interventions, shared, model) for site in sites})


def _check(model: HookedModel, intervention: Intervention, **permissions: Unpack[Permissions]) -> None:
    for term in intervention.terms:
        edit = term.edit
        model.check_site(edit.site)
        if edit.rows.shape[-1] != model.d_model:
            raise ValueError(
                f"{edit.label} is {edit.rows.shape[-1]} wide, the stream of {model.name} is {model.d_model}"
            )
        if edit.source is not None:
            edit.source.check(model, **permissions)


@dataclass(frozen=True, eq=False)
class _Group:
    """Edits of one kind and place at one site, one row of `table` per intervention (zero where it has none).

    `lengths` counts how many rows of the table are the intervention's own: only those need room in the prompt.
    """

    edit: Edit
    place: Place
    table: Float[Tensor, "intervention row d_model"]
    coeffs: Float[Tensor, " intervention"]
    lengths: Int[Tensor, " intervention"]

    def delta(
        self, resid: Float[Tensor, "batch pos d_model"], forward_pass: ForwardPass, which: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch pos d_model"] | None:
        """The group's share of the sum in float32, or None when it cannot touch these tokens."""
        if forward_pass.decoding and self.place.rule == "at":
            return None
        n_rows = self.table.shape[1]
        rows = self.table[which]
        if n_rows > 1:
            offset = (forward_pass.positions - self.place.begins(forward_pass.prompt_lengths)[:, None]).clamp(
                0, n_rows - 1
            )
            rows = self.table[which[:, None], offset]
        delta = self.coeffs[which][:, None, None] * self.edit.delta(resid.float(), rows.expand(resid.shape))
        if forward_pass.decoding:
            return delta
        self.place.check_room(forward_pass, self.lengths[which])
        touched: Bool[Tensor, "batch pos"] = self.place.touched(forward_pass, n_rows)
        return torch.where(touched[..., None], delta, 0.0)

    @property
    def reach(self) -> Float[Tensor, " intervention"]:
        """How long each intervention's delta is, about (`Edit.reach`)."""
        return self.coeffs.abs() * self.edit.reach(self.table.detach()).amax(dim=-1)

    def to(self, device: torch.device) -> "_Group":
        """The same with its tables there."""
        table, coeffs, lengths = (x.to(device) for x in (self.table, self.coeffs, self.lengths))
        return replace(self, table=table, coeffs=coeffs, lengths=lengths)

    def begins(self, lengths: Int[Tensor, " batch"], which: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The first position that may change; behind the prompt where the row has no edit in this group."""
        return torch.where(self.lengths[which] > 0, self.place.begins(lengths), lengths)


class _SiteEdit:
    """All that a (possibly per-row) intervention does at one site, as one hook.

    Rows that were given one and the same intervention share its rows of the tables. What a decode step adds whatever
    the stream holds is put together once for the rows at hand, not at every step.
    """

    def __init__(self, site: HookSite, interventions: Sequence[Intervention], shared: bool, model: HookedModel) -> None:
        self.shared, self.count, self.width = shared, len(interventions), model.d_model
        acting = {id(one): one for one in interventions if any(one.at_site(site))}
        slots = {key: slot for slot, key in enumerate(acting)}
        which = [slots.get(id(one), len(slots)) for one in interventions]
        self.which = torch.tensor(which, device=model.device)
        self.groups = list(_grouped(site, [*acting.values(), Intervention()], model.device))
        _check_length(site, self.groups, [*acting.values()], model)
        self._step: tuple[Tensor, Tensor] | None = None  # rows of a batch, and what a step adds to them

    def __call__(self, resid: Tensor, forward_pass: ForwardPass) -> Tensor:
        if not self.shared and self.count != forward_pass.n_batch:
            raise ValueError(
                f"{self.count} interventions for a batch of {forward_pass.n_batch} rows: pass one for all or one"
                " per row"
            )
        if self.which.device != resid.device:  # its layer's, where layers are on several
            self.which, self.groups = self.which.to(resid.device), [g.to(resid.device) for g in self.groups]
        if not (forward_pass.decoding and self.only_adds):
            return self._edited(resid, forward_pass)
        if self._step is None or self._step[0] is not forward_pass.rows:
            self._step = forward_pass.rows, self._edited(torch.zeros_like(resid[:, :1]), forward_pass)
        return resid + self._step[1]

    @property
    def only_adds(self) -> bool:
        """Whether it does the same to any stream; a subclass of Add may have a delta that reads the stream."""
        return all(type(group.edit) is Add for group in self.groups)

    def step(self, forward_pass: ForwardPass) -> Float[Tensor, "batch 1 d_model"] | None:
        """What it adds to the next token of each row (`Stepwise`)."""
        if not self.only_adds:
            return None
        still = torch.zeros(len(forward_pass.rows), 1, self.width, device=forward_pass.rows.device, dtype=torch.float32)
        return self(still, forward_pass)

    def _edited(self, resid: Tensor, forward_pass: ForwardPass) -> Tensor:
        which = self._which(forward_pass.rows)
        deltas = [delta for group in self.groups if (delta := group.delta(resid, forward_pass, which)) is not None]
        return resid + reduce(torch.add, deltas).to(resid.dtype) if deltas else resid

    def _which(self, rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return self.which[torch.zeros_like(rows) if self.shared else rows]

    def begins(self, lengths: Int[Tensor, " batch"], rows: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The first position that each row's edits here may change (`Beginning`)."""
        if not self.shared and int(rows.max()) >= self.count:
            return torch.zeros_like(lengths)  # a pass will say what is wrong
        which = self._which(rows.to(self.which.device))
        firsts = [group.begins(lengths.to(which.device), which) for group in self.groups]
        return reduce(torch.minimum, firsts, lengths.to(which.device)).to(lengths.device)


def _check_length(
    site: HookSite, groups: Sequence[_Group], interventions: Sequence[Intervention], model: HookedModel
) -> None:
    """Nothing where the stream can hold what each of the `interventions` adds at `site`, its places together."""
    if not groups:
        return
    reaches = reduce(torch.add, [group.reach for group in groups])
    most = min(torch.finfo(model.dtype).max, LONGEST)
    longest, which = (x.item() for x in reaches.max(dim=0))
    if not longest < most:
        said = "; ".join(f"{term.coeff:g} x {term.edit.label}" for term in interventions[int(which)].at_site(site))
        raise ValueError(
            f"{said} at {site} is {longest:.2g} long, which a stream in {model.dtype} cannot hold: stay below"
            f" {most:.2g}; some multiples of the residual's own length break any text"
        )


def _grouped(site: HookSite, interventions: Sequence[Intervention], device: torch.device) -> Iterator[_Group]:
    """Terms of equal kind, settings and place share a table; the plain sums of one intervention are one row of it."""
    slots: dict[tuple, dict[int, Term]] = {}
    sums: dict[Place, dict[int, Tensor]] = {}
    for i, intervention in enumerate(interventions):
        for term in intervention.at_site(site):
            rows = term.edit.rows.float().to(device)
            if type(term.edit) is Add:  # a subclass may have a delta of its own
                so_far = sums.setdefault(term.place, {})
                so_far[i] = add_rows(so_far[i], term.coeff * rows) if i in so_far else term.coeff * rows
                continue
            kind = (type(term.edit), *term.edit.settings.items(), term.place, rows.shape[0])
            turn = sum(1 for key, held in slots.items() if key[:-1] == kind and i in held)
            slots.setdefault((*kind, turn), {})[i] = term
    for place, per_intervention in sums.items():
        width = max(rows.shape[0] for rows in per_intervention.values())
        some = next(iter(per_intervention.values()))
        blank = some.new_zeros(width, some.shape[1])
        table = torch.stack([add_rows(blank, per_intervention.get(i, blank)) for i in range(len(interventions))])
        own = [per_intervention[i].shape[0] if i in per_intervention else 0 for i in range(len(interventions))]
        ones = torch.ones(len(interventions), device=device)
        yield _Group(Add(blank, site), place, table, ones, torch.tensor(own, device=device))
    for held in slots.values():
        some_term = next(iter(held.values()))
        blank = torch.zeros_like(some_term.edit.rows.float()).to(device)
        each = [held[i].edit.rows.float().to(device) if i in held else blank for i in range(len(interventions))]
        coeffs = torch.tensor([held[i].coeff if i in held else 0.0 for i in range(len(interventions))], device=device)
        own = [blank.shape[0] if i in held else 0 for i in range(len(interventions))]
        yield _Group(some_term.edit, some_term.place, torch.stack(each), coeffs, torch.tensor(own, device=device))
