"""Answers the benchmarks' questions on a CPU, in minutes: `python -m benchmarks [QUESTION ...]`."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two threads on shared cores wait for each other

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import tyro

from benchmarks import extraction, floor, grid, loops, memory, resume, slopes, start
from benchmarks.subjects import Subject, subject_of
from benchmarks.timing import setting
from steering_lab.models.loading import load_model
from steering_lab.models.loading.at_hand import smollm2_file

Question = Annotated[tuple[str, ...], tyro.conf.Positional]


def questions(subject: Subject, scale: int, rounds: int) -> dict[str, Callable[[], str]]:
    """Every question by its name, cheapest first."""
    return {
        "start": lambda: start.report(rounds=rounds + 2),
        "steered": lambda: loops.steered_report(subject, rounds=rounds),
        "loop": lambda: loops.loop_report(subject, rounds=rounds),
        "extraction": lambda: extraction.report(subject, rounds=rounds),
        "resume": lambda: resume.report(subject, rounds=rounds),
        "slopes": lambda: slopes.report(subject, rounds=rounds),
        "size": lambda: slopes.size_report(subject, rounds=rounds),
        "floor": lambda: floor.report(subject, rounds=rounds),
        "memory": lambda: memory.report(subject),
        "grid": lambda: grid.report(subject, scale=scale, rounds=rounds),
        "grid-last": lambda: grid.report(
            subject, "from_last_prompt_token", length=200, scale=scale, rounds=max(1, rounds - 1)
        ),
    }


def main(
    question: Question = (), model: str = "auto", scale: int = 1, rounds: int = 3, out: Path | None = None
) -> None:
    """Print a table for each question, all of them if none is named.

    Args:
        question: start, steered, loop, extraction, resume, slopes, size, floor, memory, grid, grid-last.
        model: What `load_model` takes; "auto" is SmolLM2, or the organism where it is not installed.
        scale: How many times three coefficients a grid has at each layer.
        rounds: How often the calls take turns.
        out: Also append the tables to this file.
    """
    name = ("smollm2" if smollm2_file() else "organism") if model == "auto" else model
    torch.set_num_threads(1)
    subject = subject_of(load_model(name, device="cpu", dtype="float32"))
    asked = questions(subject, scale, rounds)
    if unknown := set(question) - set(asked):
        raise SystemExit(f"{sorted(unknown)[0]!r} is no question: choose from {', '.join(asked)}")
    command = f"python -m benchmarks {' '.join(question)} --model {name} --scale {scale} --rounds {rounds}"
    _say(setting(str(subject.model.description), " ".join(command.split())), out)
    for one in question or asked:
        began = time.perf_counter()
        _say(asked[one](), out)
        print(f"({one}: {time.perf_counter() - began:.0f} s)\n", file=sys.stderr)


def _say(text: str, out: Path | None) -> None:
    print(text, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    tyro.cli(main)
