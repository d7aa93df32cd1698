"""Differences to charges: ids, roles, and the one rounding (rating.md, section 6; decisions 0003 and 0013)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext
from typing import NamedTuple, TypeAlias

from meter.model.charge import Charge, Line, LineKey, Role, Settlement, Share, Shared, charge_id
from meter.model.money import EXACT, ONE, ZERO, rounded_minor
from meter.model.period import Period
from meter.rating.corrections import Difference, reversed_line

InvoicePeriod: TypeAlias = "Period | Callable[[Line], Period]"


class RoundingGroup(NamedTuple):
    """Lines whose rounded amounts sum to the rounded sum of their exact amounts."""

    account: str
    start: datetime
    end: datetime
    meter: str
    site: str
    settlement: Settlement
    currency: str
    tax_name: str | None
    tax_rate: Decimal | None
    tax_inclusive: bool | None


class TaxGroup(NamedTuple):
    """Lines whose taxes sum to the rounded tax of the sum of their rounded amounts."""

    account: str
    start: datetime
    end: datetime
    rate: Decimal
    inclusive: bool
    currency: str


class SharedGroup(NamedTuple):
    """Lines whose shared amounts sum to the rounded share of the sum of their revenue."""

    rounding: RoundingGroup
    share: Share


def charge_groups(line: Line) -> tuple[RoundingGroup, TaxGroup | None]:
    """Return the groups in which a line is rounded and taxed; None: there is no tax, or the till settled it."""
    tax, period = line.tax, line.period
    if tax is None:
        name = rate = inclusive = None
    else:
        name, rate, inclusive = tax.name, tax.rate, tax.inclusive
    rounding = RoundingGroup(
        line.account,
        period.start,
        period.end,
        line.meter,
        line.site,
        line.settlement,
        line.currency,
        name,
        rate,
        inclusive,
    )
    if tax is None or tax.rate is None or tax.amount is not None:
        return rounding, None
    return rounding, TaxGroup(line.account, period.start, period.end, tax.rate, tax.inclusive, line.currency)


def revenue_of(line: Line) -> Decimal:
    """Return what shares are taken of: the amount before money grants, with the tax that is in it."""
    return sum([draw.amount for draw in line.draws if draw.unit == line.currency], line.amount)


@dataclass(slots=True, kw_only=True)
class GroupTotals:
    """Running sums of what is booked: `exact` amounts by rounding group, `rounded` ones by tax group.

    `shared`: the revenue of which a share was taken. All are sums over charges, so they can be loaded from them at any
    time; `book` carries them on.
    """

    exact: dict[RoundingGroup, Decimal] = field(default_factory=dict)
    rounded: dict[TaxGroup, Decimal] = field(default_factory=dict)
    shared: dict[SharedGroup, Decimal] = field(default_factory=dict)

    def add(self, charge: Charge) -> None:
        """Count a charge that is booked already."""
        rounding, taxing = charge_groups(charge.line)
        with localcontext(EXACT):
            self.exact[rounding] = self.exact.get(rounding, ZERO) + charge.line.amount
            if taxing is not None:
                self.rounded[taxing] = self.rounded.get(taxing, ZERO) + charge.rounded
            for share in charge.line.shares:
                self.add_revenue(SharedGroup(rounding, share), revenue_of(charge.line))

    def add_revenue(self, group: SharedGroup, revenue: Decimal) -> None:
        """Count the revenue of charges of which a share was taken."""
        self.shared[group] = EXACT.add(self.shared.get(group, ZERO), revenue)

    def add_sum(self, group: RoundingGroup, *, settled: bool, exact: Decimal, rounded: Decimal) -> None:
        """Count charges of one rounding group by their sums; `settled` ones had their tax taken by the till."""
        with localcontext(EXACT):
            self.exact[group] = self.exact.get(group, ZERO) + exact
            if group.tax_rate is not None and not settled:
                taxing = TaxGroup(
                    group.account, group.start, group.end, group.tax_rate, bool(group.tax_inclusive), group.currency
                )
                self.rounded[taxing] = self.rounded.get(taxing, ZERO) + rounded

    def _round(self, line: Line) -> tuple[Decimal, Decimal]:
        """Return the line's rounded amount and its tax, as the differences they make to their groups."""
        rounding, taxing = charge_groups(line)
        before = self.exact.get(rounding, ZERO)
        after = self.exact[rounding] = before + line.amount
        rounded = rounded_minor(after, line.currency) - rounded_minor(before, line.currency)
        if taxing is None:
            return rounded, ZERO if line.tax is None or line.tax.amount is None else line.tax.amount
        base = self.rounded.get(taxing, ZERO)
        self.rounded[taxing] = base + rounded
        return rounded, tax_on(taxing, base + rounded) - tax_on(taxing, base)

    def _share(self, line: Line) -> tuple[Shared, ...]:
        """Return what of the line belongs to others, as the differences that it makes to their groups."""
        if not line.shares:
            return ()
        rounding, _ = charge_groups(line)
        revenue, found = revenue_of(line), []
        for share in line.shares:
            group = SharedGroup(rounding, share)
            before = self.shared.get(group, ZERO)
            after = self.shared[group] = before + revenue
            amount = share_on(group, after) - share_on(group, before)
            found.append(Shared(party=share.party, role=share.role, amount=amount))
        return tuple(found)


