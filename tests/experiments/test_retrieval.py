"""Retrieval and steering together, end to end and small; and a Config that contradicts itself is refused."""

from pathlib import Path

import pytest

from steering_lab.cli.run import run as run_command
from steering_lab.runs import read_run
from steering_lab.study.finding import experiments_folder, read_study

TOML = experiments_folder() / "retrieval.toml"
SMALL = (
    "variant=organism", "n_vector=8", "n_validation=8", "n_test=8", "n_random=3", "n_rounds=6", "n_timed=1",
    "expects=[]",
)  # fmt: skip


def test_it_runs_end_to_end_and_reads_its_page_from_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lancedb")
    run_command(TOML, set=SMALL, results=tmp_path)
    [run] = (tmp_path / "retrieval").iterdir()
    parts = read_run(run)
    hits, times = parts["hits"], parts["times"]
    assert set(hits["method"]) == {"layer states", "layer states, not centred", "TF-IDF", "bag of words"}
    assert set(times["ahead"]) == {1.0}
    assert set(times["same_text"]) == {1.0}
    assert {"contextfocus", "contextfocus, gated", "unsteered", "random"} == set(parts["table"]["method"])
    assert "The model's own states at layer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("layers=[1, 2]", r"layers \[1, 2\]: name one"),
        ("coeff=0.0", "coeff is 0"),
        ("n_rounds=5", "n_rounds is 5"),
        ("expects=['contextfocus: truth rises']", "names 'truth'"),
    ],
)
def test_a_config_that_cannot_be_answered_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_study(TOML, [setting])
