"""From an exact amount to cents on an invoice: rounding within a group, tax, adjustments, the chain of corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from meter.model.charge import Charge, Share, Shared
from meter.model.instant import instant_text
from meter.model.money import ONE, ZERO, plain, round_amount, rounded_minor
from meter.model.period import Period, Periods
from meter.rating.book import SharedGroup, charge_groups, revenue_of, share_on, tax_on
from meter.rating.explain.words import date_text, percent_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A charge's cents: what it bears of its group, and what it would come to `alone`.

    `revenue` is what shares are taken of, without tax.
    """

    charge: Charge
    alone: Decimal
    tax_alone: Decimal
    revenue: Decimal
    shares_alone: tuple[Decimal, ...]

    def rounding_json(self) -> dict[str, Any]:
        """Return the rounding as JSON values, with the group whose sum is exact."""
        group, _ = charge_groups(self.charge.line)
        return {
            "alone": plain(self.alone),
            "group": {
                "account": group.account,
                "period": period_json(Period(group.start, group.end)),
                "meter": group.meter,
                "site": group.site or None,
                "settlement": group.settlement,
                "currency": group.currency,
                "tax": group.tax_name,
            },
        }

    def tax_json(self) -> dict[str, Any] | None:
        """Return the tax as JSON values."""
        tax = self.charge.line.tax
        if tax is None:
            return None
        return {
            "name": tax.name,
            "rate": None if tax.rate is None else plain(tax.rate),
            "inclusive": tax.inclusive,
            "amount": plain(self.charge.tax_amount),
            "alone": plain(self.tax_alone),
        }

    def _shares(self) -> list[tuple[Share, Shared, Decimal]]:
        """Return each share with its amount as booked, and what that would be alone."""
        return list(zip(self.charge.line.shares, self.charge.shared, self.shares_alone, strict=True))

    def shares_json(self) -> list[dict[str, Any]]:
        """Return the shares of others as JSON values."""
        return [
            {
                "party": share.party,
                "share": plain(share.share),
                "role": share.role,
                "revenue": plain(self.revenue),
                "amount": plain(shared.amount),
                "alone": plain(alone),
            }
            for share, shared, alone in self._shares()
        ]

    def text(self, periods: Periods) -> list[str]:
        """Return it as lines of text; the periods are the account's."""
        charge, line = self.charge, self.charge.line
        booked = f"booked as {plain(charge.rounded)}{tax_text(charge)}"
        out = [f"Amount: {plain(line.amount)} {line.currency}, {booked}"]
        month = periods.name(line.period)
        if charge.rounded != self.alone:
            site = f" at {line.site}" if line.site else ""
            out.append(
                f"  alone it would be {plain(self.alone)}; with it the rounded sum of {line.meter}{site} in {month} "
                "is exact"
            )
        if charge.tax_amount != self.tax_alone and line.tax is not None:
            out.append(
                f"  alone its tax would be {plain(self.tax_alone)}; with it the tax on all at "
                f"{percent_text(line.tax.rate or ZERO)} in {month} is exact"
            )
        for share, shared, whole in self._shares():
            rest = "" if shared.amount == whole else f"; alone it would be {plain(whole)}"
            out.append(
                f"Share: {percent_text(share.share)} of {plain(self.revenue)} {line.currency} net belong to "
                f"{share.party} ({share.role}), booked as {plain(shared.amount)}{rest}"
            )
        if line.earned_until is not None:
            zone_name = periods.terms_at(line.period.start).timezone
            begins, ends = (date_text(instant, zone_name) for instant in (line.key.time, line.earned_until))
            out.append(f"Earned: evenly from {begins} until {ends}")
        if line.period != charge.invoice_period:
            billed_in = periods.name(charge.invoice_period)
            out.append(f"Adjustment: belongs to {month}, which was closed; billed in {billed_in}")
        return out


def booked_of(charge: Charge) -> Booked:
    """Return a charge's cents beside what they would be if it were the only one of its groups."""
    line = charge.line
    rounding, taxing = charge_groups(line)
    tax = charge.tax_amount if taxing is None else tax_on(taxing, charge.rounded)
    revenue = revenue_of(line)
    shares = tuple(share_on(SharedGroup(rounding, share), revenue) for share in line.shares)
    if line.tax is not None and line.tax.inclusive and line.tax.rate is not None:
        revenue = round_amount(revenue / (ONE + line.tax.rate))
    return Booked(
        charge=charge,
        alone=rounded_minor(line.amount, line.currency),
        tax_alone=tax,
        revenue=revenue,
        shares_alone=shares,
    )


def tax_text(charge: Charge) -> str:
    """Return the tax of a charge as the end of a sentence, "" for none."""
    tax = charge.line.tax
    if tax is None:
        return ""
    sign = "including" if tax.inclusive else "plus"
    rate = "" if tax.rate is None else f" ({percent_text(tax.rate)})"
    return f", {sign} {plain(charge.tax_amount)} {tax.name}{rate}"


def period_json(period: Period) -> dict[str, str]:
    """Return a half-open span as JSON values."""
    return {"start": instant_text(period.start), "end": instant_text(period.end)}


def chain_json(charge: Charge) -> dict[str, Any]:
    """Return a link of a chain of corrections as JSON values."""
    return {
        "id": charge.id,
        "role": charge.role,
        "kind": charge.kind,
        "quantity": plain(charge.line.quantity),
        "amount": plain(charge.line.amount),
        "rounded": plain(charge.rounded),
        "corrects": charge.corrects,
        "reason": charge.reason,
        "invoice_period": period_json(charge.invoice_period),
        "booked_at": instant_text(charge.booked_at),
    }


def chain_text(chain: Sequence[Charge]) -> list[str]:
    """Return a chain of corrections as lines of text; none for a charge that nothing corrected."""
    if len(chain) < 2:
        return []
    return ["Chain:", *(f"  {_link_text(charge)}" for charge in chain)]


def _link_text(charge: Charge) -> str:
    amount = f"{plain(charge.line.amount)} {charge.line.currency}"
    reason = "" if charge.reason is None else f" ({charge.reason})"
    return f"{charge.id} {charge.role} {amount}, booked {instant_text(charge.booked_at)}{reason}"
