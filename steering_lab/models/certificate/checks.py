"""The checks of a certificate, each a function of one bench that gives one line.

Differences are relative: the largest absolute difference over the largest absolute value of what it is compared with,
at that site or of those logits. Prompts are short and few, so that a model of seven billion parameters can be checked.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from steering_lab.models.block_outputs import block_outputs
from steering_lab.models.certificate.bench import NAMES, NEW, TEXTS, Bench, Largest
from steering_lab.models.certificate.plain import plain_greedy, plain_pass
from steering_lab.models.certificate.value import Line, Verdict
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.scoring import continuation_log_probs
from steering_lab.models.tokens import ForwardPass


def prefix(bench: Bench) -> Line:
    """Whether a text's ids are its tokenizer's under the model's policy, and what stands in front as token strings."""
    model = bench.model
    ids, wanted = model.token_ids(TEXTS[1]), _listed(model.tokenizer(TEXTS[1]))
    if model.prefix != "tokenizer":
        bare = _listed(model.tokenizer(TEXTS[1], add_special_tokens=False))
        wanted = bare if model.prefix == "none" else [model.tokenizer.bos_token_id, *bare]
    front = " ".join(map(repr, model.token_strings(model.prefix_ids)))
    said = f"in front of a text: {front or 'nothing'} (prefix={model.prefix!r})"
    if outside := [i for i in ids if not 0 <= i < model.d_vocab]:
        said += f"; token {outside[0]} is outside the {model.d_vocab} rows of the embedding"
    verdict: Verdict = "ok" if ids == wanted and not outside else "wrong"
    return Line("prefix", "ids of a text against the tokenizer's", verdict, detail=said)


def chat(bench: Bench) -> Line:
    """Whether the ids of a chat are those of `apply_chat_template(tokenize=True)`."""
    model, compared = bench.model, "ids of a chat against apply_chat_template"
    if not getattr(model.tokenizer, "chat_template", None):
        return Line("chat", compared, "not applicable", detail="the tokenizer has no chat template")
    said = [{"role": "user", "content": TEXTS[1]}]
    ids = model.token_ids(model.chat_text(said))
    wanted = _listed(model.tokenizer.apply_chat_template(said, tokenize=True, add_generation_prompt=True))
    begins = " ".join(map(repr, model.token_strings(ids[:6])))
    return Line("chat", compared, "ok" if ids == wanted else "wrong", detail=f"begins with {begins}")


def _listed(encoded: Any) -> list[int]:
    """The ids, whether they come alone or in a mapping."""
    return list(encoded["input_ids"] if hasattr(encoded, "keys") else encoded)


def stream(bench: Bench) -> Line:
    """resid_pre and resid_post of every block against what enters and leaves Hugging Face's blocks."""
    worst, model = Largest(), bench.model
    sites = [site for layer in range(model.n_layers) for site in (resid_pre(layer), resid_post(layer))]
    for row, reference in zip(bench.rows, bench.plain_passes, strict=True):
        found = bench.residuals(row, sites)
        for site in sites:
            worst.take(found[site], reference.stream[site], str(site))
    return worst.line("stream", f"{len(sites)} sites against plain Hugging Face", bench.allowed)


def logits(bench: Bench) -> Line:
    """The model's output against plain Hugging Face's."""
    worst = Largest()
    for name, ours, reference in zip(NAMES, bench.singles, bench.plain_passes, strict=True):
        worst.take(ours, reference.logits, name)
    return worst.line("logits", "against plain Hugging Face", bench.allowed)


def steered(bench: Bench) -> Line:
    """Logits with a random vector added in a middle block's stream, half as long as the stream, against torch hooks."""
    worst, model, row = Largest(), bench.model, bench.rows[1]
    effect = float("inf")
    layer = model.n_layers // 2
    for site in (resid_pre(layer), resid_post(layer)):
        length = 0.5 * float(bench.plain_passes[1].stream[site].float().norm(dim=-1).median())
        delta = torch.randn(model.d_model, generator=torch.Generator().manual_seed(site.layer))
        delta = (length * delta / delta.norm()).to(model.device, model.dtype)
        with model.hooks({site: _adding(delta)}):
            ours = bench.logits(row)
        reference = plain_pass(model, bench.plain, bench.ids(row), (site, partial(torch.add, delta)))
        worst.take(ours, reference.logits, f"a vector at {site}")
        moved = (reference.logits - bench.plain_passes[1].logits).abs().max() / bench.plain_passes[1].logits.abs().max()
        effect = min(effect, float(moved))
    line = worst.line("steered", "logits under an added vector against plain Hugging Face", bench.allowed)
    moved_by = f"the vectors moved the logits by {effect:.2g} or more"
    return replace(line, detail=f"{line.detail}; {moved_by}" if line.detail else moved_by)


