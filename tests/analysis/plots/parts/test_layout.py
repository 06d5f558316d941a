"""Title, plot and key never stand on one another, whatever they say, and a figure is as large as they need."""

import ast
from pathlib import Path

import plotly.graph_objects as go
import pytest

from steering_lab.analysis import plots
from steering_lab.analysis.plots.parts.layout import Layout, key, lay_out, sentences, title_block

FIGURES = sorted(p for p in Path(plots.__file__).parent.glob("*.py") if p.stem not in ("__init__", "export"))


def test_a_long_title_takes_more_lines_and_more_height() -> None:
    short, long = (title_block(text, "", 400) for text in ("Short", "A finding " * 20))
    assert long.height > short.height
    assert long.title["text"].count("<br>") >= 2


def test_a_key_breaks_where_its_width_ends_and_none_takes_no_height() -> None:
    marks = {"○": "one meaning of some length", "◥": "another meaning of some length"}
    assert key(marks, 1000).text.count("<br>") == 0
    assert key(marks, 260).text.count("<br>") == 1
    assert key({}, 400).height == 0


def test_sizes_by_hand() -> None:
    figure = lay_out(go.Figure(), Layout((500, 300), left=70, right=30, above=20, below=50), ("T", ""), {"○": "a mark"})
    assert (figure.layout.width, figure.layout.height) == (600, (8 + 22 + 20) + 300 + (50 + 8 + 20))
    assert figure.layout.margin.to_plotly_json() == {"l": 70, "r": 30, "t": 50, "b": 78}


def test_a_narrow_figure_is_widened_at_its_right_and_its_plot_stays() -> None:
    layout = Layout((100, 100), left=50, right=10, least=400)
    figure = lay_out(go.Figure(), layout, ("", ""))
    assert layout.width == figure.layout.width == 400
    assert figure.layout.width - figure.layout.margin.l - figure.layout.margin.r == 100


@pytest.mark.parametrize("marks", [{}, {"○": "a mark"}, {str(i): "a meaning of some length" for i in range(9)}])
@pytest.mark.parametrize("words", [("", ""), ("A title", "and more " * 60)])
def test_the_plot_keeps_its_size_under_any_words_and_marks(words: tuple[str, str], marks: dict[str, str]) -> None:
    layout = lay_out(go.Figure(), Layout((300, 200), 60, 20), words, marks).layout
    assert layout.width - layout.margin.l - layout.margin.r == 300
    assert layout.height - layout.margin.t - layout.margin.b == 200


def test_the_key_begins_below_the_axis_and_ends_inside_the_figure() -> None:
    figure = lay_out(go.Figure(), Layout((300, 200), 60, 20, below=40), ("", ""), {str(i): "meaning" for i in range(9)})
    (note,) = figure.layout.annotations
    lines = 1 + note.text.count("<br>")
    assert lines > 1
    assert note.yshift == -40
    assert 40 + 20 * lines <= figure.layout.margin.b
    assert lay_out(go.Figure(), Layout((300, 200), 60, 20), ("", "")).layout.annotations == ()


def test_sentences_are_joined_without_a_double_stop_and_without_what_is_empty() -> None:
    assert sentences("One. ", "", "two", "three.") == "One. two. three"
    assert sentences("", "") == ""


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_figure_is_laid_out_by_the_one_layout(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert any(isinstance(call.func, ast.Name) and call.func.id == "lay_out" for call in calls)
    assert not [word.arg for call in calls for word in call.keywords if word.arg in ("margin", "template", "height")]
