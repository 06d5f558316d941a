"""Values as small HTML tables for notebooks: `_repr_html_` of every noun is written with these.

Whatever comes in is data and is escaped, text from a model above all. There is no script, and no colour is named, so
that a table is read alike on a light and a dark page.
"""

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

LONGEST = 600  # characters of a cell; what follows is cut and said to be
_CELL = "text-align:left;vertical-align:top;padding:3px 14px 3px 0"
_TEXT = f"{_CELL};white-space:pre-wrap;overflow-wrap:anywhere"
_NUMBER = f"{_CELL};text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"


def card(title: object, *parts: Markup) -> str:
    """`title` over its parts, as the HTML that a notebook shows."""
    return str(Markup("<div><p style='margin:4px 0'><b>{}</b></p>{}</div>").format(title, Markup("").join(parts)))


def facts(values: Mapping[str, object]) -> Markup:
    """A table of two columns: names and values; a mapping inside is shown as "key value" pairs, None is left out."""
    row = Markup(f"<tr><th style='{_CELL};font-weight:normal;opacity:.7;white-space:nowrap'>{{}}</th>{{}}</tr>")
    kept = {name: value for name, value in values.items() if value is not None}
    return _table(Markup("").join(row.format(name, _text(value)) for name, value in kept.items()))


def rows(columns: Sequence[str], values: Iterable[Sequence[object]]) -> Markup:
    """A table with `columns` as its head, one row per entry of `values`; numbers stand to the right."""
    body = [list(row) for row in values]
    numeric = [all(isinstance(row[k], int | float) for row in body) for k in range(len(columns))]
    head = Markup("").join(
        Markup("<th style='{}'>{}</th>").format(_NUMBER if right else _CELL, name)
        for name, right in zip(columns, numeric, strict=True)
    )
    lines = (Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in body)
    return _table(Markup("<thead><tr>{}</tr></thead><tbody>{}</tbody>").format(head, Markup("").join(lines)))


def links(names: Mapping[str, str]) -> Markup:
    """Links to local files, by the `names` that are shown."""
    link = Markup("<a href='{}' target='_blank'>{}</a>")
    return Markup(", ").join(link.format(href, name) for name, href in names.items())


def note(sentence: str) -> Markup:
    """A sentence under a table."""
    return Markup("<p style='margin:4px 0;opacity:.7'>{}</p>").format(sentence)


def number(value: float | int) -> str:
    """`value`: whole in full, another to three significant digits, with a true minus sign; NaN is a dash."""
    if value != value:
        return "–"
    return (f"{value:,}" if isinstance(value, int) else f"{value:.3g}").replace("-", "−")


def _table(inside: Markup) -> Markup:
    return Markup("<table style='border-collapse:collapse;margin:4px 0;line-height:1.4'>{}</table>").format(inside)


def _cell(value: object) -> Markup:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Markup("<td style='{}'>{}</td>").format(_NUMBER, number(value))
    return _text(value)


def _text(value: object) -> Markup:
    return Markup("<td dir='auto' style='{}'>{}</td>").format(_TEXT, _shown(value))


def _shown(value: object) -> Markup:
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return Markup(number(value))
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {inner}" for key, inner in value.items())
    text = str(value)
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} characters more)")
