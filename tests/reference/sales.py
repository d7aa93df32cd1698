"""Sales and refunds of the second rater.

A refund takes a share of what is left of each line of its sale, or of those that it names. What a line gives back in
all is a function of its share so far; a refund books the difference that it makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from urllib.parse import quote

from tests.reference.account import Account, Booked
from tests.reference.credit import Drawn
from tests.reference.dates import Period
from tests.reference.lines import Line
from tests.reference.values import PLACES, ZERO, Doc, exact, number, rounded


@dataclass
class _Original:
    """What a line of the sale was worth when it was booked."""

    booked: Booked
    amount: Fraction
    covers: list[tuple[Drawn, Fraction, Fraction]]  # draw, quantity, value
    payments: list[tuple[Drawn, Fraction]]
    uncovered: Fraction = ZERO

    def back(self) -> Fraction:
        """What has come back of what the line says that credit covered, below 0."""
        whole = sum((quantity for _, quantity, _ in self.covers), ZERO)
        return rounded(self.booked.line.covered * self.uncovered / whole, 12) if whole else ZERO


class Sale:
    """A sale and what is left of it."""

    def __init__(self, event: Doc) -> None:
        self.event = event
        self.items: list[Doc] = event["data"]["lines"]
        self.nets = [number(item["amount"]) or ZERO for item in self.items]
        self.total = number(event["data"]["total"]) or ZERO
        # How much of each line and of the tip (-1) is refunded; the gross amount; its net, tax and tip in cents.
        self.given: dict[int, Fraction] = dict.fromkeys(range(-1, len(self.items)), ZERO)
        self.gross = ZERO
        self.back = (ZERO, ZERO, ZERO)
        taxes = [number(item.get("tax")) or ZERO for item in self.items]
        self.whole = (sum(self.nets, ZERO), sum(taxes, ZERO), number(event["data"].get("tip")) or ZERO)
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
        if element is not None:
            return self.given[element]
        sold = [(n, net) for n, net in enumerate(self.nets) if net > 0]
        net = sum((one for _, one in sold), ZERO)
        if not net:
            return self.gross / self.total if self.total > 0 else ZERO
        return sum((self.given[n] * one for n, one in sold), ZERO) / net

    def advance(self, data: Doc) -> None:
        """Count the refund, never more than what is left."""
        given, left = dict(self.given), self.total - self.gross
        places = PLACES.get(self.event["data"]["currency"], 2)
        if data.get("amount") is not None:
            amount = min(exact(data["amount"]), left)
            if amount > 0:
                self._take(list(self.given), amount / left)
                self.gross += amount
                net, tax, tip = self.parts()
                rest = rounded(self.gross * sum(self.whole) / self.total, places)
                tip = rounded(rest * tip / (net + tax + tip), places) if net + tax + tip else ZERO
                tax = rounded((rest - tip) * tax / (net + tax), places) if net + tax else ZERO
                self.back = (rest - tip - tax, tax, tip)
        else:
            for line in data["lines"]:
                self._take_line(line)
            if self.given == given:
                return
            net, tax = (rounded(part, places) for part in self.parts()[:2])
            self.gross = min(self.total, self.gross + net + tax - self.back[0] - self.back[1])
            self.back = (net, tax, self.back[2])
        # The last part gives the rest.
        parts = [n for n in self.given if n >= 0 or self.whole[2] or not self.items]
        if self.given != given and all(self.given[n] == 1 for n in parts):
            self.gross, self.back = self.total, self.whole

    def _take_line(self, line: Doc) -> None:
        name, wanted = line.get("sku") or line.get("name"), exact(line["amount"])
        named = [n for n in range(len(self.items)) if name is not None and name == self._name(n)]
        if not named:
            # The sale has no such line: it is of all of them.
            rest = sum((self._left(n) for n in range(len(self.items))), ZERO)
            if rest > 0 and wanted > 0:
                self._take(list(range(len(self.items))), min(Fraction(1), wanted / rest))
        for n in named:
            part = min(wanted, self._left(n))
            if part > 0:
                self._take([n], part / self._left(n))
                wanted -= part

    def _left(self, n: int) -> Fraction:
        return self.nets[n] * (1 - self.given[n])

    def _name(self, n: int) -> str | None:
        found: str | None = self.items[n].get("sku") or self.items[n].get("name")
        return found

    def _take(self, several: list[int], share: Fraction) -> None:
        """Give back a share of what is left of each."""
        for n in several:
            self.given[n] += share * (1 - self.given[n])

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
        back, gross = self.back, self.gross
        self.advance(refund["data"])
        part = f"refund/{quote(refund['source'], safe='')}/{quote(refund['id'], safe='')}" if behind else "refund"
        if self.paid is not None:
            self._till(account, refund, at, period, part, back, gross, before[None], behind=behind)
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
        granted: Fraction = ZERO,
    ) -> None:  # fmt: skip
        if amount or draws:
            event = self.event if behind else refund
            key = (at, event["source"], event["id"], line.meter, line.key[4], part)
            account.book(
                Line(
                    account=line.account, member=line.member, site=line.site, key=key, kind="refund", plan=line.plan,
                    price=line.price, quantity=quantity, covered=covered, amount=amount, settlement=line.settlement,
                    unpriced=line.unpriced, currency=line.currency, tax=line.tax, period=period, draws=draws,
                    granted=granted, shares=line.shares,
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

        earlier = one.back()
        back, shown = account.showing(give)
        one.uncovered += sum((draw.covered for draw in back), ZERO)
        line = one.booked.line
        if line.period == period:
            account.memory.paid[period.start, line.meter] -= amount
        quantity = rounded(line.quantity * after, 12) - rounded(line.quantity * before, 12)
        granted = sum((draw.amount for draw in back if draw.instance.unit == line.currency), ZERO)
        self._book(account, line, refund, at, period, part, -amount, shown, behind=behind, quantity=-quantity,
                   covered=one.back() - earlier, granted=granted)  # fmt: skip

    def _till(  # noqa: PLR0917 -- as the rules name them
        self, account: Account, refund: Doc, at: datetime, period: Period, part: str,
        before: tuple[Fraction, Fraction, Fraction], gross: Fraction, share: Fraction, *, behind: bool,
    ) -> None:  # fmt: skip
        """Net, tax and tip of a sale paid at the till go back as the till gave them."""
        line = self.paid
        assert line is not None
        net, tax, tip = (now - was for now, was in zip(self.back, before, strict=True))
        total = self.gross - gross
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
                shares=line.shares,
            )
        )  # fmt: skip