def share_on(group: SharedGroup, revenue: Decimal) -> Decimal:
    """Return the share of `revenue` without the tax that is in it."""
    rounding, part = group.rounding, revenue * group.share.share
    if rounding.tax_inclusive and rounding.tax_rate is not None:
        # Divided last, as tax is.
        part /= ONE + rounding.tax_rate
    return rounded_minor(part, rounding.currency)


def tax_on(group: TaxGroup, base: Decimal) -> Decimal:
    """Return the tax on `base`, which holds it already where it is inclusive."""
    tax = base * group.rate
    # Divided last: a quotient of exactly half a cent must not be cut before it is rounded.
    return rounded_minor(tax / (ONE + group.rate) if group.inclusive else tax, group.currency)


def book(
    differences: Iterable[Difference],
    *,
    operator: str,
    totals: GroupTotals,
    revisions: Mapping[LineKey, int],
    booked_at: datetime,
    invoice_period: InvoicePeriod,
    reason: str | None = None,
) -> list[Charge]:
    """Return the charges that make the differences good, in their order, and carry `totals` on.

    A reversal negates everything but `rounded`, the tax and what is shared, which follow their groups, so that a
    group's sum never depends on the order of booking. `revisions` holds the last revision of each line that has any
    charge, standing or not. `invoice_period` is the period, or tells it for a line.
    """
    charges: list[Charge] = []

    def add(line: Line, role: Role, revision: int, corrects: str | None) -> None:
        rounded, tax_amount = totals._round(line)  # noqa: SLF001 -- one module: the sums change only by booking
        charges.append(
            Charge(
                id=charge_id(operator, line.account, line.key, revision),
                line=line,
                role=role,
                revision=revision,
                rounded=rounded,
                tax_amount=tax_amount,
                corrects=corrects,
                reason=None if role == "original" else reason,
                booked_at=booked_at,
                invoice_period=invoice_period(line) if callable(invoice_period) else invoice_period,
                shared=totals._share(line),  # noqa: SLF001 -- likewise
            )
        )

    with localcontext(EXACT):
        for difference in differences:
            revision = revisions.get(difference.key, -1)
            standing, line = difference.standing, difference.line
            corrects: str | None = None
            if standing is not None:
                corrects = standing.id
                revision = max(revision, standing.revision) + 1
                add(reversed_line(standing.line), "reversal", revision, corrects)
            elif line is not None and revision >= 0:
                # What stood was reversed before: the chain goes on from that reversal.
                corrects = charge_id(operator, line.account, difference.key, revision)
            if line is not None:
                add(line, "original" if corrects is None else "replacement", revision + 1, corrects)
    return charges
