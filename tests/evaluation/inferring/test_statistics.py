"""Summaries: hand-computed effects, intervals that cover, and what must not change them."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steering_lab.evaluation.inferring.pairing import PairedSums
from steering_lab.evaluation.inferring.statistics import effect_interval, summarise
from steering_lab.numerics.intervals import ALL_ALIKE, NO_VALUE, TOO_FEW, paired_interval, ratio_interval
from tests.evaluation.tables import NONE, by_layer, described, noise, observed, shifted, stacked

UNSTEERED = observed("unsteered", {"p": [0.0, 1.0], "q": [-1.0, 0.5]})


def cell(summary: pd.DataFrame, method: str = "actadd", metric: str = "sentiment") -> pd.Series:
    (row,) = [r for _, r in summary[(summary["method"] == method) & (summary["metric"] == metric)].iterrows()]
    return row


def test_an_effect_is_the_mean_paired_difference() -> None:
    steered = observed("actadd", {"p": [1.0, 1.0], "q": [1.0, 1.0]}, layer=2, coeff=1)
    row = cell(summarise(stacked(UNSTEERED, steered)))
    assert (row["value"], row["effect"]) == (1, pytest.approx((1 + 0 + 2 + 0.5) / 4))
    assert (row["n"], row["n_missing"], row["n_prompts"]) == (4, 0, 2)
    assert (row["scale"], row["relative_norm"]) == ("difference", 0.1)


def test_the_unsteered_cell_has_no_effect_and_a_point_interval() -> None:
    row = cell(summarise(stacked(UNSTEERED, observed("actadd", {"p": [1.0]}, layer=2, coeff=1))), "unsteered")
    assert (row["value"], row["effect"], row["low"], row["high"], row["p"]) == (0.125, 0, 0, 0, 1)


def test_missing_is_counted_and_left_out_of_both_arms() -> None:
    steered = observed("actadd", {"p": [1.0, NONE], "q": [1.0, 1.0]}, layer=2, coeff=1)
    base = observed("unsteered", {"p": [0.0, 1.0], "q": [-1.0, NONE]})
    row = cell(summarise(stacked(base, steered)))
    assert row["effect"] == pytest.approx((1 + 2) / 2)
    assert row["value"] == 1  # of the three known values
    assert (row["n"], row["n_missing"], row["n_prompts"]) == (2, 2, 2)


def test_a_cell_without_any_known_pair_is_missing_not_zero() -> None:
    steered = observed("actadd", {"p": [NONE, NONE], "q": [NONE, NONE]}, layer=2, coeff=1)
    row = cell(summarise(stacked(UNSTEERED, steered)))
    assert row[["value", "effect", "low", "high", "p", "p_family"]].isna().all()
    assert row["why"] == NO_VALUE
    assert (row["n"], row["n_missing"], row["n_prompts"]) == (0, 4, 0)


def test_perplexity_is_the_corpus_value_and_its_effect_a_ratio() -> None:
    base = observed("unsteered", {"p": [2.0], "q": [8.0]}, metric="perplexity", weight=[1.0, 3.0])
    steered = observed("actadd", {"p": [4.0], "q": [16.0]}, layer=2, coeff=1, metric="perplexity", weight=[2.0, 2.0])
    summary = summarise(stacked(base, steered))
    assert cell(summary, "unsteered", "perplexity")["value"] == pytest.approx(2 ** ((1 + 9) / 4))
    row = cell(summary, metric="perplexity")
    assert row["value"] == pytest.approx(8)  # 2^((2·2 + 2·4)/4)
    assert row["effect"] == pytest.approx(8 / 2**2.5)
    assert row["scale"] == "ratio"


def test_what_all_prompts_do_alike_has_an_effect_and_no_interval_and_says_why() -> None:
    values = {f"p{i}": [2.0 + i, 3.0] for i in range(9)}
    base = observed("unsteered", values, metric="perplexity")
    tripled = {prompt: [3 * v for v in own] for prompt, own in values.items()}
    steered = observed("actadd", tripled, layer=1, coeff=1, metric="perplexity")
    row = cell(summarise(stacked(base, steered)), metric="perplexity")
    assert row["effect"] == pytest.approx(3)
    assert row[["low", "high"]].isna().all()
    assert row["why"] == ALL_ALIKE


def test_samples_of_a_prompt_are_no_independent_evidence() -> None:
    rng = np.random.default_rng(0)
    base, values = noise(rng, 8, 2), noise(rng, 8, 2)
    copied = [{p: v * 5 for p, v in arm_values.items()} for arm_values in (base, values)]
    once = summarise(stacked(observed("unsteered", base), observed("actadd", values, layer=1, coeff=1)))
    five = summarise(stacked(observed("unsteered", copied[0]), observed("actadd", copied[1], layer=1, coeff=1)))
    columns = ["effect", "low", "high", "p", "p_family"]
    pd.testing.assert_frame_equal(once[columns], five[columns])
    assert five["n"].tolist() == [5 * n for n in once["n"]]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(0)
    tables = [observed("unsteered", noise(rng, 5, 2))]
    tables += [observed("actadd", noise(rng, 5, 2), layer=layer, coeff=1) for layer in (0, 1)]
    tables += [observed("random", noise(rng, 5, 2), layer=0, coeff=1, draw=draw) for draw in range(3)]
    tidy = stacked(*tables)
    shuffled = tidy.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(summarise(tidy, n_boot=50), summarise(shuffled, n_boot=50), check_exact=True)


def test_a_shift_common_to_both_arms_changes_no_effect() -> None:
    rng = np.random.default_rng(1)
    base, values = noise(rng, 6, 2), noise(rng, 6, 2)
    columns = ["effect", "low", "high", "p"]
    plain = summarise(stacked(observed("unsteered", base), observed("actadd", values, layer=1, coeff=1)))[columns]
    moved = observed("unsteered", shifted(base, 3)), observed("actadd", shifted(values, 3), layer=1, coeff=1)
    pd.testing.assert_frame_equal(plain, summarise(stacked(*moved))[columns])


@pytest.mark.parametrize("prompts", [8, 20])
def test_intervals_cover_the_true_effect_at_their_level(prompts: int) -> None:
    """Each cell is one repeat of an experiment whose prompts differ in their effect around a true 0.3."""
    rng = np.random.default_rng(0)
    repeats, samples = 2000, 3
    base = rng.normal(size=(prompts, samples, repeats))
    of_prompt = 0.3 + rng.normal(0, 0.5, size=(prompts, 1, repeats))
    steered = base + of_prompt + rng.normal(0, 0.7, size=base.shape)
    cells = pd.DataFrame({"n_prompts": np.full(repeats, prompts), "role": "steered"})
    count = np.full((prompts, repeats), float(samples))
    sums = PairedSums(cells, steered.sum(1), count, base.sum(1), count)
    metric = {"scale": "difference", "distribution": "symmetric", "least": NONE, "most": NONE}
    low, high, _ = effect_interval(sums, pd.Series(metric), level=0.95)
    assert ((low <= 0.3) & (high >= 0.3)).mean() == pytest.approx(0.95, abs=0.015)  # standard error 0.005


@pytest.mark.parametrize("metric", ["sentiment", "right", "topic", "perplexity"])
def test_an_interval_is_that_of_the_metrics_kind_over_the_prompts_own_differences(metric: str) -> None:
    rng = np.random.default_rng(1)
    base, steered = rng.poisson([1.0, 3.0], size=(12, 2)).T.reshape(2, 12, 1) + 1.0
    if metric == "right":
        base, steered = base > 2, steered > 2
    arms = [{f"{i:02}": own.astype(float).tolist() for i, own in enumerate(arm)} for arm in (base, steered)]
    tidy = stacked(
        observed("unsteered", arms[0], metric=metric), observed("actadd", arms[1], layer=1, coeff=1, metric=metric)
    )
    row = cell(summarise(tidy, seed=5), metric=metric)
    if metric == "perplexity":
        expected = ratio_interval(np.log(steered) - np.log(base))
    else:
        differences = steered.astype(float) - base.astype(float)
        expected = paired_interval(differences, described(metric)["kind"], rng=np.random.default_rng(5))
    assert row["distribution"] == described(metric)["kind"]
    assert [row["low"], row["high"]] == pytest.approx([expected.low[0], expected.high[0]])
    assert pd.isna(row["why"])


@given(st.integers(1, 40), st.integers(0, 1), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_a_share_that_did_not_change_has_an_interval_with_width(prompts: int, share: int, samples: int) -> None:
    same = {f"p{i}": [float(share)] * samples for i in range(prompts)}
    arms = observed("unsteered", same, metric="right"), observed("actadd", same, layer=1, coeff=1, metric="right")
    row = cell(summarise(stacked(*arms)), metric="right")
    assert -1 <= row["low"] < row["effect"] == 0 < row["high"] <= 1


def test_an_effect_beyond_the_metrics_bounds_is_cut_from_the_interval() -> None:
    base, steered = ({f"p{i}": [v] for i, v in enumerate(s * np.array([1.0] * 7 + [0.5]))} for s in (-1, 1))
    tidy = stacked(observed("unsteered", base), observed("actadd", steered, layer=1, coeff=1))
    wide, cut = cell(summarise(tidy)), cell(summarise(tidy.assign(least=-1.0, most=1.0)))
    assert wide["effect"] < 2 < wide["high"]
    assert (cut["low"], cut["high"]) == (wide["low"], 2)


def test_one_prompt_gives_no_interval() -> None:
    summary = summarise(
        stacked(observed("unsteered", {"p": [0.0]}), observed("actadd", {"p": [1.0]}, layer=1, coeff=1))
    )
    assert cell(summary)["effect"] == 1
    assert cell(summary)[["low", "high"]].isna().all()
    assert cell(summary)["why"] == TOO_FEW


def test_a_cell_is_degenerate_when_more_than_half_its_continuations_are() -> None:
    tables = [observed("unsteered", {"p": [0.0, 0.0]}), observed("actadd", {"p": [1.0, 1.0]}, layer=1, coeff=1)]
    tables += [observed("unsteered", {"p": [0.0, 0.0]}, metric="degenerate")]
    half = observed("actadd", {"p": [1.0, 0.0]}, layer=1, coeff=1, metric="degenerate")
    all_of_them = observed("actadd", {"p": [1.0, 1.0]}, layer=1, coeff=1, metric="degenerate")
    assert summarise(stacked(*tables, half))["degenerate"].tolist() == [False] * 4
    summary = summarise(stacked(*tables, all_of_them))
    assert summary.set_index("method")["degenerate"].to_dict() == {"actadd": True, "unsteered": False}


def test_degenerate_is_unknown_where_it_was_not_measured() -> None:
    summary = summarise(stacked(UNSTEERED, observed("actadd", {"p": [1.0, 1.0]}, layer=2, coeff=1)))
    assert summary["degenerate"].isna().all()


@pytest.mark.parametrize(
    ("tidy", "message"),
    [
        (observed("actadd", {"p": [1.0]}, layer=1, coeff=1), "no rows of the unsteered model .* actadd"),
        (
            stacked(UNSTEERED, observed("actadd", {"z": [1.0]}, layer=1, coeff=1)),
            "actadd has prompt 'z', sample 0, which",
        ),
        (
            stacked(UNSTEERED, *[observed("actadd", {"p": [1.0]}, layer=1, coeff=1)] * 2),
            "prompt 'p', sample 0 stands twice in one cell",
        ),
        (stacked(UNSTEERED, UNSTEERED.assign(layer=1.0)), "prompt 'p', sample 0 stands twice"),
        (stacked(UNSTEERED, observed("x", {"p": [float("inf")]}, layer=1, coeff=1)), "is inf: finite or NaN"),
        (
            stacked(UNSTEERED, observed("actadd", {"p": [2.0]}, layer=1, coeff=1)).assign(least=-1.0, most=1.0),
            "sentiment of actadd, prompt 'p' is 2, where its measure says that there can be -1 to 1",
        ),
        (
            stacked(UNSTEERED, observed("actadd", {"p": [1.0]}, layer=1, coeff=1).assign(distribution="skewed")),
            "sentiment is called skewed in some rows and symmetric in others",
        ),
        (observed("unsteered", {"p": [0.0]}, metric="perplexity"), "is 0.0: above 0 or NaN, being compared as a ratio"),
    ],
)
def test_tables_that_cannot_be_paired_are_refused(tidy: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarise(tidy)


def test_an_impossible_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level is between 0 and 1"):
        summarise(UNSTEERED, level=95.0)


def test_two_hundred_cells_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    tidy = stacked(
        by_layer("unsteered", rng.normal(size=(1, 16, 4))), by_layer("actadd", rng.normal(size=(200, 16, 4)))
    )
    start = time.process_time()
    assert len(summarise(tidy)) == 201
    assert time.process_time() - start < 2


def test_a_cell_that_was_chosen_elsewhere_and_its_reversal_are_each_asked_alone() -> None:
    """Every p is then what it is in a table without the other cell; in a search both are corrected for the two."""
    rng = np.random.default_rng(0)
    base = observed("unsteered", noise(rng, 9, 2))
    cells = {
        coeff: stacked(
            observed("actadd", noise(rng, 9, 2), layer=2, coeff=coeff),
            *(observed("random", noise(rng, 9, 2), layer=2, coeff=coeff, draw=draw) for draw in range(4)),
        )
        for coeff in (1.0, -1.0)
    }
    both, columns = stacked(base, *cells.values()), ["p", "p_family", "p_random"]

    def found(table: pd.DataFrame, coeff: float, *, searched: bool) -> pd.Series:
        summary = summarise(table, searched=searched)
        return summary[(summary["method"] == "actadd") & (summary["coeff"] == coeff)].iloc[0][columns].astype(float)

    for coeff, own in cells.items():
        alone, corrected = (found(both, coeff, searched=searched) for searched in (False, True))
        pd.testing.assert_series_equal(alone, found(stacked(base, own), coeff, searched=True), check_names=False)
        assert alone["p"] == alone["p_family"] < corrected["p_family"]
        assert alone["p_random"] < corrected["p_random"]
