"""Sales and refunds of the second rater.

A refund is a fraction of its sale, or of lines of it. What each line of the sale has given back so far is a function of
the fraction so far; a refund books the difference that it makes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from urllib.parse import quote

from tests.reference.account import Account, Booked
from tests.reference.credit import Drawn
from tests.reference.dates import Period
from tests.reference.lines import Line
from tests.reference.values import PLACES, ZERO, Doc, exact, number, rounded


@dataclass
class Fractions:
    """How much of a sale is refunded: of the whole by amount, and of its lines by what they cost."""

    gross: Fraction = ZERO
    net: dict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))


@dataclass
class _Original:
    """What a line of the sale was worth when it was booked."""

    booked: Booked
    amount: Fraction
    covers: list[tuple[Drawn, Fraction, Fraction]]  # draw, quantity, value
    payments: list[tuple[Drawn, Fraction]]
    uncovered: Fraction = ZERO


class Sale:
    """A sale and what is left of it."""

    def __init__(self, event: Doc) -> None:
        self.event = event
        self.items: list[Doc] = event["data"]["lines"]
        self.nets = [number(item["amount"]) or ZERO for item in self.items]
        self.total = number(event["data"]["total"]) or ZERO
        self.done = Fractions()
        self.till = (ZERO, ZERO)  # net and tax that the till has given back
        self.paid: Line | None = None
        self.lines: list[_Original] = []
        self.tip: Line | None = None

    def add(self, booked: Booked) -> None:
        """Keep a line of a sale on account, with the value of each draw."""
        line, item = booked.line, booked.item
        charged = line.amount + sum((draw.amount for draw in booked.payments), ZERO)
        billable = line.quantity - line.covered
        if billable > 0:
            each = charged / billable
        else:
            net = number(item["amount"]) if item is not None else sum(self.nets, ZERO)
            each = (net or ZERO) / line.quantity
        each = max(each, ZERO)
        covers = [
            (draw, draw.covered, draw.covered * each / booked.factor) for draw in booked.covers if draw.covered > 0
        ]
        payments = [(draw, draw.amount) for draw in booked.payments if draw.amount > 0]
        self.lines.append(_Original(booked, line.amount, covers, payments))

    # --- how much -----------------------------------------------------------------------------------------------------

    def share(self, element: int | None) -> Fraction:
        """How much of a line, of the tip (-1) or of a line of the whole sale (None) is refunded."""
        whole = self.done.gross / self.total if self.total > 0 else ZERO
        if element == -1:
            return whole
        if element is None:
            sold = [(n, net) for n, net in enumerate(self.nets) if net > 0]
            net = sum((one for _, one in sold), ZERO)
            return sum((self.share(n) * one for n, one in sold), ZERO) / net if net else whole
        net = self.nets[element]
        own = self.done.net[element] / net if net else ZERO
        return min(Fraction(1), whole + own)

    def advance(self, data: Doc) -> None:
        """Count the refund, never more than what is left."""
        if data.get("amount") is not None:
            self.done.gross = max(self.done.gross, min(self.total, self.done.gross + exact(data["amount"])))
            return
        for line in data["lines"]:
            name = line.get("sku") or line.get("name")
            wanted = exact(line["amount"])
            sold = [n for n, net in enumerate(self.nets) if net > 0]
            named = [n for n in range(len(self.items)) if name is not None and name == self._name(n)]
            if not named:
                # The sale has no such line: it is of all of them, each by what it cost.
                whole = sum((self.nets[n] for n in sold), ZERO)
                for n in sold:
                    self._take(n, wanted * self.nets[n] / whole)
            for n in named:
                wanted -= self._take(n, wanted) if n in sold else ZERO

    def _name(self, n: int) -> str | None:
        found: str | None = self.items[n].get("sku") or self.items[n].get("name")
        return found

    def _take(self, n: int, wanted: Fraction) -> Fraction:
        part = max(ZERO, min(wanted, self.nets[n] - self.done.net[n]))
        self.done.net[n] += part
        return part

    def parts(self) -> tuple[Fraction, Fraction, Fraction]:
        """Net, tax and tip that are refunded so far."""
        net = sum((self.share(n) * one for n, one in enumerate(self.nets)), ZERO)
        taxes = [number(item.get("tax")) or ZERO for item in self.items]
        tax = sum((self.share(n) * one for n, one in enumerate(taxes)), ZERO)
        return net, tax, self.share(-1) * (number(self.event["data"].get("tip")) or ZERO)

    # --- what it books ------------------------------------------------------------------------------------------------

    def refund(self, account: Account, refund: Doc, at: datetime, period: Period, *, behind: bool) -> None:
        if refund["data"]["currency"] != self.event["data"]["currency"]:
            return
        before = {n: self.share(n) for n in (-1, None, *range(len(self.items)))}
        parts, gross = self.parts(), self.done.gross
        self.advance(refund["data"])
        part = f"refund/{quote(refund['source'], safe='')}/{quote(refund['id'], safe='')}" if behind else "refund"
        if self.paid is not None:
            self._till(account, refund, at, period, part, parts, gross, before[None], behind=behind)
            return
        for one in self.lines:
            element = one.booked.line.key[4] if one.booked.item is not None else None
            self._line(account, one, before[element], self.share(element), refund, at, period, part, behind=behind)
        if self.tip is not None:
            amount = rounded(self.tip.amount * self.share(-1), 12) - rounded(self.tip.amount * before[-1], 12)
            self._book(
                account, self.tip, refund, at, period, f"tip/{part}", -amount, {}, behind=behind, quantity=-amount
            )

    def _book(  # noqa: PLR0917 -- as the rules name them
        self, account: Account, line: Line, refund: Doc, at: datetime, period: Period, part: str, amount: Fraction,
        draws: dict[str, Fraction], *, behind: bool, quantity: Fraction = ZERO, covered: Fraction = ZERO,
    ) -> None:  # fmt: skip
        if amount or draws:
            event = self.event if behind else refund
            key = (at, event["source"], event["id"], line.meter, line.key[4], part)
            account.book(
                Line(
                    account=line.account, member=line.member, site=line.site, key=key, kind="refund", plan=line.plan,
                    price=line.price, quantity=quantity, covered=covered, amount=amount, settlement=line.settlement,
                    unpriced=line.unpriced, currency=line.currency, tax=line.tax, period=period, draws=draws,
                )
            )  # fmt: skip

    def _line(  # noqa: PLR0917 -- as the rules name them
        self, account: Account, one: _Original, before: Fraction, after: Fraction, refund: Doc, at: datetime,
        period: Period, part: str, *, behind: bool,
    ) -> None:  # fmt: skip
        """Money first, then draws, the last first."""
        pieces = [(draw, ZERO, value) for draw, value in one.payments[::-1]] + one.covers[::-1]
        worths = sum((worth for _, _, worth in pieces), ZERO)
        value = one.amount + worths
        old, new = value * before, value * after

        def money(so_far: Fraction) -> Fraction:
            return min(so_far, one.amount) if worths and one.amount >= 0 else so_far

        amount = rounded(money(new), 12) - rounded(money(old), 12)
        rest_old, rest_new = old - money(old), new - money(new)
        if not worths:
            # Worth nothing, and so given back as the quantities that they are.
            pieces = [(draw, quantity, quantity) for draw, quantity, _ in pieces]
            covered = sum((quantity for _, quantity, _ in pieces), ZERO)
            rest_old, rest_new = covered * before, covered * after

        def give() -> list[Drawn]:
            nonlocal rest_old, rest_new
            found: list[Drawn] = []
            for draw, quantity, worth in pieces:
                was, now = min(rest_old, worth), min(rest_new, worth)
                rest_old, rest_new = rest_old - was, rest_new - now
                if now <= was:
                    continue
                units = rounded(quantity * now / worth, 12) - rounded(quantity * was / worth, 12)
                back = rounded(draw.whole * now / worth, 12) - rounded(draw.whole * was / worth, 12)
                units, back = min(units, draw.covered), min(back, draw.amount)
                if back:
                    found.append(account.credit.refund(draw, units, back, at, period.end, refund))
            return found

        back, shown = account.showing(give)
        line = one.booked.line
        if line.period == period:
            account.memory.paid[period.start, line.meter, line.currency] -= amount
        quantity = rounded(line.quantity * after, 12) - rounded(line.quantity * before, 12)
        gone, factor = one.uncovered, one.booked.factor
        one.uncovered += sum((draw.covered for draw in back), ZERO)
        covered = rounded(one.uncovered / factor, 12) - rounded(gone / factor, 12)
        self._book(account, line, refund, at, period, part, -amount, shown,
                   behind=behind, quantity=-quantity, covered=covered)  # fmt: skip

    def _till(  # noqa: PLR0917 -- as the rules name them
        self, account: Account, refund: Doc, at: datetime, period: Period, part: str,
        before: tuple[Fraction, Fraction, Fraction], gross: Fraction, share: Fraction, *, behind: bool,
    ) -> None:  # fmt: skip
        """Net, tax and tip of a sale paid at the till go back as the till gave them."""
        line = self.paid
        assert line is not None
        places = PLACES.get(line.currency, 2)
        after = self.parts()
        tax = rounded(after[1], places) - rounded(before[1], places)
        tip = rounded(after[2], places) - rounded(before[2], places)
        # The till gives back whole cents: of an amount the net is what is left over, of lines each sum is rounded.
        net = rounded(sum(after, ZERO), places) - rounded(sum(before, ZERO), places) - tax - tip
        if refund["data"].get("amount") is None:
            net, tax = rounded(after[0], places) - self.till[0], rounded(after[1], places) - self.till[1]
        self.till = (self.till[0] + net, self.till[1] + tax)
        total = self.done.gross - gross
        if not total:
            total = net + tax
        if not (net or tax or tip or total):
            return
        event = self.event if behind else refund
        quantity = rounded(line.quantity * self.share(None), 12) - rounded(line.quantity * share, 12)
        account.book(
            Line(
                account=line.account, member=line.member, site=line.site, kind="refund",
                key=(at, event["source"], event["id"], line.meter, 0, part), amount=-net, settlement="paid",
                quantity=-quantity,
                currency=line.currency, tax=line.tax, till_tax=-tax, period=period, tip=-tip, total=-total,
            )
        )  # fmt: skip
