"""What is measured: a model here, plain Hugging Face around the same weights, prompts, and a grid of cells."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.grid import PlaceName
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading.boot import sharing_copy

SENTENCES = (
    "I went up to my friend and said that", "The road along the river was closed, so",
    "When the train arrived at last,", "My neighbour told me this morning that",
    "After the long meeting everybody", "The old house at the corner is",
    "She opened the letter slowly and", "In the middle of the village there is",
)  # fmt: skip
DEPTHS = (0.27, 0.47, 0.67, 0.87)  # of a grid's layers, in shares of the model


@dataclass(frozen=True, eq=False)
class Subject:
    """`plain` is a Hugging Face model of its own modules over the weights of `model`: peers may change the modules."""

    model: HookedModel
    plain: Any
    tokenizer: Any

    @property
    def layers(self) -> list[int]:
        """Where a grid steers; never at the first block, whose input the peers cannot edit."""
        n = self.model.n_layers
        return sorted({min(n - 1, max(1, round(depth * n))) for depth in DEPTHS})

    def prompts(self, n: int, length: int | None = None) -> list[str]:
        """`n` different prompts, short ones or of about `length` tokens."""
        if length is None:
            return [SENTENCES[i % len(SENTENCES)] + " and" * (i // len(SENTENCES)) for i in range(n)]
        return [self._long(i, length) for i in range(n)]

    def _long(self, i: int, length: int) -> str:
        turned = SENTENCES[i % len(SENTENCES) :] + SENTENCES[: i % len(SENTENCES)]
        text = f"{i} " + " ".join(turned * (length // 8 + 1))
        return str(self.tokenizer.decode(self.model.token_ids(text)[:length], skip_special_tokens=True))

    def room(self, length: int, new_tokens: int) -> int:
        """`length`, or what the context leaves of it."""
        return min(length, self.model.n_ctx - new_tokens - 8)

    def vectors(self) -> dict[int, SteeringVector]:
        """Love against hate at the grid's layers."""
        sites = [resid_pre(layer) for layer in self.layers]
        found = mean_difference_vectors(self.model, PAIRS["love_hate_sentences"], sites)
        return {site.layer: vector for site, vector in found.items()}


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of a grid: `coeff` times the rows of `vector`, added to what enters block `layer`."""

    layer: int
    coeff: float
    vector: SteeringVector

    @property
    def row(self) -> torch.Tensor:
        return self.vector.rows[0]

    def condition(self, place: PlaceName) -> Condition:
        edit = self.vector.everywhere() if place == "everywhere" else self.vector.from_last_prompt_token()
        return Condition(f"layer {self.layer} coeff {self.coeff:g}", self.coeff * edit)


def cells(subject: Subject, scale: int = 1) -> list[Cell]:
    """Three coefficients times `scale` at every layer of the grid."""
    coeffs = [0.5 * (i + 1) * (-1) ** i for i in range(3 * scale)]
    return [Cell(layer, coeff, vector) for layer, vector in subject.vectors().items() for coeff in coeffs]


def subject_of(model: HookedModel) -> Subject:
    """The model with a plain one beside it.

    Raises:
        ValueError: the model has no plain runtime, so there is nothing to share weights with.
    """
    if model.plain is None:
        raise ValueError(f"{model.name} has no plain modules to measure against")
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Subject(model, sharing_copy(model.plain.hf_model), tokenizer)


def hf_texts(subject: Subject, prompts: Sequence[str], new_tokens: int, model: Any = None, **options: Any) -> list[str]:
    """Greedy continuations by transformers' own `generate`, left-padded, one batch."""
    read = subject.tokenizer(list(prompts), return_tensors="pt", padding=True).to(subject.model.device)
    read.pop("token_type_ids", None)
    options = {"do_sample": False, "pad_token_id": subject.model.pad_token_id} | options
    with torch.no_grad():
        out = (subject.plain if model is None else model).generate(**read, max_new_tokens=new_tokens, **options)
    return list(subject.tokenizer.batch_decode(out[:, read["input_ids"].shape[1] :], skip_special_tokens=True))
