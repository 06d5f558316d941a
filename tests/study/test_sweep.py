"""A TOML file alone is a sweep: any method, any place, any measure; and a wrong one is answered in one line."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots.parts.labels import signed
from steering_lab.analysis.report import Beside
from steering_lab.cli.report import report as report_command
from steering_lab.cli.run import run as run_command
from steering_lab.data.contrast_pairs import PAIRS
from steering_lab.evaluation.inferring.selection import Selected
from steering_lab.evaluation.running.control_vectors import CONTROLS
from steering_lab.methods.mean_difference import mean_difference_vectors
from steering_lab.models.hook_points import resid_pre
from steering_lab.models.loading import load_model
from steering_lab.models.loading.at_hand import smollm2_file
from steering_lab.runs import Run, RunFolder, read_run
from steering_lab.study.control_findings import CALLED, NOT_RANDOM
from steering_lab.study.expectations import check
from steering_lab.study.finding import experiments_folder, read_study
from steering_lab.study.sweep_findings import measured, who_may
from steering_lab.study.sweep_report import DRAWN, Told
from tests.tiny_models import save_tiny_model

FOUNDING = experiments_folder() / "founding_grid.toml"
SMALL = (
    "layers=[1]", "coeffs=[-1, 1]", "prompts=['I love the', 'the sea and']", "test_prompts=['I hate the', 'love in']",
    "n_samples=1", "max_new_tokens=4", "n_random=3", "n_random_confirm=3", "perplexity_budget=1e9",
    "sure=false",
)  # fmt: skip

BESIDE = "controls=['random', '{}']"
EIGHT = tuple(  # prompts: with fewer an open scale has no interval, and nothing is chosen
    f"{name}={[f'{word} {end}' for word in words for end in ('the', 'love', 'hate', 'and')]}"
    for name, words in (("prompts", ("I", "sea")), ("test_prompts", ("we", "in")))
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("llama", tmp_path_factory.mktemp("models") / "tiny-llama")


def swept(toml: Path, *settings: str) -> Run:
    run_command(toml, set=settings, results=toml.parent / "results")
    [path] = (toml.parent / "results" / toml.stem).iterdir()
    return read_run(path)


def written(folder: Path, *lines: str) -> Path:
    toml = folder / "mine.toml"
    toml.write_text("\n".join(['experiment = "sweep"', *lines]))
    return toml


@pytest.mark.parametrize(
    ("method", "pairs", "place", "kinds"),
    [
        ("actadd", "love_hate", "front", ("covariance", "other_concept", "shuffled_layer")),
        ("mean_difference", "love_hate_sentences", "everywhere", CONTROLS),
        ("probe", "love_hate_sentences", "generated", ("random", "shuffled_labels")),
    ],
)
def test_every_control_is_one_word_of_a_sweep_and_stands_beside_every_cell(
    tmp_path: Path, tiny: Path, method: str, pairs: str, place: str, kinds: tuple[str, ...]
) -> None:
    toml = written(tmp_path, f'method = "{method}"', f'place = "{place}"', f'pairs = "{pairs}"')
    controls = f"controls={list(kinds)}", "n_shuffled=2", "measures=['repetition']", "max_new_tokens=8"
    run = swept(toml, *SMALL, *EIGHT, f"model={tiny}", "layers=[1, 2]", *controls)
    table = run["generations"]
    of, cells = table[table["role"] == "control"], {(layer, coeff) for layer in (1, 2) for coeff in (-1, 1)}
    assert set(of["method"]) == set(kinds)
    assert set(of["control_of"]) == {method}
    draws = {"random": {0, 1, 2}, "covariance": {0, 1, 2}, "shuffled_labels": {0, 1}}
    for kind, rows in of.groupby("method"):
        assert set(zip(rows["layer"], rows["coeff"], strict=True)) == cells
        assert set(rows["draw"].dropna()) == draws.get(str(kind), set())
        norms = rows.groupby(["layer", "coeff"])["relative_norm"].first()
        own = table[table["method"] == method].groupby(["layer", "coeff"])["relative_norm"].first()
        pd.testing.assert_series_equal(norms, own)
    steered = run["summary"].query("role == 'steered' and metric == 'perplexity'")
    assert (steered["n_draws"] == 3 * len({"random", "covariance"} & set(kinds))).all()
    confirmed = run["confirmed"].query("role == 'control'")
    assert set(confirmed["method"]) == set(kinds)
    _check_said(run, kinds)
    _check_beside(run, method, next(kind for kind in ("random", "covariance") if kind in kinds))


def _check_said(run: Run, kinds: Sequence[str]) -> None:
    """Every control's effect stands in a sentence, as in the table; an expectation may name all that make no band."""
    told = Told(run)
    [one] = told.results
    assert isinstance(one.cell, Selected)
    at = run["confirmed"].query("role == 'control' and metric == 'repetition'")
    at = at[(at["layer"] == one.cell.layer) & (at["coeff"] == one.cell.coeff)].set_index("method")
    for kind in kinds:
        row = at.loc[kind]
        assert f"{CALLED[kind]}" in one.controlled()
        assert f" by {signed(row['effect'])} [{signed(row['low'])}, {signed(row['high'])}]" in one.controlled()
    found = measured(told.results, run["confirmed"], "repetition").query("metric == 'effect'").set_index("who")
    for kind in set(kinds) & set(NOT_RANDOM):
        assert found.loc[kind, "effect"] == at.loc[kind, "effect"]
        check([f"{kind.replace('_', ' ')}: effect moves by at most 0.1"], who_may([], []), [])
    assert "covariance" not in found.index  # a part of the band of "random"


