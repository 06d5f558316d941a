"""Expectations are lines: read at the door, and answered by intervals alone, the failed ones first."""

import pandas as pd
import pytest

from steering_lab.evaluation.inferring.confirmation import confirm, verdict
from steering_lab.evaluation.inferring.selection import select
from steering_lab.study.contradictions import check_together
from steering_lab.study.expectations import Expectation, answers, check, expected_answers, unmeasured
from steering_lab.study.settings import ExpectationSettings
from tests.evaluation.summaries import CHOICE, GRID, cell

NAN = float("nan")


def row(
    who: str, metric: str, effect: float, low: float, high: float, *,
    scale: str = "difference", band: tuple[float, float] = (NAN, NAN), against: str | None = None,
) -> dict[str, object]:  # fmt: skip
    return {
        "who": who, "metric": metric, "scale": scale, "effect": effect, "low": low, "high": high,
        "control_low": band[0], "control_high": band[1], "against": against,
    }  # fmt: skip


def answer(claim: str, low: float, high: float, **more: object) -> str:
    measured = pd.DataFrame([row("front", "vader", (low + high) / 2, low, high, **more)])  # type: ignore[arg-type]
    return str(answers([f"front: vader {claim}"], measured)["answer"].iloc[0])


@pytest.mark.parametrize(
    ("claim", "held", "failed", "open_"),
    [
        ("rises", (0.1, 0.3), (-0.3, 0.0), (0.0, 0.3)),
        ("falls", (-0.3, -0.1), (0.0, 0.3), (-0.3, 0.1)),
        ("rises by at least 0.25", (0.25, 0.5), (0.0, 0.24), (0.2, 0.3)),
        ("rises by at most 0.25", (-0.5, 0.25), (0.3, 0.4), (0.2, 0.3)),
        ("falls by at least 0.25", (-0.5, -0.25), (-0.2, 0.1), (-0.3, -0.2)),
        ("falls by at most 0.03", (-0.03, 0.2), (-0.5, -0.04), (-0.1, 0.1)),
        ("moves by at most .05", (-0.05, 0.05), (0.06, 0.2), (0.0, 0.2)),
        ("at most 1.5", (1.0, 1.5), (1.6, 2.0), (1.4, 1.6)),
        ("at least 0.9", (0.9, 1.5), (0.1, 0.8), (0.8, 1.6)),
        ("above -0.1", (-0.05, 0.3), (-0.4, -0.1), (-0.1, 0.3)),
        ("below −0.1", (-0.4, -0.2), (-0.1, 0.3), (-0.2, 0.0)),
    ],
)
def test_a_claim_held_if_the_whole_interval_is_on_its_side_and_failed_if_it_is_on_the_other(
    claim: str, held: tuple[float, float], failed: tuple[float, float], open_: tuple[float, float]
) -> None:
    assert [answer(claim, *ends) for ends in (held, failed, open_, (NAN, NAN))] == [
        "held", "failed", "cannot say", "cannot say",
    ]  # fmt: skip


def test_no_effect_of_a_ratio_is_one() -> None:
    assert answer("rises", 1.1, 1.3, scale="ratio") == "held"
    assert answer("rises", 0.5, 0.9, scale="ratio") == "failed"
    assert answer("rises by at most 0.2", 1.0, 1.2, scale="ratio") == "held"


def test_beyond_random_vectors_is_beyond_their_band_and_beyond_no_effect() -> None:
    claim = "rises beyond random vectors"
    assert answer(claim, 0.2, 0.4, band=(-0.1, 0.1)) == "held"
    assert answer(claim, 0.05, 0.4, band=(-0.1, 0.1)) == "cannot say"
    assert answer(claim, 0.02, 0.08, band=(-0.1, 0.1)) == "failed"
    assert answer(claim, 0.02, 0.12, band=(-0.1, 0.1)) == "cannot say"
    assert answer(claim, -0.1, 0.1, band=(0.0, 0.0)) == "cannot say"
    assert answer(claim.replace("rises", "falls"), -0.08, -0.02, band=(-0.1, 0.1)) == "failed"
    assert answer(claim, -0.05, 0.05, band=(-0.3, -0.2)) == "cannot say"
    assert answer(claim, 0.2, 0.4) == "cannot say"  # no random vectors were run