def runtimes(bench: Bench) -> Line:
    """The plain runtime against TransformerLens: logits of a padded batch, as it is and with a vector in mid-stream."""
    worst, model, compared = Largest(), bench.model, "plain runtime against TransformerLens's, as it is and steered"
    if model.plain is None:
        return Line("runtimes", compared, "refused", detail=model.refused.get("plain runtime", "no plain modules"))
    site, tokens = resid_pre(model.n_layers // 2), model.pad(bench.rows)
    length = 0.5 * float(bench.residuals(bench.rows[1], [site])[site].float().norm(dim=-1).median())
    delta = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    delta = (length * delta / delta.norm()).to(model.device, model.dtype)
    for name, edits in (("as it is", {}), (f"a vector at {site}", {site: _adding(delta)})):
        said = []
        for runtime in ("plain", "hooked"):
            with torch.no_grad(), model.hooks(edits), model.running(runtime):  # type: ignore[arg-type]
                said.append(model.logits(tokens)[tokens.mask])
        worst.take(said[0], said[1], name)
    line = worst.line("runtimes", compared, bench.allowed)
    return replace(line, detail=f"{line.detail}; attention {model.plain.attention!r}")


def batch(bench: Bench) -> Line:
    """Each row of a left-padded batch against the same text on its own."""
    worst, tokens = Largest(), bench.model.pad(bench.rows)
    with torch.no_grad():
        together = bench.model.logits(tokens)
    for name, mask, row, single in zip(NAMES, tokens.mask, together, bench.singles, strict=True):
        worst.take(row[mask][None], single, name)
    return worst.line("batch", "rows of a padded batch against singles", bench.allowed)


def cached(bench: Bench) -> Line:
    """Log-probabilities along the decoded tokens: with the KV cache and in a batch, against whole passes of singles."""
    worst, model = Largest(), bench.model
    out = generate(model, model.pad(bench.rows), max_new_tokens=NEW, ignore_eos=True, log_probs=True)
    assert out.log_probs is not None
    for name, row, tokens, found in zip(NAMES, bench.rows, out.tokens, out.log_probs, strict=True):
        whole = continuation_log_probs(model, [row], [tokens])[0]
        worst.take(torch.tensor(found), torch.tensor(whole), f"{name}, in nats")
    return worst.line("cached", f"log-probabilities of {NEW} steps with and without KV cache", bench.allowed)


def greedy(bench: Bench) -> Line:
    """The greedy continuation against Hugging Face's `generate`; where they part, whether rounding decides."""
    compared, notes = f"{NEW} tokens against Hugging Face's generate", list[str]()
    for name, row, ours in zip(NAMES, bench.rows, bench.greedy, strict=True):
        theirs = plain_greedy(bench.plain, bench.ids(row), NEW)
        if ours == theirs:
            continue
        if ours == plain_greedy(bench.plain, bench.ids(row), NEW, use_cache=False):
            notes.append(f"{name} is generate's without a cache: with one, Hugging Face leaves its own whole passes")
            continue
        step = next(i for i in range(NEW) if ours[i : i + 1] != theirs[i : i + 1])
        last = plain_pass(bench.model, bench.plain, bench.ids(row + ours[:step])).logits[0, -1].float()
        margin = float((last[theirs[step]] - last[ours[step]]).abs() / last.abs().max())
        said = f"{name} differs at token {step}, where the two candidates' logits lie {margin:.2g} apart"
        verdict: Verdict = "ok" if margin <= bench.allowed else "wrong"
        return Line("greedy", compared, verdict, margin, bench.allowed, said)
    read = bench.model.tokenizer.decode(bench.greedy[1])
    return Line("greedy", compared, "ok", detail="; ".join([f"{TEXTS[1]!r} -> {read!r}", *notes]))


def lens(bench: Bench) -> Line:
    """What the logit lens reads off the last site against the model's output."""
    worst, model = Largest(), bench.model
    last = resid_post(model.n_layers - 1)
    for name, row, single in zip(NAMES, bench.rows, bench.singles, strict=True):
        with torch.no_grad():
            read = model.unembed(bench.residuals(row, [last])[last])
        worst.take(read, single, name)
    return worst.line("lens", f"logit lens of {last} against the output", bench.allowed)


def decomposition(bench: Bench) -> Line:
    """Whether attention and MLP of each block sum to what the block adds to the stream."""
    worst, model = Largest(), bench.model
    with torch.no_grad():
        for layer, block in block_outputs(model, model.pad([bench.rows[1]])).items():
            whole = block.resid_pre + block.attention + block.mlp
            worst.take(whole, block.resid_post, f"block {layer}")
    return worst.line("decomposition", "stream + attention + MLP against the next stream", bench.allowed)


def _adding(delta: Float[Tensor, " d_model"]) -> Callable[[Tensor, ForwardPass], Tensor]:
    return lambda resid, told: resid + delta


AGAINST_PLAIN = {"stream": stream, "logits": logits, "steered": steered, "greedy": greedy}
ALONE = {
    "prefix": prefix, "chat": chat, "batch": batch, "runtimes": runtimes, "cached": cached, "lens": lens,
    "decomposition": decomposition,
}  # fmt: skip
ORDER = (
    "prefix", "chat", "stream", "logits", "steered", "runtimes", "batch", "cached", "greedy", "lens", "decomposition"
)  # fmt: skip
OF_THE_REFERENCE = ("stream", "logits", "steered", "lens", "decomposition")  # measured on TransformerLens itself


def all_lines(bench: Bench) -> Iterator[Line]:
    """One line a check; what raises is a line too."""
    for check in ORDER:
        if check in AGAINST_PLAIN and bench.plain is None:
            yield Line(check, "against plain Hugging Face", "not applicable", detail=bench.without)
            continue
        try:
            with bench.model.running("hooked") if check in OF_THE_REFERENCE else nullcontext():
                line = (AGAINST_PLAIN | ALONE)[check](bench)
            yield line
        except Exception as error:
            yield _raised(check, error)


def _raised(check: str, error: Exception) -> Line:
    """A refusal in a sentence of ours is refused; anything from deeper inside is wrong."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    ours = isinstance(error, ValueError) and module.startswith("steering_lab.")
    text = shorten(str(error), 400, placeholder=" ...")
    return Line(check, "", "refused" if ours else "wrong", detail=text if ours else f"{type(error).__name__}: {text}")
