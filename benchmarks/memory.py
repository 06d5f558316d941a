"""(e) The most memory a pass takes over the loaded model: resident on a CPU, a process each; allocated on a GPU.

`python -m benchmarks.memory MODEL WHAT` measures one and prints bytes.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.subjects import Subject, hf_texts, subject_of
from benchmarks.timing import table
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate
from steering_lab.models.loading import load_model

MIB = 2**20
WHATS = (
    "unsteered", "steered", "a vector for each row", "transformers.generate",
    "prefill", "prefill, steered", "prefill, all logits",
)  # fmt: skip


def report(model: str, *, batch: int = 32, new_tokens: int = 16, length: int = 200) -> str:
    """The table for a model by name, a process for each line."""
    peaks = {what: _in_a_process(model, what, batch, new_tokens, length) for what in WHATS}
    return as_report(peaks, f"(e) resident memory over the loaded model: {model}", batch, new_tokens, length)


def allocated_report(subject: Subject, *, batch: int = 32, new_tokens: int = 16, length: int = 200) -> str:
    """The table on a GPU: what torch allocated over what the weights take."""
    peaks = {}
    for what, call in calls(subject, batch, new_tokens, length).items():
        call()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        try:
            call()
        except torch.OutOfMemoryError:
            peaks[what] = float("nan")
        else:
            peaks[what] = float(torch.cuda.max_memory_allocated() - held)
    title = f"(e) memory allocated over the loaded model: {subject.model.name}"
    return as_report(peaks, title, batch, new_tokens, length)


def as_report(peaks: dict[str, float], title: str, batch: int, new_tokens: int, length: int) -> str:
    """`peaks`, bytes, beside what is compared with each."""
    rows = [
        {
            "": what,
            "MiB": f"{peak / MIB:.0f}",
            "over the unsteered one": f"{peak / peaks['prefill' if what.startswith('prefill') else 'unsteered']:.2f}",
        }
        for what, peak in peaks.items()
    ]
    return table(f"{title}; {batch} rows, {new_tokens} new tokens; prefill: {length} tokens a row", rows)


def calls(subject: Subject, batch: int, new_tokens: int, length: int) -> dict[str, Callable[[], Any]]:
    """Everything measured, by name: decoding short prompts, and reading long ones."""
    model = subject.model
    vector = next(iter(subject.vectors().values()))
    length = subject.room(length, 1)
    own = [(0.5 + i / batch) * vector.everywhere() for i in range(batch)]

    def ours(edit: Any, prompts: list[str], tokens: int) -> Callable[[], Any]:
        def call() -> Any:
            if edit is None:
                return generate(model, prompts, max_new_tokens=tokens, batch_size=batch)
            with steer(model, edit):
                return generate(model, prompts, max_new_tokens=tokens, batch_size=batch)

        return call

    def all_logits() -> Any:
        with torch.no_grad():
            return subject.plain(**_read(subject, batch, length), use_cache=True)

    short, long = subject.prompts(batch), subject.prompts(batch, length)
    return {
        "unsteered": ours(None, short, new_tokens),
        "steered": ours(vector.everywhere(), short, new_tokens),
        "a vector for each row": ours(own, short, new_tokens),
        "transformers.generate": lambda: hf_texts(subject, short, new_tokens),
        "prefill": ours(None, long, 1),
        "prefill, steered": ours(vector.everywhere(), long, 1),
        "prefill, all logits": all_logits,
    }


def _read(subject: Subject, batch: int, length: int) -> dict[str, torch.Tensor]:
    read = subject.tokenizer(subject.prompts(batch, length), return_tensors="pt", padding=True)
    return {k: read[k].to(subject.model.device) for k in ("input_ids", "attention_mask")}


def _in_a_process(model: str, what: str, batch: int, new_tokens: int, length: int) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", model, what, str(batch), str(new_tokens), str(length)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _peak_over(call: Callable[[], Any]) -> int:
    """Bytes by which the most that was ever resident while `call` ran exceeds what was resident before.

    Raises:
        OSError: a system without /proc, where nobody counts so.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    _model, _what, *_sizes = sys.argv[1:]
    _subject = subject_of(load_model(_model))
    generate(_subject.model, "Once", max_new_tokens=2)
    print(_peak_over(calls(_subject, *map(int, _sizes))[_what]))
