"""What an instruction changed at the last prompt token, patched: at the last layer that is the instructed model."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.instruction_patching import LOG_ODDS, PATCHES, measured
from steering_lab.cli.run import run as run_command
from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, load_experiment
from steering_lab.study.page import Parts
from steering_lab.study.reading import read_config

PATCHING = experiments_folder() / "instruction_patching.toml"
SMALL = (
    "model=organism", "data=organism", "wording=organism", "chat=false", "answer_prefix=", "min_population=2000000",
    "layers=[1, 7]", "bands={early = [1, 1], late = [7, 7]}", "n_vector=8", "n_test=8", "n_random=3",
    "expects=['own late: log odds rises']",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    run_command(PATCHING, set=SMALL, results=results)
    [folder] = (results / "instruction_patching").iterdir()
    return folder


@pytest.fixture(scope="module")
def parts(folder: Path) -> Parts:
    return read_run(folder)


def test_at_the_last_layer_a_question_s_own_patch_is_the_instruction(parts: Parts) -> None:
    by = parts["table"].set_index("prompt")
    told = by[by["method"] == "instructed"]["value"]
    own = by[(by["method"] == "own") & (by["layer"] == 7)]["value"]
    plain = by[by["role"] == "unsteered"]["value"]
    assert len(own) == 8
    pd.testing.assert_series_equal(own, told, check_names=False, atol=1e-3, rtol=1e-3)
    assert (own - plain).abs().max() > 0.1
    assert parts["lens"].groupby(["told", "layer"]).size().eq(8).all()


def test_every_patch_and_its_random_vectors_are_summed_up_by_band(parts: Parts) -> None:
    found = measured(parts["summary"])
    assert set(found["who"]) == {"instructed", *(f"{patch} {band}" for patch in PATCHES for band in ("early", "late"))}
    assert found.set_index("who").loc[["own early", "mean late"], "control_low"].notna().all()
    assert (found["metric"] == LOG_ODDS).all()


def test_an_expectation_of_a_band_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        read_config(load_experiment(PATCHING).Config, PATCHING, ["expects=['own nowhere: log odds rises']"])


def test_the_page_says_what_each_patch_does(folder: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "On 8 conflicts the instruction moves the log-odds" in page
    assert "own late: log odds rises" in page
