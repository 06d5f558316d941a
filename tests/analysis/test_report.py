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
    cells = [("unsteered", np.nan, 0.0), *(("actadd_front", layer, 4.0) for layer in (0, 1, 2))]
    table = [
        {"method": m, "layer": la, "coeff": c, "prompt": f"prompt {p} {HOSTILE}", "sample": 0, "text": f"{m} {HOSTILE}"}
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
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd_front", examples=generations())
    headline = pd.DataFrame({"condition": [HOSTILE]})
    beside = Beside(HOSTILE, [(HOSTILE, HOSTILE), ("steered", "text")])
    path = page(
        tmp_path,
        generations(),
        beside=beside,
        headline=headline,
        figures={"a": figure},
        config={HOSTILE: HOSTILE},
        finding=HOSTILE,
    )
    html = path.read_text(encoding="utf-8")
    assert "<script>document" not in html
    assert "<img src=x" not in html
    # title twice, question, finding, the texts beside each other three times, headline, config key, config value
    assert html.count("&lt;script&gt;document") == 10
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
    document, _ = dump(page(tmp_path, generations()), "#method=actadd_front&layer=2&coeff=4&contains=nowhere")
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
    figure = layer_coeff_heatmap(sweep(), metric="sentiment", method="actadd_front")
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
    assert all("actadd front, layer 2, coefficient +4" in article for article in articles)
