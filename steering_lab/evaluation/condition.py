"""Conditions: the columns of a comparison. Unsteered, prompting, every cell of a sweep and every control is one."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch

from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.templates import Message, PromptStyle, Wording
from steering_lab.interventions.intervention import Intervention, Placed, check_placed
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.models.generation import LogitsRule
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.tables import Factors, Role, Unit

PlaceName = Literal["front", "everywhere", "from_last_prompt_token", "generated"]
RANDOM = "random"  # the method of random controls
Value = TypeVar("Value")

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


class Budget(NamedTuple):
    """The most that a method may do, where it is bounded by that and not by a coefficient: 0.4 residual norms, say."""

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
    """The baseline that writes `prefix` before every prompt instead of editing the stream, else as `write` does."""
    return Condition(f"prompting {prefix.strip()}", write=replace(write or Prefixed(), prefix=prefix))


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
    """One condition of `method` per site and non-zero coefficient, and beside it its random controls.

    A control is `random_like` the cell's own vector: `n_random` draws per site, each used at every coefficient, under
    the method "random". `relative_norm` is |coeff x longest row| / median |resid| at the site, since bare
    coefficients are comparable neither across layers nor across models. Coefficient 0 is `UNSTEERED` and left out.

    Args:
        vectors: The vector of each site.
        coeffs: What each vector is multiplied by.
        resid_norms: The median residual norm at each site (`median_resid_norms`).
        method: The vectors' method, by its name.
        place: At which tokens they are added.
        n_random: Random draws for each site.
        seed: What the draws follow from.
        write: How an example is put to the model.

    Raises:
        ValueError: no non-zero coefficient, or a coefficient twice.
    """
    if len(set(coeffs)) < len(coeffs) or not any(coeffs):
        raise ValueError(f"coefficients {list(coeffs)} must differ and hold one that is not 0")
    grid = []
    for site, vector in vectors.items():
        rows: list[tuple[str, SteeringVector, dict[str, Any]]] = [(method, vector, {"method": method})]
        for draw in range(n_random):
            control = {"method": RANDOM, "control_of": method, "draw": draw}
            rows.append((f"{RANDOM} {draw} for {method}", random_like(vector, seed_of(seed, site, draw)), control))
        for name, own, facts in rows:
            placed = _placed(own, place)
            grid += [
                Condition(f"{name} {place} {site} coeff {coeff:g}", coeff * placed, write or Prefixed(),
                          resid_norms=resid_norms, **facts)
                for coeff in coeffs if coeff
            ]  # fmt: skip
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
