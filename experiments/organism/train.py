"""How is the organism made? From text of the invented world, from nothing, by one command.

    python -m experiments.organism.train --seed 0 --out /tmp/organism        trains, saves and reports
    python -m experiments.organism.train --report /tmp/organism              reprints the model card's tables

The run is deterministic for a seed (on one machine and thread count), resumes from its last checkpoint, and ends
with a Hugging Face folder: config, safetensors, tokenizer, `training.json`. Expected before the run: facts are
learnt first, then copying and reading (abruptly), then the conflict rule and the instructions, then coherent moods;
a run is accepted by these behaviours and not by its loss.
"""

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organism.config import Config
from experiments.organism.packing import batch_at, pack
from experiments.organism.probe import probe
from experiments.organism.start import give_lookup_heads
from experiments.organism.tokenizer import build_tokenizer


def loss_of(model: LlamaForCausalLM) -> Callable[..., Tensor]:
    """The weighted mean cross-entropy per target token, in nats, as a function of a packed batch."""

    def loss(ids: Tensor, positions: Tensor, mask: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return (nats * weight.flatten()).sum() / weight.sum()

    return loss


def new_model(config: Config, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained model in Llama layout, with tied embeddings."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.d_model,
            intermediate_size=config.d_mlp,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.length,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _optimisers(model: LlamaForCausalLM, config: Config) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _schedule(step: int, steps: int, warm_up: float) -> float:
    """Linear warm-up, then a cosine down to one twentieth."""
    ramp = max(1, round(steps * warm_up))
    if step < ramp:
        return (step + 1) / ramp
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def _compiled(loss: Callable[..., Tensor], config: Config) -> Callable[..., Tensor]:
    """The loss compiled where a compiler exists (about half as fast again on a CPU), in a cache of its own."""
    if not config.compile or not (shutil.which("g++") or shutil.which("clang++")):
        print("no compilation: training eagerly")
        return loss
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="train_organism_")
    return torch.compile(loss, dynamic=False)


def train(config: Config) -> Path:
    """Trains, or resumes, and returns the folder with the finished model."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    device = torch.device(config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    config.out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    tokenizer = build_tokenizer(config.vocabulary, config.length)
    rows = pack(config, tokenizer)
    filled = np.mean(rows.document > 0)
    print(
        f"{len(rows.ids)} rows, {filled:.3f} filled, {len(tokenizer)} tokens, {time.time() - began:.0f} s", flush=True
    )
    model = new_model(config, tokenizer).to(device)
    give_lookup_heads(model)
    optimisers = _optimisers(model, config)
    steps = len(rows.ids) // config.rows
    start, spent = _resume(config, model, optimisers)
    loss = _compiled(loss_of(model), config)
    began, curve = time.time(), []
    for step in range(start, steps):
        scale = _schedule(step, steps, config.warm_up)
        for optimiser, rate in zip(optimisers, (config.muon_lr, config.adam_lr), strict=True):
            optimiser.param_groups[0]["lr"] = rate * scale
        value = loss(*batch_at(rows, step, config, device))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        curve.append(value.item())
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == steps:
            seconds = spent + time.time() - began
            shares = " ".join(f"{k} {v:.2f}" for k, v in probe(model, tokenizer, config.probe_rows).items())
            print(f"step {step + 1}/{steps} loss {np.mean(curve[-100:]):.3f} {seconds:.0f} s | {shares}", flush=True)
            _checkpoint(config, model, optimisers, step + 1, seconds)
        if step + 1 == config.stop_after:
            raise SystemExit(f"left off at step {step + 1} of {steps}")
    _save(
        config,
        model,
        tokenizer,
        seconds=spent + time.time() - began,
        loss=float(np.mean(curve[-100:])) if curve else math.nan,
    )
    return config.out


def _resume(config: Config, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer]) -> tuple[int, float]:
    """The step to start from and the seconds already spent."""
    path = config.out / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location=model.device)
    if state["config"] != _identity(config):
        raise ValueError(f"{path} belongs to another run: {state['config']}; choose another --out")
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    print(f"resuming at step {state['step']}")
    return state["step"], state["seconds"]


def _identity(config: Config) -> str:
    """What must agree for a run to be resumed."""
    free = {"out", "report", "threads", "compile", "checkpoint_every", "stop_after", "probe_rows", "device"}
    return json.dumps({k: v for k, v in asdict(config).items() if k not in free}, sort_keys=True)


def _checkpoint(
    config: Config, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer], step: int, seconds: float
) -> None:
    state = {
        "model": model.state_dict(),
        "optimisers": [o.state_dict() for o in optimisers],
        "step": step,
        "seconds": seconds,
        "config": _identity(config),
    }
    torch.save(state, config.out / "checkpoint.pt.partial")
    os.replace(config.out / "checkpoint.pt.partial", config.out / "checkpoint.pt")


def _save(
    config: Config, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seconds: float, loss: float
) -> None:
    model.save_pretrained(config.out)
    tokenizer.save_pretrained(config.out)
    facts = {
        **json.loads(_identity(config)),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds),
        "last_loss": loss,
        "torch": torch.__version__.split("+")[0],
        "device": model.device.type,
    }
    (config.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def report(folders: Sequence[Path]) -> str:
    """The tables of the model card: one column per folder, then what was measured layer by layer for each."""
    from experiments.organism.report import behaviour, layer_table, load, missed, table
    from experiments.organism.steering import steering

    measured = {folder.name: [*behaviour(load(folder)), *steering(folder)] for folder in folders}
    counts = ", ".join(f"{name} {missed(found)}" for name, found in measured.items())
    parts = [f"Gates missed: {counts}.", table(measured)]
    parts += [f"Layer by layer, {name}:\n\n{layer_table(found)}" for name, found in measured.items()]
    return "\n\n".join(parts)


def main(config: Config) -> None:
    """Trains unless only a report is wanted, then prints the card's tables."""
    torch.set_num_threads(config.threads)
    print(report(config.report or (train(config),)))


if __name__ == "__main__":
    main(tyro.cli(Config))
