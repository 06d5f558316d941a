"""The checks of a certificate, each a function of one setup that gives one line.

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
from steering_lab.models.certificate.plain import plain_greedy, plain_pass
from steering_lab.models.certificate.setup import NAMES, NEW, TEXTS, CheckSetup, Largest
from steering_lab.models.certificate.value import CheckLine, Outcome
from steering_lab.models.generation import generate
from steering_lab.models.hook_points import resid_post, resid_pre
from steering_lab.models.scoring import continuation_log_probs
from steering_lab.models.tokens import ForwardPass


def prefix(setup: CheckSetup) -> CheckLine:
    """Whether a text's ids in `setup` are its tokenizer's under the model's policy, and the tokens in front."""
    model = setup.model
    ids, wanted = model.token_ids(TEXTS[1]), _listed(model.tokenizer(TEXTS[1]))
    if model.prefix != "tokenizer":
        bare = _listed(model.tokenizer(TEXTS[1], add_special_tokens=False))
        mark = model.tokenizer.bos_token if model.prefix == "bos" else model.prefix
        wanted = bare if model.prefix == "none" else [model.tokenizer.convert_tokens_to_ids(mark), *bare]
    front = " ".join(map(repr, model.token_strings(model.prefix_ids)))
    said = f"in front of a text: {front or 'nothing'} (prefix={model.prefix!r})"
    if outside := [i for i in ids if not 0 <= i < model.d_vocab]:
        said += f"; token {outside[0]} is outside the {model.d_vocab} rows of the embedding"
    verdict: Outcome = "ok" if ids == wanted and not outside else "wrong"
    return CheckLine("prefix", "ids of a text against the tokenizer's", verdict, detail=said)


def chat(setup: CheckSetup) -> CheckLine:
    """Whether the ids of a chat with the model of `setup` are those of `apply_chat_template(tokenize=True)`."""
    model, compared = setup.model, "ids of a chat against apply_chat_template"
    if not getattr(model.tokenizer, "chat_template", None):
        return CheckLine("chat", compared, "not applicable", detail="the tokenizer has no chat template")
    said = [{"role": "user", "content": TEXTS[1]}]
    ids = model.token_ids(model.chat_text(said))
    wanted = _listed(model.tokenizer.apply_chat_template(said, tokenize=True, add_generation_prompt=True))
    begins = " ".join(map(repr, model.token_strings(ids[:6])))
    return CheckLine("chat", compared, "ok" if ids == wanted else "wrong", detail=f"begins with {begins}")


def _listed(encoded: Any) -> list[int]:
    """The ids, whether they come alone or in a mapping."""
    return list(encoded["input_ids"] if hasattr(encoded, "keys") else encoded)


def stream(setup: CheckSetup) -> CheckLine:
    """resid_pre and resid_post of every block of `setup` against what enters and leaves Hugging Face's blocks."""
    worst, model = Largest(), setup.model
    sites = [site for layer in range(model.n_layers) for site in (resid_pre(layer), resid_post(layer))]
    for row, reference in zip(setup.rows, setup.plain_passes, strict=True):
        found = setup.residuals(row, sites)
        for site in sites:
            worst.take(found[site], reference.stream[site], str(site))
    return worst.line("stream", f"{len(sites)} sites against plain Hugging Face", setup.allowed)


def logits(setup: CheckSetup) -> CheckLine:
    """The output of the model of `setup` against plain Hugging Face's."""
    worst = Largest()
    for name, ours, reference in zip(NAMES, setup.singles, setup.plain_passes, strict=True):
        worst.take(ours, reference.logits, name)
    return worst.line("logits", "against plain Hugging Face", setup.allowed)


def steered(setup: CheckSetup) -> CheckLine:
    """Logits of `setup` with a random vector, half as long as the stream, in a middle block, against torch hooks."""
    worst, model, row = Largest(), setup.model, setup.rows[1]
    effect = float("inf")
    layer = model.n_layers // 2
    for site in (resid_pre(layer), resid_post(layer)):
        length = 0.5 * float(setup.plain_passes[1].stream[site].float().norm(dim=-1).median())
        delta = torch.randn(model.d_model, generator=torch.Generator().manual_seed(site.layer))
        delta = (length * delta / delta.norm()).to(model.device, model.dtype)
        with model.hooks({site: _adding(delta)}):
            ours = setup.logits(row)
        reference = plain_pass(model, setup.plain, setup.ids(row), (site, partial(torch.add, delta)))
        worst.take(ours, reference.logits, f"a vector at {site}")
        moved = (reference.logits - setup.plain_passes[1].logits).abs().max() / setup.plain_passes[1].logits.abs().max()
        effect = min(effect, float(moved))
    line = worst.line("steered", "logits under an added vector against plain Hugging Face", setup.allowed)
    moved_by = f"the vectors moved the logits by {effect:.2g} or more"
    return replace(line, detail=f"{line.detail}; {moved_by}" if line.detail else moved_by)


