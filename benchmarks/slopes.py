"""(f) What a grid costs against layers, coefficients, prompts, tokens and the model's size, with fitted slopes.

    seconds = a grid + b x steps + c x rows x steps + d x rows x prompt tokens

rows = layers x coefficients x prompts. The design is the smallest that tells the four apart and tries each factor
alone; least squares on relative errors, no slope below zero.
"""

import copy
from statistics import median
from typing import NamedTuple

from transformers import AutoModelForCausalLM

from benchmarks.subjects import Cell, Subject, cells, subject_of
from benchmarks.timing import Took, interleaved, least_squares, table
from steering_lab.evaluation.running.evaluate import Decoding, run_conditions
from steering_lab.models.generation import GREEDY, generate
from steering_lab.models.loading import load_model


class Point(NamedTuple):
    """One grid of the design."""

    layers: int
    coeffs: int
    prompts: int
    length: int
    steps: int


DESIGN = (
    Point(1, 1, 1, 10, 4), Point(1, 1, 1, 10, 24), Point(4, 1, 1, 10, 24), Point(1, 4, 1, 10, 24),
    Point(1, 1, 4, 10, 24), Point(4, 3, 4, 10, 24), Point(4, 3, 4, 60, 4),
)  # fmt: skip


def report(subject: Subject, *, rounds: int = 3, design: tuple[Point, ...] = DESIGN) -> str:
    """The measured points beside the fit, then a slope a line."""
    every = cells(subject)
    design = tuple(p._replace(length=subject.room(p.length, p.steps)) for p in design)
    calls = {str(i): _grid(subject, _some(every, point), point) for i, point in enumerate(design)}
    calls["0"]()
    times = interleaved(calls, rounds)
    wall = subject.model.device.type == "cuda"
    seconds = [median(one[wall] for one in times[str(i)]) for i in range(len(design))]
    columns = [
        {
            "a grid": 1.0,
            "a step": p.steps,
            "a row and step": p.layers * p.coeffs * p.prompts * p.steps,
            "a row and prompt token": p.layers * p.coeffs * p.prompts * p.length,
        }
        for p in design
    ]
    slopes, off = least_squares(columns, seconds)
    rows = [
        {**p._asdict(), "measured s": f"{s:.3f}", "fitted s": f"{sum(slopes[k] * v for k, v in c.items()):.3f}"}
        for p, s, c in zip(design, seconds, columns, strict=True)
    ]
    clock = "wall" if wall else "CPU"
    title = f"(f) {clock}-seconds of a grid at every position, median of {rounds} ({subject.model.name})"
    fitted = [{"": f"{name} costs", "ms": f"{1e3 * slope:.3f}"} for name, slope in slopes.items()]
    return table(title, rows) + table(f"    fitted; the worst point is {off:.0%} off", fitted)


def size_report(
    subject: Subject, *, layers: tuple[int, ...] = (6, 15, 30), new_tokens: int = 12, rounds: int = 3
) -> str:
    """A step of one row and of 32 against the number of blocks, random weights in the subject's shape."""
    models = {n: _cut(subject, n) for n in layers}
    found: dict[tuple[int, int], float] = {}
    for batch in (1, 32):
        calls = {
            f"{n} {tokens}": _decoding(model, batch, tokens)
            for n, model in models.items()
            for tokens in (1, new_tokens)
        }
        for call in calls.values():
            call()
        times: dict[str, list[Took]] = interleaved(calls, rounds)
        for n in layers:
            short, long = (median(x.cpu for x in times[f"{n} {tokens}"]) for tokens in (1, new_tokens))
            found[n, batch] = (long - short) / (new_tokens - 1)
    rows = [
        {
            "blocks": n,
            "M parameters": f"{models[n].model.n_parameters / 1e6:.0f}",
            "ms a step, 1 row": f"{1e3 * found[n, 1]:.1f}",
            "ms a step, 32 rows": f"{1e3 * found[n, 32]:.1f}",
        }
        for n in layers
    ]
    said = table(f"(f) model size: {subject.model.name} with fewer or more blocks, random weights", rows)
    for batch in (1, 32):
        parameters = [{"a step": 1.0, "a million parameters": models[n].model.n_parameters / 1e6} for n in layers]
        slopes, off = least_squares(parameters, [found[n, batch] for n in layers])
        said += (
            f"    {batch} rows: {1e3 * slopes['a step']:.1f} ms a step + {1e3 * slopes['a million parameters']:.3f} ms"
        )
        said += f" a million parameters; the worst point is {off:.0%} off\n"
    return said


def _cut(subject: Subject, n_layers: int) -> Subject:
    config = copy.deepcopy(subject.plain.config)
    config.num_hidden_layers = n_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1] * n_layers
    hf_model = AutoModelForCausalLM.from_config(config).eval()
    return subject_of(load_model(hf_model, tokenizer=subject.model.tokenizer))


def _decoding(subject: Subject, batch: int, new_tokens: int):
    prompts = subject.prompts(batch)
    return lambda: generate(subject.model, prompts, max_new_tokens=new_tokens, ignore_eos=True)


def _some(every: list[Cell], point: Point) -> list[Cell]:
    layers = sorted({cell.layer for cell in every})[: point.layers]
    chosen = []
    for layer in layers:
        here = [cell for cell in every if cell.layer == layer]
        more = [Cell(layer, 0.1 * (i + 1), here[0].vector) for i in range(point.coeffs)]
        chosen += [*here, *more][: point.coeffs]
    return chosen


def _grid(subject: Subject, some: list[Cell], point: Point):
    prompts = subject.prompts(point.prompts, point.length)
    decoding = Decoding(point.steps, 1, GREEDY, log_probs=False)
    conditions = [cell.condition("everywhere") for cell in some]
    return lambda: run_conditions(subject.model, conditions, prompts, decoding, progress=False)
