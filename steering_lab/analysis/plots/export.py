"""Figures to files: HTML always and without a network, images in one batch where a Chrome is found."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
import plotly.io as pio

from steering_lab.safe_files import make_folder, naming

IMAGE_FORMATS = ("png", "svg", "pdf")
# Seconds that a browser is given to start, and for an image: one that hangs would stop the run.
_START, _EACH = 60.0, 15.0
# What the reader's browser may do with a figure; the camera button writes SVG.
CONFIG = {
    "displaylogo": False,
    "responsive": False,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    "toImageButtonOptions": {"format": "svg"},
}


class SavedFigures(NamedTuple):
    """The files written (`paths`), and in `note` one line for the reader when images were asked for and not written."""

    paths: tuple[Path, ...]
    note: str | None


def find_chrome() -> str | None:
    """The Chrome or Chromium that images will be drawn with: $BROWSER_PATH, kaleido's own, or an installed one."""
    from choreographer.browsers.chromium import Chromium

    return Chromium.find_browser(skip_local=False)


def save_figures(
    figures: Mapping[str, go.Figure],
    folder: str | Path,
    formats: Sequence[str] = ("html", "png"),
    *,
    scale: float | int = 2.5,
) -> SavedFigures:
    """Write every figure as `folder/<name>.<format>`; HTML always, all sharing one `plotly.min.js` beside them.

    Images need a Chrome. Without one the HTML stands and the note says what to install. `scale` is image pixels per
    layout pixel.

    Args:
        figures: The figures by the names of their files.
        folder: Where they are written.
        formats: Of html, png, svg and pdf; HTML is always written.
        scale: Image pixels per layout pixel.

    Raises:
        ValueError: a format is none of html, png, svg, pdf.
        OSError: a page cannot be written; names it.
    """
    if unknown := [f for f in formats if f not in ("html", *IMAGE_FORMATS)]:
        raise ValueError(f"unknown figure format {unknown[0]!r}: choose from html, {', '.join(IMAGE_FORMATS)}")
    folder = make_folder(folder)
    pages = [folder / f"{name}.html" for name in figures]
    for page, figure in zip(pages, figures.values(), strict=True):
        with naming(page):
            figure.write_html(page, include_plotlyjs="directory", config=CONFIG, div_id=page.stem)
    kinds = [f for f in dict.fromkeys(formats) if f != "html"]
    images = [folder / f"{name}.{kind}" for name in figures for kind in kinds]
    note = _write_images([f for f in figures.values() for _ in kinds], images, scale) if images else None
    return SavedFigures((*pages, *(() if note else images)), note)


def _write_images(figures: list[go.Figure], paths: list[Path], scale: float | int) -> str | None:
    """All images from one start of the browser; None, or why there are none."""
    chrome = find_chrome()
    if chrome is None:
        return "No PNG, SVG or PDF: install Chrome or Chromium (Debian: apt-get install chromium), or set BROWSER_PATH."
    widths, heights = [f.layout.width for f in figures], [f.layout.height for f in figures]
    failed: list[Exception] = []

    def write() -> None:
        try:  # width and height said again: write_images does not read them off the layout
            pio.write_images(figures, [str(path) for path in paths], scale=scale, width=widths, height=heights)
        except Exception as error:  # a browser fails in many ways, and none of them may cost the run its HTML
            failed.append(error)

    limit = _START + _EACH * len(paths)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(limit)
    if writer.is_alive():
        return f"No PNG, SVG or PDF: the browser at {chrome} gave no image in {limit:g} s."
    for error in failed:
        return f"No PNG, SVG or PDF: the browser at {chrome} failed ({type(error).__name__}: {str(error)[:200]})."
    return None