def runtimes(setup: CheckSetup) -> CheckLine:
    """The two runtimes of `setup`: logits of a padded batch, as it is and with a vector in mid-stream."""
    worst, model, compared = Largest(), setup.model, "plain runtime against TransformerLens's, as it is and steered"
    if model.plain is None:
        return CheckLine("runtimes", compared, "refused", detail=model.refused.get("plain runtime", "no plain modules"))
    site, tokens = resid_pre(model.n_layers // 2), model.pad(setup.rows)
    length = 0.5 * float(setup.residuals(setup.rows[1], [site])[site].float().norm(dim=-1).median())
    delta = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    delta = (length * delta / delta.norm()).to(model.device, model.dtype)
    for name, edits in (("as it is", {}), (f"a vector at {site}", {site: _adding(delta)})):
        said = []
        for runtime in ("plain", "hooked"):
            with torch.no_grad(), model.hooks(edits), model.running(runtime):  # type: ignore[arg-type]
                said.append(model.logits(tokens)[tokens.mask])
        worst.take(said[0], said[1], name)
    line = worst.line("runtimes", compared, setup.allowed)
    return replace(line, detail=f"{line.detail}; attention {model.plain.attention!r}")


def batch(setup: CheckSetup) -> CheckLine:
    """Each row of a left-padded batch in `setup` against the same text on its own."""
    worst, tokens = Largest(), setup.model.pad(setup.rows)
    with torch.no_grad():
        together = setup.model.logits(tokens)
    for name, mask, row, single in zip(NAMES, tokens.mask, together, setup.singles, strict=True):
        worst.take(row[mask][None], single, name)
    return worst.line("batch", "rows of a padded batch against singles", setup.allowed)


def cached(setup: CheckSetup) -> CheckLine:
    """Log-probabilities of the decoded tokens of `setup`: cached and in a batch, against whole passes of singles."""
    worst, model = Largest(), setup.model
    out = generate(model, model.pad(setup.rows), max_new_tokens=NEW, ignore_eos=True, log_probs=True)
    assert out.log_probs is not None
    for name, row, tokens, found in zip(NAMES, setup.rows, out.tokens, out.log_probs, strict=True):
        whole = continuation_log_probs(model, [row], [tokens])[0]
        worst.take(torch.tensor(found), torch.tensor(whole), f"{name}, in nats")
    return worst.line("cached", f"log-probabilities of {NEW} steps with and without KV cache", setup.allowed)


def greedy(setup: CheckSetup) -> CheckLine:
    """The greedy continuation in `setup` against Hugging Face's; where they part, whether rounding decides."""
    compared, notes = f"{NEW} tokens against Hugging Face's generate", list[str]()
    for name, row, ours in zip(NAMES, setup.rows, setup.greedy, strict=True):
        theirs = plain_greedy(setup.plain, setup.ids(row), NEW)
        if ours == theirs:
            continue
        if ours == plain_greedy(setup.plain, setup.ids(row), NEW, use_cache=False):
            notes.append(f"{name} is generate's without a cache: with one, Hugging Face leaves its own whole passes")
            continue
        step = next(i for i in range(NEW) if ours[i : i + 1] != theirs[i : i + 1])
        last = plain_pass(setup.model, setup.plain, setup.ids(row + ours[:step])).logits[0, -1].float()
        margin = float((last[theirs[step]] - last[ours[step]]).abs() / last.abs().max())
        said = f"{name} differs at token {step}, where the two candidates' logits lie {margin:.2g} apart"
        verdict: Outcome = "ok" if margin <= setup.allowed else "wrong"
        return CheckLine("greedy", compared, verdict, margin, setup.allowed, said)
    read = setup.model.tokenizer.decode(setup.greedy[1])
    return CheckLine("greedy", compared, "ok", detail="; ".join([f"{TEXTS[1]!r} -> {read!r}", *notes]))


def lens(setup: CheckSetup) -> CheckLine:
    """What the logit lens reads off the last site against the output of the model of `setup`."""
    worst, model = Largest(), setup.model
    last = resid_post(model.n_layers - 1)
    for name, row, single in zip(NAMES, setup.rows, setup.singles, strict=True):
        with torch.no_grad():
            read = model.unembed(setup.residuals(row, [last])[last])
        worst.take(read, single, name)
    return worst.line("lens", f"logit lens of {last} against the output", setup.allowed)


def decomposition(setup: CheckSetup) -> CheckLine:
    """Whether attention and MLP of each block of `setup` sum to what the block adds to the stream."""
    worst, model = Largest(), setup.model
    with torch.no_grad():
        for layer, block in block_outputs(model, model.pad([setup.rows[1]])).items():
            whole = block.resid_pre + block.attention + block.mlp
            worst.take(whole, block.resid_post, f"block {layer}")
    return worst.line("decomposition", "stream + attention + MLP against the next stream", setup.allowed)


def _adding(delta: Float[Tensor, " d_model"]) -> Callable[[Tensor, ForwardPass], Tensor]:
    return lambda resid, forward_pass: resid + delta


AGAINST_PLAIN = {"stream": stream, "logits": logits, "steered": steered, "greedy": greedy}
ALONE = {
    "prefix": prefix, "chat": chat, "batch": batch, "runtimes": runtimes, "cached": cached, "lens": lens,
    "decomposition": decomposition,
}  # fmt: skip
ORDER = (
    "prefix", "chat", "stream", "logits", "steered", "runtimes", "batch", "cached", "greedy", "lens", "decomposition"
)  # fmt: skip
OF_THE_REFERENCE = ("stream", "logits", "steered", "lens", "decomposition")  # measured on TransformerLens itself


def all_lines(setup: CheckSetup) -> Iterator[CheckLine]:
    """One line for each check on `setup`; what raises is a line too."""
    for check in ORDER:
        if check in AGAINST_PLAIN and setup.plain is None:
            yield CheckLine(check, "against plain Hugging Face", "not applicable", detail=setup.without)
            continue
        try:
            with setup.model.running("hooked") if check in OF_THE_REFERENCE else nullcontext():
                line = (AGAINST_PLAIN | ALONE)[check](setup)
            yield line
        except Exception as error:
            yield _raised(check, error)


def _raised(check: str, error: Exception) -> CheckLine:
    """A refusal in a sentence of ours is refused; anything from deeper inside is wrong."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    ours = isinstance(error, ValueError) and module.startswith("steering_lab.")
    text = shorten(str(error), 400, placeholder=" ...")
    return CheckLine(
        check, "", "refused" if ours else "wrong", detail=text if ours else f"{type(error).__name__}: {text}"
    )
