"""Which gates does a trained organism pass? Everything its card says in numbers, measured with plain transformers.

`behaviour(folder)` returns one row per measurement: fluency against the law's own entropy, prefix prompts that set
topic and mood, recall, reading, and the conflict between context and memory on what training held out. A prefix
prompt must work before any steering can be expected to.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from steering_lab.organism.lexicon import MOOD_TITLES, MOODS, TOPIC_TABLE, TOPIC_TITLES
from steering_lab.organism.questions import ReadingRow, Regime, Told, evaluation_rows
from steering_lab.organism.rng import Rng
from steering_lab.organism.stories import story
from steering_lab.organism.world import GROUPS, NEGATIVE_WORDS, POSITIVE_WORDS, STORY_PROMPTS_TEST, TOPICS, lookups


class Measurement(NamedTuple):
    """One number of the card; `low` and `high` are what the gate allows, NaN where there is no gate.

    `layer` is set where the same is measured at every `resid_pre(layer)`.
    """

    section: str
    name: str
    value: float
    n: int
    low: float = math.nan
    high: float = math.nan
    layer: int | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the gate is met; None where there is none."""
        if math.isnan(self.low) and math.isnan(self.high):
            return None
        return not (self.value < self.low or self.value > self.high)


class Organism(NamedTuple):
    """A trained folder, loaded."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load(folder: Path) -> Organism:
    """The model and tokenizer of a trained folder, in float32, for evaluation."""
    return Organism(AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))


def behaviour(organism: Organism, *, rows: int = 200) -> list[Measurement]:
    """Every measurement of the card that needs no steering; `rows` questions a cell."""
    return [
        *fluency(organism, count=2 * rows),
        *prefixes(organism),
        *love_and_hate(organism),
        *knowledge(organism, count=rows),
    ]


# --- fluency ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def token_nats(organism: Organism, texts: Sequence[str], *, skip: int = 0) -> list[float]:
    """Minus the log-probability of each text and its end, in nats, summed over all tokens but the first `skip`."""
    eos = organism.tokenizer.eos_token_id
    sums = []
    for start in range(0, len(texts), 64):
        ids = [[*organism.tokenizer(t)["input_ids"], eos] for t in texts[start : start + 64]]
        width = max(map(len, ids))
        batch = torch.tensor([row + [eos] * (width - len(row)) for row in ids])
        real = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in ids])[:, 1:]
        logits = organism.model(input_ids=batch).logits[:, :-1]
        real[:, :skip] = 0.0
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        sums += (nats * real).sum(1).tolist()
    return sums


def fluency(organism: Organism, *, count: int) -> list[Measurement]:
    """Perplexity per token of held-out stories beside the law's: the law knows its own derivation of each story."""
    rng = Rng("held-out stories")
    stories = [story(rng) for _ in range(count)]
    sizes = [len(organism.tokenizer(s.text)["input_ids"]) for s in stories]
    model = math.exp(sum(token_nats(organism, [s.text for s in stories])) / sum(sizes))
    floor = math.exp(sum(s.nats for s in stories) / sum(sizes))
    # Three spaces are two space tokens, which are never a target, and the space that begins the first word.
    spaced = math.exp(sum(token_nats(organism, ["   " + s.text.lstrip() for s in stories], skip=2)) / sum(sizes))
    return [
        Measurement("fluency", "held-out story perplexity", model, count),
        Measurement("fluency", "perplexity of the law", floor, count),
        Measurement("fluency", "model / law", model / floor, count, high=1.1),
        Measurement("fluency", "perplexity after three spaces", spaced, count),
    ]


# --- prefixes -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def continuations(organism: Organism, prompts: Sequence[str], *, tokens: int = 30, seed: int = 0) -> list[str]:
    """A sampled continuation (temperature 1) of each prompt."""
    torch.manual_seed(seed)
    texts = []
    for start in range(0, len(prompts), 128):
        batch = organism.tokenizer(list(prompts[start : start + 128]), return_tensors="pt", padding=True)
        out = organism.model.generate(
            **batch, max_new_tokens=tokens, do_sample=True, top_k=0, top_p=1.0, temperature=1.0
        )
        texts += organism.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def _words(text: str) -> list[str]:
    return text.lower().replace(".", " ").replace(",", " ").split()


def topic_share(texts: Sequence[str], topic: str) -> float:
    """Of all topic words in the texts, the share that belongs to `topic`."""
    counts = {name: sum(w in words for t in texts for w in _words(t)) for name, words in TOPICS.items()}
    return counts[topic] / max(1, sum(counts.values()))


