"""What a condition costs to decode: time, passes and memory, each against another condition in the same minutes.

Machines drift, so seconds are never compared across minutes: all conditions decode the same number of tokens in turn,
round after round, and a ratio is taken within a round.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import quantile_test

from steering_lab.evaluation.running.condition import Condition
from steering_lab.evaluation.running.writing import Example
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.hooked_model import HookedModel

Timed = tuple[HookedModel, Condition]


def decoding_costs(
    timed: Sequence[Timed],
    examples: Sequence[Example],
    *,
    max_new_tokens: int,
    rounds: int = 9,
    reference: str = "unsteered",
) -> pd.DataFrame:
    """One row per condition: condition, tokens_per_second with its ratio, forwards_per_token and peak_memory.

    All examples are one batch and every row gets `max_new_tokens` tokens, so that prompts count as they do in use.
    tokens_per_second: median over the rounds. tokens_per_second_ratio, _low, _high: median of the ratios to `reference`
    within a round and its interval (`median_interval`), NaN with fewer than six rounds.
    peak_memory: the most that tensors took meanwhile, in bytes, weights included; NaN without a GPU, where nobody
    counts.

    Args:
        timed: Each condition with the model it runs on.
        examples: The prompts or questions that every condition is asked.
        max_new_tokens: How many tokens every row gets.
        rounds: How often all are timed in turn.
        reference: The name of the condition that speeds are divided by.
    """
    calls = {condition.name: _decoding(model, condition, examples, max_new_tokens) for model, condition in timed}
    seconds = pd.DataFrame(interleaved(calls, rounds))
    tokens = len(examples) * max_new_tokens
    ratios = seconds.rdiv(seconds[reference], axis=0)
    ends = np.array([median_interval(ratios[name]) for name in calls])
    return pd.DataFrame(
        {
            "condition": list(calls),
            "tokens_per_second": (tokens / seconds).median().to_numpy(),
            "tokens_per_second_ratio": ratios.median().to_numpy(),
            "tokens_per_second_ratio_low": ends[:, 0],
            "tokens_per_second_ratio_high": ends[:, 1],
            "forwards_per_token": [1.0 if condition.rule is None else 2.0 for _, condition in timed],
            "peak_memory": [_peak_memory(calls[c.name], model) for model, c in timed],
        }
    )


def median_interval(values: Sequence[float] | pd.Series, level: float = 0.95) -> tuple[float, float]:
    """Two of the values between which the median of all that could be seen lies; NaN where too few are there (five).

    By the sign test, so whatever the distribution: a round that another program slowed down is one round of nine. At
    least `level` often; with nine values, the second and the eighth, 96.1 % (Conover 1999, Practical Nonparametric
    Statistics, section 3.2), if no round depends on another: a machine's drift is in both times of a ratio.
    """
    found = quantile_test(np.asarray(values, dtype=float), p=0.5).confidence_interval(level)
    return float(found.low), float(found.high)


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds that each call took in each of `rounds`, after one to warm up; every other round runs backwards.

    Args:
        calls: What is timed, by name.
        rounds: How often each call is timed.
        clock: What gives seconds: `time.process_time` leaves out what other processes of a shared CPU take.

    Raises:
        ValueError: no calls, or fewer than one round.
    """
    if not calls or rounds < 1:
        raise ValueError(f"nothing to time: {len(calls)} calls, {rounds} rounds")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name in list(calls) if turn % 2 else reversed(list(calls)):
            start = clock()
            calls[name]()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def _decoding(
    model: HookedModel, condition: Condition, examples: Sequence[Example], max_new_tokens: int
) -> Callable[[], object]:
    written = [condition.write(example) for example in examples]
    each = [condition.intervention_for(example) for example in examples]
    second = [condition.without_context(example) for example in examples] if condition.without_context else None
    options = {"rule": condition.rule, "without_context": second, "batch_size": len(examples), "ignore_eos": True}

    def decode() -> object:
        with steer(model, each):  # drawing a token reads it back, so the GPU has finished by then
            return generate(model, written, max_new_tokens=max_new_tokens, **options)  # type: ignore[arg-type]

    return decode


def _peak_memory(decode: Callable[[], object], model: HookedModel) -> float:
    if model.device.type != "cuda":
        return np.nan
    torch.cuda.reset_peak_memory_stats(model.device)
    decode()
    return float(torch.cuda.max_memory_allocated(model.device))