def _check_beside(run: Run, method: str, kind: str) -> None:
    """The random vector beside the steered text is of that kind, in whatever order the rows are."""
    held_out = run["generations_test"]
    for rows in (held_out, held_out.iloc[::-1]):
        prompt, texts = told_beside({**run, "generations_test": rows})
        cell = rows[(rows["prompt"] == prompt) & (rows["text"] == texts[1][1]) & (rows["method"] == method)].iloc[0]
        drawn = rows[(rows["method"] == kind) & (rows["control_of"] == method) & (rows["draw"] == 0)]
        drawn = drawn[(drawn["prompt"] == prompt) & (drawn["coeff"] == cell["coeff"])]
        assert texts[2] == (DRAWN[kind], drawn["text"].iloc[0])


def told_beside(parts: Any) -> Beside:
    found = Told(parts).beside()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("method", "pairs", "place", "label"),
    [
        ("actadd", "love_hate", "front", "ActAdd"),
        ("actadd", "love_hate", "everywhere", "ActAdd"),
        ("mean_difference", "love_hate_sentences", "generated", "Mean difference"),
        ("pca", "love_hate_sentences", "from_last_prompt_token", "Principal component"),
        ("probe", "love_hate_sentences", "everywhere", "Probe"),
        ("contextfocus", "", "from_last_prompt_token", "ContextFocus"),
    ],
)
def test_a_toml_file_alone_sweeps_any_method_at_any_place(
    tmp_path: Path, tiny: Path, method: str, pairs: str, place: str, label: str
) -> None:
    toml = written(tmp_path, f'method = "{method}"', f'place = "{place}"', f'pairs = "{pairs}"', "normalise = true")
    speaks = (f"model={tiny}",) if pairs else ("prompts=[]", "test_prompts=[]", "n_prompts=2", "n_vector=8")
    run = swept(toml, *SMALL, *speaks, "coeffs=[-40, 40]")
    cells = run["summary"].query("method == @name and place == @at", local_dict={"name": method, "at": place})
    assert set(zip(cells["layer"], cells["coeff"], strict=True)) == {(1, -40), (1, 40)}
    assert run["provenance"] | {"experiment": "mine", "module": "sweep"} == run["provenance"]
    assert run["provenance"]["question"].startswith("Where does adding a steering vector move the text")
    texts = run["generations"].groupby("method")["text"].apply(list)
    assert texts[method] != texts["unsteered"] * 2
    page = (run.path / "index.html").read_text()
    (run.path / "index.html").unlink()
    report_command((run.path,))
    assert (run.path / "index.html").read_text() == page
    assert f"{label}, {place.replace('_', ' ')}" in page


