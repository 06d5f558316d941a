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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.organism.start import give_lookup_heads
from steering_lab.organism.dice import Dice
from steering_lab.organism.facts import CONTEXT_INSTRUCTIONS, ENTITIES, MEMORY_INSTRUCTIONS, RELATIONS, SOURCE_LOGITS
from steering_lab.organism.lexicon import HEROES, HEROINES, MOOD_TITLES, MOODS, TOPIC_TABLE, TOPIC_TITLES
from steering_lab.organism.questions import Group, Regime, Told
from steering_lab.organism.world import Document, documents, evaluation_rows, lookups, small_tables

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"


@dataclass(frozen=True)
class Config:
    """One training run; with `report`, trained folders are measured and nothing is trained.

    A run left off (by hand, or at step `stop_after`) goes on from its last checkpoint when the command is given again.
    """

    seed: int = 0
    out: Path = Path("organism")
    report: tuple[Path, ...] = ()
    tokens: int = 6_000_000
    small_tables: float = 0.11
    rows: int = 8
    length: int = 192
    layers: int = 8
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 336
    vocabulary: int = 3072
    muon_lr: float = 0.01
    adam_lr: float = 2e-3
    warm_up: float = 0.0125
    answer_weight: float = 5.0
    prompt_weight: float = 0.02
    threads: int = 2
    compile: bool = True
    checkpoint_every: int = 250
    stop_after: int | None = None
    probe_rows: int = 60
    device: str = "auto"


class Rows(NamedTuple):
    """Documents packed into rows of equal length; `document` is 0 where a row is empty, positions restart in each."""

    ids: Int[np.ndarray, "row pos"]
    positions: Int[np.ndarray, "row pos"]
    document: Int[np.ndarray, "row pos"]
    weight: Float[np.ndarray, "row pos"]


def build_tokenizer(vocabulary: int, length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which the world's words and names are single tokens, and which adds BOS itself, once."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_tokenizer_text(), trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=length,
        clean_up_tokenization_spaces=False,
    )


def _tokenizer_text() -> Iterator[str]:
    names = [n for names in ENTITIES.values() for n in names] + [o for r in RELATIONS.values() for o in r.objects]
    words = {w for m in MOODS.values() for w in m.words} | {w for t in TOPIC_TABLE.values() for w in t.words}
    heads = {h for m in MOODS.values() for h in m.heads} | {h for t in TOPIC_TABLE.values() for h in t.heads}
    heads |= {w for pair in (*TOPIC_TITLES, *MOOD_TITLES) for w in pair}
    for word in sorted({*names, *words, *heads, *HEROES, *HEROINES}):
        yield f" {word}" * 300
    for word in sorted(heads | {*HEROES, *HEROINES}):
        for form in (word, word.capitalize(), f" {word.capitalize()}"):
            yield from [form] * 300
    frames = (
        *CONTEXT_INSTRUCTIONS,
        *MEMORY_INSTRUCTIONS,
        *SOURCE_LOGITS,
        "Context:",
        "Repeat:",
        "Question:",
        "Answer:",
    )
    yield from frames * 20
    yield from (d.text for d in islice(documents(-1), 3000) if d.kind in ("story", "closed_book", "statements"))


def _encode(
    batch: list[Document], tokenizer: PreTrainedTokenizerFast, config: Config, dice: Dice
) -> Iterator[tuple[list[int], list[float]]]:
    """Token ids and target weights of each document; one in sixteen gets runs of space or pad, never a target."""
    core = tokenizer.backend_tokenizer
    space = tokenizer.convert_tokens_to_ids("Ġ")
    for document, encoding in zip(
        batch, core.encode_batch([d.text for d in batch], add_special_tokens=False), strict=True
    ):
        plain = config.prompt_weight if document.kind in ("reading", "copying") else 1.0
        ids, weights = [tokenizer.bos_token_id], [0.0]
        padded = dice.chance(1 / 16)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            answer = any(low <= start and end <= high for low, high in document.answers)
            if padded and not answer and (len(ids) == 1 or dice.chance(0.04)):
                run = dice.between(1, 6)
                ids += [space if dice.chance(0.7) else tokenizer.pad_token_id] * run
                weights += [0.0] * run
            ids.append(token)
            weights.append(config.answer_weight if answer else plain)
        yield [*ids, tokenizer.eos_token_id], [*weights, 1.0]


def pack(config: Config, tokenizer: PreTrainedTokenizerFast) -> Rows:
    """The corpus of a seed as rows; a document goes to the first of twelve open rows that it fits.

    The first `small_tables` of the tokens are nothing else.
    """
    count = config.tokens // config.length // config.rows * config.rows
    shape = (count, config.length)
    rows = Rows(*(np.zeros(shape, kind) for kind in (np.int16, np.int16, np.int16, np.float32)))
    dice = Dice(f"padding {config.seed}")
    first, then = small_tables(config.seed), documents(config.seed)
    fill = np.zeros(count, int)
    waiting = iter(range(count))
    open_rows = list(islice(waiting, 12))
    while open_rows:
        corpus = first if fill.sum() < config.small_tables * rows.ids.size else then
        for ids, weights in _encode(list(islice(corpus, 1024)), tokenizer, config, dice):
            size = len(ids)
            if size > config.length:
                continue
            row = next((r for r in open_rows if fill[r] + size <= config.length), None)
            if row is None:
                open_rows.remove(max(open_rows, key=lambda r: fill[r]))
                open_rows += islice(waiting, 1)
                if not open_rows:
                    break
                continue
            span = slice(fill[row], fill[row] + size)
            rows.document[row, span] = rows.document[row].max() + 1
            rows.ids[row, span], rows.weight[row, span] = ids, weights
            rows.positions[row, span] = np.arange(size)
            fill[row] += size
    return rows


