"""What is due without an event: fees, deposits, purchases of credit and their ends, first flats, minimums.

period    |--------------------------------|
part            |-----------------|              of a subscription, or of a member's own at this account
advance         +                 -              the rest of the period when it begins, the unused rest back
arrears                           +              its days at its end
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from tests.reference.dates import NEVER, Period, Span, join
from tests.reference.facts import Facts
from tests.reference.pricing import total_price
from tests.reference.values import ZERO, Doc, exact, rounded

# No space lives longer: what is due is looked for this many periods on from the first.
PERIODS_MAX = 40


@dataclass(kw_only=True)
class Due:
    """Something due at `time`, for the service period `period`."""

    time: datetime
    id: str
    kind: str
    meter: str
    part: str = ""
    period: Period
    plan: str | None = None
    sub: Doc | None = None
    member: str | None = None
    price: Doc | None = None
    quantity: Fraction = ZERO
    amount: Fraction = ZERO
    tax: str | None = None
    unit: str = ""
    taken_in: str = ""
    judged: datetime | None = None
    lowered: datetime | None = None
    until: datetime | None = None

    @property
    def by(self) -> datetime:
        """When the catalog is asked that settles it: that of the part's begin."""
        return self.judged or self.time

    @property
    def currency(self) -> str:
        """That of the period, but of a deposit that goes back the one in which it was taken."""
        return self.taken_in or self.period.terms.currency

    @property
    def discounted(self) -> datetime:
        """When a discount must be in force to act on it."""
        return self.lowered or self.time


