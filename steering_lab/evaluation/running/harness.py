"""The steered model as a model of lm-evaluation-harness (Gao et al., https://github.com/EleutherAI/lm-evaluation-harness).

Every task of the harness, and one's own task files, then say what steering costs in abilities that it was not meant to
touch. Texts, scores and stop strings are read as the harness's own Hugging Face model reads them. The package is an
extra: `pip install "steering_lab[harness]"`. Nothing here is imported from it until a model is made.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from steering_lab.interventions.intervention import Intervention, Placed
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import GREEDY, generate
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.sampling import Sampling
from steering_lab.models.scoring import forced_logits
from steering_lab.numerics.log_probs import to_log_probs

GENERATION = ("until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k")


@runtime_checkable
class Request(Protocol):
    """What the harness asks: its `Instance`."""

    @property
    def args(self) -> tuple[Any, ...]:
        """(context, continuation), (text,) or (context, options)."""


class Scored(NamedTuple):
    """A continuation's log-probability in nats, and whether greedy decoding would have written it."""

    log_prob: float
    is_greedy: bool


class SteeredAnswers:
    """The three kinds of request, answered by a model under an intervention.

    Args:
        model: The model.
        intervention: What is done to it; nothing by default.
        batch_size: Rows in one pass.

    Raises:
        ValueError: what `steer` refuses.
    """

    def __init__(self, model: HookedModel, intervention: Placed | None = None, batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be 1 or more")
        self.model, self.batch_size = model, batch_size
        self.intervention = Intervention() if intervention is None else intervention
        steer(model, self.intervention)  # refused now, not after the tasks are built

    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """For each (context, continuation) its log-probability, and whether it is the greedy one.

        Spaces at the context's end count as the continuation's. A context too long for the model loses its beginning.

        Raises:
            ValueError: a continuation without a token, or one longer than the model's context.
        """
        found = self._scored([self.split(*request.args) for request in requests])
        return [(one.log_prob, one.is_greedy) for one in found]

    def loglikelihood_rolling(self, requests: Sequence[Request]) -> list[float]:
        """For each (text,) the log-probability of all of it, behind what stands in front of a text.

        Each token is predicted once; a text longer than the model's context goes in windows as the harness makes them.
        """
        windows = [list(self.windows(request.args[0])) for request in requests]
        scored = iter(self._scored([window for own in windows for window in own]))
        return [sum((next(scored).log_prob for _ in own), start=0.0) for own in windows]

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """For each (context, options) what the model writes until one of `until`, or `max_gen_toks` tokens (256).

        Raises:
            ValueError: an option that is not known here.
        """
        return [self._written(*request.args) for request in requests]

    def split(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The ids of both, as they are written together.

        Args:
            context: What comes first; empty is what stands in front of a text.
            continuation: What is scored.

        Raises:
            ValueError: a continuation without a token, or one longer than the model's context.
        """
        kept = context.rstrip()
        context, continuation = kept, context[len(kept) :] + continuation
        model = self.model
        before = self._ids(context) if context else model.prefix_ids
        after = self._ids(context + continuation)[len(before) :]
        before = before or model.front_ids
        if not after:
            raise ValueError(f"the continuation {continuation!r} of {context[-40:]!r} adds no token: nothing is scored")
        room = model.n_ctx + 1 - len(after)  # the last token is predicted and not read
        if room < 1:
            raise ValueError(f"a continuation of {len(after)} tokens does not fit the {model.n_ctx} of {model.name}")
        return before[-room:], after

    def windows(self, text: str) -> Iterator[tuple[list[int], list[int]]]:
        """What is read and what is predicted, window by window, each token of the text predicted once.

        Args:
            text: Any text; an empty one has no window.
        """
        prefix, n_ctx = self.model.front_ids, self.model.n_ctx
        ids = self.model.token_ids(text)[len(self.model.prefix_ids) :]
        first = ids[: n_ctx + 1 - len(prefix)]
        if first:
            yield list(prefix), first
        for start in range(len(first), len(ids), n_ctx):
            predicted = ids[start : start + n_ctx]
            whole = [*prefix, *ids][: len(prefix) + start]
            yield whole[-(n_ctx + 1 - len(predicted)) :], predicted

    def _ids(self, text: str) -> list[int]:
        """Ids of a text; where a chat's template wrote the beginning-of-text token itself, it stands there once."""
        ids, prefix = self.model.token_ids(text), self.model.prefix_ids
        return ids[len(prefix) :] if prefix and ids[: 2 * len(prefix)] == [*prefix, *prefix] else ids

    @torch.no_grad()
    def _scored(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[Scored]:
        found: dict[int, Scored] = {}
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]) - len(rows[i][1]))
        with steer(self.model, self.intervention):
            for start in range(0, len(order), self.batch_size):
                part = order[start : start + self.batch_size]
                said = forced_logits(self.model, [rows[i][0] for i in part], [rows[i][1] for i in part])
                for i, logits in zip(part, said, strict=True):
                    ids = torch.tensor(rows[i][1], device=logits.device)
                    log_prob = float(to_log_probs(logits).gather(-1, ids[:, None]).sum())
                    found[i] = Scored(log_prob, bool((logits.argmax(dim=-1) == ids).all()))
        return [found[i] for i in range(len(rows))]

    def _written(self, context: str, options: Mapping[str, Any]) -> str:
        if unknown := [name for name in options if name not in GENERATION]:
            raise ValueError(f"generation option {unknown[0]!r} is not known here: {', '.join(GENERATION)}")
        until = options.get("until") or []
        n_tokens, model = int(options.get("max_gen_toks", 256)), self.model
        ids = (self._ids(context) or model.front_ids)[-max(1, model.n_ctx - n_tokens) :]
        stop = [until] if isinstance(until, str) else list(until)
        with steer(model, self.intervention):
            written = generate(
                model, model.pad([ids]), max_new_tokens=min(n_tokens, model.n_ctx - len(ids)),
                sampling=_sampling(options), stop=stop,
            )  # fmt: skip
        return written.texts[0]


def harness_model(model: HookedModel, intervention: Placed | None = None, *, batch_size: int = 32) -> Any:
    """The model under the intervention, as `lm_eval.simple_evaluate(model=...)` takes it.

    Args:
        model: The model.
        intervention: What is done to it; nothing by default.
        batch_size: Rows in one pass.

    Raises:
        ModuleNotFoundError: lm-evaluation-harness is not installed.
        ValueError: what `steer` refuses.
    """
    try:
        from lm_eval.api.model import LM
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'lm-evaluation-harness cannot be imported ({error}): pip install "steering_lab[harness]"'
        ) from None

    class SteeredLM(SteeredAnswers, LM):  # type: ignore[misc]
        def __init__(self) -> None:
            LM.__init__(self)
            SteeredAnswers.__init__(self, model, intervention, batch_size)
            self._device = model.device

        @property
        def tokenizer_name(self) -> str:
            return str(model.name)

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return str(
                model.tokenizer.apply_chat_template(
                    chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                )
            )  # fmt: skip

        def chat_template(self, chat_template: bool | str = False) -> str | None:
            return str(model.tokenizer.chat_template or "") if chat_template else ""

    return SteeredLM()


def _sampling(options: Mapping[str, Any]) -> Sampling:
    temperature = float(options.get("temperature") or 0.0)
    if not options.get("do_sample", temperature > 0) or temperature == 0:
        return GREEDY
    return Sampling(temperature=temperature, top_k=options.get("top_k"), top_p=float(options.get("top_p", 1.0)))
