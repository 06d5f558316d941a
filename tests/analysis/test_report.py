"""A run's page: whole, self-contained, and deaf to what a model writes."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steering_lab.analysis.plots import find_chrome, layer_coeff_heatmap
from steering_lab.analysis.report import Beside, script_json, write_page

SweepTable = Callable[..., pd.DataFrame]
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> & <b>bold</b>"
needs_chrome = pytest.mark.skipif(find_chrome() is None, reason="no Chrome or Chromium on this machine")


def generations(rows: int = 12) -> pd.DataFrame:
    """Two prompts, unsteered and steered at three layers, all hostile."""
    cells = [("unsteered", np.nan, 0.0), *(("actadd", layer, 4.0) for layer in (0, 1, 2))]
    table = [
        {
            "method": m,
            "role": "unsteered" if m == "unsteered" else "steered",
            "place": None if np.isnan(la) else "front",
            "layer": la,
            "coeff": c,
            "prompt": f"prompt {p} {HOSTILE}",
            "sample": 0,
            "text": f"{m} {HOSTILE}",
        }
        for m, la, c in cells
        for p in (0, 1)
    ]
    frame = pd.DataFrame(table).assign(log_prob=-1 / 3)
    return pd.concat([frame] * -(-rows // len(frame)), ignore_index=True)


def page(folder: Path, table: pd.DataFrame | None = None, **parts: Any) -> Path:
    words = {"title": f"ActAdd {HOSTILE}", "question": f"Does it move? {HOSTILE}"}
    return write_page(folder / "index.html", **{**words, "generations": table, **parts})


def embedded(path: Path) -> dict[str, Any]:
    found = re.search(r'id="generations-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def dump(path: Path, fragment: str = "") -> tuple[str, str]:
    """The document after its scripts ran, and the browser's log."""
    chrome = find_chrome()
    assert chrome is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000"]
    command = [chrome, *flags, f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri() + fragment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, encoding="utf-8")
    return done.stdout, done.stderr


def test_what_a_model_writes_never_becomes_markup(tmp_path: Path, sweep: SweepTable) -> None:
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd", examples=generations())
    headline = pd.DataFrame({"condition": [HOSTILE]})
    beside = Beside(HOSTILE, [(HOSTILE, HOSTILE), ("steered", "text")])
    path = page(
        tmp_path,
        generations(),
        headline=headline,
        figures={"a": figure},
        config={HOSTILE: HOSTILE},
        finding=HOSTILE,
        beside=beside,
    )
    html = path.read_text(encoding="utf-8")
    assert "<script>document" not in html
    assert "<img src=x" not in html
    # title twice, question, finding, three in the texts beside each other, headline, config key, config value
    assert html.count("&lt;script&gt;document") == 10


def test_the_page_names_no_address_it_could_load_from(tmp_path: Path, sweep: SweepTable) -> None:
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd")
    html = page(tmp_path, generations(), figures={"a": figure}).read_text(encoding="utf-8")
    assert not re.search(r"<(script|img|link|iframe)[^>]*\b(src|href)=", html)
    assert "default-src 'none'" in html


def test_every_continuation_is_on_the_page_in_order(tmp_path: Path) -> None:
    table = generations(16)
    data = embedded(page(tmp_path, table))
    assert data["text"] == table["text"].tolist()
    layer = data["columns"]["layer"]
    assert [layer["values"][k] if k >= 0 else None for k in layer["codes"]] == [
        None if np.isnan(value) else int(value) for value in table["layer"]
    ]
    assert data["filters"] == ["method", "place", "layer", "coeff", "prompt"]
    assert data["columns"]["log_prob"][0] == -0.3333


def test_missing_text_and_lone_surrogates_do_not_spoil_the_file(tmp_path: Path) -> None:
    table = generations()
    table["text"] = table["text"].astype(object)
    table.loc[0, "text"] = None
    table.loc[1, "text"] = "half a pair \ud83d"
    assert embedded(page(tmp_path, table))["text"][:2] == ["", "half a pair \ud83d"]


def test_script_json_round_trips_and_cannot_close_its_element() -> None:
    value = {"text": "</script><!-- & \u2028"}
    text = str(script_json(value))
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


