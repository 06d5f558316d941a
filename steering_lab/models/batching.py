"""Which rows of a batch may share a forward pass, and whether a KV cache may stand for the tokens before.

The truth is a row alone, read whole in one uncached pass. For most models neither rows beside it, nor padding in front,
nor a cache changes that. For four kinds they do:

- Layers that read padding (RecurrentGemma's recurrence): rows of equal length run together, unpadded.
- Caches that do not hold the whole past: decoding reads each row anew for every token.
- Rotary frequencies that depend on the longest sequence in view ("longrope": one set up to the length of pretraining,
  another beyond it; "dynamic": beyond it, one set for every length). Hugging Face applies the longest row's to all, and
  leaves a cache with the frequencies it was made with. Here rows on different sets never share a pass, and a row whose
  set changes while it grows is read anew.
- Attention to a selection of the tokens (GLM-5's indexer, `index_topk`): beyond that many tokens the selection counts
  padding and tokens still to come, and a cached step selects otherwise. Rows of different lengths run apart there, and
  every token anew.

The first two are measured. The others begin at a length that no short check reaches: they are read from the rotary
modules, by the same field that switches them there, and from the config.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from steering_lab.models.hooked_model import HookedModel
    from steering_lab.models.tokens import Tokens


@dataclass(frozen=True)
class LengthDependence:
    """What depends on the length of the longest sequence in view; mostly nothing.

    `rotary` are modules whose frequencies do, `selected` is the number of tokens beyond which attention selects some.
    """

    rotary: tuple[Any, ...] = ()
    selected: int | None = None

    @classmethod
    def of(cls, backend: Any) -> "LengthDependence":
        """That of the model `backend`: by the `rope_type` that Hugging Face's own update goes by, and by its config."""
        config = getattr(getattr(backend, "original_model", backend), "config", None)
        selected = None if config is None else getattr(config.get_text_config(), "index_topk", None)
        return cls(tuple(module for module in backend.modules() if _kinds(module)), selected)

    def __bool__(self) -> bool:
        return bool(self.rotary) or self.selected is not None

    def regime(self, length: int) -> Hashable:
        """The same value for every `length`, in tokens, between which nothing changes."""
        frequencies = [
            length > limit if kind == "longrope" else max(length, limit)
            for module in self.rotary
            for kind, limit in _kinds(module)
        ]
        return (*frequencies, 0 if self.selected is None else max(length, self.selected))

    def forget(self) -> None:
        """Every module as it was made: "dynamic" ones keep the frequencies of the longest sequence they ever read."""
        for module in self.rotary:
            for prefix in _prefixes(module):
                if hasattr(module, f"{prefix}max_seq_len_cached"):
                    setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
                getattr(module, f"{prefix}inv_freq").copy_(getattr(module, f"{prefix}original_inv_freq"))


def _kinds(module: Any) -> list[tuple[str, int]]:
    """Each length-dependent kind of a rotary module, and the length from which on it differs."""
    rope_type = getattr(module, "rope_type", None)
    per_layer = rope_type if isinstance(rope_type, dict) else {None: rope_type}
    found = []
    for layer_type, kind in per_layer.items():
        if kind == "longrope":
            settings = module.config.rope_parameters
            settings = settings if layer_type is None else settings[layer_type]
            found.append(("longrope", int(settings["original_max_position_embeddings"])))
        elif isinstance(kind, str) and "dynamic" in kind:
            found.append(("dynamic", int(module.original_max_seq_len)))
    return found


def _prefixes(module: Any) -> list[str]:
    return [f"{layer_type}_" for layer_type in module.rope_type] if isinstance(module.rope_type, dict) else [""]


