"""Choose the intervention from the input: each prompt of a batch gets the one whose trigger it pulls, or the default.

A trigger is a function of model and prompts that answers for every prompt by itself: a predicate on the text, words of
a topic, the stream's similarity to a direction, or a linear probe of the stream (`probe.fit_probe`). Triggers read the
unedited model, whatever steering block is open.

Conditional activation steering (Lee et al. 2024, arXiv:2409.05907) is the trigger of similarity; its condition is the
cosine of the stream with its projection on the direction, after a tanh, and its released code looks at the first row of
a batch only. Here it is the plain, signed cosine, of every row.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.data.lexicons import word_set
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering_vector import SteeringVector
from steering_lab.methods.probe import check_direction, read_for
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.reading import Read


@runtime_checkable
class Trigger(Protocol):
    """Which prompts a case is for, one answer per prompt, whatever prompts stand beside it."""

    def __call__(self, model: HookedModel, prompts: Sequence[str]) -> list[bool]: ...


@dataclass(frozen=True)
class TextIs:
    """Pulled where `predicate(prompt)` is true."""

    predicate: Callable[[str], bool]

    def __call__(self, model: HookedModel, prompts: Sequence[str]) -> list[bool]:
        return [bool(self.predicate(prompt)) for prompt in prompts]


@dataclass(frozen=True)
class Mentions:
    """Pulled by a topic: at least `at_least` words of the prompt, repeats counted, are among `words`, in any case.

    Raises:
        ValueError: no words, a text in their place, something that is not one word, or `at_least` below 1.
    """

    words: Iterable[str]
    at_least: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(sorted(word_set(self.words, "the words of a topic"))))
        if any(re.fullmatch(r"[\w'-]+", word) is None for word in self.words):
            raise ValueError(f"a topic needs single words, not {self.words!r}")
        if self.at_least < 1:
            raise ValueError(f"at_least is {self.at_least}: it must be 1 or more")

    def __call__(self, model: HookedModel, prompts: Sequence[str]) -> list[bool]:
        wanted = {word.casefold() for word in self.words}
        counts = [sum(w.casefold() in wanted for w in re.findall(r"[\w'-]+", prompt)) for prompt in prompts]
        return [count >= self.at_least for count in counts]


@dataclass(frozen=True, eq=False)
class PointsAlong:
    """Pulled where the stream's cosine with `direction`, at its site, is `above` a threshold in [-1, 1].

    `read` as in `mean_difference_vectors`: the last prompt token, a token before it, or the mean over tokens.

    Raises:
        ValueError: a direction of several rows or of no length, or a threshold that is no cosine.
    """

    direction: SteeringVector
    above: float
    read: Read = "last"

    def __post_init__(self) -> None:
        check_direction(self.direction)
        if not -1 <= self.above <= 1:
            raise ValueError(f"above is {self.above}: it must be a cosine, in [-1, 1]")

    def cosines(self, model: HookedModel, prompts: Sequence[str]) -> Float[Tensor, " prompt"]:
        """The cosine of each of `prompts`' streams in `model` with the direction."""
        stream = read_for(model, prompts, self.direction, self.read)
        return torch.nn.functional.cosine_similarity(stream, self.direction.rows, dim=-1)

    def __call__(self, model: HookedModel, prompts: Sequence[str]) -> list[bool]:
        return (self.cosines(model, prompts) > self.above).tolist()


@dataclass(frozen=True, eq=False)
class Case:
    """Do `then` to the prompts for which `when` is true; `name` is what tables say of them."""

    name: str
    when: Trigger
    then: Intervention


@dataclass(frozen=True, eq=False)
class ConditionalSteering:
    """The first case whose trigger a prompt pulls decides; a prompt that pulls none gets `default`.

    Raises:
        ValueError: two cases of one name, or one called "default".
    """

    cases: tuple[Case, ...]
    default: Intervention = field(default_factory=Intervention)

    def __post_init__(self) -> None:
        names = [case.name for case in self.cases]
        if len({*names, "default"}) != len(names) + 1:
            raise ValueError(f"cases need names of their own, none of them 'default': {names}")

    def decide(self, model: HookedModel, prompts: Sequence[str]) -> list[str]:
        """The name of the case of each of `prompts` for `model`, or "default"."""
        names = ["default"] * len(prompts)
        for case in reversed(self.cases):
            names = [case.name if hit else n for n, hit in zip(names, _ask(case, model, prompts), strict=True)]
        return names

    def choose(self, model: HookedModel, prompts: Sequence[str]) -> list[Intervention]:
        """One intervention for each prompt: `with steer(model, conditional.choose(model, prompts)): ...`."""
        by_name = {case.name: case.then for case in self.cases} | {"default": self.default}
        return [by_name[name] for name in self.decide(model, prompts)]


def _ask(case: Case, model: HookedModel, prompts: Sequence[str]) -> list[bool]:
    hits = case.when(model, prompts)
    if len(hits) != len(prompts):
        raise ValueError(f"the trigger of case {case.name!r} answered for {len(hits)} of {len(prompts)} prompts")
    return hits
