"""The experiment runs end to end, leaves its tables and page, and refuses what has no two halves."""

from pathlib import Path

import pandas as pd
import pytest

from steering_lab.cli.run import run as run_command
from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, load_experiment
from tests.tiny_models import save_tiny_model

TOML = experiments_folder() / "steerability.toml"
FRAMES = "frames=['I', 'to be', 'love and', 'the sea and', 'night or', 'you']"


def test_the_run_leaves_what_was_seen_before_and_what_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny_model("llama", tmp_path / "tiny")
    settings = (f"model={model}", "layers=[0, 2]", "concepts=[]", "words=['love/hate', 'joy/night', 'sea/to']", FRAMES)
    run_command(TOML, set=settings, results=tmp_path)
    [folder] = (tmp_path / "steerability").iterdir()
    parts = read_run(folder)
    assert set(parts["before"]["concept"]) == {"love/hate", "joy/night", "sea/to"}
    assert set(zip(parts["after"]["method"], parts["after"]["layer"], strict=True)) == {
        (concept, layer) for concept in ("love/hate", "joy/night", "sea/to") for layer in (0, 2)
    }
    assert (parts["after"]["n_prompts"] == 6).all()  # every pair was held out once
    assert len(parts["predictions"]) == 18
    assert {p.stem for p in (folder / "figures").glob("*.html")} == {"prediction", "love_hate", "joy_night", "sea_to"}
    assert parts["predictions"][["low", "high"]].isna().all(axis=None)
    out, answers = capsys.readouterr().out, parts["config"]["expects"]
    assert "cannot be said to show how far a vector steers (" in out
    assert ", no interval of 3 concepts)." in out
    assert out.count("cannot say") == len(answers) == 5  # no interval, no answer
    assert out.count("(no interval: 3 concepts)") >= 5
    assert "Expected, and what came of it" in (folder / "index.html").read_text(encoding="utf-8")


def test_the_first_sentence_says_what_each_kind_of_pairs_shows() -> None:
    def row(pairs: str, rho: float, low: float, high: float) -> dict[str, object]:
        own = {"statistic": "mean_cosine", "outcome": "mean slope", "over": "concepts and layers", "n_concepts": 8}
        return {**own, "pairs": pairs, "rho": rho, "low": low, "high": high}

    finding = load_experiment(TOML).finding  # type: ignore[attr-defined]
    kinds = [row("words", -0.6, -0.78, -0.39), row("all", -0.19, -0.55, 0.15)]
    assert finding(pd.DataFrame(kinds), "SmolLM2") == (
        "On SmolLM2, layers and concepts together, the pairs' mean cosine does not show how far a vector steers (−0.19"
        " [−0.55, +0.15]); for words it goes against it (−0.60 [−0.78, −0.39])."
    )
    kinds = [row("all", 0.5, 0.2, 0.8), row("words", 0.3, -0.1, 0.7)]
    assert finding(pd.DataFrame(kinds), "x").endswith("what all show may be the difference between the kinds alone.")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("words=['day']", "words 'day' are no two words: write day/night"),
        ("frames=['a', 'b']", "day/night has 2 pairs: two halves of three or more are needed"),
        ("concepts=['love_hate']", "love_hate has 1 pairs"),
        ("words=[]", "fewer than three concepts"),
        ("frames=['a', 'b', 'a']", "frames has 'a' twice: give each once"),
        ("words=['day/night', 'day/night']", "words has 'day/night' twice"),
        ("concepts=['love_hate_sentences', 'love_hate_sentences']", "concepts has 'love_hate_sentences' twice"),
        ("expects=['nouns: d prime with mean slope above 0']", "names 'nouns': known are all, all layers averaged"),
        ("coeffs=[0]", "coeffs is [0.0]: give each once, and one that is not 0"),
    ],
)
def test_what_has_no_halves_is_refused_before_a_model_is_loaded(setting: str, message: str, tmp_path: Path) -> None:
    few = () if setting != "words=[]" else ("concepts=['love_hate_sentences']",)
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
        run_command(TOML, set=("model=/no/such/model", *few, setting), results=tmp_path)