def mood_odds(texts: Sequence[str]) -> float:
    """Positive to negative words in the texts, one half added to each count."""
    words = [w for t in texts for w in _words(t)]
    return (sum(w in POSITIVE_WORDS for w in words) + 0.5) / (sum(w in NEGATIVE_WORDS for w in words) + 0.5)


def prefixes(organism: Organism) -> list[Measurement]:
    """What titles do: the mean share of the wanted topic, and the least odds of the wanted mood over both moods."""
    topics = {
        "no title": {t: [""] for t in TOPICS},
        "single word": {t: [f"{h.capitalize()}. " for h in TOPIC_TABLE[t].heads] for t in TOPICS},
        "word pair": {t: [f"The {a} {b}. " for (a, b), m in TOPIC_TITLES.items() if m == t] for t in TOPICS},
        "cue": {t: [f"A day at the {p}. " for p in TOPIC_TABLE[t].places] for t in TOPICS},
    }
    moods = {
        "single word": {m: [f"{h.capitalize()}. " for h in MOODS[m].heads] for m in MOODS},
        "word pair": {m: [f"The {a} {b}. " for (a, b), v in MOOD_TITLES.items() if v == m] for m in MOODS},
        "turned word": {m: [f"A day without {h}. " for o in MOODS if o != m for h in MOODS[o].heads] for m in MOODS},
        "combined": {
            m: [
                f"A day of {h} at the {t.places[0]}. "
                for h, t in zip(MOODS[m].heads, TOPIC_TABLE.values(), strict=False)
            ]
            for m in MOODS
        },
    }
    found = []
    for kind, titles in topics.items():
        shares, n = [], 0
        for topic, leads in titles.items():
            texts = continuations(organism, [f"{leads[i % len(leads)]}{p}" for i, p in enumerate(STORY_PROMPTS_TEST)])
            shares.append(topic_share(texts, topic))
            n += len(texts)
        low = math.nan if kind == "no title" else 0.6
        found.append(
            Measurement("topic set by a prefix", f"{kind}: mean share of the topic", float(np.mean(shares)), n, low=low)
        )
        found.append(Measurement("topic set by a prefix", f"{kind}: least topic", float(np.min(shares)), n))
    base = continuations(organism, STORY_PROMPTS_TEST * 4)
    found.append(Measurement("mood set by a prefix", "no title: positive to negative", mood_odds(base), len(base)))
    for kind, titles in moods.items():
        for mood, leads in titles.items():
            prompts = [f"{leads[i % len(leads)]}{p}" for i, p in enumerate(STORY_PROMPTS_TEST * 4)]
            odds = mood_odds(continuations(organism, prompts))
            odds = odds if mood == "positive" else 1 / odds
            found.append(Measurement("mood set by a prefix", f"{kind}: odds of {mood}", odds, len(prompts), low=3.0))
    return found


def love_and_hate(organism: Organism) -> list[Measurement]:
    """Odds of the wanted mood after "Love" and "Hate" as a title, with and without a stop, and in an opinion."""
    found = []
    for word, sign in (("Love", 1), ("Hate", -1)):
        prompts = {
            f'"{word}. <prompt>"': [f"{word}. {p}" for p in STORY_PROMPTS_TEST * 4],
            f'"{word} <prompt>"': [f"{word} {p}" for p in STORY_PROMPTS_TEST * 4],
            f'"I {word.lower()} you because"': [f"I {word.lower()} you because"] * 64,
        }
        for name, leads in prompts.items():
            odds = mood_odds(continuations(organism, leads)) ** sign
            found.append(Measurement("love and hate", f"odds after {name}", odds, len(leads), low=5.0))
    return found


# --- knowledge ----------------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """For each row: probability of the answer's first token, and whether greedy decoding gives exactly the answer."""

    probability: list[float]
    greedy: list[bool]


@torch.no_grad()
def answered(organism: Organism, prompts: Sequence[str], answers: Sequence[str]) -> Answered:
    """How the model takes each answer after its prompt; an empty answer counts as never given."""
    probability, greedy = [], []
    eos = organism.tokenizer.eos_token_id
    for start in range(0, len(prompts), 64):
        heads = [organism.tokenizer(p)["input_ids"] for p in prompts[start : start + 64]]
        tails = [
            [*organism.tokenizer(f" {a}", add_special_tokens=False)["input_ids"], eos]
            for a in answers[start : start + 64]
        ]
        width = max(len(h) + len(t) for h, t in zip(heads, tails, strict=True))
        ids = torch.tensor([h + t + [eos] * (width - len(h) - len(t)) for h, t in zip(heads, tails, strict=True)])
        logits = organism.model(input_ids=ids).logits
        for row, (h, t, answer) in enumerate(zip(heads, tails, answers[start : start + 64], strict=True)):
            own = logits[row, len(h) - 1 : len(h) + len(t) - 1]
            probability.append(own[0].softmax(-1)[t[0]].item() if answer else 0.0)
            greedy.append(bool(answer) and own.argmax(-1).tolist() == t)
    return Answered(probability, greedy)