@dataclass(frozen=True)
class Batching:
    """What holds for one model: whether padded rows equal their singles, and cached decoding the uncached.

    Args:
        pads: Whether rows of different lengths may share a pass.
        caches: Whether a KV cache may be used.
        interleaves: Whether two caches may be used in turn.
        lengths: How a row's logits depend on the length of the batch.
    """

    pads: bool = True
    caches: bool = True
    interleaves: bool = True
    lengths: LengthDependence = LengthDependence()

    def widened(self, lengths: LengthDependence) -> "Batching":
        """The same with the `lengths` of a model that has frequencies of its own over the same weights."""
        return replace(self, lengths=replace(self.lengths, rotary=self.lengths.rotary + lengths.rotary))

    @property
    def free(self) -> bool:
        """Whether any rows may share a pass."""
        return self.pads and not self.lengths

    def kind(self, length: int, new_tokens: int = 0) -> Hashable:
        """Rows of a `length` and of one kind may share a pass, and the passes of `new_tokens` more tokens each."""
        first, last = self.lengths.regime(length), self.lengths.regime(length + new_tokens)
        together = self.pads and first == last
        return first, None if together else length

    def groups(self, kinds: Sequence[Hashable]) -> list[list[int]]:
        """The rows of each of `kinds`, which has one entry a row, in the order of their first row."""
        found: dict[Hashable, list[int]] = {}
        for row, kind in enumerate(kinds):
            found.setdefault(kind, []).append(row)
        return list(found.values())

    def spans(self, length: int, n_steps: int) -> list[tuple[int, int]]:
        """Steps [first, last) of `n_steps` that one pass may read: step t is what follows `length` + t tokens."""
        edges = [t for t in range(1, n_steps) if not self.same(length + t - 1, length + t)]
        return list(zip([0, *edges], [*edges, n_steps], strict=True))

    def same(self, length: int, other: int) -> bool:
        """Whether what a cache holds of a sequence of one length serves the other too."""
        return self.lengths.regime(length) == self.lengths.regime(other)


@torch.no_grad()
def measured_batching(
    model: "HookedModel", ids: Int[Tensor, "1 pos"], logits: Float[Tensor, "1 pos d_vocab"], tolerance: float
) -> Batching:
    """Whether a short row padded beside `ids`, and a cache, leave the logits as they are for a row alone.

    `logits` are those of `ids` alone, by whose beginning the short row is known too. The padded pair and the row alone
    are read in turn with a cache each, the last token by itself; only where that differs, each is tried apart.

    Args:
        model: The model.
        ids: Ids of the tokens that are read.
        logits: Those of `ids` alone.
        tolerance: The largest gap allowed, relative to the largest logit.
    """
    lengths = LengthDependence.of(model.backend)
    row = ids[0].tolist()
    short = row[: len(row) // 2 + 1]
    pair, alone, other = model.pad([row, short]), model.pad([row]), model.pad([short])

    def holds(*batches: "Tokens", cached: bool = True) -> bool:
        try:
            read = read_in_turn(model, batches) if cached else [model.logits(tokens) for tokens in batches]
        except Exception:  # whatever a cache of the wrong kind runs into, it is no cache for this model
            return False
        return all(_apart(got, tokens, logits) <= tolerance for got, tokens in zip(read, batches, strict=True))

    if holds(pair, alone):
        return Batching(lengths=lengths)
    pads, caches, interleaves = holds(pair, cached=False), holds(alone), holds(alone, other)
    if pads and caches and interleaves:  # each by itself and not together: it is the padding that goes
        pads = False
    return Batching(pads, caches, interleaves, lengths)


def read_in_turn(model: "HookedModel", batches: Sequence["Tokens"]) -> list[Float[Tensor, "batch pos d_vocab"]]:
    """The logits of `model` for `batches`: all are read with a cache up to the last token, then each to its end."""
    caches = [model.new_cache(len(tokens)) for tokens in batches]
    read: list[list[Tensor]] = [[] for _ in batches]
    for new in (slice(None, -1), slice(-1, None)):
        for tokens, cache, parts in zip(batches, caches, read, strict=True):
            forward_pass = model.whole_pass(tokens)
            step = replace(forward_pass, positions=forward_pass.positions[:, new], decoding=new.start is not None)
            parts.append(model.forward(tokens.ids[:, new], tokens.mask[:, : new.stop], step, cache))
    return [torch.cat(parts, dim=1) for parts in read]


def _apart(got: Tensor, tokens: "Tokens", logits: Tensor) -> float:
    """The largest difference from `logits` where each row has tokens, relative to their size."""
    wanted = torch.zeros_like(got)
    for i, length in enumerate(tokens.mask.sum(dim=1).tolist()):
        wanted[i, -length:] = logits[0, :length]
    apart = (got.float() - wanted.float())[tokens.mask].abs().max()
    return float(apart) / max(1.0, float(logits.float().abs().max()))
