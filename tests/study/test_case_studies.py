"""The case studies of the founding notes are settings that a sweep takes, and their sets hold what they say."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.evaluation.measuring.metrics import words
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.study.finding import experiments_folder, read_study

FOLDER = experiments_folder() / "case_studies"
FILES = [FOLDER / f"{name}.toml" for name in ("careful_medicine", "documented_code", "empathetic_support")]
WEIGHTED = FOLDER / "helpful_unbiased.toml"


def test_there_are_no_others() -> None:
    assert set(FOLDER.glob("*.toml")) == {*FILES, WEIGHTED}


def test_a_weighted_study_adds_unit_directions_by_their_weights() -> None:
    model, site = load_model("organism"), resid_pre(3)
    study = read_study(WEIGHTED, ["normalise=false", "weights={helpful = 0.25, unbiased = -2}"])
    form = study.config.form()
    assert form.what == "0.25 helpful − 2 unbiased"
    assert form.pairs[0] == PAIRS["helpful"][0]
    assert form.pairs[-1] == PAIRS["unbiased"][-1].reversed()  # as it is added
    assert form.contrast.n == 24
    parts = [mean_difference_vectors(model, PAIRS[name], [site])[site] for name in ("helpful", "unbiased")]
    wanted = 0.25 * parts[0].unit().rows - 2 * parts[1].unit().rows
    assert torch.allclose(form.vectors(model, [site])[site].rows, wanted, atol=1e-6)
    exchanged = form.contrast.exchanged(model, [site], [True] * 12 + [False] * 12)[site].rows
    assert torch.allclose(exchanged, -0.25 * parts[0].unit().rows - 2 * parts[1].unit().rows, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['pairs="helpful"'], "instead of pairs"),
        (['method="probe"'], "instead of pairs"),
        (["weights={helpful = 0}"], "other than 0"),
        (["weights={helpful = nan}"], "other than 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(settings: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_study(WEIGHTED, settings)


def test_a_set_without_a_direction_at_a_layer_is_refused_and_not_left_out(tmp_path: Path) -> None:
    alike = tmp_path / "alike.json"  # the tokens read at the first block's input are equal
    alike.write_text('[{"positive": "a king .", "negative": "a city ."}]', encoding="utf-8")
    form = read_study(WEIGHTED, [f"weights={{love_hate = 1, '{alike}' = 1}}"]).config.form()
    with pytest.raises(ValueError, match=r"zero .*both sides are alike"):
        form.vectors(load_model("organism"), [resid_pre(0)])


def test_a_set_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="hepful"):
        read_study(WEIGHTED, ["weights={hepful = 1}"]).config.form()


@pytest.mark.parametrize("toml", FILES, ids=lambda path: path.stem)
def test_a_case_study_is_a_sweep_of_its_own_set(toml: Path) -> None:
    config = read_study(toml).config
    assert config.pairs == toml.stem
    assert config.model == "smollm2"
    assert config.form().contrast.n == len(PAIRS[toml.stem]) == 12
    assert "shuffled_labels" in config.controls
    assert len(config.prompts) == len(config.test_prompts) == 8
    assert config.expects


@pytest.mark.parametrize("toml", FILES, ids=lambda path: path.stem)
def test_the_words_of_the_measure_stand_more_often_in_the_positive_sides(toml: Path) -> None:
    counted = set(read_study(toml).config.measures[0].removeprefix("topic_rate:").split(","))
    rates = [
        sum(word in counted for side in sides for word in words(side)) / sum(len(words(side)) for side in sides)
        for sides in ([p.positive for p in PAIRS[toml.stem]], [p.negative for p in PAIRS[toml.stem]])
    ]
    assert rates[0] > rates[1]


def test_lists_of_unequal_length_and_a_bare_tensor_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])  # their files are named from the root
    site, folder, model = resid_pre(20), experiments_folder() / "techniques", load_model("smollm2")
    texts = tomllib.loads((folder / "unequal_lists.toml").read_text(encoding="utf-8"))["pairs"]
    assert (len(texts["positive"]), len(texts["negative"])) == (8, 5)
    mean = {
        side: torch.stack([model.residuals(model.to_tokens(text), [site])[site][0, -1] for text in its]).mean(0)
        for side, its in texts.items()
    }
    saved = torch.from_numpy(np.load(folder / "happy_less_sad.npy"))
    wanted = {"unequal_lists": mean["positive"] - mean["negative"], "bare_tensor": saved}
    for name, row in wanted.items():
        made = read_study(folder / f"{name}.toml").config.form().vectors(model, [site])[site]
        assert torch.allclose(made.rows[0], row / row.norm(), atol=1e-5), name
