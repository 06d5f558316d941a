"""Torch computes with what the process was given."""

import os
from pathlib import Path

import psutil
import pytest
import torch

from steering_lab.models import threads


@pytest.mark.parametrize(
    ("quota", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8)]
)
def test_a_container_has_the_cores_of_its_quota(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    if quota:
        threads.QUOTA.write_text(quota)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert threads.cores_to_use() == cores


def test_what_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(threads, "cores_to_use", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    threads.use_what_there_is()
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads.use_what_there_is()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    threads.use_what_there_is()
    assert asked == [4]
