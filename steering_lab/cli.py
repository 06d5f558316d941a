"""steering-lab: the demo, experiments from files, their pages, and a prompt steered or looked into at the terminal.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from steering_lab.check import check

if TYPE_CHECKING:
    import pandas as pd

    from steering_lab.data.contrast_pairs import ContrastPair
    from steering_lab.evaluation.condition import Condition, PlaceName
    from steering_lab.models.hook_points import HookSite
    from steering_lab.models.hooked_model import HookedModel

Place = Literal["front", "everywhere"]
Setting = Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE", aliases=["-s"])]


def demo(quick: bool = False, results: Path = Path("results")) -> None:
    """Sweep "Love" - "Hate" over the embedded model, then set its context against its memory, and draw what happens.

    Leaves two folders with figures, tables, continuations and a page, index.html, to open in a browser. Takes a few
    minutes on two cores; killed, it goes on where it stopped.

    Args:
        quick: Coarser and smaller, about a minute and a half in all.
        results: The folder in which the runs' own folders are made.
    """
    from steering_lab.experiments import experiments_folder

    coarse = (
        "layers=[0, 2, 4, 6]", "front_coeffs=[-2, -1, 1, 2]", "everywhere_coeffs=[-0.5, -0.25, 0.25, 0.5]",
        "n_samples=2", "n_random_confirm=5",
    )  # fmt: skip
    nine = (
        "front_coeffs=[-8, -4, -2, -1, 1, 2, 4, 8]",
        "everywhere_coeffs=[-1, -0.5, -0.25, -0.125, 0.125, 0.25, 0.5, 1]",
    )
    fewer = ("layers=[1, 2]", "coeffs=[0, 0.5, 1]", "n_validation=40", "n_test=24", "n_random=5")
    fewest = ("layers=[1, 2, 3]", "coeffs=[0, 0.5, 1]", "n_validation=40", "n_test=12", "n_random=3")
    run(experiments_folder() / "actadd_sweep.toml", results=results, set=coarse if quick else nine)
    run(experiments_folder() / "contextfocus_conflict.toml", results=results, set=fewest if quick else fewer)


def run(experiment: tyro.conf.Positional[Path], set: Setting = (), results: Path = Path("results")) -> None:
    """Run an experiment from its TOML file, or go on with one that was interrupted.

    Example: steering-lab run experiments/actadd_sweep.toml --set model=gpt2 "layers=[4, 6, 8]" "positive=' weddings'"

    Args:
        experiment: A TOML file with the experiment's .py beside it.
        set: Settings that replace those of the file; values are TOML, plain words may go without quotes.
        results: The folder in which results/<experiment>/<date>_<model>_<commit>/ is made.
    """
    from steering_lab.experiments import load_experiment, read_config

    module = load_experiment(experiment)
    config = read_config(module.Config, experiment, set)
    folder = module.run(config, results)
    print(f"\n{folder}")
    if (folder / "index.html").is_file():
        print(f"open {(folder / 'index.html').resolve().as_uri()}")


def report(runs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Draw a run's figures and page again from the tables in its folder; no model is loaded.

    Example: steering-lab report results/actadd_sweep/*

    Args:
        runs: One or more folders of finished runs.
    """
    from steering_lab.experiments import experiment_of

    if not runs:
        raise ValueError("name the folder of a run, e.g. steering-lab report results/actadd_sweep/*")
    for module, run in [(experiment_of(run), run) for run in runs]:
        page = module.report(run)
        print(f"\n{page.resolve().as_uri()}")


