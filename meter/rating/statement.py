"""The statement of an invoice period: booked charges summed, to the cent (rating.md, section 6). Pure.

    on account      fees, usage, minimums, tips, refunds of the period itself; adjustments of earlier ones
    at the till     what guests paid there: shown apart, and in no total of what is due

Every figure is a sum of booked figures: nothing is rounded, priced or taxed a second time. Tax that is in a price is
taken out of it (`net`), never put on top.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple, TypeAlias

from meter.model.charge import Charge, Kind, LineKey, LineTax
from meter.model.money import EXACT, ZERO
from meter.model.period import Period

Section: TypeAlias = Literal["fees", "usage", "minimums", "tips", "refunds", "adjustments", "till"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """Charges of one section that belong together, summed.

    `period` is their service period. `time`, `plan` and `price` are set where each line stands for itself: fees and
    minimums. `lines` counts what stands (a reversal takes one away), `estimated` those of it that are an estimate.
    `expired`: the quantity is what was left of bought credit when it ran out, and no money moves.
    `amount` is exact, `rounded` what was booked of it; `net` is `rounded` without the tax that is in it. `tip` and
    `total` are a till's.
    """

    section: Section
    meter: str
    kind: Kind
    period: Period
    unit: str
    currency: str
    unpriced: bool
    expired: bool
    time: datetime | None
    plan: str | None
    price: str | None
    lines: int
    estimated: int
    quantity: Decimal
    covered: Decimal
    billable: Decimal
    amount: Decimal
    rounded: Decimal
    net: Decimal
    tax: Decimal
    tip: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTax:
    """One tax on what is `net`; `rate` is a fraction, None where only a till knows it."""

    name: str
    rate: Decimal | None
    inclusive: bool
    currency: str
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTotals:
    """What a currency comes to on account: `gross` is `net` and `tax`, and what is due. `tips` are part of `net`."""

    currency: str
    net: Decimal
    tax: Decimal
    gross: Decimal
    tips: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TillTotals:
    """What was paid at tills in a currency; `total` is what they recorded, gaps to `net`, `tax` and `tips` included."""

    currency: str
    net: Decimal
    tax: Decimal
    tips: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The charges of one account and invoice period; every tuple in a fixed order, sums of nothing left out."""

    lines: tuple[StatementLine, ...]
    taxes: tuple[StatementTax, ...]
    totals: tuple[StatementTotals, ...]
    till_taxes: tuple[StatementTax, ...]
    till_totals: tuple[TillTotals, ...]

    def section(self, name: Section) -> tuple[StatementLine, ...]:
        """Return the lines of one section."""
        return tuple(line for line in self.lines if line.section == name)

    def totals_in(self, currency: str) -> StatementTotals:
        """Return what is due in `currency`, which may be nothing."""
        nothing = StatementTotals(currency=currency, net=ZERO, tax=ZERO, gross=ZERO, tips=ZERO)
        return next((totals for totals in self.totals if totals.currency == currency), nothing)


class _LineGroup(NamedTuple):
    """What lines of a statement have in common. Its order is theirs."""

    section: Section
    start: datetime
    time: datetime | None
    meter: str
    kind: Kind
    unit: str
    currency: str
    unpriced: bool
    expired: bool
    plan: str
    price: str
    period: Period
    key: LineKey | None


class _TaxGroup(NamedTuple):
    till: bool
    name: str
    rate: Decimal | None
    inclusive: bool
    currency: str


@dataclass(slots=True)
class _Sums:
    lines: int = 0
    estimated: int = 0
    quantity: Decimal = ZERO
    covered: Decimal = ZERO
    billable: Decimal = ZERO
    amount: Decimal = ZERO
    rounded: Decimal = ZERO
    net: Decimal = ZERO
    tax: Decimal = ZERO
    tip: Decimal = ZERO
    total: Decimal = ZERO

    def __bool__(self) -> bool:
        """Tell whether anything is left: what was taken back whole is on no statement."""
        return any((self.quantity, self.covered, self.amount, self.rounded, self.tax, self.tip, self.total))


