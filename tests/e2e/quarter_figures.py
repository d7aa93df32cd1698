"""What the books of the quarter must come to, from nothing but the charges that the API gives and docs/ledger.md.

No code of the gateway's is used: who reads the charges of another program can hold it to its books like this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

# (account, currency) -> debit positive; what comes to nothing is left out.
Sums: TypeAlias = Mapping[tuple[str, str], Decimal]
Charge: TypeAlias = Mapping[str, Any]
Group: TypeAlias = tuple[object, ...]

_CLOSES_AFTER = timedelta(days=1)
_CENT = Decimal("0.01")
_BERLIN = ZoneInfo("Europe/Berlin")
_TAX = {"vat19": "liabilities:vat", "vat7": "liabilities:vat-reduced", "vat7-in": "liabilities:vat-reduced"}
_INCOME = {
    "day-passes": "income:day-passes",
    "print-pages": "income:print",
    "room-hours": "income:rooms",
    "wifi-data": "equity:suspense:4400:Erlöse WLAN",
}
# From here on the catalog has another account for what is eaten.
_KITCHEN = "2026-08-31T22:00:00Z"


def books_of(charges: Iterable[Charge], *, now: datetime, bought: Collection[str]) -> Sums:
    """Return the trial balance at `now`: of days that are over, and with periods billed that ended a day ago.

    `bought` are the grants that have a price.
    """
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    packs = {grant: Pack() for grant in bought}
    sold: dict[tuple[str, str], Pack] = {}
    every = list(charges)
    for charge in every:
        for draw in charge["draws"]:
            if draw["grant"] in packs:
                pack = packs[draw["grant"]]
                pack.drawn[_income(charge)] += Decimal(draw["amount"])
                sold[charge["account"], draw["unit"]] = pack
    for charge in every:
        currency = charge["currency"]
        for account, amount in _legs(charge, now):
            sums[account, currency] += amount
        if charge["meter"] == "credit":
            sold.setdefault((charge["account"], charge["unit"]), Pack()).of_credit(charge)
    for pack in sold.values():
        for account, amount in pack.burnt():
            sums[account, pack.currency] += amount
    return {key: amount for key, amount in sums.items() if amount}


def cents_of(charges: Iterable[Charge]) -> tuple[Mapping[Group, Decimal], Mapping[Group, Decimal]]:
    """Return what each group's rounded amounts, taxes and shares sum to, and what they must: the rounded sum."""
    booked: dict[Group, Decimal] = defaultdict(Decimal)
    exact: dict[Group, Decimal] = defaultdict(Decimal)
    for charge in charges:
        tax, amount, rounded = charge["tax"], Decimal(charge["amount"]), Decimal(charge["rounded"])
        rate = Decimal(tax["rate"]) if tax and tax["rate"] else Decimal(0)
        held = 1 + rate if tax and tax["inclusive"] else Decimal(1)
        period = (charge["account"], charge["period"]["start"], charge["currency"])
        named = (tax["name"], tax["rate"], tax["inclusive"]) if tax else ()
        line = (*period, charge["meter"], charge["site"], charge["settlement"], *named)
        booked[line] += rounded
        exact[line] += amount
        if rate and charge["settlement"] == "account":
            booked[*period, rate, held] += Decimal(tax["amount"])
            exact[*period, rate, held] += rounded * rate / held
        revenue = sum((Decimal(d["amount"]) for d in charge["draws"] if d["unit"] == charge["currency"]), amount)
        for share in charge["shares"]:
            part = (*line, share["party"], share["share"], share["role"])
            booked[part] += Decimal(share["amount"])
            exact[part] += revenue * Decimal(share["share"]) / held
    return booked, {group: _rounded(amount) for group, amount in exact.items()}


class Pack:
    """Bought credit: its price and amount, and what has gone of it, by income account."""

    def __init__(self) -> None:
        self.currency = ""
        self.paid = self.amount = self.expired = Decimal(0)
        self.drawn: dict[str, Decimal] = defaultdict(Decimal)

    def of_credit(self, charge: Charge) -> None:
        """Count its sale, or what of it expired: of that no money moves."""
        self.currency = charge["currency"]
        if Decimal(charge["amount"]):
            self.paid += _net(charge)
            self.amount += Decimal(charge["quantity"])
        else:
            self.expired += Decimal(charge["quantity"])

    def burnt(self) -> Iterable[tuple[str, Decimal]]:
        """Yield what each account has earned, in the order of their names, breakage last."""
        gone = before = Decimal(0)
        for account, amount in [*sorted(self.drawn.items()), ("income:breakage", self.expired)]:
            gone += amount
            after = _rounded(self.paid * gone / self.amount)
            yield account, before - after
            yield "liabilities:deferred", after - before
            before = after


def _legs(charge: Charge, now: datetime) -> Iterable[tuple[str, Decimal]]:
    net, tax = _net(charge), charge["tax"]
    taxed = Decimal(tax["amount"]) if tax else Decimal(0)
    if tax:
        yield _TAX.get(tax["name"], "liabilities:tax"), -taxed
    own = net
    for share in charge["shares"]:
        amount = Decimal(share["amount"])
        yield f"liabilities:landlord:{share['party']}", -amount
        if share["role"] == "agent":
            own -= amount
        else:
            yield "expenses:revenue-share", amount
    if charge["settlement"] == "paid":
        tip, total = Decimal(charge["tip"] or 0), Decimal(charge["total"])
        kiosk = any(event["source"] == "berlin/pos/kiosk" for event in charge["events"])
        yield "assets:clearing:kiosk" if kiosk else "assets:clearing", total
        yield "liabilities:tips", -tip
        yield "expenses:rounding", net + taxed + tip - total
    else:
        at_once = charge["meter"] in {"deposit", "credit"} or charge["earned_until"]
        billed = at_once or datetime.fromisoformat(charge["invoice_period"]["end"]) <= now - _CLOSES_AFTER
        yield "assets:receivable" if billed else "assets:unbilled", net + taxed
    deferred = Decimal(0)
    if charge["earned_until"]:
        first, end = _day(charge["time"]), _day(charge["earned_until"])
        over = (min(max(now.astimezone(_BERLIN).date(), first), end) - first).days
        deferred = own - _rounded(own * over / (end - first).days)
    yield "liabilities:deferred", -deferred
    yield _income(charge), deferred - own


def _income(charge: Charge) -> str:
    meter = charge["meter"]
    by_hand = {"deposit": "liabilities:deposits", "credit": "liabilities:deferred"}
    if meter in by_hand:
        return by_hand[meter]
    if meter == "membership":
        return "income:studios" if charge["plan"] == "studio" else "income:membership"
    if charge["event"] is None:
        return "income:minimums"
    if meter == "cafe":
        # On account, only a tip is without a price.
        if charge["settlement"] == "account" and charge["price"] is None:
            return "liabilities:tips"
        if charge["dimensions"].get("category") == "drinks":
            return "income:food-beverage:drinks"
        return "income:kitchen" if charge["time"] >= _KITCHEN else "income:food-beverage"
    return _INCOME.get(meter, "equity:suspense")


def _net(charge: Charge) -> Decimal:
    rounded, tax = Decimal(charge["rounded"]), charge["tax"]
    held = tax is not None and tax["inclusive"] and charge["settlement"] == "account"
    return rounded - Decimal(tax["amount"]) if held else rounded


def _day(instant: str) -> date:
    return datetime.fromisoformat(instant).astimezone(_BERLIN).date()


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)
