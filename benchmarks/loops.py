"""(b) Steered against unsteered, and (c) our decode loop against `transformers.generate`: equal rows, equal tokens.

No row ends before the others: an end-of-text token is a token like any other here.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from benchmarks.subjects import Subject, hf_texts
from benchmarks.timing import interleaved, times_table
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import random_like
from steering_lab.models.generation import generate


def steered_report(
    subject: Subject, batches: tuple[int, ...] = (1, 8, 32), *, new_tokens: int = 24, rounds: int = 5
) -> str:
    """Tables of `generate` without edits, with one, with one at every layer of the grid, and with one for each row."""
    vectors = subject.vectors()
    middle = vectors[subject.layers[len(vectors) // 2]]
    said = []
    for batch in batches:
        edits: dict[str, Any] = {
            "unsteered": None,
            "one layer, at every position": middle.everywhere(),
            "one layer, from the last prompt token": middle.from_last_prompt_token(),
            f"{len(vectors)} layers, at every position": sum(
                (v.everywhere() for v in vectors.values()), Intervention()
            ),
            "a vector of its own for each row": [0.5 * random_like(middle, seed).everywhere() for seed in range(batch)],
        }
        calls = {name: _generating(subject, batch, new_tokens, edit) for name, edit in edits.items()}
        calls["unsteered"]()
        title = f"(b) batch {batch}, {new_tokens} new tokens ({subject.model.name})"
        said.append(times_table(title, interleaved(calls, rounds), "unsteered"))
    return "\n".join(said)


def loop_report(
    subject: Subject,
    batches: tuple[int, ...] = (1, 8, 32),
    *,
    new_tokens: int = 24,
    rounds: int = 5,
    compiled: bool | None = None,
) -> str:
    """Tables of our loop, both runtimes, against `transformers.generate`; `compiled` adds its static cache compiled.

    By default that is done on a GPU alone: on a CPU, compiling takes longer than all the rest.
    """
    compiled = torch.cuda.is_available() if compiled is None else compiled
    said = []
    for batch in batches:
        calls: dict[str, Callable[[], object]] = {
            "ours": _generating(subject, batch, new_tokens),
            "transformers.generate": _theirs(subject, batch, new_tokens),
            "ours, hooked runtime": _generating(subject, batch, new_tokens, runtime="hooked"),
        }
        if compiled:
            calls["transformers.generate, static cache, compiled"] = _theirs(
                subject, batch, new_tokens, cache_implementation="static"
            )
        for call in calls.values():
            call()
        title = f"(c) batch {batch}, {new_tokens} new tokens ({subject.model.name})"
        said.append(times_table(title, interleaved(calls, rounds), "transformers.generate"))
    return "\n".join(said)


def _generating(
    subject: Subject, batch: int, new_tokens: int, edit: Any = None, runtime: Any = None
) -> Callable[[], object]:
    model, prompts = subject.model, subject.prompts(batch)

    def call() -> object:
        with model.running(runtime) if runtime else nullcontext(), steer(model, edit) if edit else nullcontext():
            return generate(model, prompts, max_new_tokens=new_tokens, batch_size=batch, ignore_eos=True)

    return call


def _theirs(subject: Subject, batch: int, new_tokens: int, **options: Any) -> Callable[[], object]:
    prompts, config = subject.prompts(batch), subject.plain.generation_config

    def call() -> object:
        kept, config.eos_token_id = config.eos_token_id, None
        try:
            return hf_texts(subject, prompts, new_tokens, **options)
        finally:
            config.eos_token_id = kept

    return call
