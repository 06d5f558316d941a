"""The notebooks run from top to bottom on SmolLM2, and stay as short as they promise to be."""

import ast
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from steering_lab.models.loading.at_hand import smollm2_file

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))

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
""",
    "05": """
texts = reported_on.generations.pivot(index="prompt", columns="condition", values="text")
assert (texts[f"wedding everywhere {site} coeff {chosen.coeff:g}"] != texts["unsteered"]).any()
""",
}
needs_smollm2 = pytest.mark.skipif(smollm2_file() is None, reason="SmolLM2 is not installed")


@needs_smollm2
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the machinery that runs a kernel, none of it ours
def test_every_notebook_runs_on_smollm2_and_shows_what_it_is_about(source: Path) -> None:
    notebook = jupytext.read(source)
    notebook.cells.append(new_code_cell(SHOWS[source.name[:2]]))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_defines_nothing(source: Path) -> None:
    cells = jupytext.read(source).cells
    assert len(cells) < 15
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert "def " not in code
    assert code.count("load_model(") == 1


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