@pytest.mark.parametrize(
    "settings",
    [
        ("prompts=['I love the sea']", "test_prompts=['I hate the sea']", "n_samples=1", "place=everywhere"),
        ("prompts=['I', 'we']", "test_prompts=['in', 'be']", "max_new_tokens=1", "place=everywhere"),
        ("place=front",),  # one row, where no token is gauged
    ],
)
def test_a_sweep_whose_stream_cannot_be_gauged_ends_with_a_page_without_that_figure(
    tmp_path: Path, tiny: Path, settings: tuple[str, ...]
) -> None:
    run = swept(written(tmp_path, 'pairs = "love_hate_sentences"'), f"model={tiny}", *SMALL, *settings)
    assert "manifold" not in run
    assert (run.path / "index.html").is_file()
    assert not list(run.path.glob("figures/*_manifold*"))


def test_a_vector_from_a_file_steers_as_the_one_that_was_saved(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "made").mkdir()
    made = swept(written(tmp_path / "made", 'pairs = "love_hate_sentences"'), f"model={tiny}", *SMALL)
    model = load_model(str(tiny))
    vector = mean_difference_vectors(model, PAIRS["love_hate_sentences"], [resid_pre(1)])[resid_pre(1)]
    file = vector.save(tmp_path / "love.safetensors")
    found = swept(written(tmp_path, f'method = "vector:{file}"'), f"model={tiny}", *SMALL, "measures=['vader']")
    texts = [
        run["generations"].query("method == @name", local_dict={"name": name})["text"].tolist()
        for run, name in ((made, "mean_difference"), (found, "vector"))
    ]
    assert texts[0] == texts[1]
    with pytest.raises(ValueError, match=r"love\.safetensors holds a vector at layer 1, not at layers \[0\]"):
        run_command(tmp_path / "mine.toml", set=(f"model={tiny}", *SMALL, "layers=[0]"), results=tmp_path)


def test_a_bare_tensor_is_swept_at_the_one_layer_that_is_named(tmp_path: Path, tiny: Path) -> None:
    vector = mean_difference_vectors(load_model(str(tiny)), PAIRS["love_hate_sentences"], [resid_pre(1)])[resid_pre(1)]
    np.save(tmp_path / "love.npy", vector.rows[0].numpy())
    toml = written(tmp_path, f'method = "vector:{tmp_path / "love.npy"}"')
    summary = swept(toml, f"model={tiny}", *SMALL, "measures=['repetition']")["summary"]
    assert set(summary.query("method == 'vector'")["layer"]) == {1}
    for layers, message in (("[]", "does not say where it belongs: add layers"), ("[0, 1]", "is one vector, and")):
        with pytest.raises(ValueError, match=message):
            run_command(toml, set=(f"model={tiny}", *SMALL, f"layers={layers}"), results=tmp_path)


def test_coefficients_of_unit_vectors_are_lengths_in_the_stream(tmp_path: Path, tiny: Path) -> None:
    toml = written(tmp_path, "normalise = true", 'pairs = [{positive = "Love", negative = "Hate"}]')
    summary = swept(toml, f"model={tiny}", *SMALL, "layers=[0, 1]", "coeffs=[1, 3]")["summary"]
    norms = summary.query("method == 'mean_difference'").drop_duplicates(["layer", "coeff"])
    per_layer = (norms["relative_norm"] / norms["coeff"]).groupby(norms["layer"]).agg(["min", "max"])
    assert per_layer["min"].tolist() == pytest.approx(per_layer["max"].tolist())
    assert per_layer["min"].nunique() == 2  # one over the median residual of either layer


def test_a_pair_about_weddings_is_measured_by_words_about_weddings(tmp_path: Path, tiny: Path) -> None:
    toml = written(tmp_path, 'pairs = [{positive = " weddings", negative = ""}]')
    run = swept(toml, f"model={tiny}", *SMALL)
    assert run["sweep"]["metric"] == "topic:weddings"
    assert {"topic:weddings", "perplexity", "degenerate"} <= set(run["summary"]["metric"])
    assert "prompting weddings" in set(run["confirmed"]["method"])
    assert all(name.strip() for name in run["generations"]["condition"])
    assert (run.path / "figures" / "mean_difference_everywhere_weddings.html").is_file()


