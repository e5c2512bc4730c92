"""Tables and headings in HTML, for notebooks. All text is escaped."""

import html
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from kd_sweep.tables.rendering.value_text import cells, escaped

MAX_ROWS = 20
"""Rows of a table that are shown; a line below says how many more there are."""


def html_table(table: pa.Table, caption: str = "") -> str:
    """Return a table as HTML, `MAX_ROWS` rows at most; nothing but the caption where it has no rows."""
    names = table.column_names
    columns = [cells(column) for column in table.slice(0, MAX_ROWS).to_pydict().values()]
    head = "".join(f"<th>{html_text(name)}</th>" for name in names)
    rows = (
        "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>" for row in zip(*columns, strict=True)
    )
    title = f"<div>{html_text(caption)}</div>" if caption else ""
    if table.num_rows == 0:
        return f"{title}<div>(none)</div>"
    hidden = table.num_rows - MAX_ROWS
    more = f"<div>… and {hidden:,} more row{'s' if hidden > 1 else ''}</div>" if hidden > 0 else ""
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"


def html_facts(facts: Mapping[str, Any]) -> str:
    """Return names and values as HTML, a row for each."""
    values = [cells([value])[0] for value in facts.values()]
    rows = (
        f"<tr><th>{html_text(name)}</th><td>{html_text(value)}</td></tr>"
        for name, value in zip(facts, values, strict=True)
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def html_blocks(title: str, *blocks: str) -> str:
    """Return blocks of HTML below a title, which is text."""
    return f"<div><b>{html_text(title)}</b>{''.join(blocks)}</div>"


def html_text(text: str) -> str:
    """Return text as HTML shows it."""
    return html.escape(escaped(text))
