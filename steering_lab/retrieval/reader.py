"""A question answered with the nearest passage before it: steered where the passage contradicts the model's memory.

A query is four steps: the question is embedded and its passage found, the conflict gate is asked, the prompt is read
(under the intervention where the gate is open), the answer is written. The middle two are kept on disk, so that a
worker can take them ahead for questions that are expected. The model has one set of edits in force, so queries and the
worker take turns at it, a query and a prompt at a time.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from steering_lab.data.templates import PromptStyle, Wording
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.methods.conflict_gate import conflict_gate
from steering_lab.models.hook_points import HookSite
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.prompt_states import continue_from, read_prompt
from steering_lab.models.reading import read_stream
from steering_lab.retrieval.passage_index import Found, PassageIndex
from steering_lab.retrieval.prepared_prompts import Gated, Prepared, PreparedPrompts


def mean_states(model: HookedModel, texts: Sequence[str], site: HookSite) -> Float[Tensor, "text d_model"]:
    """The embedding of each text: the unedited stream of `model` at `site`, averaged over the text's tokens."""
    with model.unedited():
        return read_stream(model, texts, [site], read="mean")[site]


class Answered(NamedTuple):
    """What came of a query.

    Args:
        text: The answer.
        found: The passage that was put before the question, and how near it was.
        gate: What the gate said.
        ahead: Whether the prompt had been read ahead.
    """

    text: str
    found: Found
    gate: Gated
    ahead: bool


@dataclass(frozen=True, eq=False)
class SteeredReader:
    """A model that looks a question up before it answers.

    Args:
        model: The model that embeds, reads and answers.
        index: The passages, embedded by `model` at `site`.
        site: Where texts are embedded.
        intervention: What is done where the gate is open.
        threshold: The divergence in nats from which the gate is open.
        prompts: The prompts that were read ahead.
        wording: How a question and its passage are put.
        chat: Whether a prompt is a user's turn.
        max_new_tokens: The longest answer, with the passage and closed book.
    """

    model: HookedModel
    index: PassageIndex
    site: HookSite
    intervention: Intervention
    threshold: float
    prompts: PreparedPrompts
    wording: Wording
    chat: bool = False
    max_new_tokens: int = 16
    _turn: RLock = field(default_factory=RLock, init=False, repr=False)

    def ask(self, question: str) -> Answered:
        """The answer to `question`, over the passage nearest to it."""
        with self._turn:
            found = self.find(question)
            prepared, ahead = self._prepared(question, found)
            with steer(self.model, self._edit(prepared.gate)):
                text = continue_from(
                    self.model, prepared.states, max_new_tokens=self.max_new_tokens, stop=("\n",)
                )  # fmt: skip
            return Answered(text, found, prepared.gate, ahead)

    def find(self, question: str) -> Found:
        """The passage nearest to `question`."""
        with self._turn:
            return self.index.nearest(mean_states(self.model, [question], self.site))[0]

    def prepare(self, question: str) -> Prepared:
        """The prompt of `question` with its passage, read; it is on disk afterwards."""
        with self._turn:
            return self._prepared(question, self.find(question))[0]

    def written(self, style: PromptStyle, question: str, passage: str = "") -> str:
        """The prompt of `question` in `style`, with `passage` where the style has one."""
        if self.chat:
            return self.model.chat_text(self.wording.chat(style, question, passage))
        return self.wording.text(style, question, passage)

    @contextmanager
    def preparing(self, questions: Sequence[str]) -> Iterator[list["Future[Prepared]"]]:
        """A worker prepares `questions` in the background; when the block ends, those not begun are left.

        Args:
            questions: What is expected to be asked, the soonest first.
        """
        worker = ThreadPoolExecutor(1, "prepare")
        try:
            yield [worker.submit(self.prepare, question) for question in questions]
        finally:
            worker.shutdown(cancel_futures=True)

    def _prepared(self, question: str, found: Found) -> tuple[Prepared, bool]:
        """The prompt as it was kept, or read now and kept; whether it had been kept."""
        if self.model.edited:  # no key says under what
            raise ValueError(f"{self.model.name} is being steered already: ask outside of the steer block")
        passage = found.passage.text
        asked, bare = self.written("with_context", question, passage), self.written("closed_book", question)
        decides = f"{passage!r} {self.threshold} {self.max_new_tokens}"
        key = self.prompts.key(self.model, asked, bare, self.intervention, decides)
        if kept := self.prompts.find(key):
            return kept, True
        gate = conflict_gate(
            self.model, [asked], [bare], self.threshold, contexts=[passage], answer_tokens=self.max_new_tokens
        )
        gated = Gated(gate.open[0], float(gate.divergence[0]), gate.answers[0])
        with steer(self.model, self._edit(gated)):
            prepared = Prepared(read_prompt(self.model, asked), gated)
        self.prompts.keep(key, prepared)
        return prepared, False

    def _edit(self, gate: Gated) -> Intervention:
        return self.intervention if gate.steered else Intervention()
