"""(e) The most memory a call takes over the loaded model: resident on a CPU, a process each; allocated on a GPU."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.subjects import Subject, hf_texts
from benchmarks.timing import table
from steering_lab.interventions.steering import steer
from steering_lab.models.generation import generate

MIB = 2**20


def report(subject: Subject, *, batch: int = 16, new_tokens: int = 8, length: int = 200) -> str:
    """The table on a CPU: a process for each line, which finds the model loaded."""
    each = calls(subject, batch, new_tokens, length)
    peaks = {what: _in_a_process(call, each["unsteered"]) for what, call in each.items()}
    title = f"(e) resident memory over the loaded model: {subject.model.name}"
    return as_report(peaks, title, batch, new_tokens, length)


def allocated_report(subject: Subject, *, batch: int = 32, new_tokens: int = 16, length: int = 200) -> str:
    """The table on a GPU: what torch allocated over what the weights take."""
    peaks = {}
    for what, call in calls(subject, batch, new_tokens, length).items():
        subject.model.release()
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


def _in_a_process(call: Callable[[], Any], before: Callable[[], Any]) -> float:
    """`_peak_over` of `call` in a child of this process that has done `before`, and so touched the weights.

    Raises:
        RuntimeError: the child did not say.
    """
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before()
            os.write(mouth, str(_peak_over(call)).encode())
        finally:
            os._exit(0)
    os.close(mouth)
    with os.fdopen(ear) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise RuntimeError("a process that measured memory ended without a word")
    return float(said)


def _peak_over(call: Callable[[], Any]) -> int:
    """Bytes by which the most that was ever resident while `call` ran exceeds what was resident before.

    Raises:
        OSError: a system without /proc, where nobody counts so.
    """
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, so that taking it again is seen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
