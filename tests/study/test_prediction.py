"""What is seen before is ranked against what came of it, and concepts are what is resampled."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.steering import steer
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_post
from steering_lab.study.expectations import answers
from steering_lab.study.pair_gains import GAIN, steered_gains
from steering_lab.study.prediction import OVER, check_expectations, measured, predictions, predictions_by_kind
from tests.tiny_models import hooked

RNG = np.random.default_rng(0)
CONCEPTS, LAYERS = list("abcdef"), (0, 2, 5, 7)


def tables(follow: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A statistic at random, and slopes that follow it in part."""
    keys = [(concept, layer) for concept in CONCEPTS for layer in LAYERS]
    value, noise = RNG.normal(size=len(keys)), RNG.normal(size=len(keys))
    before = pd.DataFrame(keys, columns=["concept", "layer"]).assign(statistic="d_prime", value=value)
    slope = follow * value + (1 - follow) * noise
    after = pd.DataFrame(keys, columns=["method", "layer"]).assign(slope=slope, share=-slope)
    return before, after


def test_the_correlation_is_spearmans_over_cells_concepts_and_layers() -> None:
    before, after = tables(0.6)
    found = predictions(before, after, n_boot=50).query("outcome == 'mean slope'").set_index("over")["rho"]
    x, y = before["value"].to_numpy().reshape(6, 4), after["slope"].to_numpy().reshape(6, 4)
    assert found[OVER[0]] == pytest.approx(spearmanr(x.ravel(), y.ravel())[0])
    assert found[OVER[1]] == pytest.approx(spearmanr(x.mean(axis=1), y.mean(axis=1))[0])
    assert found[OVER[2]] == pytest.approx(np.mean([spearmanr(a, b)[0] for a, b in zip(x, y, strict=True)]))


def test_what_follows_is_seen_and_what_does_not_is_not() -> None:
    followed, idle = predictions(*tables(1.0), n_boot=200), predictions(*tables(0.0), n_boot=200)
    assert followed["rho"].abs().min() == pytest.approx(1)
    assert set(np.sign(followed.query("outcome != 'mean slope'")["rho"])) == {-1}
    row = idle.iloc[0]
    assert row["low"] < 0 < row["high"]
    assert (row["n_concepts"], row["n_cells"]) == (6, 24)


def test_a_correlation_of_few_concepts_or_of_resamples_that_all_agree_has_no_interval() -> None:
    before, after = tables(0.5)
    few = predictions(before[before["concept"] != "f"], after, n_boot=100)
    assert few["rho"].notna().all()
    assert few[["low", "high"]].isna().all(axis=None)
    assert predictions(before, after, n_boot=100)[["low", "high"]].notna().all(axis=None)
    assert predictions(*tables(1.0), n_boot=100)[["low", "high"]].isna().all(axis=None)


def test_halves_are_averaged_and_cells_without_a_value_are_left_out() -> None:
    before, after = tables(0.5)
    halves = pd.concat([before.assign(value=before["value"] + 1), before.assign(value=before["value"] - 1)])
    pd.testing.assert_frame_equal(predictions(halves, after, n_boot=20), predictions(before, after, n_boot=20))
    before.loc[0, "value"] = math.nan
    assert predictions(before, after, n_boot=20)["n_cells"].iloc[0] == 23
    with pytest.raises(ValueError, match="2 concepts with values"):
        predictions(before[before["concept"].isin(["a", "b"])], after)


def test_kinds_that_differ_are_shown_apart() -> None:
    """Against the slope in each kind, with it over both: the kinds' difference is all there is."""
    before, after = tables(1.0)
    words = before["concept"].isin(["a", "b", "c"])
    before = before.assign(kind=np.where(words, "words", "sentences"), value=before["value"] + 10 * words)
    after = after.assign(slope=-after["slope"] + 10 * words)
    found = predictions_by_kind(before, after, n_boot=20).query("outcome == 'mean slope'")
    rho = found[found["over"] == OVER[0]].set_index("pairs")["rho"]
    assert rho["words"] == rho["sentences"] == pytest.approx(-1)
    assert rho["all"] > 0.2
    lines = ["all: d prime with mean slope above 0", "words within a concept: d prime with mean slope above -0.5"]
    check_expectations(lines)
    told = answers(lines, measured(found)).set_index("expected")["measured"]
    assert told[lines[0]].startswith(signed(rho["all"]))
    assert told[lines[1]] == "−1.00 (no interval: 3 concepts)"
    alone = predictions_by_kind(before[words], after[words.to_numpy()], n_boot=20)
    assert set(alone["pairs"]) == {"words"}
    assert answers(lines[:1], measured(alone))["measured"].iloc[0].startswith("−1.00")  # words are all there are


def test_a_pairs_gain_is_what_the_model_says_of_its_sides_under_the_others_vector() -> None:
    model, site = hooked("llama"), resid_post(1)
    made = [ContrastPair(f"{w} love", f"{w} hate") for w in ("I", "to", "be", "the")]
    held_out = [ContrastPair("you love", "you hate the sea")]
    table = pd.concat(steered_gains(model, "love", made, held_out, [site], [0.5]))
    vector = mean_difference_vectors(model, made, [site])[site]
    edit = (0.5 * vector.source.details["median_resid_norm"] * vector.unit()).everywhere()

    def said(text: str) -> float:
        ids = model.token_ids(text)
        logits = model.logits(model.pad([ids]))[0].log_softmax(-1)
        first = max(1, len(model.prefix_ids))
        return sum(float(logits[k - 1, ids[k]]) for k in range(first, len(ids)))

    with torch.no_grad():
        plain = said("you love") - said("you hate the sea")
        with steer(model, edit):
            steered = said("you love") - said("you hate the sea")
    assert table["value"].tolist() == pytest.approx([plain, steered], abs=1e-4)
    assert table["role"].tolist() == ["unsteered", "steered"]
    assert table["relative_norm"].tolist()[1] == pytest.approx(0.5)
    assert set(table["metric"]) == {GAIN}
    assert plain != pytest.approx(steered, abs=1e-3)
