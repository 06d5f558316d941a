"""`steering-lab lens`: what a model would say if it stopped at each layer, unsteered and steered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from steering_lab.cli.conditions import steered_conditions
from steering_lab.cli.options import Chat, Model, Place, Vector

if TYPE_CHECKING:
    import pandas as pd

Tables = dict[str, "pd.DataFrame"]


def lens(
    *,
    prompt: str,
    vector: Vector,
    coeff: float = 1.0,
    place: Place = "everywhere",
    token: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")] = (),
    top_k: int = 3,
    out: Path | None = None,
    model: Model,
    chat: Chat,
) -> None:
    """Print what the model would say after a prompt if it stopped at each layer: the logit lens of the last token.

    Given a vector or pairs, the same steered stands beside it: coeff x the vector, read at a layer and added there.
    KL is the divergence of the layer's reading from the model's own output, in nats.

    Example: steering-lab lens --prompt "The capital of France is" --token " Paris" --out lens.html

    Args:
        prompt: The text read.
        vector: What is added; left out, the model alone is read.
        coeff: How much of the vector is added; negative steers the other way.
        place: At the prompt's first tokens, at every token, or at the last token of the prompt.
        token: Tokens to follow by probability and rank, e.g. " Paris"; a space in front counts.
        top_k: How many of the likeliest tokens are printed.
        out: Also write the lens of every token, clean, steered and as difference, to this HTML page.
        model: Which model, and how it is opened.
        chat: Whether prompts are put as a chat, and its system turn.
    """
    from steering_lab.analysis.lens_finding import lens_sentence
    from steering_lab.analysis.logit_lens import logit_lens, token_lens
    from steering_lab.interventions.intervention import Intervention
    from steering_lab.interventions.steering import steer

    if not vector.given and (vector.layer, coeff, place) != (None, 1.0, "everywhere"):
        raise ValueError("layer, coeff and place say how to steer: give a pair or a vector, say --positive, too")
    if out is not None and out.suffix != ".html":
        raise ValueError(f"--out is {str(out)!r}: the page is HTML, so name it something.html")
    if vector.given:
        vector.check(place)
    lm, runs = model.load(), {"clean": Intervention()}
    write, what = chat.writing(lm), f"{lm.description}, unsteered"
    if vector.given:
        added, of_what = vector.found(lm, place)
        [steered] = steered_conditions(lm, added, coeff, place, write, [prompt])
        runs["steered"] = steered.intervention_for(prompt)
        what = f"{lm.description}, {of_what}, {place}, layer {added.site.layer}, coefficient {coeff:g}"
    what += ", as a chat" if write.chat else ""
    tables, followed = {}, {}
    for name, intervention in runs.items():
        with steer(lm, intervention):
            tables[name] = logit_lens(lm, write(prompt), top_k=top_k)
            if token:
                followed[name] = token_lens(lm, write(prompt), token)
    finding = lens_sentence(tables["clean"], tables.get("steered"))
    print(f"{what}\n{finding}")
    _print_lens(tables, followed)
    if out is not None:
        made = {"prompt": write(prompt), "read": what, "tokens followed": list(token), "top_k": top_k}
        _write_lens(out, prompt, [finding, what], tables, followed, made, lm.facts())
        print(f"\nopen {out.resolve().as_uri()}")


def _print_lens(tables: Tables, followed: Tables) -> None:
    """The last position by layer, from the end down: the likeliest tokens, and below them the tokens followed."""
    likeliest, chosen = {}, {}
    for name, table in tables.items():
        last = table[table["position"] == table["position"].max()]
        likeliest["layer"] = [_site(row) for row in last.itertuples()]
        likeliest[name] = [
            "  ".join(f"{t!r} {p:.0%}" for t, p in zip(row.top_k, row.top_k_probability, strict=True))
            for row in last.itertuples()
        ]
        likeliest[f"KL {name}"] = [f"{kl:.2f}" for kl in last["kl_to_final"]]
    for name, table in followed.items():
        last = table[table["position"] == table["position"].max()]
        for target, rows in last.groupby("target", sort=False):
            chosen["layer"] = likeliest["layer"]
            chosen[f"{target!r} {name}"] = [f"{r.probability:.2%} (rank {r.rank})" for r in rows.itertuples()]
    for columns in filter(None, (likeliest, chosen)):
        widths = [max(map(len, [head, *cells])) for head, cells in columns.items()]
        print()
        for line in (columns.keys(), *reversed(list(zip(*columns.values(), strict=True)))):
            print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _site(row: Any) -> str:
    return "embed" if row.stream == "resid_pre" else str(row.layer)


def _write_lens(
    out: Path, prompt: str, said: list[str], tables: Tables, followed: Tables, made: dict[str, Any],
    model: dict[str, Any],
) -> None:  # fmt: skip
    """The page: what was found and what was read, a lens of every token, the steered one's change, the last token."""
    from steering_lab.analysis.logit_lens import lens_difference
    from steering_lab.analysis.plots import lens_curves, lens_heatmap
    from steering_lab.analysis.report import write_page
    from steering_lab.runs import provenance

    targets = list(next(iter(followed.values()))["target"].unique()) if followed else []
    name = {"clean": "unsteered", "steered": "steered"}
    figures = {
        which: lens_heatmap(table, targets=targets[:4], title=f"The likeliest next token at every layer, {name[which]}")
        for which, table in tables.items()
    }
    if "steered" in tables:
        change = lens_difference(tables["steered"], tables["clean"])
        title = "What steering changes: entropy of the lens, steered minus unsteered"
        figures["entropy"] = lens_heatmap(change, value="entropy", targets=targets[:4], title=title)
    for value in ("probability", "rank") if followed else ():
        steered, clean = list(followed.values())[-1], followed["clean"] if "steered" in followed else None
        title = f"{value.capitalize()} of the tokens followed, at the last token"
        figures[value] = lens_curves(steered, clean=clean, value=value, title=title)
    write_page(
        out, title="Logit lens", question=prompt, finding=said[0], findings=said[1:], figures=figures, config=made,
        model=model, provenance=provenance(),
    )  # fmt: skip
