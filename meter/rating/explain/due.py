"""What fell due without an event: fees and unused days, deposits, credit bought and expired, first flats, minimums."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from meter.model.charge import Line
from meter.model.money import ONE, ZERO, plain, round_amount
from meter.model.period import Periods
from meter.rating.calendar import CREDIT_SALE, DEPOSIT, Beat
from meter.rating.evidence import Evidence
from meter.rating.explain.words import date_text

What: TypeAlias = Literal["fee", "unused", "deposit", "deposit_returned", "purchase", "expiry", "first_flat", "minimum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An amount due: `each` x `seats` x active days / days. Of a minimum less what was `reached` without it.

    Of an expiry nothing is: `each` is what was paid for the quantity `bought`, of which the line has what was left.
    """

    what: What
    each: Decimal
    seats: Decimal
    active_days: int | None
    days: int | None
    amount: Decimal
    reached: Decimal | None
    subscription: str | None
    bought: Decimal | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "what": self.what,
            "each": plain(self.each),
            "seats": plain(self.seats),
            "active_days": self.active_days,
            "days": self.days,
            "amount": plain(self.amount),
            "reached": None if self.reached is None else plain(self.reached),
            "subscription": self.subscription,
            "bought": None if self.bought is None else plain(self.bought),
        }

    def text(self, line: Line, periods: Periods) -> list[str]:
        """Return it as lines of text; the periods are the account's."""
        at = date_text(line.key.time, periods.terms_at(line.period.start).timezone)
        whose = "" if self.subscription is None else f" of subscription {self.subscription}"
        figures = f"{self._share()} = {plain(self.amount)} {line.currency}"
        if self.what == "fee":
            month = periods.name(line.period)
            return [f"Fee: plan {line.plan}{whose} for {month}, due {at}", f"  {figures}"]
        if self.what == "unused":
            return [f"Fee: unused days of plan {line.plan}{whose} from {at} on, given back", f"  {figures}"]
        if self.what == "deposit":
            return [f"Deposit: taken {at}, when the subscription begins"]
        if self.what == "deposit_returned":
            return [f"Deposit: given back {at}, when the subscription ends"]
        if self.what == "purchase":
            return [f"Purchase: {plain(line.quantity)} {line.unit}, to be drawn from {at} on"]
        if self.bought is not None:
            bought, drawn = plain(self.bought), plain(self.bought - line.quantity)
            return [
                f"Expiry: {bought} {line.unit} bought for {plain(self.each)} {line.currency} could be drawn until {at}",
                f"  {bought} - {drawn} drawn = {plain(line.quantity)} {line.unit} left; no money moves for them",
            ]
        if self.what == "first_flat":
            return [f"First tier: its flat is due without usage{whose}, from {at} on"]
        reached = plain(self.reached or ZERO)
        missing = plain(max(self.amount - (self.reached or ZERO), ZERO))
        return [
            f"Minimum: of price {line.price} of plan {line.plan}, due when the period was closed",
            f"  {figures}",
            f"  {plain(self.amount)} - {reached} reached in the period = {missing} {line.currency}",
        ]

    def _share(self) -> str:
        seats = "" if self.seats == ONE else f" x {plain(self.seats)} seats"
        whole = self.days is None or self.active_days == self.days
        return plain(self.each) + seats + ("" if whole else f" x {self.active_days} of {self.days} days")


def due_of(evidence: Evidence, line: Line) -> Due | None:
    """Return what fell due; None for what an event brought."""
    beat = evidence.beat
    if beat is None:
        return None
    seats, amount, reached = ONE, beat.amount, None
    if beat.kind == "fee" and beat.subscription is not None:
        seats = Decimal(beat.subscription.seats or 1)
    if beat.kind == "minimum" and beat.days is not None:
        amount = round_amount(beat.each * beat.days.active / beat.days.days)
        # Something was missing, or there were no line; discounts lower that.
        missing = evidence.reductions[0].before if evidence.reductions else line.amount
        reached = amount - missing
    return Due(
        what=_what(beat),
        each=beat.each,
        seats=seats,
        active_days=None if beat.days is None else beat.days.active,
        days=None if beat.days is None else beat.days.days,
        amount=amount,
        reached=reached,
        subscription=None if beat.subscription is None else beat.subscription.id,
        bought=beat.quantity if beat.kind == "expiry" else None,
    )


def _what(beat: Beat) -> What:
    if beat.kind == "zero":
        return "first_flat"
    if beat.kind == "minimum":
        return "minimum"
    if beat.kind == "expiry":
        return "expiry"
    if beat.meter == DEPOSIT:
        return "deposit" if beat.quantity > ZERO else "deposit_returned"
    if beat.meter == CREDIT_SALE:
        return "purchase"
    return "unused" if beat.days is not None and beat.days.active < 0 else "fee"
