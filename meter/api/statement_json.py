"""A statement as it leaves: JSON and CSV (docs/api.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec

from meter.api.routing import DecimalText, InstantText, Model
from meter.export.charge_json import PeriodJson, period_json
from meter.export.csv_text import csv_cell, csv_text
from meter.model.charge import Kind
from meter.model.instant import instant_text, local_date
from meter.model.money import plain
from meter.rating.statement import Section, StatementLine, StatementTax, StatementTotals, TillTotals


class StatementLineJson(Model, kw_only=True):
    """Charges that belong together, summed. `period` is their service period.

    `time`, `plan` and `price` are there where each line stands for itself: fees and minimums. `amount` is exact, before
    tax; `rounded` was booked of it; `net` is `rounded` without the tax that is in it. `lines` counts what stands.
    `expired`: the quantity is what was left of bought credit when it ran out.
    """

    meter: str
    kind: Kind
    period: PeriodJson
    time: InstantText | None
    plan: str | None
    price: str | None
    quantity: DecimalText
    unit: str
    covered: DecimalText
    billable: DecimalText
    amount: DecimalText
    rounded: DecimalText
    net: DecimalText
    tax: DecimalText
    currency: str
    lines: int
    estimated: int
    unpriced: bool
    expired: bool


class TillLineJson(Model, kw_only=True):
    """Sales, and refunds, at tills: `total` is what guests paid, tax and tip included."""

    meter: str
    kind: Kind
    period: PeriodJson
    quantity: DecimalText
    unit: str
    net: DecimalText
    tax: DecimalText
    tip: DecimalText
    total: DecimalText
    currency: str
    lines: int


class StatementTaxJson(Model, kw_only=True):
    """One tax: `amount` on what is `net`."""

    name: str
    rate: DecimalText | None
    inclusive: bool
    net: DecimalText
    amount: DecimalText
    currency: str


class StatementTotalsJson(Model, kw_only=True):
    """What is on account: `gross` is `net` and `tax`, and what is due. `tips` are part of `net`."""

    net: DecimalText
    tax: DecimalText
    gross: DecimalText
    tips: DecimalText
    due: DecimalText
    currency: str


class TillTotalsJson(Model, kw_only=True):
    """What was paid at tills. `total` is theirs, and may differ a little from the sum of its parts."""

    net: DecimalText
    tax: DecimalText
    tips: DecimalText
    total: DecimalText
    currency: str


class StatementTillJson(Model, kw_only=True):
    """What was paid at tills and is not due: it is in no figure outside."""

    lines: list[TillLineJson]
    taxes: list[StatementTaxJson]
    totals: list[TillTotalsJson]


class StatementCreditJson(Model, kw_only=True):
    """An instance of a grant in force in the period. `used` by this statement; `remaining` after it.

    Null where only a correction drew it: it is not in force in the period.
    """

    id: str
    origin: str | None
    member: str | None
    unit: str
    amount: DecimalText | None
    used: DecimalText
    remaining: DecimalText | None
    effective: InstantText | None
    expires: InstantText | None


class StatementPeriodJson(PeriodJson, kw_only=True):
    """A billing period and its name: the month in which it starts, in the account's zone."""

    name: str


class StatementJson(Model, kw_only=True):
    """What an account's charges of one invoice period come to, as booked at the instant `at`.

    `adjustments` belong to earlier service periods. `totals` is in the account's currency; what was booked on account
    in another one, as after a change of currency, is in `other_totals`.
    """

    account: str
    name: str
    timezone: str
    period: StatementPeriodJson
    at: InstantText
    currency: str
    fees: list[StatementLineJson]
    usage: list[StatementLineJson]
    minimums: list[StatementLineJson]
    tips: list[StatementLineJson]
    refunds: list[StatementLineJson]
    adjustments: list[StatementLineJson]
    credits: list[StatementCreditJson]
    taxes: list[StatementTaxJson]
    totals: StatementTotalsJson
    other_totals: list[StatementTotalsJson]
    till: StatementTillJson

    def day(self, instant: str) -> date:
        """Return the date of an instant in the account's zone, for people."""
        return local_date(datetime.fromisoformat(instant), self.timezone)

    def last_day(self, end: str) -> date:
        """Return the last date before `end` in the account's zone."""
        return local_date(datetime.fromisoformat(end) - timedelta(microseconds=1), self.timezone)


# What is on account, in the order in which it is shown.
ON_ACCOUNT: Final[tuple[Section, ...]] = ("fees", "usage", "minimums", "tips", "refunds", "adjustments")


