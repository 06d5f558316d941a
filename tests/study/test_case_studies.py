"""The three case studies of the founding notes are settings that a sweep takes, and their sets hold what they say."""

from pathlib import Path

import pytest

from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.evaluation.measuring.metrics import words
from steering_lab.study.finding import experiments_folder, read_study

FILES = sorted((experiments_folder() / "case_studies").glob("*.toml"))


def test_there_are_three() -> None:
    assert [path.stem for path in FILES] == ["careful_medicine", "documented_code", "empathetic_support"]


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