def test_a_setting_that_is_a_space_or_a_tab_is_seen(tmp_path: Path) -> None:
    text = page(tmp_path, config={"pad": "\t", "prefix": "<bos>"}).read_text()
    assert "&#34;\\t&#34;" in text
    assert "&lt;bos&gt;" in text


def test_the_headline_prints_numbers_short_and_nothing_as_a_dash(tmp_path: Path) -> None:
    headline = pd.DataFrame({"condition": ["a"], "effect": [-0.123456], "cost": [np.nan], "p_random": [6.5e-27]})
    html = page(tmp_path, headline=headline).read_text(encoding="utf-8")
    assert '<td class="number">−0.123</td>' in html
    assert '<td class="number">&lt; 0.0001</td>' in html  # further out than what was assumed tells of
    assert "<td>–</td>" in html


def test_tables_are_folded_away_under_their_titles_and_printed_alike(tmp_path: Path) -> None:
    html = page(tmp_path, tables={"Costs <b>": pd.DataFrame({"condition": ["<i>"], "kl": [0.25]})}).read_text("utf-8")
    assert "<summary>Costs &lt;b&gt;</summary>" in html
    assert '<td>&lt;i&gt;</td><td class="number">0.25</td>' in html


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ({"captions": {"heat": "x"}}, "unknown figure 'heat'"),
        ({"links": {"data": "https://example.org/x"}}, "leaves the run folder"),
        ({"links": {"data": "../secret"}}, "leaves the run folder"),
        ({"table": pd.DataFrame({"text": ["a"]})}, "no column 'prompt'"),
        ({"table": pd.DataFrame({"prompt": ["a"], "text": ["b"]}), "start": {"layer": 3}}, "cannot start at 'layer'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, parts: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        page(tmp_path, **parts)


@needs_chrome
def test_in_a_browser_it_draws_filters_and_stays_silent(tmp_path: Path, sweep: SweepTable) -> None:
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd", examples=generations())
    path = page(tmp_path, generations(), figures={"a": figure}, start={"method": "actadd", "layer": 1})
    counted = "document.documentElement.dataset.requests = performance.getEntriesByType('resource').length"
    asked = f"<script>setTimeout(() => {counted}, 5000)</script></body>"
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", asked), encoding="utf-8")
    document, log = dump(path)
    assert 'class="heatmaplayer mlayer"' in document
    assert "data-drawn=" in document
    assert "4 of 16 continuations" in document
    assert "<title>ActAdd" in document  # and not "taken"
    assert "CONSOLE" not in log
    assert 'data-requests="0"' in document
    articles = re.findall(r"<article>.*?</article>", document, re.DOTALL)
    assert len(articles) == 4
    assert all("unsteered &lt;/script&gt;" in a and "actadd &lt;/script&gt;" in a for a in articles)


CONDITIONS = pd.DataFrame({"condition": ["b", "a", "c"], "shift [95 %]": ["+0.10 [0.00, +0.20]", "–", "−0.50"]})


def test_every_condition_is_on_the_page_and_what_is_missing_is_said(tmp_path: Path) -> None:
    conditions = pd.concat([CONDITIONS] * 100, ignore_index=True).assign(condition=HOSTILE)
    html = page(tmp_path, tables={"All 300 conditions": conditions}, missing=[f"No {HOSTILE}."]).read_text(
        encoding="utf-8"
    )
    assert "All 300 conditions" in html
    assert html.count("<tr><td>&lt;/script&gt;") == 300
    assert '<p class="missing">No &lt;/script&gt;' in html


@needs_chrome
def test_in_a_browser_a_click_on_a_column_sorts_by_its_numbers(tmp_path: Path) -> None:
    path = page(tmp_path, tables={"All conditions": CONDITIONS})
    html = path.read_text(encoding="utf-8")
    for clicks, order in ((0, "bac"), (1, "bca"), (2, "cba")):  # as given; largest first; smallest first, none last
        click = "document.querySelectorAll('.sortable th button')[1].click();" * clicks
        path.write_text(html.replace("</body>", f"<script>{click}</script></body>"), encoding="utf-8")
        document, log = dump(path)
        assert "".join(re.findall(r"<td>([abc])</td>", document)) == order
        assert "CONSOLE" not in log


@needs_chrome
def test_in_a_browser_the_address_chooses_what_is_shown(tmp_path: Path) -> None:
    document, _ = dump(page(tmp_path, generations()), "#method=actadd&layer=2&coeff=4&contains=nowhere")
    assert "0 of 16 continuations" in document
    document, _ = dump(page(tmp_path, generations()), "#layer=2")
    assert "4 of 16 continuations" in document


@needs_chrome
def test_in_a_browser_fifty_thousand_continuations_are_ready_within_two_seconds(tmp_path: Path) -> None:
    table = generations(50_000)
    table["text"] = [f"{k} " + "a line of forty tokens or so " * 7 for k in range(len(table))]
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    document, _ = dump(page(tmp_path, table), "#layer=2")
    assert "12,500 of 50,000 continuations" in document
    assert document.count("<article>") == 20
    ready = re.search(r'data-ready="(\d+)"', document)
    assert ready is not None
    if busy:
        pytest.skip("more processes than processors: a time measured now is not the page's")
    assert int(ready.group(1)) <= 2000


@needs_chrome
def test_in_a_browser_a_click_on_a_cell_shows_what_was_written_there(tmp_path: Path, sweep: SweepTable) -> None:
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd")
    path = page(tmp_path, generations(), figures={"a": figure})
    click = """<script>setTimeout(() => {
        const target = document.querySelector(".nsewdrag"), box = target.getBoundingClientRect();
        const at = {clientX: box.left + box.width * 5 / 6, clientY: box.top + box.height / 6, bubbles: true};
        for (const kind of ["mouseover", "mousemove", "mousedown"]) target.dispatchEvent(new MouseEvent(kind, at));
        document.dispatchEvent(new MouseEvent("mouseup", at));
    }, 3000)</script></body>"""
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", click), encoding="utf-8")
    document, _ = dump(path)
    assert "4 of 16 continuations" in document
    articles = re.findall(r"<article>.*?</article>", document, re.DOTALL)
    assert all("actadd, front, layer 2, coefficient +4" in article for article in articles)


def test_a_page_says_its_finding_first_then_draws_the_main_figure_then_the_table(
    tmp_path: Path, sweep: SweepTable
) -> None:
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd", title="Where it works", subtitle="n = 2")
    table = pd.DataFrame({"condition": ["unsteered"]})
    answers = pd.DataFrame({"answer": ["failed"], "expected": ["front: vader rises"]})
    path = page(
        tmp_path, finding="It raises.", findings=["Also this."], figures={"first": figure, "second": figure},
        headline=table, answers=answers, beside=Beside("a prompt", [("unsteered", "b"), ("steered", "c")]),
    )  # fmt: skip
    html = path.read_text(encoding="utf-8")
    order = ['class="finding"', 'class="question"', 'id="first"', 'id="headline"', 'id="answers"', "Also this.",
             'id="beside"', 'id="second"']  # fmt: skip
    places = [html.index(part) for part in order]
    assert places == sorted(places)


def test_a_figures_title_and_key_are_text_of_the_page_and_leave_the_figure(tmp_path: Path, sweep: SweepTable) -> None:
    title = f"Where it works {HOSTILE}".replace("<", "&lt;")
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd", title=title, chosen=(1, 4))
    html = page(tmp_path, figures={"a": figure}).read_text(encoding="utf-8")
    assert "<h2>Where it works &lt;/script&gt;" in html
    assert "<img" not in html.replace("img-src", "")
    drawn = json.loads(re.search(r'class="figure-data">(.*?)</script>', html, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert "text" not in drawn["layout"].get("title", {})
    assert not [note for note in drawn["layout"]["annotations"] if note.get("name") == "key"]
    assert drawn["layout"]["height"] < figure.layout.height
    assert "chosen: layer 1, coefficient +4" in html


def test_a_page_below_a_file_is_refused_with_the_files_name(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(NotADirectoryError, match="notes is a file, where a folder is wanted"):
        write_page(tmp_path / "notes" / "deep" / "index.html", title="t", question="q")