# -- the founding grid -------------------------------------------------------------------------------------------------
def test_the_founding_grid_is_a_file_of_twenty_lines_and_no_python() -> None:
    said = tomllib.loads(FOUNDING.read_text())
    assert len(FOUNDING.read_text().splitlines()) <= 20
    assert not FOUNDING.with_suffix(".py").exists()
    config = read_study(FOUNDING).config
    assert (len(said["pairs"]), config.normalise, config.layers) == (4, True, (10, 15, 20))
    assert (min(config.coeffs), max(config.coeffs)) == (-60, 60)
    sampling = config.sampling
    assert (sampling.temperature, sampling.top_p, sampling.repetition_penalty) == (0.7, 0.9, 1.05)


@pytest.mark.parametrize("model", ["tiny", "smollm2"])
def test_the_founding_grid_runs(tmp_path: Path, tiny: Path, model: str) -> None:
    if model == "smollm2" and smollm2_file() is None:
        pytest.skip("SmolLM2 is not installed: make setup")
    named, layers = (f"model={tiny}", [0, 1]) if model == "tiny" else ("model=smollm2", [15])
    settings = (named, *SMALL, f"layers={layers}", "coeffs=[-20, 20]")
    run_command(FOUNDING, set=settings, results=tmp_path)
    [path] = (tmp_path / "founding_grid").iterdir()
    grid: pd.DataFrame = read_run(path)["summary"].query("method == 'mean_difference' and metric == 'vader'")
    assert set(zip(grid["layer"], grid["coeff"], strict=True)) == {(at, c) for at in layers for c in (-20, 20)}


def test_two_lists_of_unequal_length_are_swept_beside_their_shuffled_labels(tmp_path: Path, tiny: Path) -> None:
    lists = "pairs={positive=['I love it', 'so kind', 'joy', 'the best'], negative=['I hate it', 'cruel', 'anger']}"
    toml = written(tmp_path)
    controls = "controls=['random', 'shuffled_labels']", "n_shuffled=2", "measures=['repetition']"
    run = swept(toml, *SMALL, *EIGHT, f"model={tiny}", lists, *controls)
    table = run["generations"]
    assert {"random", "shuffled_labels"} == set(table.loc[table["role"] == "control", "method"])
    assert "prompting I love it" in set(table["condition"])
    assert "mean of 4 texts − mean of 3" in str(run["sweep"]["forms"])


