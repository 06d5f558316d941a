"""`steering-lab steer`: prompts continued unsteered, steered, and under a random vector, one below the other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from steering_lab.cli.conditions import STEERED, steered_conditions
from steering_lab.cli.options import Chat, Model, Place, Vector, check_coeff

if TYPE_CHECKING:
    import pandas as pd

    from steering_lab.evaluation.measuring.measures import Measure
    from steering_lab.interventions.steering_vector import SteeringVector

PAIRS = "love_hate_sentences"


def steer(
    *,
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")] = (),
    prompts_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    vector: Vector,
    coeff: float = 2.0,
    place: Place = "everywhere",
    random: bool = True,
    measure: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = (),
    n_samples: int = 1,
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    top_p: float = 1.0,
    freq_penalty: float = 0.0,
    seed: int = 0,
    model: Model,
    chat: Chat,
) -> None:
    """Print continuations of a prompt: unsteered, steered, and under a random vector of the same norm.

    Adds coeff x the mean difference of contrast pairs, read at the input of a layer, at every token; or, of one pair,
    at the prompt's first tokens (ActAdd); or a vector from a file. All draw the same random numbers. Perplexities are
    of the continuation under the unsteered model; the first line says how long what is added is against the median
    residual there.

    Example: steering-lab steer --prompt "I hate you because"

    Example: steering-lab steer --prompt "What do you think of me?" --chat

    Example: steering-lab steer --vector love.safetensors --prompts-file prompts.txt --measure vader topic:weddings

    Example: steering-lab steer --model gpt2-xl --prefix bos --positive " Love" --negative " Hate" --place front
        --layer 6 --coeff 5 --prompt "I hate you because"

    Args:
        prompt: One or more prompts to continue.
        prompts_file: A file of more: .txt (one a line), .json, .jsonl or .csv.
        vector: Where it comes from; the pairs are love_hate_sentences if nothing is given.
        coeff: How much of the vector is added; negative steers the other way.
        place: At every token, at the prompt's first tokens (as in the ActAdd paper), from its last token on, or at
            generated tokens only.
        random: Also continue under a random vector of the same norm: what any vector of this length does.
        measure: What is measured of each text beside perplexity: vader, sentiment, valence_balance, repetition, length,
            topic:weddings, topic:sea,ship,sail, topic_rate:FILE.
        n_samples: Continuations per prompt.
        max_new_tokens: The length of a continuation at most.
        temperature: 0 is greedy.
        top_p: Tokens are drawn from the smallest set of this probability.
        freq_penalty: Subtracted from a token's logit for every time it already stands in the text.
        seed: What random draws follow from.
        model: Which model, and how it is opened.
        chat: Whether prompts are put as a chat, and its system turn.
    """
    from dataclasses import replace

    from steering_lab.data.prompt_files import read_prompts
    from steering_lab.evaluation.running.condition import UNSTEERED
    from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
    from steering_lab.models.generation import Sampling
    from steering_lab.study.language import language_of
    from steering_lab.study.measures import measures_for

    check_coeff(coeff)
    measures = measures_for(measure, language_of(model.model))
    prompts = [*prompt, *(read_prompts(prompts_file) if prompts_file is not None else ())]
    if not prompts:
        raise ValueError("nothing to continue: give --prompt TEXT or --prompts-file FILE")
    vector.check(place, PAIRS)
    lm = model.load()
    write = chat.writing(lm)
    added, what = vector.found(lm, place, PAIRS)
    steered = steered_conditions(lm, added, coeff, place, write, prompts, random=random, seed=seed)
    decoding = Decoding(max_new_tokens, n_samples, Sampling(temperature, None, top_p, freq_penalty), seed)
    conditions = [replace(UNSTEERED, write=write), *steered]
    table = run_conditions(lm, conditions, prompts, decoding, progress=False, bare=write)
    as_chat = ", as a chat" if write.chat else ""
    print(f"{lm.description}: {what}, {place}, {_where(added)}, coefficient {coeff:g}{as_chat}", end="")
    print(f" (adds {table['relative_norm'].max():.2f} x the median residual)")
    _print_beside(table, measures)


def _where(vector: "SteeringVector") -> str:
    return f"layer {vector.site.layer}" + (", resid_post" if vector.site.stream == "resid_post" else "")


def _print_beside(table: "pd.DataFrame", measures: "list[Measure]") -> None:
    """Each prompt's texts below one another, the means of what was measured, and whether steering changed nothing."""
    import textwrap

    from steering_lab.evaluation.measuring.measures import Perplexity

    of_each = {m.name: m(table) for m in [Perplexity(), *measures]}
    for (prompt, _), rows in table.groupby(["prompt", "sample"], sort=False):
        print(f"\n{prompt}")
        for row in rows.itertuples():
            numbers = ", ".join(f"{name} {_number(values[row.Index], name)}" for name, values in of_each.items())
            text = textwrap.fill(repr(row.text)[1:-1], 100, initial_indent="    ", subsequent_indent="    ")
            print(f"  {row.condition} ({numbers})\n{text}")
    if measures:
        _print_means(table, measures)
    texts = table.pivot(index=["prompt", "sample"], columns="condition", values="text")
    equal = (texts[STEERED] == texts["unsteered"]).tolist()
    if any(equal):
        which = f"steered and unsteered text are equal ({sum(equal)} of {len(equal)})"
        print(f"\n{which}: try a larger --coeff, or another --layer")


def _print_means(table: "pd.DataFrame", measures: "list[Measure]") -> None:
    """One line per measure: its mean over the texts of each condition, NaN left out."""
    means = {m.name: m(table).groupby(table["condition"], sort=False).mean() for m in measures}
    n_texts = len(table) // table["condition"].nunique()
    print(f"\nmean of {n_texts} text{'s' * (n_texts > 1)}")
    for name, by_condition in means.items():
        print(f"  {name}: " + "; ".join(f"{which} {_number(mean, name)}" for which, mean in by_condition.items()))


def _number(value: float, name: str) -> str:
    return "undetermined" if value != value else f"{value:.1f}" if name == "perplexity" else f"{value:.3g}"
