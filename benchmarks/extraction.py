"""(d) A vector at every layer from contrast pairs, against the peers' ways, which must point the same way."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.peers import import_repeng
from benchmarks.subjects import SENTENCES, Subject
from benchmarks.timing import interleaved, times_table
from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_post

OURS = "ours"
Rows = dict[int, Tensor]  # the mean difference of what leaves each block


def pairs_of(n: int) -> list[ContrastPair]:
    """`n` different pairs of sentences of unequal length."""
    subjects = [f"{s} {t.lower()}" for s in SENTENCES for t in SENTENCES]
    ends = (" and it was wonderful", " and it was terrible")
    return [
        ContrastPair(*(f"{subjects[i % len(subjects)]} {i // len(subjects)}{end}" for end in ends)) for i in range(n)
    ]


def report(subject: Subject, *, n_pairs: int = 64, batch: int = 32, rounds: int = 3) -> str:
    """The table; cosines are the least over layers, against ours."""
    pairs, found = pairs_of(n_pairs), dict[str, Rows]()
    missing: dict[str, str] = {}
    last = subject.model.n_layers - 1
    sites = [resid_post(layer) for layer in range(last)]  # what transformers calls the last hidden state is normed

    def ours() -> Rows:
        vectors = mean_difference_vectors(subject.model, pairs, sites, batch_size=batch)
        return {site.layer: vector.rows[0] for site, vector in vectors.items()}

    ways: dict[str, Callable[[], Rows]] = {
        OURS: ours,
        f"plain Hugging Face, batch {batch}": lambda: hidden_states(subject, pairs, batch),
        "steering-vectors as it comes, batch 1": lambda: _steering_vectors(subject, pairs, last, 1),
        f"steering-vectors, batch {batch}": lambda: _steering_vectors(subject, pairs, last, batch),
        f"repeng's reading, batch {batch}": lambda: _repeng(subject, pairs, last, batch),
    }

    def keeping(name: str) -> Callable[[], None]:
        def call() -> None:
            found[name] = ways[name]()

        return call

    for name in list(ways):
        try:
            keeping(name)()
        except Exception as error:  # a package that is not here, or was written for other versions
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            del ways[name]
    times = interleaved({name: keeping(name) for name in ways}, rounds)
    cosine = {name: f"{_least_cosine(rows, found[OURS]):.6f}" for name, rows in found.items()}
    title = f"(d) {n_pairs} pairs, last token, what leaves {last} blocks ({subject.model.name})"
    said = times_table(title, times, OURS, {"least cosine": cosine})
    return said + "".join(f"  {name} did not run: {why}\n" for name, why in missing.items())


@torch.no_grad()
def hidden_states(subject: Subject, pairs: list[ContrastPair], batch: int) -> Rows:
    """Mean differences from `output_hidden_states`, last column of left-padded batches."""
    means = []
    for texts in ([p.positive for p in pairs], [p.negative for p in pairs]):
        total: Tensor | None = None
        for start in range(0, len(texts), batch):
            read = subject.tokenizer(texts[start : start + batch], return_tensors="pt", padding=True)
            read = {k: read[k].to(subject.model.device) for k in ("input_ids", "attention_mask")}
            states = subject.plain(**read, output_hidden_states=True, use_cache=False).hidden_states
            part = torch.stack([state[:, -1].float().sum(dim=0) for state in states[1:-1]])
            total = part if total is None else total + part
        means.append(total / len(texts))  # type: ignore[operator]
    return dict(enumerate(means[0] - means[1]))


def _steering_vectors(subject: Subject, pairs: list[ContrastPair], last: int, batch: int) -> Rows:
    from steering_vectors import train_steering_vector

    texts = [(p.positive, p.negative) for p in pairs]
    layers = list(range(last))
    made = train_steering_vector(subject.plain, subject.tokenizer, texts, layers=layers, batch_size=batch)
    return dict(made.layer_activations)


def _repeng(subject: Subject, pairs: list[ContrastPair], last: int, batch: int) -> Rows:
    """The hidden states as repeng reads them, and their mean difference: it makes principal components of them."""
    repeng = import_repeng()
    from repeng import extract

    assert repeng is not None
    progress, extract.tqdm.tqdm = extract.tqdm.tqdm, lambda x, **_: x
    try:
        texts = [text for p in pairs for text in (p.positive, p.negative)]
        read = extract.batched_get_hiddens(subject.plain, subject.tokenizer, texts, list(range(last)), batch)
    finally:
        extract.tqdm.tqdm = progress
    return {layer: torch.from_numpy((rows[::2] - rows[1::2]).mean(axis=0)) for layer, rows in read.items()}


def _least_cosine(rows: Rows, ours: Rows) -> float:
    return min(
        float(torch.nn.functional.cosine_similarity(rows[layer].float().cpu(), ours[layer].float().cpu(), dim=0))
        for layer in ours
    )