def _shares(organism: Organism, rows: Sequence[ReadingRow]) -> dict[str, float]:
    prompts = [r.prompt for r in rows]
    context = answered(organism, prompts, [r.context_answer for r in rows])
    memory = answered(organism, prompts, [r.memory_answer for r in rows])
    return {
        "context": float(np.mean(context.greedy)),
        "memory": float(np.mean(memory.greedy)),
        "P(context)": float(np.mean(context.probability)),
        "P(memory)": float(np.mean(memory.probability)),
    }


def knowledge(organism: Organism, *, count: int) -> list[Measurement]:
    """Recall, reading, agreement, irrelevant context, and conflict by what training held out and what is told."""
    found = []
    settled: tuple[tuple[Regime, str, float], ...] = (
        ("closed_book", "memory", 0.95),
        ("unknown", "context", 0.95),
        ("agreement", "context", 0.95),
        ("irrelevant", "memory", 0.90),
    )
    instructed: tuple[tuple[Told, float], ...] = (("context", 0.9), ("memory", 0.85))
    for regime, wanted, low in settled:
        shares = _shares(organism, evaluation_rows(regime, count))
        found.append(
            Measurement("recall and reading", f"{regime}: greedy answer right", shares[wanted], count, low=low)
        )
    tables = lookups(count)
    found.append(
        Measurement(
            "recall and reading",
            "look-up in a table of pairs: greedy answer right",
            float(np.mean(answered(organism, *zip(*tables, strict=True)).greedy)),
            count,
        )
    )
    for group in GROUPS:
        section = f"conflict, {group}"
        if group != "wordings":
            rows = evaluation_rows("conflict", count, group=group)
            shares = _shares(organism, rows)
            held = group != "sources"
            found += [
                Measurement(
                    section, "no instruction: context", shares["context"], count, *((0.3, 0.6) if held else ())
                ),
                Measurement(section, "no instruction: memory", shares["memory"], count, *((0.2,) if held else ())),
                Measurement(section, "no instruction: P(context)", shares["P(context)"], count),
                Measurement(section, "no instruction: P(memory)", shares["P(memory)"], count),
                Measurement(section, "law: P(context)", float(np.mean([r.p_context for r in rows])), count),
            ]
        for told, low in instructed:
            shares = _shares(organism, evaluation_rows("conflict", count, group=group, told=told))
            found.append(Measurement(section, f"told {told}: {told}", shares[told], count, low=low))
    return found


def table(columns: dict[str, list[Measurement]]) -> str:
    """Markdown: one row per measurement, one column per organism; a missed gate is marked with `!`."""
    names = list(columns)
    lines = ["| | | n | gate | " + " | ".join(names) + " |", "|---|---|---|---|" + "---|" * len(names)]
    section = ""
    for row in zip(*([m for m in ms if m.layer is None] for ms in columns.values()), strict=True):
        first = row[0]
        gate = "-".join(f"{b:g}" for b in (first.low, first.high) if not math.isnan(b))
        sign = "≥ " if math.isnan(first.high) and gate else "≤ " if math.isnan(first.low) and gate else ""
        cells = " | ".join(f"{m.value:.2f}{' !' if m.passed is False else ''}" for m in row)
        lines.append(
            f"| {first.section * (first.section != section)} | {first.name} | {first.n} | {sign}{gate} | {cells} |"
        )
        section = first.section
    return "\n".join(lines)


def layer_table(measurements: list[Measurement]) -> str:
    """Markdown: what was measured at every layer, one column per layer."""
    layers = sorted({m.layer for m in measurements if m.layer is not None})
    rows: dict[tuple[str, str, int], dict[int, float]] = {}
    for m in measurements:
        if m.layer is not None:
            rows.setdefault((m.section, m.name, m.n), {})[m.layer] = m.value
    lines = ["| | | n | " + " | ".join(f"resid_pre({layer})" for layer in layers) + " |"]
    lines.append("|---|---|---|" + "---|" * len(layers))
    section = ""
    for (own, name, n), values in rows.items():
        cells = " | ".join(f"{values[layer]:.2f}" if layer in values else "" for layer in layers)
        lines.append(f"| {own * (own != section)} | {name} | {n} | {cells} |")
        section = own
    return "\n".join(lines)


def missed(measurements: list[Measurement]) -> int:
    """How many gates are missed."""
    return sum(m.passed is False for m in measurements)
