"""Can a trained organism be steered, and at which layers are its answers and moods decided?

Expected before the run: the mean difference of [instruction + context + question] and [question] at the last token
moves held-out conflicts toward the context by at least 25 points where random vectors of equal norm move at most 5; a
word's mood leaves its own token within the first layers, a pair's mood is made at its second word first.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from experiments.organism.report import Measurement
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.steering import steer
from steering_lab.interventions.steering_vector import SteeringVector, random_like
from steering_lab.methods.actadd import actadd_vector
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import HookSite, resid_pre
from steering_lab.models.hooked_model import HookedModel
from steering_lab.models.loading import load_model
from steering_lab.models.sampling import Sampling
from steering_lab.models.tokens import ForwardPass, Tokens
from steering_lab.organism.lexicon import HEROES, HEROINES
from steering_lab.organism.questions import ReadingRow, Regime, evaluation_rows
from steering_lab.organism.world import GROUPS, MOODS, STORY_PROMPTS_TEST

COEFFS = (0.5, 1.0, 1.5, 2.0)
RANDOM_DRAWS = 10


def steering(folder: Path | str, *, rows: int = 150) -> list[Measurement]:
    """Every measurement of the card that steers or patches."""
    model = load_model(folder)
    return [
        *context_steering(model, rows),
        *answer_patching(model, rows // 2),
        *mood_patching(model),
        *mood_steering(model),
    ]


# --- the context vector -------------------------------------------------------------------------------------------


def context_vectors(model: HookedModel, count: int = 200) -> dict[HookSite, SteeringVector]:
    """[context instruction + context + question] - [question] at the last token, over conflicts of trained subjects."""
    rows = evaluation_rows("conflict", count, told="context", seed=1, split="validation")
    pairs = [ContrastPair(row.prompt, row.closed_book) for row in rows]
    return mean_difference_vectors(model, pairs, model.sites())


@torch.no_grad()
def answer_shares(model: HookedModel, rows: Sequence[ReadingRow], intervention: Intervention) -> tuple[float, float]:
    """Shares of rows whose greedy next token begins the context answer, and the memory answer, under `intervention`."""
    context, memory = [], []
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        with steer(model, intervention):
            first = model.logits(model.to_tokens([r.prompt for r in part]))[:, -1].argmax(-1).tolist()
        context += [
            bool(r.context_answer) and t == _first(model, r.context_answer) for r, t in zip(part, first, strict=True)
        ]
        memory += [
            bool(r.memory_answer) and t == _first(model, r.memory_answer) for r, t in zip(part, first, strict=True)
        ]
    return float(np.mean(context)), float(np.mean(memory))


def _first(model: HookedModel, answer: str) -> int:
    return int(model.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][0])


def context_steering(model: HookedModel, count: int) -> list[Measurement]:
    """Layer and coefficient chosen on validation questions; the effect on what is held out, beside random ones."""
    vectors = context_vectors(model)
    validation = evaluation_rows("conflict", count, split="validation", seed=2)
    found, best = [], (-1.0, resid_pre(0), 0.0)
    for site, vector in vectors.items():
        shares = {c: answer_shares(model, validation, c * vector.from_last_prompt_token())[0] for c in COEFFS}
        found.append(
            Measurement("context vector", "validation, coeff 1: context answers", shares[1.0], count, layer=site.layer)
        )
        top = max(shares, key=lambda c: shares[c])
        best = max(best, (shares[top], site, -top))
    _, site, coeff = best[0], best[1], -best[2]
    found.append(Measurement("context vector, chosen", "layer", site.layer, count))
    found.append(Measurement("context vector, chosen", "coeff", coeff, count))
    chosen = coeff * vectors[site].from_last_prompt_token()
    randoms = [coeff * random_like(vectors[site], seed).from_last_prompt_token() for seed in range(RANDOM_DRAWS)]
    for group in GROUPS:
        if group != "wordings":
            rows = evaluation_rows("conflict", count, group=group, seed=3)
            found += _moved(model, rows, chosen, randoms, f"context vector, {group}")
    others: tuple[tuple[Regime, int], ...] = (("closed_book", 1), ("agreement", 0), ("irrelevant", 1))
    for regime, wanted in others:
        rows = evaluation_rows(regime, count, seed=3)
        before, after = (answer_shares(model, rows, i)[wanted] for i in (Intervention(), chosen))
        found.append(Measurement("context vector, side effects", f"{regime}: right before", before, count))
        found.append(Measurement("context vector, side effects", f"{regime}: right after", after, count))
    return found


def _moved(
    model: HookedModel, rows: Sequence[ReadingRow], chosen: Intervention, randoms: Sequence[Intervention], section: str
) -> list[Measurement]:
    base = answer_shares(model, rows, Intervention())[0]
    steered = answer_shares(model, rows, chosen)[0]
    reversed_ = answer_shares(model, rows, -chosen)[0]
    shifts = [answer_shares(model, rows, r)[0] - base for r in randoms]
    n = len(rows)
    return [
        Measurement(section, "context answers, unsteered", base, n),
        Measurement(section, "context answers, steered", steered, n),
        Measurement(section, "shift by the vector", steered - base, n, low=0.25),
        Measurement(section, "shift by minus the vector", reversed_ - base, n),
        Measurement(section, f"mean shift by {len(randoms)} random vectors", float(np.mean(shifts)), n, -0.05, 0.05),
        Measurement(section, "largest shift by a random vector", float(max(shifts)), n),
    ]


# --- where things are decided -------------------------------------------------------------------------------------


def _patch(row: Float[Tensor, "batch d_model"], column: int) -> Callable[[Tensor, ForwardPass], Tensor]:
    """An edit that puts `row` in one column of the stream."""

    def edit(resid: Tensor, forward_pass: ForwardPass) -> Tensor:
        patched = resid.clone()
        patched[:, column] = row
        return patched

    return edit


@torch.no_grad()
def answer_patching(model: HookedModel, count: int) -> list[Measurement]:
    """The last token's stream of a prompt told to use the context, put into the same prompt told to use the memory:
    how many answers it turns, by layer. Low where the decision is still to come, high once it has been taken."""
    rows = evaluation_rows("conflict", count, told="context", seed=4)
    others = evaluation_rows("conflict", count, told="memory", seed=5)
    donors = model.to_tokens([r.prompt for r in rows])
    takers = model.to_tokens(
        [r.prompt.replace(r.instruction, o.instruction, 1) for r, o in zip(rows, others, strict=True)]
    )
    wanted = torch.tensor([_first(model, r.context_answer) for r in rows])
    plain = model.logits(takers)[:, -1].argmax(-1)
    stream = model.residuals(donors, model.sites())
    found = [
        Measurement("patching answers", "unpatched: context answers", float((plain == wanted).float().mean()), count)
    ]
    for site in model.sites():
        with model.hooks({site: _patch(stream[site][:, -1], -1)}):
            got = model.logits(takers)[:, -1].argmax(-1)
        share = float((got == wanted).float().mean())
        found.append(Measurement("patching answers", "last token: context answers", share, count, layer=site.layer))
    return found


@torch.no_grad()
def mood_patching(model: HookedModel) -> list[Measurement]:
    """The share of a title's effect on the next mood word that one token's stream carries, by layer.

    The donor's title has the other mood; effect is in log-odds of positive against negative adjectives after "felt".
    """
    names = HEROINES[:8] + HEROES[:8]
    cases = {
        "single word": ("{}. {name} felt", ("Love", "Hate"), {"the word": 1, "the last token": -1}),
        "word pair": (
            "The {} hand. {name} felt",
            ("open", "closed"),
            {"its first word": 2, "its second word": 3, "the last token": -1},
        ),
        "turned word": (
            "A day without {}. {name} felt",
            ("anger", "joy"),
            {"its last word": 4, "the last token": -1},
        ),
    }
    found = []
    for case, (frame, (good, bad), places) in cases.items():
        donors = model.to_tokens([frame.format(bad, name=n) for n in names])
        takers = model.to_tokens([frame.format(good, name=n) for n in names])
        high, low = _mood_log_odds(model, takers), _mood_log_odds(model, donors)
        found.append(Measurement("patching moods", f"{case}: effect of the title, nats", high - low, len(names)))
        stream = model.residuals(donors, model.sites())
        for place, column in places.items():
            for site in model.sites():
                with model.hooks({site: _patch(stream[site][:, column], column)}):
                    share = (high - _mood_log_odds(model, takers)) / (high - low)
                found.append(Measurement("patching moods", f"{case}: {place}", share, len(names), layer=site.layer))
    return found


def _mood_log_odds(model: HookedModel, tokens: Tokens) -> float:
    """Mean log-odds of a positive against a negative adjective as the next token, in nats."""
    log_probs = model.logits(tokens)[:, -1].log_softmax(-1)
    sums = [
        log_probs[:, [_first(model, word) for word in MOODS[mood].adjectives]].logsumexp(-1)
        for mood in ("positive", "negative")
    ]
    return float((sums[0] - sums[1]).mean())


# --- moods by ActAdd ----------------------------------------------------------------------------------------------


def mood_steering(model: HookedModel, *, samples: int = 4, tokens: int = 24) -> list[Measurement]:
    """Sentiment of sampled continuations under "Love" - "Hate", by layer: at the front and at every position.

    Sentiment is (positive - negative) / (positive + negative) words, pooled; beside it the continuation's perplexity
    under the unsteered model, without which a high sentiment means nothing.
    """
    prompts = list(STORY_PROMPTS_TEST) * samples
    cells: dict[tuple[str, int | None], Intervention] = {("unsteered", None): Intervention()}
    for site in model.sites():
        vector = actadd_vector(model, ContrastPair("Love", "Hate"), site)
        control = random_like(vector, site.layer)
        for coeff in (1.0, 2.0):
            cells[f"front, coeff {coeff:g}", site.layer] = coeff * vector.at_front()
        cells["front, random, coeff 2", site.layer] = 2.0 * control.at_front()
        for coeff in (0.25, 0.5, 1.0):
            cells[f"everywhere, coeff {coeff:g}", site.layer] = coeff * vector.row(1).everywhere()
        cells["everywhere, random, coeff 0.5", site.layer] = 0.5 * control.row(1).everywhere()
    with steer(model, [cell for cell in cells.values() for _ in prompts]):
        made = generate(model, prompts * len(cells), max_new_tokens=tokens, sampling=Sampling(), log_probs=True)
    found = []
    for index, (name, layer) in enumerate(cells):
        part = slice(index * len(prompts), (index + 1) * len(prompts))
        words = [w for text in made.texts[part] for w in text.lower().replace(".", " ").split()]
        positive, negative = (sum(w in MOODS[m].words for w in words) for m in ("positive", "negative"))
        score = (positive - negative) / max(1, positive + negative)
        nats = [x for row in (made.unsteered_log_probs or [])[part] for x in row]
        perplexity = float(np.exp(-np.mean(nats)))
        found.append(Measurement("ActAdd, Love - Hate", f"{name}: sentiment", score, len(prompts), layer=layer))
        found.append(Measurement("ActAdd, Love - Hate", f"{name}: perplexity", perplexity, len(prompts), layer=layer))
    return found
