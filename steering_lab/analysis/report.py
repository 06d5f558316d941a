"""One self-contained HTML page about a run: what was asked, what was found, the figures, and every continuation.

The page needs no network and makes no request. It knows nothing of models or experiments: whoever ran one hands over
tables, figures and words. Whatever comes in is data and is escaped, text from a model above all.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jinja2
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from steering_lab.analysis.plots.parts.layout import plain, without_words
from steering_lab.safe_files import make_folder, replace_file

FILTERS = ("method", "place", "layer", "coeff", "prompt")


class Column(NamedTuple):
    """A column of a table; numbers stand to the right.

    Args:
        name: The head of the column, a space for every underscore.
        number: Whether every cell that is not empty is a number or an interval, so that it stands to the right.
    """

    name: str
    number: bool


class Beside(NamedTuple):
    """One prompt and what followed it under several conditions: (what was done, continuation).

    Args:
        prompt: The prompt, the same for all.
        texts: What was done and what followed, in the order in which they stand below one another.
    """

    prompt: str
    texts: Sequence[tuple[str, str]]


class Printed(NamedTuple):
    """A table as strings.

    Args:
        columns: The columns, from the left.
        rows: The cells of each row, as many as there are columns; a dash where there is no value.
    """

    columns: list[Column]
    rows: list[list[str]]


def write_page(
    path: str | Path,
    *,
    title: str,
    question: str,
    finding: str = "",
    findings: Sequence[str] = (),
    answers: pd.DataFrame | None = None,
    beside: Beside | None = None,
    headline: pd.DataFrame | None = None,
    headline_note: str = "",
    tables: Mapping[str, pd.DataFrame] | None = None,
    figures: Mapping[str, go.Figure] | None = None,
    captions: Mapping[str, str] | None = None,
    generations: pd.DataFrame | None = None,
    filters: Sequence[str] = FILTERS,
    start: Mapping[str, object] | None = None,
    missing: Sequence[str] = (),
    config: Mapping[str, object] | None = None,
    model: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write the page and return its path.

    `finding` opens the page; the first figure follows, then `headline`, `answers` and `findings`, and then the rest:
    `beside` in large letters and the other figures. Tables are printed as given (numbers to three significant digits,
    NaN as a dash), all `tables` folded away and sortable under their titles; `captions` go under the figures of the
    same name. `generations` needs `prompt` and `text`; the browser filters on those of `filters` that it has, opens at
    `start` (say `{"method": "actadd", "place": "front", "layer": 3, "coeff": 4}`), and puts the continuation of the
    same prompt and sample whose `role` is "unsteered" beside each. `missing` says in sentences what the page would have
    shown and cannot. `links` are relative paths of the data beside the page.

    Args:
        path: The file that is written.
        title: The page's title.
        question: What the run asked.
        finding: What it found, in one sentence.
        findings: What else it found, a paragraph each.
        answers: What was expected, and what came of it.
        beside: Texts below one another, in large letters.
        headline: The table that answers the question.
        headline_note: What is said below it.
        tables: Tables that fold away, by their titles.
        figures: Figures by name.
        captions: What stands below a figure, by its name.
        generations: Texts to search: prompt, text and any columns to filter on.
        filters: The columns that the browser filters on, where the table has them.
        start: The values that the filters open at.
        missing: What the page would have shown and cannot, in sentences.
        config: The settings of the run.
        model: What is known of the model.
        provenance: Commit, date, software.
        links: Relative paths of the data beside the page, by what they are called.

    Raises:
        ValueError: a caption without a figure, generations without prompt or text, a filter to start at that the
            table lacks, or a link that leaves the run folder.
        NotADirectoryError: the folder of `path`, or one above it, is a file.
    """
    figures, captions, links = figures or {}, captions or {}, links or {}
    if stray := set(captions) - set(figures):
        raise ValueError(f"caption for unknown figure {min(stray)!r}: the page has {', '.join(figures) or 'none'}")
    if outside := [href for href in links.values() if ":" in href or href.startswith("/") or ".." in href]:
        raise ValueError(f"link {outside[0]!r} leaves the run folder: give a path below the page")
    page = _template().render(
        title=title,
        question=question,
        finding=finding,
        findings=list(findings),
        answers=None if answers is None else _printed(answers),
        beside=beside,
        headline=None if headline is None else _printed(headline),
        headline_note=headline_note,
        tables=[(name, _printed(table)) for name, table in (tables or {}).items()],
        figures=[_figure(name, figure, captions.get(name, "")) for name, figure in figures.items()],
        generations=None if generations is None else _generations(generations, filters, start or {}),
        about=[
            (name, _flat(table))
            for name, table in (("Config", config), ("Model", model), ("Provenance", provenance))
            if table
        ],
        missing=list(missing),
        links=list(links.items()),
        plotly=Markup(get_plotlyjs()) if figures else "",  # our own code, not data: it goes in as it is
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js")),
    )
    path = Path(path)
    make_folder(path.parent)
    return replace_file(path, page)


