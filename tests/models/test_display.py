"""What a notebook shows of each noun: all of it, and nothing that a model wrote as markup."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch

from steering_lab.data.contrast_pairs import ContrastPair
from steering_lab.interventions.intervention import Intervention
from steering_lab.interventions.source import Source
from steering_lab.interventions.steering_vector import SteeringVector, ablate, clamp
from steering_lab.methods.actadd import actadd_vector
from steering_lab.models import display
from steering_lab.models.generation import SHOWN, Generations, generate
from steering_lab.models.hook_points import resid_pre
from steering_lab.runs import RunFolder, read_run
from tests.tiny_models import hooked

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror='alert(1)'> & \"<b>\"</b>"
PLAIN = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "a"}


class Reader(HTMLParser):
    """The tags and attributes of a document, and its text, cell by cell."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(document)
        assert self.open == [], "a tag was left open"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += text


def vector(recipe: str = "hand", **details: object) -> SteeringVector:
    source = Source(recipe, f"model {recipe}", "0123456789abcdef", details=details)
    return SteeringVector(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), resid_pre(1), source)


def hostile_values(folder: Path) -> Iterator[tuple[str, object]]:
    """Every noun with a rich display, hostile in every place that text can reach."""
    columns = [HOSTILE, "b"], ["c", HOSTILE]
    steering = vector(HOSTILE, **{HOSTILE: HOSTILE}, tokens=list(columns), pair=[HOSTILE], parts={HOSTILE: HOSTILE})
    yield "vector", steering
    yield "intervention", 2 * steering.at_front() + clamp(steering.row(0), 1.5).everywhere()
    yield "generations", Generations([HOSTILE], [HOSTILE], [[1]], [[-1.0]], [[-2.0]])
    run = RunFolder.open(folder, HOSTILE.replace("/", "|"), HOSTILE, {"model": HOSTILE}, question=HOSTILE)
    run.write_json("model.json", {"name": HOSTILE})
    run.write_table(HOSTILE.replace("/", "|"), pd.DataFrame({"x": [1]}))
    yield "unfinished run", run
    path = run.finish()
    yield "finished run", read_run(path)


def test_hostile_text_is_shown_and_never_becomes_markup(tmp_path: Path) -> None:
    for name, value in hostile_values(tmp_path):
        document = value._repr_html_()  # type: ignore[attr-defined]
        read = Reader(document)
        assert set(read.tags) <= PLAIN, name
        assert read.attributes <= {"style", "dir", "href", "target"}, name
        assert "<script>alert(1)</script>" in html.unescape(document), name
        assert not re.search(r"(?<![\w-])(color|background)\s*:", document), f"{name} names a colour"


def test_a_vector_shows_where_it_comes_from_and_what_each_row_read() -> None:
    shown = actadd_vector(hooked("gpt2"), ContrastPair("Love", "Hate"), resid_pre(1))
    cells = Reader(shown._repr_html_()).cells
    for fact in ("resid_pre(1)", "ActAdd", f"{shown.rows.shape[0]} x 32", "'<s>'", "token of prompt 2"):
        assert fact in cells, fact
    assert cells[cells.index("norm") + 1] == display.number(shown.norm)
    assert "'<s>'" not in Reader((shown.row(-1))._repr_html_()).cells  # its one row was read elsewhere


def test_an_intervention_shows_its_terms() -> None:
    one = vector().row(0)
    shown = -2 * vector().at_front() + clamp(one, 1.5).everywhere() + 0.5 * ablate(one).generated()
    cells = Reader(shown._repr_html_()).cells
    assert cells[:6] == ["coeff", "edit", "of", "where", "site", "norm"]
    assert cells[6:12] == ["−2", "add", "hand", "at(0)", "resid_pre(1)", "5"]
    assert cells[13] == "clamp to 1.5"
    assert cells[18:20] == ["0.5", "ablate"]
    assert "nothing" in Intervention()._repr_html_()


def test_generations_show_prompts_beside_continuations_and_say_what_is_left_out() -> None:
    one = generate(hooked("gpt2"), "I hate", max_new_tokens=3)
    assert Reader(one._repr_html_()).cells == ["prompt", "continuation", "I hate", one.texts[0]]
    many = Generations(["p"] * 1234, ["t"] * 1234, [[]] * 1234, [[-1.0, -2.0]] * 1233 + [[]], [[-3.0]] * 1234)
    shown = Reader(many._repr_html_()).cells
    assert shown[:8] == ["prompt", "continuation", "log-prob / token", "unsteered", "p", "t", "−1.5", "−3"]
    assert len(shown) == 4 * (1 + SHOWN)
    assert f"and {1234 - SHOWN:,} more" in many._repr_html_()
    assert "–" in Reader(Generations(["p"], [""], [[]], [[]], [[]])._repr_html_()).cells


def test_a_run_shows_its_question_and_links_to_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder.open("results", "sweep", "tiny", {"model": "organism"}, question="Does it move?")
    assert "no" in Reader(run._repr_html_()).cells  # not finished
    path = run.finish()
    (path / "index.html").write_text("")
    (path / "figures").mkdir()
    (path / "figures" / "a b.png").write_text("")
    (path / "figures" / "a b.html").write_text("")
    document = read_run(path)._repr_html_()
    assert "Does it move?" in Reader(document).cells
    links = re.findall(r"href='([^']*)'", document)
    assert links == [f"{path.as_posix()}/{name}" for name in
                     ("index.html", "figures/a%20b.png", "config.json", "provenance.json")]  # fmt: skip


def test_long_text_is_cut_and_says_so() -> None:
    cells = Reader(str(display.facts({"parts": "x" * 1000, "nothing": None}))).cells
    assert cells == ["parts", "x" * display.LONGEST + f" … ({1000 - display.LONGEST} characters more)"]


@pytest.mark.parametrize(
    ("value", "text"), [(-0.12345, "−0.123"), (1_924_224, "1,924,224"), (float("nan"), "–"), (4.0, "4"), (0, "0")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert display.number(value) == text
