"""Rows as CSV (RFC 4180), UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

from meter.export.csv_text import Column, csv_row, csv_text
from meter.export.targets.files.datasets import Row

_FLAGS: Final = {"true": True, "false": False}


def encoded(columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    """Return a header and the rows; the same bytes for the same rows."""
    header = [column.name for column in columns]
    return csv_text([header, *(csv_row(columns, row) for row in rows)]).encode()


def decoded(content: bytes, columns: Sequence[Column], wanted: Iterable[str]) -> list[dict[str, Any]]:
    """Return the `wanted` columns of each row: what is empty is None. Raises csv.Error, ValueError, KeyError."""
    kinds = {column.name: column.kind for column in columns}
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    return [{name: _value(row[name], kinds[name]) for name in wanted} for row in rows]


def _value(cell: str, kind: str) -> Any:
    if cell == "":
        return None
    return _FLAGS[cell] if kind == "flag" else cell
