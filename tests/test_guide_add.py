"""What the guide "Add a method, a metric, a figure" says is done here, in a folder of one's own."""

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from steering_lab import PAIRS, SteeringVector, mean_difference_vectors, resid_pre
from steering_lab.evaluation.measuring.measures import Measure

GUIDE = Path(__file__).parents[1] / "docs/guides/add_your_own.md"
FILES = re.findall(r"^```py\n# (\w+\.py)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the last file leaves, run beside the others."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES:
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield runpy.run_path("together.py")
        for name, _ in FILES:
            sys.modules.pop(name.removesuffix(".py"), None)


def test_the_files_of_the_guide_make_a_vector_measure_it_and_draw_it(done: dict[str, Any]) -> None:
    vector = done["vectors"][resid_pre(2)]
    assert isinstance(vector, SteeringVector)
    mean = mean_difference_vectors(done["model"], PAIRS["love_hate_sentences"], [resid_pre(2)])[resid_pre(2)]
    assert torch.nn.functional.cosine_similarity(vector.rows, mean.rows).item() > 0.5
    assert all(isinstance(measure, Measure) for measure in (done["exclamations"], done["TokensPerWord"]()))
    summary = done["summary"]
    assert set(summary["metric"]) == {"exclamations", "tokens_per_word"}
    assert set(summary["role"]) == {"unsteered", "steered", "control"}
    assert (summary.loc[summary["metric"] == "tokens_per_word", "value"] >= 1).all()
    assert Path("effect_dots.html").is_file()


def test_the_figure_of_the_guide_refuses_what_is_not_in_the_table(done: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no steered cell has 'vader'; metrics: exclamations, tokens_per_word"):
        done["effect_dots"](done["summary"], metric="vader")