def script_json(value: object) -> Markup:
    """`value` as JSON that may stand inside a `<script>`: no `<`, `>`, `&` is left to end or open anything.

    Non-ASCII is escaped too, so that a lone surrogate cannot spoil the file.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _asset(name: str) -> str:
    return files("steering_lab.analysis.page").joinpath(name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html"))


def _figure(name: str, figure: go.Figure, caption: str) -> dict[str, object]:
    """A figure with its title, subtitle and key as text of the page, which wraps where a picture cannot."""
    bare, words = without_words(figure)
    size = {"width": bare.layout.width or 760, "height": bare.layout.height or 460}
    safe = {
        "title": plain(words.title),
        "subtitle": plain(words.subtitle),
        "key": [_styled(line) for line in words.key],
    }
    return {"id": name, "caption": caption, "json": script_json(json.loads(bare.to_json())), **safe, **size}


_TAG = re.compile(r"(</?b>|<span style='[^'<>\"&]*'>|</span>)")


def _styled(text: str) -> Markup:
    """Plotly's text as HTML: bold and coloured spans are kept, whatever else it holds is text."""
    return Markup("").join(Markup(part) if _TAG.fullmatch(part) else plain(part) for part in _TAG.split(text))


FAR_OUT = "< 0.0001"
"""How a probability is written so far out in a tail that its digits are of the distribution that was assumed."""


def _printed(table: pd.DataFrame) -> Printed:
    of_p = [str(name).partition("_")[0] == "p" for name in table.columns]
    rows = [[_cell(*one) for one in zip(row, of_p, strict=True)] for row in table.itertuples(index=False)]
    columns = []
    for k, name in enumerate(table.columns):
        values = [row[k] for row in rows if row[k] not in ("–", "")]
        numeric = bool(values) and all(v[0] in "+−×-0123456789[" or v == FAR_OUT for v in values)
        columns.append(Column(str(name).replace("_", " "), numeric))
    return Printed(columns, rows)


def _cell(value: object, is_p: bool) -> str:
    """A number to three significant digits with a true minus sign, text as it is, nothing as a dash."""
    if isinstance(value, bool | str):
        return str(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        if is_p and value < 0.0001:
            return FAR_OUT
        return f"{value:.3g}".replace("-", "−")
    return str(value).replace("-", "−") if isinstance(value, int) else str(value)


def _flat(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as dotted keys; lists and the like as JSON."""
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            seen = isinstance(value, str) and not value.isspace()  # a tab or a space alone would not be seen
            shown = str(value) if seen else json.dumps(value, ensure_ascii=False, default=str)
            rows.append((f"{prefix}{key}", shown))
    return rows


def _generations(table: pd.DataFrame, filters: Sequence[str], start: Mapping[str, object]) -> Markup:
    """The table by columns: repeated values as codes into a sorted list, so that 50,000 rows stay small."""
    if missing := [c for c in ("prompt", "text") if c not in table]:
        raise ValueError(f"generations have no column {missing[0]!r}")
    kept = [name for name in filters if name in table]
    if unknown := [name for name in start if name not in kept]:
        raise ValueError(f"cannot start at {unknown[0]!r}: the filters are {', '.join(kept)}")
    columns = {
        str(name): _coded(table[name]) if name in kept or _repeats(table[name]) else _plain(table[name])
        for name in table.columns
        if name != "text"
    }
    wanted = {name: _scalar(value) for name, value in start.items()}
    texts = ["" if pd.isna(text) else str(text) for text in table["text"]]
    return script_json({"columns": columns, "text": texts, "filters": kept, "start": wanted})


def _repeats(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) and column.nunique() < len(column) / 2


def _coded(column: pd.Series) -> dict[str, list[object]]:
    """`values`, sorted, and for each row its place among them (−1: missing)."""
    codes, values = pd.factorize(column, sort=True)
    return {"codes": codes.tolist(), "values": [_scalar(value) for value in values]}


def _plain(column: pd.Series) -> list[object]:
    """Numbers nobody filters on, to four significant digits."""
    return [float(f"{v:.4g}") if isinstance(v, float) else v for v in map(_scalar, column)]


def _scalar(value: object) -> object:
    """A JSON scalar: whole floats as integers, NaN and infinity as null."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) or hasattr(value, "item"):
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):
            return None
        return int(number) if number.is_integer() else number
    return None if pd.isna(value) else str(value)  # type: ignore[call-overload]
