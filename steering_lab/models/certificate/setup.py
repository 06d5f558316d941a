"""What the checks of a certificate stand on: a model, its oracle, the texts, and what rounding explains."""

from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.certificate.plain import PlainPass, plain_pass
from steering_lab.models.certificate.value import CheckLine
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.runtimes.parity import rounding

TEXTS = (
    "Love and",
    "The capital of France is",
    "To be or not to be, that is the question: whether it is nobler in the mind to suffer",
)
NAMES = tuple(repr(shorten(text, 30, placeholder=" ...")) for text in TEXTS)
NEW = 8  # tokens of a continuation


@dataclass(frozen=True, eq=False)
class CheckSetup:
    """A `model` to check, `plain` Hugging Face beside it, and in `without` why there is none where there is none."""

    model: HookedModel
    plain: Any
    without: str = ""

    @cached_property
    def rows(self) -> list[list[int]]:
        """Ids of the texts with the model's own prefix, of unequal length, cut so that a continuation has room."""
        room = self.model.n_ctx - NEW
        return [self.model.token_ids(text)[:room] for text in TEXTS]

    @cached_property
    def singles(self) -> list[Float[Tensor, "1 pos d_vocab"]]:
        """The model's logits for each text on its own."""
        return [self.logits(row) for row in self.rows]

    @cached_property
    def plain_passes(self) -> list[PlainPass]:
        """Plain Hugging Face's stream and logits for each text on its own."""
        return [plain_pass(self.model, self.plain, self.ids(row)) for row in self.rows]

    @cached_property
    def greedy(self) -> list[list[int]]:
        """The ids with which `generate` continues each text, one batch of unequal lengths, with the KV cache."""
        return generate(self.model, self.model.pad(self.rows), max_new_tokens=NEW, ignore_eos=True).tokens

    def ids(self, row: list[int]) -> Tensor:
        return torch.tensor([row], device=self.model.device)

    @torch.no_grad()
    def logits(self, row: list[int]) -> Float[Tensor, "1 pos d_vocab"]:
        return self.model.logits(self.model.pad([row]))

    @torch.no_grad()
    def residuals(self, row: list[int], sites: list[HookSite]) -> dict[HookSite, Tensor]:
        return self.model.residuals(self.model.pad([row]), sites)

    @property
    def allowed(self) -> float:
        return rounding(self.model)


class Largest:
    """The largest relative difference among many, and where it was."""

    def __init__(self) -> None:
        self.value, self.detail = 0.0, ""

    def take(self, got: Tensor, wanted: Tensor, where: str) -> None:
        if got.shape != wanted.shape:
            self.value, self.detail = float("inf"), f"{where}: shape {tuple(got.shape)} against {tuple(wanted.shape)}"
            return
        gap = float((got.float() - wanted.float()).abs().max())
        relative = gap / max(float(wanted.float().abs().max()), 1e-30)
        if not relative <= self.value:  # NaN counts as the largest
            self.value, self.detail = relative, f"{where}: {gap:.2g} absolute"

    def line(self, check: str, compared: str, allowed: float) -> CheckLine:
        return CheckLine(check, compared, "ok" if self.value <= allowed else "wrong", self.value, allowed, self.detail)
