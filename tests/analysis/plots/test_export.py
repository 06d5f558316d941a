"""Figures to files, with and without a browser."""

import struct
import threading
from pathlib import Path

import plotly.graph_objects as go
import pytest

from steering_lab.analysis.plots import export, find_chrome, save_figures


def _figure() -> go.Figure:
    return go.Figure(go.Scatter(y=[1, 2]), {"width": 320, "height": 200})


def test_html_shares_one_plotly_beside_it_and_names_no_network_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    saved = save_figures({"a": _figure(), "b": _figure()}, tmp_path / "figures")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["a.html", "b.html", "plotly.min.js"]
    assert saved.paths == (tmp_path / "figures/a.html", tmp_path / "figures/b.html")
    assert 'src="http' not in saved.paths[0].read_text(encoding="utf-8")


def test_without_a_chrome_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    note = save_figures({"a": _figure()}, tmp_path).note
    assert note is not None
    assert "install Chrome or Chromium" in note
    assert "\n" not in note


def test_html_alone_needs_no_chrome_and_makes_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_chrome", lambda: None)
    assert save_figures({"a": _figure()}, tmp_path, ["html"]).note is None


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'gif': choose from html, png, svg, pdf"):
        save_figures({"a": _figure()}, tmp_path, ["gif"])
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(find_chrome() is None, reason="no Chrome or Chromium on this machine")
def test_images_have_the_size_the_figure_asks_for(tmp_path: Path) -> None:
    saved = save_figures({"a": _figure()}, tmp_path, ["html", "png", "svg", "pdf"], scale=2)
    assert saved.note is None
    assert [p.suffix for p in saved.paths] == [".html", ".png", ".svg", ".pdf"]
    assert struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24]) == (640, 400)
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_a_browser_that_fails_costs_the_images_and_not_the_html(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the browser closed at once")

    monkeypatch.setattr(export, "find_chrome", lambda: "/bin/false")
    monkeypatch.setattr(export.pio, "write_images", broken)
    saved = save_figures({"a": _figure()}, tmp_path)
    assert [p.name for p in saved.paths] == ["a.html"]
    assert saved.note is not None
    assert "the browser closed at once" in saved.note


def test_a_browser_that_hangs_costs_the_images_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(export, "find_chrome", lambda: "/bin/true")
    monkeypatch.setattr(export, "_START", 0.2)
    monkeypatch.setattr(export, "_EACH", 0.1)
    monkeypatch.setattr(export.pio, "write_images", lambda *_, **__: let_go.wait(30))
    saved = save_figures({"a": _figure()}, tmp_path)
    let_go.set()
    assert [p.name for p in saved.paths] == ["a.html"]
    assert saved.note == "No PNG, SVG or PDF: the browser at /bin/true gave no image in 0.3 s."
