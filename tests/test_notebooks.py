"""The notebooks run from top to bottom on the embedded model, and stay as short as they promise to be."""

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the machinery that runs a kernel, none of it ours
def test_every_notebook_runs_on_the_embedded_model(source: Path) -> None:
    notebook = jupytext.read(source)
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
