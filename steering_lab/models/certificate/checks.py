"""The checks of a certificate, each a function of one bench that gives one line.

Differences are relative: the largest absolute difference over the largest absolute value of what it is compared with,
at that site or of those logits. Prompts are short and few, so that a model of seven billion parameters can be checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.block_outputs import block_outputs
from steering_lab.models.certificate.plain import PlainPass, plain_blocks, plain_greedy, plain_pass
from steering_lab.models.certificate.value import Line
from steering_lab.models.generation import continuation_log_probs, generate
from steering_lab.models.hook_points import HookSite, resid_post, resid_pre
from steering_lab.models.hooked_model import ForwardPass, HookedModel, Tokens

TEXTS = (
    "Love and",
    "The capital of France is",
    "To be or not to be, that is the question: whether it is nobler in the mind to suffer",
)
NEW = 8


@dataclass(frozen=True, eq=False)
class Bench:
    """A model on which checks are made, plain Hugging Face beside it, and why there is none where there is none."""

    model: HookedModel
    plain: Any
    without: str = ""

    @cached_property
    def rows(self) -> list[list[int]]:
        """Ids of the texts with the model's own prefix, of unequal length, cut so that a continuation has room."""
        room = self.model.n_ctx - NEW
        return [self.model.token_ids(text)[:room] for text in TEXTS]

    @cached_property
    def singles(self) -> list[Float[Tensor, "1 pos d_vocab"]]:
        """The model's logits for each text on its own."""
        return [self.logits(row) for row in self.rows]

    @cached_property
    def plain_passes(self) -> list[PlainPass]:
        """Plain Hugging Face's stream and logits for each text on its own."""
        return [plain_pass(self.model, self.plain, self.ids(row)) for row in self.rows]

    @cached_property
    def greedy(self) -> list[list[int]]:
        """The ids with which `generate` continues each text, one batch of unequal lengths, with the KV cache."""
        return generate(self.model, self.model.pad(self.rows), max_new_tokens=NEW, ignore_eos=True).tokens

    def ids(self, row: list[int]) -> Tensor:
        return torch.tensor([row], device=self.model.device)

    @torch.no_grad()
    def logits(self, row: list[int]) -> Float[Tensor, "1 pos d_vocab"]:
        return self.model.logits(self.model.pad([row]))

    @property
    def allowed(self) -> float:
        return tolerance(self.model)


def tolerance(model: HookedModel) -> float:
    """The relative difference that rounding explains.

    1e-4 in float32 and float64: a hundred times what is seen, a hundredth of what a wrong tensor makes. In half
    precision both ways round each of the 2 x n_layers additions to the stream, in different order: 4 x eps x
    sqrt(2 x n_layers), eps = 2^-7 for bfloat16, 2^-10 for float16.
    """
    if model.dtype in (torch.float32, torch.float64):
        return 1e-4
    return 4 * torch.finfo(model.dtype).eps * sqrt(2 * model.n_layers)


class _Largest:
    """The largest relative difference among many, and where it was."""

    def __init__(self) -> None:
        self.value, self.detail = 0.0, ""

    def take(self, got: Tensor, wanted: Tensor, where: str) -> None:
        if got.shape != wanted.shape:
            self.value, self.detail = float("inf"), f"{where}: shape {tuple(got.shape)} against {tuple(wanted.shape)}"
            return
        gap = float((got.float() - wanted.float()).abs().max())
        relative = gap / max(float(wanted.float().abs().max()), 1e-30)
        if not relative <= self.value:  # NaN counts as the largest
            self.value, self.detail = relative, f"{where}: {gap:.2g} absolute"

    def line(self, check: str, compared: str, allowed: float) -> Line:
        return Line(check, compared, "ok" if self.value <= allowed else "wrong", self.value, allowed, self.detail)


