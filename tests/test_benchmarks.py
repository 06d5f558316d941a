"""Every question of the benchmarks runs at its smallest size and prints a table whose texts and vectors agree."""

import re
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import extraction, floor, grid, loops, memory, resume, slopes, start, timing
from benchmarks.hand_written import HandWritten
from benchmarks.subjects import Subject, cells, subject_of
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from tests.tiny_models import hooked, n_hooks

ROOT = Path(__file__).parents[1]
PEERS = all(find_spec(name) for name in ("steering_vectors", "repeng"))


@lru_cache
def tiny() -> Subject:
    return subject_of(hooked("llama"))


def lines_of(said: str) -> list[str]:
    """The rows of a table."""
    return [line for line in said.splitlines()[2:] if line.startswith("  ")]


@pytest.mark.parametrize("place", ["everywhere", "from_last_prompt_token"])
def test_every_way_to_run_a_grid_writes_the_same_texts(place: grid.PlaceName) -> None:
    before = n_hooks(tiny().model)
    said = grid.report(tiny(), place, n_prompts=2, length=24, new_tokens=3, rounds=1)
    n = 2 * len(cells(tiny()))
    assert len([line for line in lines_of(said) if f"{n}/{n}" in line]) == (6 if PEERS else 4)
    assert n_hooks(tiny().model) == before
    assert ("did not run" in said) is not PEERS


def test_steered_and_unsteered_loops_are_timed_against_theirs() -> None:
    assert "a vector of its own for each row" in loops.steered_report(tiny(), (2,), new_tokens=2, rounds=1)
    said = loops.loop_report(tiny(), (2,), new_tokens=2, rounds=1, compiled=False)
    assert [line.split("  ")[1] for line in lines_of(said)] == ["ours", "transformers.generate", "ours, hooked runtime"]


def test_extraction_points_where_plain_hugging_face_points() -> None:
    said = extraction.report(tiny(), n_pairs=3, batch=2, rounds=1)
    cosines = [float(line.split()[-1]) for line in lines_of(said) if "did not run" not in line]
    assert len(cosines) == (5 if PEERS else 2)
    assert min(cosines) > 0.99999


def test_cells_are_read_back_equal() -> None:
    assert len(lines_of(resume.report(tiny(), n_prompts=2, new_tokens=2, scale=1, rounds=1))) == 3


def test_slopes_are_those_that_made_the_seconds() -> None:
    rows = [{"a": 1.0, "b": float(b), "c": float(c)} for b, c in ((1, 2), (5, 1), (3, 9), (8, 4))]
    slopes_found, off = timing.least_squares(rows, [0.5 + 2 * row["b"] + 0.25 * row["c"] for row in rows])
    assert slopes_found == pytest.approx({"a": 0.5, "b": 2.0, "c": 0.25})
    assert off < 1e-9
    said = slopes.report(tiny(), rounds=1, design=tuple(p._replace(steps=max(1, p.steps // 12)) for p in slopes.DESIGN))
    assert "a row and prompt token costs" in said
    assert "a million parameters" in slopes.size_report(tiny(), layers=(1, 2), new_tokens=3, rounds=1)


def test_ratios_are_taken_within_a_round_and_slow_calls_have_fewer() -> None:
    order: list[str] = []
    found = timing.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3, {"b": 1})
    assert "".join(order) == "abaa"
    assert [len(times) for times in found.values()] == [3, 1]
    took = [timing.Took(2.0, 9.0), timing.Took(6.0, 8.0)]
    assert timing.ratios(took, [timing.Took(1.0, 3.0)]) == [2.0]
    assert timing.ratios(took, [timing.Took(1.0, 3.0)], wall=True) == [3.0]


def test_a_step_is_set_beside_what_bounds_it() -> None:
    said = floor.report(tiny(), (1,), new_tokens=2, rounds=1)
    assert "Rates: copying" in said
    assert "of the operations' own time" in said


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says what was resident at most")
def test_the_peak_that_a_call_reached_is_seen_and_is_counted_from_the_call_on() -> None:
    def large() -> None:
        torch.ones(2**24).sum()

    assert memory._peak_over(large) > 60 * memory.MIB
    assert memory._peak_over(lambda: None) < 8 * memory.MIB
    assert "prefill, all logits" in memory.report(tiny(), batch=2, new_tokens=2, length=24)


def test_start_is_measured_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "COMMANDS", {"python itself": ["-c", "pass"]})
    assert re.search(r"python itself +0\.\d\d", start.report(rounds=1))


@pytest.mark.parametrize("steered", [False, True])
def test_the_loop_written_by_hand_says_what_ours_says(steered: bool) -> None:
    subject = tiny()
    ids = torch.randint(5, 300, (2, 7), generator=torch.Generator().manual_seed(0))
    vector = subject.vectors()[subject.layers[0]]
    edits = [2.0 * vector.everywhere(), -3.0 * vector.everywhere()]
    added = torch.stack([2.0 * vector.rows[0], -3.0 * vector.rows[0]]) if steered else None
    hand = HandWritten(subject.plain, ids, 5, vector.site.layer, added)
    with steer(subject.model, edits if steered else [0.0 * edit for edit in edits]):
        ours = generate(subject.model, subject.model.pad(ids.tolist()), max_new_tokens=5, ignore_eos=True)
    assert hand.write().tolist() == ours.tokens == hand.write().tolist()


def test_the_gpu_benchmark_runs_in_small_on_a_cpu_and_keeps_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--out", str(tmp_path / "gpu.txt")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    kept = (tmp_path / "gpu.txt").read_text()
    assert done.returncode == 0, done.stderr[-2000:] + kept
    assert "did not finish" not in kept
    for part in ("large: ", "written by hand, steered", "prefill, ", "tokens/s", "(a) ", "(b) ", "(c) ", "(d) "):
        assert part in kept
