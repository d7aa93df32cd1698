"""Rows as Parquet: typed columns, amounts as decimals. Imported only where it is wanted: pyarrow is heavy."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from meter.export.csv_text import Column, ColumnKind
from meter.export.targets.files.datasets import Row
from meter.model.money import EXACT, plain

# The most that any reader takes: 26 digits before the point, the 12 places of an exact amount behind it.
DIGITS: Final = 38
PLACES: Final = 12
# What fits into no such decimal stands here exactly, as JSON, and its own column is empty.
EXACT_COLUMN: Final = "exact"
_STEP: Final = Decimal(1).scaleb(-PLACES)
_TYPES: Final[Mapping[ColumnKind, pa.DataType]] = {
    "text": pa.string(),
    "json": pa.string(),
    "number": pa.decimal128(DIGITS, PLACES),
    "count": pa.int32(),
    "instant": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "flag": pa.bool_(),
}


def encoded(columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    """Return the rows as one row group; the same bytes for the same rows and the same version of pyarrow."""
    values: dict[str, list[Any]] = {column.name: [] for column in columns}
    exact: list[str | None] = []
    for row in rows:
        too_long = {}
        for column in columns:
            value = _value(row[column.name], column.kind)
            if isinstance(value, Decimal) and not fits(value):
                too_long[column.name] = plain(value)
                value = None
            values[column.name].append(value)
        exact.append(msgspec.json.encode(too_long).decode() if too_long else None)
    fields = [pa.field(column.name, _TYPES[column.kind]) for column in columns]
    schema = pa.schema([*fields, pa.field(EXACT_COLUMN, pa.string())])
    table = pa.table({**values, EXACT_COLUMN: exact}, schema=schema)
    buffer = io.BytesIO()
    # Version and compression that Power BI, DuckDB and Spark all read.
    pq.write_table(table, buffer, version="2.6", compression="snappy", coerce_timestamps="us")
    return buffer.getvalue()


def _value(value: Any, kind: ColumnKind) -> Any:
    if value is None:
        return None
    match kind:
        case "number":
            return Decimal(value)
        case "instant":
            return datetime.fromisoformat(value)
        case "day":
            return date.fromisoformat(value)
        case _:
            return value


def fits(number: Decimal) -> bool:
    """Tell whether a column of decimals takes the number as it is."""
    return number.adjusted() < DIGITS - PLACES and number.quantize(_STEP, context=EXACT) == number


def decoded(content: bytes, _columns: Sequence[Column], wanted: Iterable[str]) -> list[dict[str, Any]]:
    """Return the `wanted` columns of each row. Raises pyarrow's errors, msgspec.DecodeError."""
    table = pq.read_table(io.BytesIO(content), columns=[*wanted, EXACT_COLUMN])
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row.update(msgspec.json.decode(row.pop(EXACT_COLUMN) or "{}"))
    return rows