# -- wrong settings, before anything runs ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            (),
            'method "mean_difference" needs pairs: a list of {positive, negative}, a file of pairs, or one',
        ),
        (
            ("method=caa",),
            "method is 'caa': choose one of actadd, mean_difference, pca, probe, contextf",
        ),
        (("method=vector:",), "method is 'vector:': choose one of"),
        (("method=vector:no.safetensors",), "no.safetensors"),
        (("pairs=nothing_like_it",), "pairs 'nothing_like_it' are neither a file nor one of the sets love_hate, "),
        (("pairs=[{positive='a'}]",), "setting pairs = [{'positive': 'a'}]: it takes text or a list of {positive, n"),
        (("pairs=[{positive='', negative=''}]",), "a contrast pair needs text on at least one side"),
        (("method=contextfocus", "pairs=love_hate"), "pairs are for the methods actadd, mean_difference, pca, probe"),
        (("pairs=love_hate", "data=capitals"), 'data is a setting of method = "contextfocus", not of "mean_diff'),
        (("pairs=love_hate_sentences", "method=actadd"), 'method "actadd" takes one pair, and here are 12'),
        (("pairs=love_hate", "method=probe"), "a probe needs 4 of each"),
        (
            ("pairs={positive=['a', 'b'], negative=['c']}", "method=actadd"),
            "actadd takes one pair, token by token, and",
        ),
        (("pairs={positive=['a', 'b'], negative=['c']}", "method=pca"), "pca takes the differences of pairs, and here"),
        (("pairs={positive=['a', 'b'], negative=[]}",), "the negative list holds no text"),
        (("pairs={positive='a', negative='b'}",), "two lists hold texts each"),
        (
            ("pairs={positive=['a', 'b'], negative=['c']}", BESIDE.format("shuffled_labels")),
            "it needs two texts or more on both sides",
        ),
        (("pairs=[{positive='a', negative='a'}]",), "both sides of the contrast pair are 'a'"),
        (
            ("pairs=love_hate", "measures=['vadr']"),
            "unknown measure 'vadr': choose vader, sentiment, valence_balance",
        ),
        (
            ("pairs=love_hate", "measures=['topic:sea']"),
            "unknown topic 'sea': choose one of weddings, politics, music, science, finance, war, a file of words",
        ),
        (("pairs=love_hate", "measures=['topic:no.txt']"), "unknown topic 'no.txt': choose one of"),
        (("pairs=love_hate", "measures=['vader', 'vader']"), "the measure 'vader' is named twice"),
        (("pairs=love_hate", "coeffs=[0]"), "coeffs is [0.0]: give each once, and one that is not 0"),
        (("pairs=love_hate", "coeffs=[1e999]"), "coeffs has inf: choose numbers between -1e+19 and 1e+19"),
        (("pairs=love_hate", "coeffs=[1, -1e30]"), "coeffs has -1e+30: choose numbers between -1e+19 and 1e+19"),
        (("pairs=love_hate", "place=back"), "setting place = 'back': it takes one of 'front', 'everywhere'"),
        (("pairs=love_hate", "layers=[9]"), "layer 9 is outside 0..2"),
        (("pairs=love_hate", "n_random=1"), "n_random is 1: a control's interval needs 3 draws or more"),
        (("pairs=love_hate", "controls=['isotropic']"), "setting controls[0] = 'isotropic': it takes a list of any"),
        (("pairs=love_hate", "controls=['other_concept']"), "controls ['other_concept'] hold no random vector"),
        (("pairs=love_hate", BESIDE.format("shuffled_labels")), "one pair has no labels to shuffle"),
        (
            ("pairs=love_hate_sentences", "method=pca", BESIDE.format("shuffled_labels")),
            'the control "shuffled_labels" cannot be made for "pca"',
        ),
        (
            ("pairs=wedding_sentences", BESIDE.format("other_concept")),
            'the control "other_concept" takes wedding_sentences, but Mean difference is made from',
        ),
        (
            ("pairs=love_hate", "other_pairs=no_such", BESIDE.format("other_concept")),
            "pairs 'no_such' are neither a file nor one of the sets",
        ),
        (("pairs=love_hate", BESIDE.format("shuffled_layer")), "takes the vector of another layer, and Mean differ"),
        (("pairs=love_hate", "other_pairs=wedding_sentences"), '"other_concept" is not among controls: add it there'),
        (("pairs=love_hate", "prompts=['Lotte', 'Lotte']"), "prompts has 'Lotte' twice: give each once"),
        (("pairs=love_hate", "test_prompts=['Lotte', 'Lotte']"), "test_prompts has 'Lotte' twice"),
        (("pairs=love_hate", "layers=[2, 2]"), "layers has 2 twice: give each once"),
        (("pairs=love_hate", "seed=-1"), "seed is -1: it must be 0 or more"),
        (("pairs=love_hate", "name=a/b"), "name is 'a/b': it becomes a folder below results/"),
        (("pairs=love_hate", "runtime=fast"), "setting runtime = 'fast': it takes one of 'hooked', 'plain'"),
        (("pairs=love_hate", "workers=2"), "workers: for --executor processes, ray or slurm, and this one is local"),
    ],
)
def test_a_wrong_sweep_is_answered_in_one_line_before_anything_runs(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(RunFolder, "open", lambda *_, **__: pytest.fail("the run began"))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as refused:
        run_command(written(tmp_path), set=(f"model={tiny}", *SMALL, *settings), results=tmp_path)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None  # pydantic's error would print every setting above it
