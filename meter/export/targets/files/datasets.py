"""What a file holds: rows of charges or of postings, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec

from meter.export.charge_columns import CHARGE_COLUMNS, charge_values
from meter.export.charge_json import ChargeJson
from meter.export.contract import Figures
from meter.export.csv_text import Column
from meter.export.entry_json import ENTRY_COLUMNS, entry_values
from meter.export.payload import ChargeBatch, Content, JournalBatch
from meter.model.errors import BadInput
from meter.model.money import ZERO

Row = Mapping[str, Any]
_CHARGE: Final = msgspec.json.Decoder(ChargeJson, float_hook=Decimal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A kind of rows: its name in paths, its columns, and the columns that `figures` looks at."""

    name: str
    columns: tuple[Column, ...]
    figures: Callable[[Iterable[Row]], Figures]
    looks_at: tuple[str, ...]


def rows_of(content: Content) -> Iterator[dict[str, Any]]:
    """Give the rows of an item, each with a value for every column. Raises msgspec.MsgspecError, BadInput."""
    match content:
        case ChargeBatch():
            for told in content.charges:
                yield charge_values(_CHARGE.decode(told))
        case JournalBatch():
            for entry in content.entries:
                yield from entry_values(entry)
        case _:
            raise BadInput(f"files hold charges or entries, not {type(content).__name__}", code="bad_operation")


def day_of(content: Content) -> date:
    """Return the day in whose folder the rows stand. Raises BadInput."""
    match content:
        case ChargeBatch(day=day) if day is not None:
            return day
        case JournalBatch(day=day):
            return day
        case _:
            raise BadInput(f"{type(content).__name__} has no day to be filed under", code="bad_operation")


def _charge_figures(rows: Iterable[Row]) -> Figures:
    lines, net, tax = 0, ZERO, ZERO
    currencies = set()
    for row in rows:
        tax_amount = _number(row["tax_amount"])
        lines += 1
        net += _number(row["rounded"]) - (tax_amount if row["tax_inclusive"] else ZERO)
        tax += tax_amount
        currencies.add(row["currency"])
    return Figures(lines=lines, net=net, tax=tax, currency="+".join(sorted(currencies)))


def _posting_figures(rows: Iterable[Row]) -> Figures:
    """Return what was debited: the rest of a balanced entry is the same once more."""
    lines, debited = 0, ZERO
    currencies = set()
    for row in rows:
        lines += 1
        debited += max(_number(row["amount"]), ZERO)
        currencies.add(row["currency"])
    return Figures(lines=lines, net=debited, currency="+".join(sorted(currencies)))


def _number(value: Any) -> Decimal:
    return ZERO if value is None else Decimal(value)


DATASETS: Final[Mapping[str, Dataset]] = {
    "charges": Dataset(
        name="charges",
        columns=CHARGE_COLUMNS,
        figures=_charge_figures,
        looks_at=("rounded", "tax_amount", "tax_inclusive", "currency"),
    ),
    "journal": Dataset(
        name="journal", columns=ENTRY_COLUMNS, figures=_posting_figures, looks_at=("amount", "currency")
    ),
}