@pytest.mark.parametrize("band", [(-0.15, 0.15), (-0.5, 0.15)])
def test_beyond_random_vectors_held_exactly_where_the_verdict_says_held(band: tuple[float, float]) -> None:
    claim = "front: sentiment rises beyond random vectors"
    asked = [(0.3, 0.1, 0.5), (0.1, 0.05, 0.2), (0.3, -0.1, 0.5), (-0.3, -0.5, -0.1)]
    answers_to = []
    for effect in asked:
        for p_random, p_family in ((0.01, 0.01), (0.2, 0.01), (0.01, 0.2)):
            told = {"control_low": band[0], "control_high": band[1], "p_random": p_random, "p_family": p_family}
            held_out = cell(2, 2, effect, (1.0, 0.9, 1.1)).assign(**told)
            held = verdict(confirm(select(GRID, **CHOICE), held_out)).held
            [found] = answers([claim], held_out.assign(who="front", against=None))["answer"]
            assert (found == "held") == held
            answers_to.append(found)
    assert answers_to == ["held", *8 * ["cannot say"], *3 * ["failed"]]


def test_the_band_or_the_number_of_another_stands_beside_what_was_measured() -> None:
    rows = [row("a", "vader", 0.3, 0.2, 0.4, band=(-0.1, 0.1)), row("b", "vader", 0.5, 0.4, 0.6)]
    told = answers(["a: vader rises beyond random vectors", "a: vader above b"], pd.DataFrame(rows))
    assert told["measured"].tolist() == [
        "+0.30 [+0.20, +0.40]; b +0.50 [+0.40, +0.60]", "+0.30 [+0.20, +0.40]; random vectors [−0.10, +0.10]",
    ]  # fmt: skip


def test_a_third_digit_stands_where_two_do_not_tell_an_effect_from_an_end_of_its_band() -> None:
    line = ["front: vader rises beyond random vectors"]
    near = pd.DataFrame([row("front", "vader", 0.0441, -0.03, 0.10, band=(-0.03, 0.0385))])
    assert answers(line, near)["measured"].item() == "+0.044 [−0.030, +0.100]; random vectors [−0.030, +0.038]"
    far = near.assign(effect=0.06)
    assert answers(line, far)["measured"].item() == "+0.06 [−0.03, +0.10]; random vectors [−0.03, +0.04]"


def test_draws_that_did_the_same_are_said_to_be_alike_and_asked_for_every_line_has_its_band() -> None:
    alike = pd.DataFrame([row("front", "vader", 0.01, -0.1, 0.1, band=(0.0, 0.0))])
    assert answers(["front: vader rises"], alike)["measured"].item() == "+0.01 [−0.10, +0.10]"
    told = answers(["front: vader rises"], alike, bands=True)["measured"].item()
    assert told == "+0.01 [−0.10, +0.10]; random vectors all at 0.00"


def test_a_level_is_no_change_and_has_no_sign() -> None:
    level = pd.DataFrame([row("first layer", "norm ratio", 1.4, 1.3, 1.5) | {"scale": "level"}])
    told = answers(["first layer: norm ratio at most 2"], level)
    assert (told["answer"].item(), told["measured"].item()) == ("held", "1.40 [1.30, 1.50]")


def test_another_is_compared_by_the_paired_difference_or_else_by_both_intervals() -> None:
    apart = [row("a", "vader", 0.2, 0.1, 0.3), row("b", "vader", 0.5, 0.4, 0.6)]
    assert answers(["b: vader above a"], pd.DataFrame(apart))["answer"].tolist() == ["held"]
    assert answers(["a: vader above b"], pd.DataFrame(apart))["answer"].tolist() == ["failed"]
    near = [row("a", "vader", 0.2, 0.1, 0.5), row("b", "vader", 0.5, 0.4, 0.6)]
    assert answers(["a: vader below b"], pd.DataFrame(near))["answer"].tolist() == ["cannot say"]
    paired = pd.DataFrame([*near, row("a", "vader", -0.3, -0.4, -0.2, against="b")])
    told = answers(["a: vader below b"], paired).iloc[0]
    assert (told["answer"], told["measured"]) == ("held", "−0.30 [−0.40, −0.20] against b")


def test_failed_lines_come_first_and_all_forms_of_a_name_have_to_hold() -> None:
    measured = pd.DataFrame([
        row("front", "context", 0.2, 0.1, 0.3), row("actadd", "context", 0.2, 0.1, 0.3),
        row("actadd", "context", -0.2, -0.3, -0.1), row("front", "perplexity", 1.2, 1.1, 1.3, scale="ratio"),
    ])  # fmt: skip
    told = answers(
        ["front: context rises", "actadd: context rises", "everywhere: context rises", "front: perplexity at most 1.5"],
        measured,
    )
    assert told["answer"].tolist() == ["failed", "cannot say", "held", "held"]
    assert told["measured"].tolist() == [
        "+0.20 [+0.10, +0.30]; −0.20 [−0.30, −0.10]", "not measured in this run", "+0.20 [+0.10, +0.30]",
        "×1.2 [×1.1, ×1.3]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["vader rises", "front vader rises", "front: vader", "front: vader grows", "front: vader rises by 0.2",
     "front: perplexity at most much", "front: rises"],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: write WHO: METRIC CLAIM, such as"):
        Expectation.read(text)


