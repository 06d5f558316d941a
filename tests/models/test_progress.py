"""Long work tells how far it is, in a log too."""

import io
import re
import sys

import pytest

from steering_lab.models import progress
from steering_lab.models.generation import generate
from steering_lab.models.progress import Speed, done_meanwhile, progress_bar
from tests.tiny_models import PROMPTS, hooked


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with progress_bar(what="cells", total=3) as bar:
        for _ in range(3):
            bar.update()
    lines = log.getvalue().splitlines()
    assert lines[-1].startswith("cells: 3 of 3 after 00:00")
    assert "\r" not in log.getvalue()
    assert all(line.startswith("cells: ") for line in lines)


def test_short_work_and_work_that_is_not_to_be_counted_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    assert list(progress_bar(range(3), what="steps")) == [0, 1, 2]
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    assert list(progress_bar(range(3), what="steps", shown=False)) == [0, 1, 2]
    assert log.getvalue() == ""


def test_a_line_says_cells_done_tokens_a_second_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    now = iter([0.0, 2.0, 4.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with progress_bar(what="cells", total=3) as bar:
        speed = Speed(bar, "tokens")
        for _ in range(2):
            speed.add(5000)
            bar.update()
    lines = [line for line in log.getvalue().splitlines() if "tokens" in line]
    assert re.fullmatch(r"cells: 2 of 3 after 00:00, 2,500 tokens/s, (00:00|\?) to go", lines[-1])


def test_a_long_piece_of_work_is_shown_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    now = iter([0.0, 2.0, 4.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    bar = progress_bar(what="cells", total=3)
    with bar, (speed := Speed(bar, "tokens")).listening():
        done_meanwhile(1000)
        assert log.getvalue().splitlines()[-1].startswith("cells: 0 of 3 after 00:00, 500 tokens/s")
        speed.add(4000)  # those among them
        bar.update()
    assert ", 1,000 tokens/s" in log.getvalue().splitlines()[-1]
    done_meanwhile(1000)  # nobody listens


def test_decoding_tells_of_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr("steering_lab.models.decoding.done_meanwhile", counted.append)
    generate(hooked("llama"), PROMPTS, max_new_tokens=7, ignore_eos=True)
    assert counted == [len(PROMPTS)] * 7
