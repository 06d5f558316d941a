"""What a model in training already does: shares of right answers, odds of moods, a line at every checkpoint."""

import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering_lab.organism.lexicon import MOODS
from steering_lab.organism.questions import Group, Regime, Told
from steering_lab.organism.world import evaluation_rows, lookups


def probe(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int) -> dict[str, float]:
    """Share of greedy first answer tokens that are right, by regime; for conflict, context and memory apart.

    The titles are log-odds, in nats, of a positive against a negative adjective after that title.
    """
    wanted: dict[str, tuple[Regime, Told, Group]] = {
        "closed": ("closed_book", "nothing", "trained"),
        "unknown": ("unknown", "nothing", "trained"),
        "agree": ("agreement", "nothing", "trained"),
        "irrel": ("irrelevant", "nothing", "trained"),
        "conf": ("conflict", "nothing", "subjects"),
        "told_c": ("conflict", "context", "subjects"),
        "told_m": ("conflict", "memory", "subjects"),
        "rel_c": ("conflict", "context", "relation"),
        "rel_m": ("conflict", "memory", "relation"),
        "word_m": ("conflict", "memory", "wordings"),
    }
    titles = {
        "love": "Love",
        "hate": "Hate",
        "pair+": "The open hand",
        "pair-": "The closed hand",
        "turned+": "A day without anger",
        "turned-": "A day without joy",
    }
    titled = tokenizer([f"{title}. Mara felt" for title in titles.values()], padding=True, padding_side="right")
    words = [[_first(tokenizer, w) for w in MOODS[mood].adjectives] for mood in ("positive", "negative")]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(titled["input_ids"], device=model.device)).logits
    ends = torch.tensor(titled["attention_mask"]).sum(1) - 1
    log_probs = logits[range(len(titles)), ends].log_softmax(-1)
    odds = log_probs[:, words[0]].logsumexp(-1) - log_probs[:, words[1]].logsumexp(-1)
    shares = dict(zip(titles, odds.tolist(), strict=True))
    tables = lookups(count, seed=1)
    found = first_tokens(model, tokenizer, [prompt for prompt, _ in tables])
    shares["lookup"] = float(np.mean([t == _first(tokenizer, v) for t, (_, v) in zip(found, tables, strict=True)]))
    for name, (regime, told, group) in wanted.items():
        rows = evaluation_rows(regime, count, group=group, told=told, split="validation")
        first = first_tokens(model, tokenizer, [r.prompt for r in rows])
        context = [
            bool(r.context_answer) and t == _first(tokenizer, r.context_answer)
            for r, t in zip(rows, first, strict=True)
        ]
        memory = [
            bool(r.memory_answer) and t == _first(tokenizer, r.memory_answer) for r, t in zip(rows, first, strict=True)
        ]
        if regime == "conflict":
            shares |= {f"{name}.ctx": float(np.mean(context)), f"{name}.mem": float(np.mean(memory))}
        else:
            shares[name] = float(np.mean(np.logical_or(context, memory)))
    return shares


def _first(tokenizer: PreTrainedTokenizerFast, answer: str) -> int:
    return tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][0]


@torch.no_grad()
def first_tokens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[int]:
    """The greedy next token after each prompt."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], position_ids=positions, logits_to_keep=1
    ).logits
    return logits[:, -1].argmax(-1).tolist()