@dataclass(slots=True)
class StatementSums:
    """Adds up the charges of one account and invoice period, in any order, one at a time."""

    _lines: dict[_LineGroup, _Sums] = field(default_factory=dict)
    _taxes: dict[_TaxGroup, tuple[Decimal, Decimal]] = field(default_factory=dict)

    def add(self, charge: Charge) -> None:
        """Count a booked charge."""
        line, tax = charge.line, charge.line.tax
        with localcontext(EXACT):
            net = charge_net(charge)
            sums = self._lines.setdefault(_group(charge), _Sums())
            sign = -1 if charge.role == "reversal" else 1
            sums.lines += sign
            sums.estimated += sign if line.estimated else 0
            sums.quantity += line.quantity
            sums.covered += line.covered
            sums.billable += line.billable
            sums.amount += line.amount
            sums.rounded += charge.rounded
            sums.net += net
            sums.tax += charge.tax_amount
            sums.tip += line.tip or ZERO
            if line.settlement == "paid":
                own = net + charge.tax_amount + (line.tip or ZERO)
                sums.total += own if line.total is None else line.total
            if tax is not None:
                self._add_tax(tax, net, charge, till=line.settlement == "paid")

    def _add_tax(self, tax: LineTax, net: Decimal, charge: Charge, *, till: bool) -> None:
        group = _TaxGroup(till, tax.name, tax.rate, tax.inclusive, charge.line.currency)
        taxed, amount = self._taxes.get(group, (ZERO, ZERO))
        self._taxes[group] = taxed + net, amount + charge.tax_amount

    def statement(self) -> Statement:
        """Return what the charges so far come to."""
        with localcontext(EXACT):
            kept = sorted((pair for pair in self._lines.items() if pair[1]), key=lambda pair: _rank(pair[0]))
            lines = tuple(_line(group, sums) for group, sums in kept)
            taxes = {till: self._tax_lines(till=till) for till in (False, True)}
            due = [line for line in lines if line.section != "till"]
            paid = [line for line in lines if line.section == "till"]
            return Statement(
                lines=lines,
                taxes=taxes[False],
                totals=tuple(_totals(currency, due) for currency in _currencies(due)),
                till_taxes=taxes[True],
                till_totals=tuple(_till_totals(currency, paid) for currency in _currencies(paid)),
            )

    def _tax_lines(self, *, till: bool) -> tuple[StatementTax, ...]:
        found = [
            StatementTax(
                name=group.name,
                rate=group.rate,
                inclusive=group.inclusive,
                currency=group.currency,
                net=net,
                amount=amount,
            )
            for group, (net, amount) in self._taxes.items()
            if group.till == till and (net or amount)
        ]
        return tuple(
            sorted(
                found, key=lambda tax: (tax.currency, tax.name, tax.rate is not None, tax.rate or ZERO, tax.inclusive)
            )
        )


def charge_net(charge: Charge) -> Decimal:
    """Return the rounded amount of a charge without its tax, also where that is in the amount."""
    inclusive = charge.line.tax is not None and charge.line.tax.inclusive
    return charge.rounded - charge.tax_amount if inclusive else charge.rounded


def section_of(charge: Charge) -> Section:
    """Return where a charge stands: what was paid is apart, and what belongs to another period an adjustment."""
    line, kind = charge.line, charge.kind
    if line.settlement == "paid":
        return "till"
    if kind == "adjustment":
        return "adjustments"
    match kind:
        case "fee":
            return "fees"
        case "minimum":
            return "minimums"
        case "refund":
            return "refunds"
        case "usage":
            return "tips" if line.key.of_tip else "usage"


def _group(charge: Charge) -> _LineGroup:
    line, section = charge.line, section_of(charge)
    alone = section in {"fees", "minimums"}
    return _LineGroup(
        section=section,
        start=line.period.start,
        time=line.key.time if alone else None,
        meter=line.meter,
        kind=charge.kind,
        unit=line.unit,
        currency=line.currency,
        unpriced=line.unpriced,
        expired=line.key.of_expiry,
        plan=(line.plan or "") if alone else "",
        price=(line.price or "") if alone else "",
        period=line.period,
        key=line.key if alone else None,
    )


_SECTIONS: tuple[Section, ...] = ("fees", "usage", "minimums", "tips", "refunds", "adjustments", "till")


def _rank(group: _LineGroup) -> tuple[object, ...]:
    """Order by section, service period, time, then by name; no two groups are equal in all of it."""
    return (
        _SECTIONS.index(group.section),
        group.start,
        group.time or group.start,
        group.meter,
        group.plan,
        group.price,
        group.kind,
        group.unit,
        group.currency,
        group.unpriced,
        group.expired,
        group.period.end,
        group.key or (),
    )


def _line(group: _LineGroup, sums: _Sums) -> StatementLine:
    return StatementLine(
        section=group.section,
        meter=group.meter,
        kind=group.kind,
        period=group.period,
        unit=group.unit,
        currency=group.currency,
        unpriced=group.unpriced,
        expired=group.expired,
        time=group.time,
        plan=group.plan or None,
        price=group.price or None,
        lines=sums.lines,
        estimated=sums.estimated,
        quantity=sums.quantity,
        covered=sums.covered,
        billable=sums.billable,
        amount=sums.amount,
        rounded=sums.rounded,
        net=sums.net,
        tax=sums.tax,
        tip=sums.tip,
        total=sums.total,
    )


def _currencies(lines: Iterable[StatementLine]) -> list[str]:
    return sorted({line.currency for line in lines})


def _totals(currency: str, lines: Iterable[StatementLine]) -> StatementTotals:
    own = [line for line in lines if line.currency == currency]
    net, tax = sum((line.net for line in own), ZERO), sum((line.tax for line in own), ZERO)
    tips = sum((line.net for line in own if line.section == "tips"), ZERO)
    return StatementTotals(currency=currency, net=net, tax=tax, gross=net + tax, tips=tips)


def _till_totals(currency: str, lines: Iterable[StatementLine]) -> TillTotals:
    own = [line for line in lines if line.currency == currency]
    return TillTotals(
        currency=currency,
        net=sum((line.net for line in own), ZERO),
        tax=sum((line.tax for line in own), ZERO),
        tips=sum((line.tip for line in own), ZERO),
        total=sum((line.total for line in own), ZERO),
    )
