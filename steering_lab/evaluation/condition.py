"""Conditions: the columns of a comparison. Unsteered, prompting, every cell of a sweep and every control is one."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import Message, PromptStyle, Wording
from steering_lab.interventions.intervention import Intervention, Placed, check_placed
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.generation import LogitsRule
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel

PlaceName = Literal["front", "everywhere", "from_last_prompt_token", "generated"]
CONTROL = "random"


Example = str | ConflictQA


def example_key(example: Example) -> str:
    """What stands for an example in tables: a prompt itself, or the id of a question."""
    return example if isinstance(example, str) else example.id


@dataclass(frozen=True)
class Prefixed:
    """Writes `prefix` before a prompt; nothing with the empty one.

    With `chat=model.chat_text` the whole is the user's turn of a chat. `system` is the turn before it: None leaves that
    to the template, which may have a default of its own, and "" is an empty turn.

    Raises:
        ValueError: a system turn without a chat.
    """

    prefix: str = ""
    chat: Callable[[Sequence[Message]], str] | None = field(default=None, repr=False)
    system: str | None = None

    def __post_init__(self) -> None:
        if self.system is not None and self.chat is None:
            raise ValueError(f"system is {self.system!r}, but there is no chat for it to stand in: pass chat as well")

    def __call__(self, example: Example) -> str:
        """The prompt as it is put to the model. Raises ValueError for a question, which needs `Asked`."""
        if not isinstance(example, str):
            raise ValueError(f"{example.question!r} is a question with a context: write it with Asked(wording, style)")
        if self.chat is None:
            return self.prefix + example
        first: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        return self.chat([*first, {"role": "user", "content": self.prefix + example}])


@dataclass(frozen=True)
class Asked:
    """Writes a question and its context in a style of a wording; with `chat=model.chat_text`, as a chat.

    `answer_prefix` begins the answer (`ConflictQA.begun`): in a chat it is the assistant's turn, left open.
    """

    wording: Wording
    style: PromptStyle = "with_context"
    instruction: str | None = None
    chat: Callable[[Sequence[Message]], str] | None = field(default=None, repr=False)
    answer_prefix: str = ""

    def __call__(self, example: Example) -> str:
        """The prompt as it is put to the model. Raises ValueError for a bare prompt."""
        if isinstance(example, str):
            raise ValueError(f"{example!r} is a prompt, not a question: write it with Prefixed()")
        context = "" if self.style == "closed_book" else example.context
        asked: dict[str, Any] = {"instruction": self.instruction, "begun": example.begun(self.answer_prefix)}
        if self.chat is None:
            return self.wording.text(self.style, example.question, context, **asked)
        return self.chat(self.wording.chat(self.style, example.question, context, **asked))


@dataclass(frozen=True, eq=False)
class Condition:
    """What is done to an example: how it is written, how the stream is edited, which rule combines two streams.

    `intervention` is one for all examples, or one for each by its `example_key` (deltas found per query, gates).
    `without_context` writes the second stream's prompt for a contrastive `rule`. `factors` describe the condition in
    tables: method, layer, coeff, relative_norm, draw.

    Raises:
        ValueError: a rule without its second prompt, or the reverse; a vector or an edit that was not placed.
    """

    name: str
    intervention: Placed | Mapping[str, Placed] = field(default_factory=Intervention)
    write: Callable[[Example], str] = field(default_factory=Prefixed)
    rule: LogitsRule | None = None
    without_context: Callable[[Example], str] | None = None
    factors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.intervention.values() if isinstance(self.intervention, Mapping) else [self.intervention]:
            check_placed(one)
        if (self.rule is None) != (self.without_context is None):
            raise ValueError(f"condition {self.name!r}: a rule and without_context go together, give both or neither")

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


UNSTEERED = Condition("unsteered", factors={"method": "unsteered", "coeff": 0.0})


def prompting(prefix: str, write: Prefixed | None = None) -> Condition:
    """The baseline that writes `prefix` before every prompt instead of editing the stream, else as `write` does."""
    name = f"prompting {prefix.strip()}"
    return Condition(name, write=replace(write or Prefixed(), prefix=prefix), factors={"method": name})


def layer_coeff_grid(
    vectors: Mapping[HookSite, SteeringVector],
    coeffs: Sequence[float],
    resid_norms: Mapping[HookSite, float],
    *,
    method: str,
    place: PlaceName = "front",
    n_random: int = 0,
    seed: int = 0,
    write: Callable[[Example], str] | None = None,
) -> list[Condition]:
    """One condition per site and non-zero coefficient, named "<method>_<place>", and beside it its random controls.

    A control is `random_like` the cell's own vector: `n_random` draws per site, each used at every coefficient, under
    the method "random_<place>". `relative_norm` is |coeff x longest row| / median |resid| at the site, since bare
    coefficients are comparable neither across layers nor across models. Coefficient 0 is `UNSTEERED` and left out.

    Raises:
        ValueError: no non-zero coefficient, or a coefficient twice.
    """
    if len(set(coeffs)) < len(coeffs) or not any(coeffs):
        raise ValueError(f"coefficients {list(coeffs)} must differ and hold one that is not 0")
    grid = []
    for site, vector in vectors.items():
        arms: list[tuple[str, int | None, SteeringVector]] = [(method, None, vector)]
        arms += [(CONTROL, draw, random_like(vector, seed_of(seed, site, draw))) for draw in range(n_random)]
        for name, draw, rows in arms:
            placed = _placed(rows, place)
            for coeff in coeffs:
                if coeff:
                    factors = {
                        "method": f"{name}_{place}",
                        "layer": site.layer,
                        "coeff": float(coeff),
                        "relative_norm": abs(coeff) * vector.norm / resid_norms[site],
                        "draw": draw,
                    }
                    label = f"{name}_{place} {site} coeff {coeff:g}" + ("" if draw is None else f" draw {draw}")
                    grid.append(Condition(label, coeff * placed, write or Prefixed(), factors=factors))
    return grid


@torch.no_grad()
def median_resid_norms(model: HookedModel, prompts: Sequence[str], sites: Sequence[HookSite]) -> dict[HookSite, float]:
    """Median length of the residual over the tokens of `prompts` at each site, without the attention sink in front."""
    tokens = model.to_tokens(list(prompts))
    counted = tokens.mask & (tokens.positions >= model.n_sink)
    if not counted.any():
        raise ValueError("the prompts hold no token behind the first, so there is no norm to measure: make one longer")
    streams = model.residuals(tokens, list(sites))
    return {site: float(stream.float().norm(dim=-1)[counted].median()) for site, stream in streams.items()}


def _placed(vector: SteeringVector, place: PlaceName) -> Intervention:
    match place:
        case "front":
            return vector.at_front()
        case "everywhere":
            return vector.everywhere()
        case "from_last_prompt_token":
            return vector.from_last_prompt_token()
        case "generated":
            return vector.generated()
    raise ValueError(f"unknown place {place!r}: choose front, everywhere, from_last_prompt_token or generated")


def seed_of(*parts: object) -> int:
    """A 48-bit seed that stands for the parts, the same in every process."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, parts)).encode()).digest()[:6], "big")
