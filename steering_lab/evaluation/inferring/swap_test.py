"""Whether an effect is there at all: exchange steered and unsteered, prompt by prompt, in one cell and over a grid.

Were steering idle, an exchange in any prompt would change nothing, so the test is exact for idle steering whatever is
measured. A steered value may also differ without its mean differing, and then the exchange errs where differences are
skewed (7 to 15 times in a hundred, simulated, for 5); so a skewed measure has to pass a bootstrap as well.
"""

import numpy as np
from jaxtyping import Bool, Float

from steering_lab.evaluation.inferring.pairing import PairedSums
from steering_lab.numerics.bootstrap import resamples, studentised_means, widened_tail
from steering_lab.numerics.intervals import MIN_PROMPTS
from steering_lab.numerics.kinds import Kind
from steering_lab.tables import FAMILY

ALL_SWAPS_UP_TO = 11  # prompts: 2^11 exchanges are enumerated, beyond that they are drawn
NO_SPREAD = 0.005  # of a cell's resamples, beyond which it takes no part in the search of its family: it finds nothing
LEVEL = 0.95  # at which the bootstrap's tails are widened

Pair = tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]


def swap_test(sums: PairedSums, kind: Kind, n_draws: int, rng: np.random.Generator, *, searched: bool = True) -> Pair:
    """Two-sided p of each cell of `sums`, alone and corrected for the search over the cells of its method and place.

    p is the share of exchanges with an effect at least as large (all 2^P of them up to 11 prompts, beyond that the
    actual one and `n_draws` more). The corrected p compares each cell's effect, in its standard errors under idle
    steering, with the largest of its grid in each exchange (Westfall and Young 1993, single step). For a measure that
    is skewed or heavy both are the larger of this and of `bootstrap_test`. No p can be below 2 / 2^P.

    Args:
        sums: The paired sums of each prompt and cell.
        kind: The kind of measure.
        n_draws: How many exchanges are drawn, and how many resamples.
        rng: What draws them.
        searched: Whether the cells of a method and place are a search; otherwise each is asked alone.
    """
    scores, families = prompt_scores(sums), [np.array([cell]) for cell in range(len(sums.cells))]
    if searched:
        families = list(sums.cells.groupby(list(FAMILY), dropna=False).indices.values())
    p, p_family = exchange_test(scores, families, n_draws, rng)
    if kind in (Kind.SKEWED, Kind.HEAVY):
        with_skew = bootstrap_test(scores, families, n_draws, rng)
        p, p_family = np.maximum(p, with_skew[0]), np.maximum(p_family, with_skew[1])
    return p, np.maximum(p, p_family)


def prompt_scores(sums: PairedSums) -> Float[np.ndarray, "prompts cells"]:
    """What each prompt says against idle steering; an exchange in it turns the sign, exactly. NaN where it is unknown.

    With equal weights this is the prompt's own difference. Otherwise (Σ steered − m Σ weight) less the same of the
    unsteered, m being the mean of both sides together, which no exchange changes; per mean weight.

    Args:
        sums: What was summed over each prompt's rows, steered and unsteered (`pairing`).
    """
    known = (sums.steered_weight > 0) & (sums.unsteered_weight > 0)
    both, weight = (
        np.where(known, steered + unsteered, 0).sum(axis=0)
        for steered, unsteered in (
            (sums.steered, sums.unsteered),
            (sums.steered_weight, sums.unsteered_weight),
        )
    )
    with np.errstate(invalid="ignore"):
        excess = sums.steered - sums.unsteered - both / weight * (sums.steered_weight - sums.unsteered_weight)
        return np.where(known, excess * 2 * known.sum(axis=0) / weight, np.nan)