def steer(
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")],
    positive: str = "Love",
    negative: str = "Hate",
    model: str = "organism",
    layer: int = 2,
    coeff: float = 1.0,
    place: Place = "front",
    n_samples: int = 1,
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    top_p: float = 1.0,
    freq_penalty: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Print continuations of a prompt, unsteered beside steered with the same random numbers.

    Adds coeff x (positive - negative), read at the input of a layer, to the prompt's first tokens (ActAdd) or at every
    token. Perplexities are of the continuation under the unsteered model; relative norm is the length of what is added
    against the median residual there.

    Example: steering-lab steer --model gpt2-xl --layer 6 --coeff 5 --prompt "I hate you because"

    Args:
        prompt: One or more prompts to continue.
        positive: The prompt to steer toward; spaces at its ends count.
        negative: The prompt to steer away from; may be empty.
        model: "organism", a Hugging Face hub name, or a local folder.
        layer: The block at whose input the difference is read and added, from 0.
        coeff: How much of the difference is added; negative steers the other way.
        place: At the prompt's first tokens, as in the paper, or at every token.
        n_samples: Continuations per prompt.
        temperature: 0 is greedy.
        freq_penalty: Subtracted from a token's logit for every time it already stands in the text.
    """
    from steering_lab.data.contrast_pairs import ContrastPair
    from steering_lab.evaluation.condition import UNSTEERED
    from steering_lab.evaluation.evaluate import Decoding, run_conditions
    from steering_lab.models.generation import Sampling
    from steering_lab.models.hook_points import resid_pre
    from steering_lab.models.loading import load_model

    lm, site, pair = load_model(model, device=device, dtype=dtype), resid_pre(layer), ContrastPair(positive, negative)
    steered = _steered(lm, prompt, pair, site, coeff, place)
    decoding = Decoding(max_new_tokens, n_samples, Sampling(temperature, None, top_p, freq_penalty), seed)
    table = run_conditions(lm, [UNSTEERED, steered], list(prompt), decoding, progress=False)
    _print_beside(table, f"{pair}, {place}, layer {layer}, coefficient {coeff:g}")


def _steered(
    lm: "HookedModel",
    prompts: tuple[str, ...],
    pair: "ContrastPair",
    site: "HookSite",
    coeff: float,
    place: "PlaceName",
) -> "Condition":
    """coeff x the pair's difference at `site`: token by token at the front, or its last row at every token."""
    from steering_lab.evaluation.condition import layer_coeff_grid, median_resid_norms
    from steering_lab.methods.actadd import actadd_vector
    from steering_lab.methods.mean_difference import mean_difference_vectors

    vector = actadd_vector(lm, pair, site) if place == "front" else mean_difference_vectors(lm, [pair], [site])[site]
    norms = median_resid_norms(lm, prompts, [site])
    return layer_coeff_grid({site: vector}, [coeff], norms, method="actadd", place=place)[0]


def _print_beside(table: "object", what: str) -> None:
    import textwrap

    import numpy as np
    import pandas as pd

    assert isinstance(table, pd.DataFrame)
    norm = table["relative_norm"].max()
    print(f"{what} (adds {norm:.2f} x the median residual)")
    for (prompt, _), rows in table.groupby(["prompt", "sample"], sort=False):
        print(f"\n{prompt}")
        for row in rows.itertuples():
            perplexity = np.exp(-row.log_prob_unsteered / row.n_tokens)
            label = "unsteered" if row.method == "unsteered" else "steered"
            text = textwrap.fill(repr(row.text)[1:-1], 100, initial_indent="    ", subsequent_indent="    ")
            print(f"  {label} (perplexity {perplexity:.1f})\n{text}")


def lens(
    prompt: str,
    positive: str = "",
    negative: str = "",
    model: str = "organism",
    layer: int = 2,
    coeff: float = 1.0,
    place: Place | Literal["from_last_prompt_token"] = "front",
    token: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")] = (),
    top_k: int = 3,
    out: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Print what the model would say after a prompt if it stopped at each layer: the logit lens of the last token.

    Given a pair, the same steered stands beside it: coeff x (positive - negative), read at the input of a layer and
    added there. KL is the divergence of the layer's reading from the model's own output, in nats.

    Example: steering-lab lens --prompt "I hate you because" --positive Love --negative Hate --coeff 4 --out lens.html

    Args:
        prompt: The text read.
        positive: The prompt to steer toward; spaces at its ends count.
        negative: The prompt to steer away from; may be empty.
        model: "organism", a Hugging Face hub name, or a local folder.
        layer: The block at whose input the difference is read and added, from 0.
        coeff: How much of the difference is added; negative steers the other way.
        place: At the prompt's first tokens, at every token, or at the last token of the prompt.
        token: Tokens to follow by probability and rank, e.g. " Paris"; a space in front counts.
        top_k: How many of the likeliest tokens are printed.
        out: Also write the lens of every token, clean, steered and as difference, to this HTML page.
    """
    from steering_lab.analysis.logit_lens import logit_lens, token_lens
    from steering_lab.data.contrast_pairs import ContrastPair
    from steering_lab.interventions.intervention import Intervention
    from steering_lab.interventions.steering import steer as steering
    from steering_lab.models.hook_points import resid_pre
    from steering_lab.models.loading import load_model

    paired = bool(positive or negative)
    if not paired and (layer, coeff, place) != (2, 1.0, "front"):
        raise ValueError("layer, coeff and place say how to steer: give a pair, --positive and --negative, too")
    if out is not None and out.suffix != ".html":
        raise ValueError(f"--out is {str(out)!r}: the page is HTML, so name it something.html")
    lm, runs = load_model(model, device=device, dtype=dtype), {"clean": Intervention()}
    what = f"{lm.name}, unsteered"
    if paired:
        pair = ContrastPair(positive, negative)
        runs["steered"] = _steered(lm, (prompt,), pair, resid_pre(layer), coeff, place).intervention_for(prompt)
        what = f"{lm.name}, {pair}, {place}, layer {layer}, coefficient {coeff:g}"
    tables, followed = {}, {}
    for name, intervention in runs.items():
        with steering(lm, intervention):
            tables[name] = logit_lens(lm, prompt, top_k=top_k)
            if token:
                followed[name] = token_lens(lm, prompt, token)
    print(what)
    _print_lens(tables, followed)
    if out is not None:
        _write_lens(out, prompt, what, tables, followed)
        print(f"\nopen {out.resolve().as_uri()}")


def _print_lens(tables: "dict[str, pd.DataFrame]", followed: "dict[str, pd.DataFrame]") -> None:
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
    out: Path, prompt: str, what: str, tables: "dict[str, pd.DataFrame]", followed: "dict[str, pd.DataFrame]"
) -> None:
    from steering_lab.analysis.logit_lens import lens_difference
    from steering_lab.analysis.plots import lens_curves, lens_heatmap
    from steering_lab.analysis.report import write_page

    targets = list(next(iter(followed.values()))["target"].unique()) if followed else []
    figures = {name: lens_heatmap(t, targets=targets[:4], title=name.capitalize()) for name, t in tables.items()}
    if "steered" in tables:
        change = lens_difference(tables["steered"], tables["clean"])
        figures["entropy"] = lens_heatmap(change, value="entropy", targets=targets[:4], title="Steered minus clean")
    for value in ("probability", "rank") if followed else ():
        steered, clean = list(followed.values())[-1], followed["clean"] if "steered" in followed else None
        figures[value] = lens_curves(steered, clean=clean, value=value, title="At the last token")
    write_page(out, title="Logit lens", question=prompt, finding=what, figures=figures)


def main() -> None:
    """The command line; a mistake of the user's is one line on stderr and exit status 2."""
    commands: dict[str, Callable[..., Any]] = {
        "demo": demo, "run": run, "report": report, "steer": steer, "lens": lens, "check": check,
    }  # fmt: skip
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="steering-lab", description=__doc__)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"steering-lab: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print("steering-lab: interrupted; the same command goes on where it stopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
