"""Charges of a stream or a table: each with the cursor behind it (docs/api.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from meter.export.charge_columns import CHARGE_COLUMNS, charge_values
from meter.export.charge_json import ChargeJson, charge_fields
from meter.export.csv_text import csv_row, csv_text
from meter.model.charge import Charge

CSV_COLUMNS: Final = (*(column.name for column in CHARGE_COLUMNS), "cursor")


class ChargeLine(ChargeJson, kw_only=True):
    """A charge of a stream, with the cursor behind it: a reader that was cut off goes on from the last whole line."""

    cursor: Annotated[str, msgspec.Meta(description="Where a reader goes on after this line.")]


def charge_line(charge: Charge, cursor: str) -> ChargeLine:
    """Return the charge as a line of a stream."""
    return ChargeLine(**charge_fields(charge), cursor=cursor)


def csv_header() -> str:
    """Return the first line of the CSV form (RFC 4180)."""
    return csv_text([CSV_COLUMNS])


def csv_rows(lines: Iterable[ChargeLine]) -> str:
    """Return lines as CSV: numbers plain, nested values as JSON, texts that would run as formulas behind a `'`."""
    return csv_text([*csv_row(CHARGE_COLUMNS, charge_values(line)), line.cursor] for line in lines)