def exchange_test(
    scores: Float[np.ndarray, "prompts cells"],
    families: list[np.ndarray],
    n_draws: int,
    rng: np.random.Generator,
) -> Pair:
    """p of each cell and p over its family, from exchanges of whole prompts: signs of `scores`.

    The sum is taken in its own standard error under idle steering, √Σ score², which no exchange changes.

    Args:
        scores: What each prompt says of each cell.
        families: The cells of each search.
        n_draws: How many exchanges are drawn beyond 11 prompts.
        rng: What draws them.
    """
    seen = np.nan_to_num(scores)
    size = np.sqrt((seen**2).sum(axis=0))
    sums = np.abs(_signs(len(scores), n_draws, rng) @ seen)  # row 0 exchanges nothing: the actual effect
    null = np.divide(sums, size, out=np.zeros_like(sums), where=size > 0)
    absent = np.isnan(scores).all(axis=0)
    p = np.where(absent, np.nan, _reached(null, null[0]))
    return p, np.where(absent, np.nan, _over_families(null, null[0], families, ~absent))


def bootstrap_test(
    scores: Float[np.ndarray, "prompts cells"],
    families: list[np.ndarray],
    n_draws: int,
    rng: np.random.Generator,
) -> Pair:
    """p of each cell and p over its family, from resamples of whole prompts: a mean in its own standard error.

    Alone: the tail beyond the actual value among the resamples' deviations from it, doubled, after the widening that
    the interval of a skewed measure has (`widened_tail`). Over a family: the share of resamples in which some cell
    deviates as far (Romano and Wolf 2005, Econometrica 73:4, single step). A cell with fewer prompts than an interval
    needs has p 1; one in which so few prompts differ that resamples lack spread has p 1 over its family.

    Args:
        scores: What each prompt says of each cell.
        families: The cells of each search.
        n_draws: How many resamples.
        rng: What draws them.
    """
    known = (~np.isnan(scores)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(scores, axis=0) / known
    weighting = resamples(len(scores), n_draws, rng)
    deviations = studentised_means(scores - mean, weighting)
    actual = _in_errors(mean, np.nansum((scores - mean) ** 2, axis=0), known)
    tails = np.minimum((deviations >= actual).mean(axis=0), (deviations <= actual).mean(axis=0))
    wider = np.array([(1 - LEVEL) / 2 / widened_tail(int(n), LEVEL) if n > 1 else np.inf for n in known])
    few, absent = known < MIN_PROMPTS, known == 0
    with np.errstate(invalid="ignore"):  # of one prompt, widened without end, what is 0 stays nothing known
        p = np.where(few, 1.0, np.minimum(2 * tails * wider, 1.0))
    usable = ~few & (np.isinf(deviations).mean(axis=0) <= NO_SPREAD)
    p_family = _over_families(np.abs(deviations), np.abs(actual), families, usable)
    return np.where(absent, np.nan, p), np.where(absent, np.nan, p_family)


def _over_families(
    null: Float[np.ndarray, "draws cells"],
    actual: Float[np.ndarray, " cells"],
    families: list[np.ndarray],
    usable: Bool[np.ndarray, " cells"],
) -> Float[np.ndarray, " cells"]:
    p = np.ones(len(actual))
    for cells in families:
        searched = cells[usable[cells]]
        if len(searched):
            p[searched] = _reached(null[:, searched].max(axis=1, keepdims=True), actual[searched])
    return p


def _reached(null: Float[np.ndarray, "draws any"], actual: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    return (null >= actual * (1 - 1e-9)).mean(axis=0)  # exchanges that mirror each other differ by rounding


def _signs(prompts: int, n_draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draws prompts"]:
    if prompts <= ALL_SWAPS_UP_TO:
        return 1 - 2.0 * (np.arange(2**prompts)[:, None] >> np.arange(prompts) & 1)
    return np.concatenate([np.ones((1, prompts)), 1 - 2.0 * rng.integers(0, 2, size=(n_draws, prompts))])


def _in_errors(mean: np.ndarray, spread: np.ndarray, known: np.ndarray) -> Float[np.ndarray, " cells"]:
    """Each cell's mean over its standard error, from the sum of squares around it; 0 where the mean is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mean == 0, 0, mean * np.sqrt(known * (known - 1) / spread))