class Dues:
    """All that is due from one account up to the clock."""

    def __init__(self, facts: Facts, account: str, earliest: datetime | None) -> None:
        self.facts = facts
        self.account = account
        self.found: list[Due] = []
        first = self._first(earliest)
        if first is None:
            return
        facts.entered[account] = first.start
        everything = facts.periods(account)
        here = everything.index(first)
        for period in everything[here : here + PERIODS_MAX]:
            if period.start <= facts.now:
                self._period(period)
        self._deposits()
        self._purchases()
        self.found = [due for due in self.found if due.time <= facts.now]

    def _first(self, earliest: datetime | None) -> Period | None:
        """The account's first period: that of its earliest event, dated fee or purchase."""
        starts = [] if earliest is None else [earliest]
        starts += [self._effective(grant) for grant in self._bought()]
        for sub in self.facts.paying(self.account):
            if sub.get("from") is not None:
                start, end = self.facts.sub_span(sub)
                whole = [(start, end)]
                spans = whole if sub["account"] else self.facts.membership(sub["member"], self.account, (start, end))
                starts += [span[0] for span in spans if span[0] < span[1]]
        # What lies ahead of the clock has not been.
        starts = [start for start in starts if start <= self.facts.now]
        return self.facts.period(self.account, min(starts)) if starts else None

    def _period(self, period: Period) -> None:
        plans: dict[str, list[tuple[Span, Doc]]] = {}
        for sub in self.facts.paying(self.account):
            for part in self.facts.parts(sub, self.account, period):
                plans.setdefault(sub["plan"], []).append((part, sub))
                self._fee(sub, part, period)
                self._flats(sub, part, period)
        if (self.account, period.start) in self.facts.closes:
            for plan, parts in plans.items():
                self._minimums(plan, sorted(parts, key=lambda pair: (pair[0], pair[1]["id"])), period)

    # --- fees ---------------------------------------------------------------------------------------------------------

    def _fee(self, sub: Doc, part: Span, period: Period) -> None:
        plan = self.facts.plan(sub["plan"], part[0])
        fee = (plan or {}).get("fee")
        if not fee:
            return
        if fee.get("in", "advance") == "advance":
            self._days(sub, fee, part[0], period, period.between(part[0], period.end), part[0])
            if part[1] < period.end:
                self._days(sub, fee, part[1], period, -period.between(part[1], period.end), part[0], part[0])
        else:
            # A fee in arrears: the discounts of the part's last moment.
            last = part[1] - timedelta(microseconds=1)
            self._days(sub, fee, part[1], period, period.between(*part), part[0], last)

    def _days(  # noqa: PLR0917 -- as the rules name them
        self,
        sub: Doc,
        fee: Doc,
        at: datetime,
        period: Period,
        days: int,
        judged: datetime,
        lowered: datetime | None = None,
    ) -> None:
        share = Fraction(days * (sub.get("seats") or 1), period.days)
        advance = fee.get("in", "advance") == "advance"
        if days:
            self.found.append(
                Due(
                    time=at, id=sub["id"], kind="fee", meter="membership", part="" if days > 0 else "unused",
                    period=period, plan=sub["plan"], sub=sub, member=sub["member"], quantity=rounded(share, 6),
                    amount=rounded(exact(fee["amount"]) * share, 12), tax=self._tax(fee.get("tax"), judged),
                    # Unused days come back at what they were charged at.
                    unit="month", judged=judged, lowered=lowered, until=period.end if advance else None,
                )
            )  # fmt: skip

    def _tax(self, own: str | None, at: datetime) -> str | None:
        """The fee's or price's tax, else that of the only site."""
        return own or self.facts.tax_of_site(self.facts.only_site(at), at)

    # --- prices -------------------------------------------------------------------------------------------------------

    def _prices(self, plan: str, at: datetime) -> Iterator[tuple[str, Doc]]:
        for meter, prices in sorted((self.facts.plan(plan, at) or {}).get("prices", {}).items()):
            for price in prices:
                yield meter, price

    def _flats(self, sub: Doc, part: Span, period: Period) -> None:
        """The zero lines: P(0) at the later of the period's and the subscription's start, or each of a member's."""
        plan = sub["plan"]
        for meter, price in self._prices(plan, part[0]):
            if price.get("flat_at_zero") and total_price(price, ZERO) and price.get("per") != "member":
                self._flat(plan, sub, sub["member"], meter, price, part[0], period)
        for member in self.facts.linked():
            for start, _ in self.facts.under(sub, self.account, member, part):
                for meter, price in self._prices(plan, start):
                    if price.get("flat_at_zero") and total_price(price, ZERO) and price.get("per") == "member":
                        self._flat(plan, sub, member, meter, price, start, period)

    def _flat(  # noqa: PLR0917 -- as the rules name them
        self, plan: str, sub: Doc, member: str | None, meter: str, price: Doc, at: datetime, period: Period
    ) -> None:
        self.found.append(
            Due(
                time=at, id=sub["id"], kind="flat", meter=meter, part=f"{price['id']}/{member or ''}", period=period,
                plan=plan, sub=sub, member=member, price=price, tax=self._tax(price.get("tax"), at),
            )
        )  # fmt: skip

    def _minimums(self, plan: str, parts: list[tuple[Span, Doc]], period: Period) -> None:
        begins = parts[0][0][0]
        for meter, price in self._prices(plan, begins):
            if not price.get("period_minimum"):
                continue
            holders: dict[str | None, list[tuple[Span, Doc]]] = {None: parts}
            if price.get("per") == "member":
                holders = {
                    member: [(s, one) for part, one in parts for s in self.facts.under(one, self.account, member, part)]
                    for member in self.facts.linked()
                }
            for member, spans in holders.items():
                days = sum(period.between(*span) for span in join([span for span, _ in spans]))
                if not days:
                    continue
                # Its discounts are those that the last usage could have had.
                (_, end), sub = max(spans, key=_until)
                amount = exact(price["period_minimum"]["amount"]) * days / period.days
                self.found.append(
                    Due(
                        time=period.end, id=sub["id"], kind="minimum", meter=meter,
                        part=f"{price['id']}/{member or ''}", period=period, plan=plan, sub=sub, member=member,
                        price=price, amount=rounded(amount, 12), lowered=end - timedelta(microseconds=1),
                        tax=self._tax(price.get("tax"), begins), judged=begins,
                    )
                )  # fmt: skip

    # --- once ---------------------------------------------------------------------------------------------------------

    def _deposits(self) -> None:
        for sub in self.facts.paying(self.account):
            start, end = self.facts.sub_span(sub)
            if sub.get("deposit") is None or sub.get("from") is None:
                continue
            if (sub["account"] or self.facts.account_at(sub["member"], start)) != self.account:
                continue
            for at, sign in ((start, 1), (end, -1)):
                if at != NEVER:
                    self.found.append(
                        Due(
                            time=at, id=sub["id"], kind="deposit", meter="deposit", part="" if sign > 0 else "returned",
                            period=self.facts.period(self.account, at), sub=sub, member=sub["member"],
                            quantity=Fraction(sign), amount=sign * exact(sub["deposit"]),
                            taken_in=self.facts.period(self.account, start).terms.currency,
                        )
                    )  # fmt: skip

    def _bought(self) -> list[Doc]:
        grants = [grant for grant in self.facts.grants.values() if grant["account"] == self.account]
        return [grant for grant in grants if grant.get("bought") and grant.get("effective")]

    def _span(self, grant: Doc) -> Span:
        return self.facts.span(grant, self.facts.calendar(self.account), "effective", "expires")

    def _effective(self, grant: Doc) -> datetime:
        return self._span(grant)[0]

    def _purchases(self) -> None:
        for grant in self._bought():
            at = self._effective(grant)
            self.found.append(
                Due(
                    time=at, id=grant["id"], kind="bought", meter="credit", period=self.facts.period(self.account, at),
                    member=grant.get("member"), quantity=exact(grant["amount"]),
                    amount=exact(grant["bought"]["price"]), tax=self._tax(grant["bought"].get("tax"), at),
                    unit=grant["unit"],
                )
            )  # fmt: skip
            end = self._span(grant)[1]
            if end != NEVER:
                # It belongs to the period of its last moment, and to what was sold.
                last = self.facts.period(self.account, end - timedelta(microseconds=1))
                self.found.append(
                    Due(
                        time=end, id=grant["id"], kind="expired", meter="credit", part="expired", period=last,
                        member=grant.get("member"), quantity=exact(grant["amount"]), unit=grant["unit"], judged=at,
                        taken_in=self.facts.period(self.account, at).terms.currency,
                    )
                )  # fmt: skip


def _until(held: tuple[Span, Doc]) -> tuple[datetime, bool, datetime, str]:
    """Greatest for what lasts longest, then the account's own, then what began last."""
    (start, end), sub = held
    return end, bool(sub["account"]), start, sub["id"]
