"""Where the time of a decode step goes, and what bounds it.

Reading every weight once takes their bytes over the measured bandwidth; multiplying by them takes 2 x parameters x rows
operations over the measured rate of matrix products of that shape. The larger is the floor of a step; what the same
blocks take with tiny matrices is the price of asking for the operations, and the profile says which ones cost.
"""

import copy
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

from benchmarks.subjects import Subject, subject_of
from benchmarks.timing import interleaved, table
from steering_lab.models.generation import generate
from steering_lab.models.loading import load_model

SHOWN = 10  # operations of a profile
ROWS = (1, 4, 8, 16, 32, 48, 96, 192, 512)


def report(subject: Subject, batches: tuple[int, ...] = (1, 32), *, new_tokens: int = 16, rounds: int = 3) -> str:
    """The measured rates, the floor and the measured step at each batch, and the profile of one."""
    weights = sum(p.numel() * p.element_size() for p in subject.plain.parameters())
    n_parameters, copying, read = subject.model.n_parameters, copy_rate(subject), read_rate(subject)
    said = f"Rates: copying {copying / 1e9:.1f} GB/s (bytes read and written), one row times a matrix"
    said += f" {read / 1e9:.1f} GB/s; weights {weights / 1e6:.0f} MB\n"
    many = {n: f"{product_rate(subject, n) / 1e9:.0f}" for n in ROWS}
    said += table("GFLOP/s of all its matrix products in turn, by rows", [{"rows": "GFLOP/s", **many}])
    rows, profiles, tiny = [], [], without_arithmetic(subject)
    for batch in batches:
        rate = product_rate(subject, batch)
        step = step_seconds(subject, batch, new_tokens, rounds)
        asking = step_seconds(tiny, batch, new_tokens, rounds)
        reading, products = weights / copying, 2 * n_parameters * batch / rate
        floor = max(reading, products) if batch > 1 else reading
        rows.append({
            "rows": batch,
            "step ms": f"{1e3 * step:.1f}",
            "with tiny matrices ms": f"{1e3 * asking:.1f}",
            "weights over copy rate ms": f"{1e3 * reading:.1f}",
            "weights over read rate ms": f"{1e3 * weights / read:.1f}",
            "products ms": f"{1e3 * products:.1f}",
            "GFLOP/s at that shape": f"{rate / 1e9:.0f}",
            "floor / step": f"{floor / step:.2f}",
        })  # fmt: skip
        profiles.append(_profile(subject, batch, new_tokens))
    return said + table(f"A decode step ({subject.model.name})", rows) + "".join(profiles)


def step_seconds(subject: Subject, batch: int, new_tokens: int, rounds: int) -> float:
    """Seconds of one decode step of `batch` rows: CPU-seconds, or wall seconds on a GPU."""
    prompts, wall = subject.prompts(batch), subject.model.device.type == "cuda"

    def decoding(tokens: int) -> Callable[[], Any]:
        return lambda: generate(
            subject.model, prompts, max_new_tokens=tokens, batch_size=batch, ignore_eos=True
        )  # fmt: skip

    calls = {"short": decoding(2), "long": decoding(new_tokens + 2)}
    calls["short"]()
    times = interleaved(calls, rounds)
    pairs = zip(times["long"], times["short"], strict=True)
    return median((long[wall] - short[wall]) / new_tokens for long, short in pairs)


def copy_rate(subject: Subject, n_bytes: int = 2**28) -> float:
    """Bytes a second that copying a large tensor reads and writes."""
    source = torch.zeros(n_bytes // 4, device=subject.model.device)
    target = torch.empty_like(source)
    return 2 * n_bytes / _best(lambda: target.copy_(source))


def read_rate(subject: Subject) -> float:
    """Bytes a second that the product of one row and the model's largest matrix reads."""
    weight = max(subject.plain.parameters(), key=lambda p: p.numel())
    row = torch.zeros(1, weight.shape[1], dtype=weight.dtype, device=weight.device)
    return weight.numel() * weight.element_size() / _best(lambda: torch.nn.functional.linear(row, weight))


def product_rate(subject: Subject, batch: int) -> float:
    """Operations a second of `batch` rows times the weights of all blocks in turn, and the unembedding."""
    weights = [p for p in subject.plain.parameters() if p.ndim == 2]
    inputs = {w.shape[1]: torch.zeros(batch, w.shape[1], dtype=w.dtype, device=w.device) for w in weights}

    def products() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    return sum(2 * w.numel() * batch for w in weights) / _best(products, 3)


@torch.no_grad()
def _best(call: Callable[[], Any], times: int = 5) -> float:
    """Least seconds of a few calls: a rate is what the machine can do."""
    cuda, found = torch.cuda.is_available(), []
    for _ in range(times + 1):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter() if cuda else time.process_time()
        call()
        if cuda:
            torch.cuda.synchronize()
        found.append((time.perf_counter() if cuda else time.process_time()) - start)
    return min(found[1:])


def _profile(subject: Subject, batch: int, new_tokens: int) -> str:
    """The operations that `generate` spends most of their own time in, as torch's profiler counts it."""
    prompts = subject.prompts(batch)
    generate(subject.model, prompts, max_new_tokens=2, ignore_eos=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        generate(subject.model, prompts, max_new_tokens=new_tokens, batch_size=batch, ignore_eos=True)
    seconds = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profiled.key_averages()}
    whole = sum(seconds.values())
    most = sorted(seconds, key=lambda name: -seconds[name])[:SHOWN]
    said = ", ".join(f"{name} {seconds[name] / whole:.0%}" for name in most)
    return f"  {batch} rows: of the operations' own time {said}\n"


def without_arithmetic(subject: Subject) -> Subject:
    """A model of as many blocks whose matrices are tiny: what its step takes is the cost of asking, not of counting."""
    config = copy.deepcopy(subject.plain.config)
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    config.hidden_size, config.head_dim, config.intermediate_size = 8 * heads, 8, 8 * heads
    config.num_key_value_heads, config.vocab_size = groups, subject.model.d_vocab
    hf_model = AutoModelForCausalLM.from_config(config, dtype=subject.model.dtype).to(subject.model.device).eval()
    return subject_of(load_model(hf_model, tokenizer=subject.model.tokenizer))