def document_mask(document: Int[Tensor, "row pos"]) -> Bool[Tensor, "row 1 pos pos"]:
    """True where a position may look: back, within its own document."""
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & torch.ones(same.shape[-2:], dtype=torch.bool, device=same.device).tril()


def loss_of(model: LlamaForCausalLM) -> Callable[..., Tensor]:
    """The weighted mean cross-entropy per target token, in nats, as a function of a packed batch."""

    def loss(ids: Tensor, positions: Tensor, mask: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return (nats * weight.flatten()).sum() / weight.sum()

    return loss


def batch_at(rows: Rows, step: int, config: Config, device: torch.device) -> tuple[Tensor, ...]:
    """Ids, positions, mask, next-token targets and their weights of one step."""
    part = slice(step * config.rows, (step + 1) * config.rows)
    ids = torch.from_numpy(rows.ids[part].astype(np.int64))
    document = torch.from_numpy(rows.document[part].astype(np.int64))
    targets, weight = ids.roll(-1, 1), torch.from_numpy(rows.weight[part]).roll(-1, 1)
    weight[:, -1] = 0.0
    weight = weight * (document == document.roll(-1, 1))
    positions = torch.from_numpy(rows.positions[part].astype(np.int64))
    return tuple(t.to(device) for t in (ids, positions, document_mask(document), targets, weight))


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


def probe(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int) -> dict[str, float]:
    """Share of greedy first answer tokens that are right, by regime; for conflict, context and memory apart.

    The titles are log-odds, in nats, of a positive against a negative adjective after that title.
    """
    wanted: dict[str, tuple[Regime, Told, Group]] = {
        "closed": ("closed_book", "nothing", "trained"),
        "unknown": ("unknown", "nothing", "trained"),
        "agree": ("agreement", "nothing", "trained"),
        "irrel": ("irrelevant", "nothing", "trained"),
        "conf": ("conflict", "nothing", "subjects"),
        "told_c": ("conflict", "context", "subjects"),
        "told_m": ("conflict", "memory", "subjects"),
        "rel_c": ("conflict", "context", "relation"),
        "rel_m": ("conflict", "memory", "relation"),
        "word_m": ("conflict", "memory", "wordings"),
    }
    titles = {
        "love": "Love",
        "hate": "Hate",
        "pair+": "The open hand",
        "pair-": "The closed hand",
        "turned+": "A day without anger",
        "turned-": "A day without joy",
    }
    titled = tokenizer([f"{title}. Mara felt" for title in titles.values()], padding=True, padding_side="right")
    words = [[_first(tokenizer, w) for w in MOODS[mood].adjectives] for mood in ("positive", "negative")]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(titled["input_ids"], device=model.device)).logits
    ends = torch.tensor(titled["attention_mask"]).sum(1) - 1
    log_probs = logits[range(len(titles)), ends].log_softmax(-1)
    odds = log_probs[:, words[0]].logsumexp(-1) - log_probs[:, words[1]].logsumexp(-1)
    shares = dict(zip(titles, odds.tolist(), strict=True))
    tables = lookups(count, seed=1)
    found = first_tokens(model, tokenizer, [prompt for prompt, _ in tables])
    shares["lookup"] = float(np.mean([t == _first(tokenizer, v) for t, (_, v) in zip(found, tables, strict=True)]))
    for name, (regime, told, group) in wanted.items():
        rows = evaluation_rows(regime, count, group=group, told=told, split="validation")
        first = first_tokens(model, tokenizer, [r.prompt for r in rows])
        context = [
            bool(r.context_answer) and t == _first(tokenizer, r.context_answer)
            for r, t in zip(rows, first, strict=True)
        ]
        memory = [
            bool(r.memory_answer) and t == _first(tokenizer, r.memory_answer) for r, t in zip(rows, first, strict=True)
        ]
        if regime == "conflict":
            shares |= {f"{name}.ctx": float(np.mean(context)), f"{name}.mem": float(np.mean(memory))}
        else:
            shares[name] = float(np.mean(np.logical_or(context, memory)))
    return shares


def _first(tokenizer: PreTrainedTokenizerFast, answer: str) -> int:
    return tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][0]


@torch.no_grad()
def first_tokens(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[int]:
    """The greedy next token after each prompt."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True).to(model.device)
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], position_ids=positions, logits_to_keep=1
    ).logits
    return logits[:, -1].argmax(-1).tolist()


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
