"""CSV that a spreadsheet may open (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

ColumnKind: TypeAlias = Literal["text", "number", "count", "instant", "day", "flag", "json"]
# What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection, 2026-03), full-width forms included.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table. `guarded`: a text that people and devices choose; the rest is ours."""

    name: str
    kind: ColumnKind = "text"
    guarded: bool = False


def csv_row(columns: Iterable[Column], values: Mapping[str, Any]) -> list[str]:
    """Return the cells of a row."""
    return [csv_cell(values[column.name], guarded=column.guarded) for column in columns]


def csv_cell(value: Any, *, guarded: bool) -> str:
    """Return a value as a cell; a `guarded` text that a spreadsheet would run stands behind a `'`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return "'" + text if guarded and text.startswith(_FORMULA_STARTS) else text


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return cells as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()
