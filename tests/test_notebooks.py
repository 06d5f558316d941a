"""The notebooks run from top to bottom on SmolLM2, and stay as short as they promise to be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from steering_lab.models.loading.at_hand import smollm2_file

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))

# Run before the first: nothing is left of another notebook but its imports and the model, which is opened once.
FRESH = """
%reset -f
import functools, steering_lab
if not hasattr(steering_lab.load_model, "cache_info"):
    steering_lab.load_model = functools.cache(steering_lab.load_model)
"""

# What a notebook says, and what it says here: fewer cells, tokens and questions.
SMALLER = {
    "01": {"max_new_tokens=20": "max_new_tokens=10"},
    "02": {"(2, 11, 20)": "(2, 20)", "[-4, -2, 2, 4]": "[-2, 2]", "Decoding(16,": "Decoding(8,"},
    "03": {
        "min_population=40_000_000": "min_population=90_000_000",
        "[1::2]][::2]": "[1::2]][::4]",
        "max_new_tokens=10": "max_new_tokens=6",
    },
    "04": {"max_new_tokens=20": "max_new_tokens=8"},
    "05": {"[2.0, 3.0]": "[2.0]", "max_new_tokens=12": "max_new_tokens=8"},
    "07": {
        "n_iterations=6": "n_iterations=3",
        "n_iterations=4": "n_iterations=2",
        "max_new_tokens=16": "max_new_tokens=8",
    },
    "06": {"[0, 4, 8, 12, 20, 29]": "[0, 8, 20, 29]"},
    "08": {"max_new_tokens=24": "max_new_tokens=8", "n_questions=16": "n_questions=4", "10_000_000": "60_000_000"},
}

# Run after a notebook's last cell, on what its cells left: what it is about shows.
SHOWS = {
    "01": "assert len({str(found.texts) for found in (unsteered, steered, control, kinder, reversed_)}) == 5",
    "02": """
texts = result.generations.pivot(index="prompt", columns="condition", values="text")
assert (texts["love everywhere resid_pre(20) coeff -2"] != texts["unsteered"]).any()
assert summary.loc[(summary["method"] == "love") & (summary["metric"] == "vader"), "value"].nunique() > 2
""",
    "03": """
texts = answers.pivot(index="prompt", columns="condition", values="text")
assert all((texts[condition.name] != texts["unsteered"]).any() for condition in conditions[1:])
""",
    "04": """
change = lens_difference(late, late_clean)
assert (change["entropy"] != 0).any() and (change["top"] != change["clean_top"]).any()
assert (ends["steered"]["mean"].to_numpy() != ends["clean"]["mean"].to_numpy()).any()
assert parts["effect"].abs().max() > 0
from steering_lab.explorer import beside
assert explorer.coeff.value == 2.0 and explorer.texts.value.count("<td") == 3
assert len(set(beside(model, vector, "everywhere", 2.0, prompt, max_new_tokens=8).texts)) == 3
""",
    "05": """
texts = reported_on.generations.pivot(index="prompt", columns="condition", values="text")
assert (texts[f"wedding everywhere {site} coeff {chosen.coeff:g}"] != texts["unsteered"]).any()
""",
    "06": """
assert verdict.word == "in shape" and set(verdict.checks["about"]) == {"shape", "number"}
assert len(run["measured"]) > 12
assert len(words) == len(newest) > 20 and any(word in WORDS for word in words.values())
""",
    "07": """
assert delta.problems[0].losses[-1] < delta.problems[0].losses[0] and glad.problems[0].losses[-1] < -5
assert len({on, off, by_chance}) == 3 and same == on and not steering.enabled
""",
    "08": """
assert all(written[1] not in (written[0], written[2]) for written in texts.values())
assert (nats["love"] != nats["unsteered"]).any() and (nats < 0).all(axis=None)
assert len(right) == (0 if find_spec("lm_eval") is None else 3)
assert len(answered) == 3 and all(one["passage"] and one["from memory"] and one["steered"] for one in answered)
""",
}
ABOUT = ("SmolLM2-135M-Instruct", "135M parameters", "dequantised from Q4_1")
needs_smollm2 = pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed")


@pytest.fixture(scope="module")
def kernel() -> Iterator[NotebookClient]:
    """One for all notebooks: a start costs as much as what most of them do."""
    client = NotebookClient(new_notebook(), timeout=600, resources={"metadata": {"path": str(ROOT)}})
    with client.setup_kernel():
        yield client


@needs_smollm2
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the machinery that runs a kernel, none of it ours
def test_every_notebook_runs_on_smollm2_and_shows_what_it_is_about(source: Path, kernel: NotebookClient) -> None:
    notebook, number = jupytext.read(source), source.name[:2]
    if any("PassageIndex" in cell.source for cell in notebook.cells):
        pytest.importorskip("lancedb")
    for said, smaller in SMALLER[number].items():
        assert any(said in cell.source for cell in notebook.cells if cell.cell_type == "code")
        for cell in notebook.cells:
            cell.source = cell.source.replace(said, smaller)
    notebook.cells = [new_code_cell(FRESH), *notebook.cells, new_code_cell(SHOWS[number])]
    kernel.nb = notebook
    kernel.reset_execution_trackers()
    for index, cell in enumerate(notebook.cells):
        kernel.execute_cell(cell, index)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_defines_nothing(source: Path) -> None:
    cells = jupytext.read(source).cells
    assert len(cells) < 15
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert code.count("load_model(") + code.count("read_study(") == 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_executed_copy_is_that_of_the_source(source: Path) -> None:
    executed = jupytext.read(source.with_suffix(".ipynb"))
    assert [cell.source for cell in executed.cells] == [cell.source for cell in jupytext.read(source).cells]
    assert all(cell.outputs or "=" in cell.source for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_executed_copy_names_no_folder_of_the_machine_that_ran_it(source: Path) -> None:
    executed = source.with_suffix(".ipynb").read_text()
    assert str(ROOT) not in executed
    assert not [folder for folder in ("/home/", "/Users/", "/tmp/", "site-packages") if folder in executed]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_figure_of_the_executed_copy_has_a_title_and_names_model_size_and_quantisation(source: Path) -> None:
    shown = [
        output["data"]
        for cell in jupytext.read(source.with_suffix(".ipynb")).cells
        for output in cell.get("outputs", ())
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    for data in shown:
        title, _, below = data["application/vnd.plotly.v1+json"]["layout"]["title"]["text"].partition("<br>")
        assert title
        assert "<span" not in title  # which begins the line below it
        assert all(word in " ".join(re.sub("<.*?>", " ", below).split()) for word in ABOUT)
        assert "image/png" in data  # for pages that run no scripts


def test_the_first_notebook_shows_a_text_that_steering_changed() -> None:
    executed = jupytext.read(ROOT / "notebooks" / "01_steer_with_actadd.ipynb")
    shown = [
        ast.literal_eval(output["data"]["text/plain"])
        for cell in executed.cells
        if "at_front()" in cell.source or "everywhere()" in cell.source
        for output in cell.get("outputs", ())
        if output["output_type"] == "execute_result" and output["data"]["text/plain"].startswith("{")
    ]
    texts = {name: written for cell in shown for name, written in cell.items()}
    assert texts["steered"][0] != texts["unsteered"][0]
    assert texts["reversed"] != texts["unsteered"]