def test_names_that_there_are_not_are_refused_with_those_that_there_are() -> None:
    lines = ["front: held_out perplexity at most 1.5", "topic one: topic:weddings, and more rises"]
    check(lines, ["front", "topic one"], ["held_out_perplexity", "topic:weddings, and more"])
    for wrong, name in (("back: vader rises", "back"), ("front: joy rises", "joy"), ("front: vader above up", "up")):
        with pytest.raises(ValueError, match=rf"names '{name}': known are .*"):
            check([wrong], ["front"], ["vader"])


def test_a_level_may_lie_below_zero_and_have_an_exponent() -> None:
    assert Expectation.read("front: effect at least -1e-2").claim["level"] == "-1e-2"


def test_a_move_by_less_than_nothing_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValueError, match="moves by less than nothing: write falls for rises, or a number that"):
        Expectation.read("front: effect rises by at least -0.1")


def test_of_many_names_the_nearest_are_said_and_how_many_there_are() -> None:
    many = [f"method{k} everywhere" for k in range(300)] + ["front", "front reversed"]
    with pytest.raises(ValueError, match="the nearest are front") as refused:
        check(["frnt: vader rises"], many, ["vader"])
    assert "of the 302 names there are" in str(refused.value)
    assert len(str(refused.value)) < 200
    with pytest.raises(ValueError, match="the nearest are front, "):
        check(["zzz: vader rises"], many, ["vader"])


@pytest.mark.parametrize(
    "line", ["a: effect above a", "a b: effect below a_b", "random: effect rises beyond random vectors"]
)
def test_a_comparison_with_itself_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="with itself, which can never hold"):
        Expectation.read(line)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a: effect rises", "a: effect falls"),
        ("a: effect rises by at least 0.3", "a: effect rises by at most 0.2"),
        ("a: effect rises beyond random vectors", "a: effect falls by at least 0.1"),
        ("a: effect at least 1.5", "a: effect at most 1.4"),
        ("a: effect above 0.2", "a: effect below 0.2"),
        ("a: effect moves by at most 0.1", "a: effect rises by at least 0.2"),
        ("a: effect above b", "a: effect below b"),
        ("a: effect above b", "b: effect above a"),
    ],
)
def test_two_lines_that_exclude_each_other_are_refused_before_anything_runs(one: str, other: str) -> None:
    with pytest.raises(ValueError, match="can never"):
        ExpectationSettings(expects=(one, other))
    check_together([one, other.replace("a:", "c:").replace("effect", "other")])


def test_lines_that_go_round_in_a_circle_are_refused() -> None:
    lines = ["a: effect above b", "b: effect above c", "a: effect below c"]
    with pytest.raises(ValueError, match="go round in a circle"):
        check_together(lines)
    check_together([*lines[:2], "a: effect above c"])


def test_lines_of_which_a_ratio_may_hold_both_pass() -> None:
    check_together(["a: perplexity rises", "a: perplexity at most 1.5", "a: perplexity rises by at most 0.2"])
    check_together(["a: effect rises", "a: perplexity falls", "b: effect falls", "a: effect at least -0.1"])


def test_of_whom_no_cell_was_chosen_is_said_and_the_others_are_answered() -> None:
    there = pd.DataFrame([row("prompting Love", "effect", 0.3, 0.2, 0.4)])
    silent = unmeasured(["front", "random"], ["effect"], "no cell was chosen")
    lines = [
        "front: effect rises beyond random vectors",
        "prompting Love: effect rises",
        "prompting Love: effect above front",
    ]
    told = expected_answers({"expects": lines}, pd.concat([there, silent])).set_index("expected")  # type: ignore[union-attr]
    assert told["answer"].tolist() == ["cannot say", "cannot say", "held"]
    assert told.loc[lines[0], "measured"] == "no cell was chosen"
    assert told.loc[lines[2], "measured"] == "+0.30 [+0.20, +0.40]; front: no cell was chosen"
    assert expected_answers({}, there) is None