def prefix(bench: Bench) -> Line:
    """Whether the ids of a text are those its tokenizer gives, and what stands in front as token strings."""
    model, policy = bench.model, getattr(bench.model, "prefix", "bos")
    bare = list(model.tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"])
    ids = model.token_ids(TEXTS[0])
    front = ids[: len(ids) - len(bare)]
    shown = f"policy {policy!r}, in front of a text: {' '.join(map(repr, model.token_strings(front))) or 'nothing'}"
    wanted = list(model.tokenizer(TEXTS[0])["input_ids"])
    if policy == "bos":
        wanted = bare if model.bos_token_id is None else [model.bos_token_id, *bare]
    inside = all(0 <= i < model.d_vocab for i in (*ids, model.pad_token_id))
    if not inside:
        shown += f"; a token or the pad token {model.pad_token_id} is outside the {model.d_vocab} rows of the embedding"
    return Line("prefix", "ids against the tokenizer's", "ok" if ids == wanted and inside else "wrong", detail=shown)


def stream(bench: Bench) -> Line:
    """resid_pre and resid_post of every block against what enters and leaves Hugging Face's blocks."""
    worst, model = _Largest(), bench.model
    sites = [site for layer in range(model.n_layers) for site in (resid_pre(layer), resid_post(layer))]
    for row, reference in zip(bench.rows, bench.plain_passes, strict=True):
        found = _residuals(model, model.pad([row]), sites)
        for site in sites:
            worst.take(found[site], reference.stream[site], str(site))
    return worst.line("stream", f"{len(sites)} sites against plain Hugging Face", bench.allowed)


def logits(bench: Bench) -> Line:
    """The model's output against plain Hugging Face's."""
    worst = _Largest()
    for text, ours, reference in zip(TEXTS, bench.singles, bench.plain_passes, strict=True):
        worst.take(ours, reference.logits, repr(text))
    return worst.line("logits", "against plain Hugging Face", bench.allowed)


def steered(bench: Bench) -> Line:
    """Logits with a random vector added in a middle block's stream, half as long as the stream, against torch hooks."""
    worst, model, row = _Largest(), bench.model, bench.rows[1]
    effect = float("inf")
    layer = model.n_layers // 2
    for site in (resid_pre(layer), resid_post(layer)):
        length = 0.5 * float(bench.plain_passes[1].stream[site].float().norm(dim=-1).median())
        delta = torch.randn(model.d_model, generator=torch.Generator().manual_seed(site.layer))
        delta = (length * delta / delta.norm()).to(model.device, model.dtype)
        with model.hooks({site: _adding(delta)}):
            ours = bench.logits(row)
        reference = plain_pass(model, bench.plain, bench.ids(row), (site, lambda resid, d=delta: resid + d))
        worst.take(ours, reference.logits, f"a vector at {site}")
        moved = (reference.logits - bench.plain_passes[1].logits).abs().max() / bench.plain_passes[1].logits.abs().max()
        effect = min(effect, float(moved))
    line = worst.line("steered", "logits under an added vector against plain Hugging Face", bench.allowed)
    seen = f"{line.detail}; the vector moved the logits by {effect:.2g}"
    return Line(line.check, line.compared, line.verdict, line.value, line.allowed, seen)


def batch(bench: Bench) -> Line:
    """Each row of a left-padded batch against the same text on its own."""
    worst, tokens = _Largest(), bench.model.pad(bench.rows)
    with torch.no_grad():
        together = bench.model.logits(tokens)
    for text, mask, row, single in zip(TEXTS, tokens.mask, together, bench.singles, strict=True):
        worst.take(row[mask][None], single, repr(text))
    return worst.line("batch", "rows of a padded batch against singles", bench.allowed)


def cached(bench: Bench) -> Line:
    """Log-probabilities along the decoded tokens: with the KV cache and in a batch, against whole passes of singles."""
    worst, model = _Largest(), bench.model
    out = generate(model, model.pad(bench.rows), max_new_tokens=NEW, ignore_eos=True, log_probs=True)
    assert out.log_probs is not None
    for text, row, tokens, found in zip(TEXTS, bench.rows, out.tokens, out.log_probs, strict=True):
        whole = continuation_log_probs(model, [row], [tokens])[0]
        worst.take(torch.tensor(found), torch.tensor(whole), f"{text!r}, in nats")
    return worst.line("cached", f"log-probabilities of {NEW} steps with and without KV cache", bench.allowed)


def greedy(bench: Bench) -> Line:
    """The greedy continuation against Hugging Face's `generate`; where they part, whether rounding decides."""
    equal = [plain_greedy(bench.plain, bench.ids(row), NEW) for row in bench.rows]
    for text, row, ours, theirs in zip(TEXTS, bench.rows, bench.greedy, equal, strict=True):
        if ours != theirs:
            step = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
            last = plain_pass(bench.model, bench.plain, bench.ids(row + ours[:step])).logits[0, -1].float()
            margin = float((last[theirs[step]] - last[ours[step]]).abs() / last.abs().max())
            said = f"{text!r} differs at step {step}, where the two tokens' logits lie {margin:.2g} apart"
            verdict = "ok" if margin <= bench.allowed else "wrong"
            return Line("greedy", f"{NEW} tokens against Hugging Face's generate", verdict, margin, bench.allowed, said)  # type: ignore[arg-type]
    read = repr(bench.model.tokenizer.decode(bench.greedy[0]))
    return Line("greedy", f"{NEW} tokens against Hugging Face's generate", "ok", detail=f"{TEXTS[0]!r} {read}")


def lens(bench: Bench) -> Line:
    """What the logit lens reads off the last site against the model's output."""
    worst, model = _Largest(), bench.model
    last = resid_post(model.n_layers - 1)
    for text, row, single in zip(TEXTS, bench.rows, bench.singles, strict=True):
        with torch.no_grad():
            read = model.unembed(_residuals(model, model.pad([row]), [last])[last])
        worst.take(read, single, repr(text))
    return worst.line("lens", f"logit lens of {last} against the output", bench.allowed)


def decomposition(bench: Bench) -> Line:
    """Whether attention and MLP of each block sum to what the block adds to the stream."""
    worst, model = _Largest(), bench.model
    with torch.no_grad():
        for layer, block in block_outputs(model, model.pad([bench.rows[1]])).items():
            whole = block.resid_pre + block.attention + block.mlp
            worst.take(whole, block.resid_post, f"block {layer}")
    return worst.line("decomposition", "stream + attention + MLP against the next stream", bench.allowed)


def _adding(delta: Float[Tensor, " d_model"]) -> Callable[[Tensor, ForwardPass], Tensor]:
    return lambda resid, told: resid + delta


@torch.no_grad()
def _residuals(model: HookedModel, tokens: Tokens, sites: list[HookSite]) -> dict[HookSite, Tensor]:
    return model.residuals(tokens, sites)


AGAINST_PLAIN = {"stream": stream, "logits": logits, "steered": steered, "greedy": greedy}
ALONE = {"prefix": prefix, "batch": batch, "cached": cached, "lens": lens, "decomposition": decomposition}
ORDER = ("prefix", "stream", "logits", "steered", "batch", "cached", "greedy", "lens", "decomposition")


def all_lines(bench: Bench) -> Iterator[Line]:
    """One line a check; what raises is a line too."""
    for check in ORDER:
        if check in AGAINST_PLAIN and bench.plain is None:
            yield Line(check, "against plain Hugging Face", "not applicable", detail=bench.without)
            continue
        try:
            yield (AGAINST_PLAIN | ALONE)[check](bench)
        except Exception as error:  # noqa: BLE001, whatever a model raises is what the certificate is to say
            yield _raised(check, error)


def _raised(check: str, error: Exception) -> Line:
    """A refusal in a sentence of ours is refused; anything from deeper inside is wrong."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    ours = isinstance(error, ValueError) and module.startswith("steering_lab.")
    text = " ".join(str(error).split())
    return Line(check, "", "refused" if ours else "wrong", detail=text if ours else f"{type(error).__name__}: {text}")
