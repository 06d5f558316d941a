"""What a sweep says of the cost of steering beside its continuations: on neutral text, and in facts still known."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import pandas as pd

from steering_lab.data.capitals import capital_rows
from steering_lab.data.conflict_qa import ConflictQA
from steering_lab.data.neutral_texts import NEUTRAL_ENGLISH
from steering_lab.data.templates import PLAIN
from steering_lab.evaluation.measuring.facts import FACTS, facts_table
from steering_lab.evaluation.measuring.named_measures import LABELS_BESIDE
from steering_lab.evaluation.measuring.neutral import NEUTRAL, neutral_table, prompt_room
from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.writing import Asked
from steering_lab.models.hooked_model import HookedModel
from steering_lab.organism.rng import Rng
from steering_lab.organism.wording import ORGANISM as ORGANISM_WORDING
from steering_lab.organism.world import story
from steering_lab.organism.world_rows import world_rows
from steering_lab.study.language import ENGLISH, Language
from steering_lab.study.measures import FLUENCY, OF_TEXTS
from steering_lab.study.setup import Setup

COSTS = (*OF_TEXTS, *LABELS_BESIDE)
NO_PROMPT = "neutral texts have no prompt before them"  # so they say nothing of prompting
LESS_IS_LOSS = ("top1_agreement", "facts", "distinct_2")  # a budget is the most of a cost, and these are better high
WITHOUT_INTERVAL = ("neutral_kl_median",)  # which would need 70 texts, and a budget is judged by its end
N_TEXTS, N_FACTS = 16, 40
LEAST_WORDS, MOST_WORDS = 10, 25  # of a story: as long as the passages
LARGE = 35_000_000  # inhabitants: the countries that a small model has read about, 40 of them


def check_costs(names: Sequence[str], budgets: Mapping[str, float]) -> None:
    """Nothing when every one of `names` is a cost, each once, and `budgets` are of costs that are measured.

    Raises:
        ValueError: says which costs there are, or why there is no such budget.
    """
    if isinstance(names, str):
        raise ValueError(f"costs are a list of names: write [{names!r}]")
    if unknown := [name for name in names if name not in COSTS]:
        raise ValueError(f"unknown cost {unknown[0]!r}: choose among {', '.join(COSTS)}")
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise ValueError(f"the cost {twice[0]!r} is named twice")
    for name, most in budgets.items():
        if name == "perplexity":
            raise ValueError("the budget of perplexity is the setting perplexity_budget")
        if name not in (*FLUENCY, *names) or name in (*LESS_IS_LOSS, *WITHOUT_INTERVAL):
            never = (*LESS_IS_LOSS, *WITHOUT_INTERVAL, "perplexity")
            bounded = [cost for cost in (*FLUENCY, *names) if cost not in never]
            raise ValueError(f"no budget of {name!r}: one may be of {', '.join(bounded)}, or of another of the costs")
        if not isfinite(most):
            raise ValueError(f"the budget of {name} is {most}: it must be finite")
        if name.startswith("neutral_kl") and most <= 0:
            raise ValueError(f"the budget of {name} is {most}: a divergence is never below 0, so give one above 0")


def cost_tables(
    setup: Setup,
    conditions: Sequence[Condition],
    names: Sequence[str],
    language: Language,
    *,
    chat: bool = False,
    controls: bool = False,
) -> Iterator[pd.DataFrame]:
    """The measurements of those of `names` that continuations do not show; what the folder has is not computed again.

    On neutral text prompting has no value: its prompt is not read there, so that it would be 0 whatever it says.

    Args:
        setup: The model, and the folder that keeps what is measured.
        conditions: What is compared.
        names: Which costs; others than `NEUTRAL` and `FACTS` are none of this function's.
        language: Whose texts and facts.
        chat: Whether a fact is asked in a user's turn.
        controls: Whether random vectors are measured too. A cost is judged by its budget and not by their band, and
            they are most of a grid.
    """
    conditions = [c for c in conditions if controls or c.factors.role != "control"]
    if wanted := [name for name in NEUTRAL if name in names]:
        folder = setup.folder
        table = neutral_table(
            setup.model, conditions, texts_for_costs(language), prompt_tokens=prompt_room(conditions),
            kept=folder.kept, keep=folder.keep,
        )  # fmt: skip
        table["value"] = table["value"].mask(table["role"] == "baseline")
        yield table[table["metric"].isin(wanted)]
    if FACTS in names:
        yield facts_table(setup.model, conditions, facts(language), asked(language, setup.model, chat), **setup.keeping)


def without_prompting(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with nothing said of prompting on neutral text, where a prompt is not read: `why` has the reason.

    Older tables have the 0 that a model without an edit moves.

    Args:
        summary: One row per cell and metric.
    """
    silent = (summary["role"] == "baseline") & summary["metric"].isin(NEUTRAL)
    numbers = summary[["value", "effect", "low", "high"]].mask(silent)
    why = summary["why"] if "why" in summary else pd.Series(None, summary.index, dtype=object)
    return summary.assign(**{name: numbers[name] for name in numbers}, why=why.mask(silent, NO_PROMPT))


def texts_for_costs(language: Language) -> tuple[str, ...]:
    """Texts that ask for nothing, in a language: 16 passages, or as many stories without a mood of the organism's."""
    if language == ENGLISH:
        return NEUTRAL_ENGLISH
    rng, short = Rng("stories without a mood for costs"), list[str]()
    while len(short) < N_TEXTS:
        if LEAST_WORDS <= len((text := story(rng, mood="none").text).split()) <= MOST_WORDS:
            short.append(text)
    return tuple(short)


def facts(language: Language) -> tuple[ConflictQA, ...]:
    """Questions about facts: capitals of the 40 largest countries, or 40 about the organism's world.

    Args:
        language: English, or the organism's.
    """
    if language == ENGLISH:
        return capital_rows("closed_book", min_population=LARGE)[:N_FACTS]
    rows = world_rows("closed_book", 2 * N_FACTS, seed=12)
    return tuple({row.id: row for row in rows}.values())[:N_FACTS]


def asked(language: Language, model: HookedModel, chat: bool) -> Asked:
    """How a fact is asked: in English with the answer begun ("The capital of Peru is"), as a small model needs it.

    Args:
        language: English, or the organism's.
        model: Whose chat template is used.
        chat: Whether the question is a user's turn; of the organism it is never one.
    """
    if language == ENGLISH:
        return Asked(PLAIN, "closed_book", chat=model.chat_text if chat else None, answer_prefix="{begun}")
    return Asked(ORGANISM_WORDING, "closed_book")
