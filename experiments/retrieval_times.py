"""Milliseconds a query: cold, with its prompt read ahead, and what its steps take, in turn."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from time import perf_counter

import pandas as pd

from steering_lab.evaluation.measuring.speed import interleaved, median_interval
from steering_lab.models.generation import generate
from steering_lab.retrieval.prepared_prompts import PreparedPrompts
from steering_lab.retrieval.reader import SteeredReader

COLD, WARM, FINDING, UNGATED, CLOSED = (
    "cold", "read ahead", "embedding and search alone", "passage, no gate, unsteered", "no passage, unsteered",
)  # fmt: skip


def query_times(
    reader: Callable[[PreparedPrompts], SteeredReader], questions: Sequence[str], rounds: int, folder: Path
) -> pd.DataFrame:
    """One row per way to ask: median milliseconds a query, their interval over rounds, and both as ratios to cold ones.

    worker_ms is what the worker took for a prompt, megabytes what one takes on disk; ahead is the share of queries
    whose prompt was found there, same_text that of answers equal to the cold ones.

    Args:
        reader: A reader by where it keeps its prompts.
        questions: What is asked, one after another.
        rounds: In how many the ways to ask take turns.
        folder: Where prompts are kept; empty at first.
    """
    ahead, fresh = reader(PreparedPrompts(folder / "ahead")), count()
    start = perf_counter()
    with ahead.preparing(questions) as prepared:
        for one in prepared:
            one.result()
    worker = (perf_counter() - start) / len(questions) * 1000
    sizes = [path.stat().st_size for path in (folder / "ahead").iterdir()]

    def cold() -> list[str]:
        return _said(reader(PreparedPrompts(folder / f"cold {next(fresh)}")), questions)

    calls: dict[str, Callable[[], object]] = {
        COLD: cold,
        WARM: lambda: _said(ahead, questions),
        FINDING: lambda: [*map(ahead.find, questions)],
        UNGATED: lambda: [_plain(ahead, text, ahead.find(text).passage.text) for text in questions],
        CLOSED: lambda: [_plain(ahead, text) for text in questions],
    }
    each = pd.DataFrame(interleaved(calls, rounds)) / len(questions) * 1000
    ratios = each.div(each[COLD], axis=0)
    rows = [
        {"query": name, "ms": each[name].median(), **_ends(each[name]), "ratio": ratios[name].median()}
        | {f"ratio_{end}": value for end, value in _ends(ratios[name]).items()}
        for name in calls
    ]
    return pd.DataFrame(rows).assign(
        worker_ms=worker,
        megabytes=sum(sizes) / len(sizes) / 1e6,
        ahead=sum(ahead.ask(text).ahead for text in questions) / len(questions),
        same_text=sum(a == b for a, b in zip(cold(), _said(ahead, questions), strict=True)) / len(questions),
        n_questions=len(questions),
        n_rounds=rounds,
    )


def _said(reader: SteeredReader, questions: Sequence[str]) -> list[str]:
    return [reader.ask(text).text for text in questions]


def _plain(reader: SteeredReader, question: str, passage: str = "") -> str:
    prompt = reader.written("with_context" if passage else "closed_book", question, passage)
    return generate(reader.model, prompt, max_new_tokens=reader.max_new_tokens, stop=("\n",)).texts[0]


def _ends(values: pd.Series) -> dict[str, float]:
    return dict(zip(("low", "high"), median_interval(values), strict=True))