def lines_json(lines: Iterable[StatementLine]) -> list[StatementLineJson]:
    """Return lines on account."""
    return [
        StatementLineJson(
            meter=line.meter,
            kind=line.kind,
            period=period_json(line.period),
            time=None if line.time is None else instant_text(line.time),
            plan=line.plan,
            price=line.price,
            quantity=plain(line.quantity),
            unit=line.unit,
            covered=plain(line.covered),
            billable=plain(line.billable),
            amount=plain(line.amount),
            rounded=plain(line.rounded),
            net=plain(line.net),
            tax=plain(line.tax),
            currency=line.currency,
            lines=line.lines,
            estimated=line.estimated,
            unpriced=line.unpriced,
            expired=line.expired,
        )
        for line in lines
    ]


def till_json(
    lines: Iterable[StatementLine], taxes: Iterable[StatementTax], totals: Iterable[TillTotals]
) -> StatementTillJson:
    """Return what was paid at tills."""
    return StatementTillJson(
        lines=[
            TillLineJson(
                meter=line.meter,
                kind=line.kind,
                period=period_json(line.period),
                quantity=plain(line.quantity),
                unit=line.unit,
                net=plain(line.net),
                tax=plain(line.tax),
                tip=plain(line.tip),
                total=plain(line.total),
                currency=line.currency,
                lines=line.lines,
            )
            for line in lines
        ],
        taxes=taxes_json(taxes),
        totals=[
            TillTotalsJson(
                net=plain(sums.net),
                tax=plain(sums.tax),
                tips=plain(sums.tips),
                total=plain(sums.total),
                currency=sums.currency,
            )
            for sums in totals
        ],
    )


def taxes_json(taxes: Iterable[StatementTax]) -> list[StatementTaxJson]:
    """Return taxes."""
    return [
        StatementTaxJson(
            name=tax.name,
            rate=None if tax.rate is None else plain(tax.rate),
            inclusive=tax.inclusive,
            net=plain(tax.net),
            amount=plain(tax.amount),
            currency=tax.currency,
        )
        for tax in taxes
    ]


def totals_json(totals: StatementTotals) -> StatementTotalsJson:
    """Return what is due in one currency."""
    return StatementTotalsJson(
        net=plain(totals.net),
        tax=plain(totals.tax),
        gross=plain(totals.gross),
        tips=plain(totals.tips),
        due=plain(totals.gross),
        currency=totals.currency,
    )


_CSV_COLUMNS: Final = (
    "section meter kind plan price period_start period_end time quantity unit covered billable amount rounded net tax "
    "tip total currency tax_name tax_rate tax_inclusive grant origin member granted used remaining effective expires "
    "lines estimated unpriced expired"
).split()
# Texts that people choose; the rest is ours.
_GUARDED: Final = frozenset("meter plan price unit tax_name grant member".split())


def statement_csv(statement: StatementJson) -> str:
    """Return a statement as CSV: a row for every line, tax, credit and total, told apart by `section`.

    `total` is gross in `totals` and what was paid in `till` and `till_totals`.
    """
    rows = [
        [csv_cell(row.get(column), guarded=column in _GUARDED) for column in _CSV_COLUMNS]
        for row in _csv_rows(statement)
    ]
    return csv_text([list(_CSV_COLUMNS), *rows])


def _csv_rows(statement: StatementJson) -> Iterator[dict[str, Any]]:
    for section in ON_ACCOUNT:
        yield from _csv_lines(section, getattr(statement, section))
    for credit in statement.credits:
        cells = msgspec.structs.asdict(credit)
        yield {"section": "credits", **cells, "grant": credit.id, "granted": credit.amount, "amount": None}
    yield from _csv_taxes("taxes", statement.taxes)
    for totals in (statement.totals, *statement.other_totals):
        yield {"section": "totals", **msgspec.structs.asdict(totals), "total": totals.gross}
    yield from _csv_lines("till", statement.till.lines)
    yield from _csv_taxes("till_taxes", statement.till.taxes)
    for paid in statement.till.totals:
        yield {"section": "till_totals", **msgspec.structs.asdict(paid), "tip": paid.tips}


def _csv_lines(section: str, lines: Sequence[StatementLineJson | TillLineJson]) -> Iterator[dict[str, Any]]:
    for line in lines:
        cells = msgspec.structs.asdict(line)
        yield {"section": section, **cells, "period_start": line.period.start, "period_end": line.period.end}


def _csv_taxes(section: str, taxes: Sequence[StatementTaxJson]) -> Iterator[dict[str, Any]]:
    for tax in taxes:
        yield {
            "section": section,
            "tax_name": tax.name,
            "tax_rate": tax.rate,
            "tax_inclusive": tax.inclusive,
            "net": tax.net,
            "tax": tax.amount,
            "currency": tax.currency,
        }
