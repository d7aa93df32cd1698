"""A second rater, written from the rules alone: no checkpoint, no cache, nothing of `meter.rating`.

It sorts all events, goes through them once for each account, and recomputes whatever it needs:

    events, in order ─▶ counting, sessions ─▶ contributions ─┐
    facts ─▶ dues ─────────────────────────────────────────── ┼─▶ by place ─▶ account ─▶ lines
    sales, refunds ────────────────────────────────────────── ┘
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.reference.account import Account
from tests.reference.counting import Contribution, Measure, Placed, counting, position, readings
from tests.reference.dates import NEVER
from tests.reference.dues import Due, Dues
from tests.reference.facts import Facts
from tests.reference.lines import Line
from tests.reference.sales import Sale
from tests.reference.sessions import Sessions
from tests.reference.values import ZERO, Doc, exact, number

# What is due at one instant, in this order: a minimum is the last of its period.
ORDER = ("fee", "deposit", "bought", "expired", "flat", "minimum")
# What stands at a place; of one event its lines come in this order, refunds of it behind them.
Item = tuple[tuple[Any, ...], Any]


@dataclass
class Bill:
    lines: list[Line] = field(default_factory=list)
    unresolved: set[tuple[str, str, str]] = field(default_factory=set)
    unread: set[tuple[str, str, str]] = field(default_factory=set)
    orphans: set[tuple[str, str, str]] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=dict)


@dataclass
class _Refund:
    event: Doc
    sale: tuple[str, str]
    at: datetime
    behind: bool


class Rater:
    """Rates all events by all facts, once."""

    def __init__(self, facts: Facts, events: list[Doc]) -> None:
        self.facts = facts
        self.bill = Bill()
        events = counting(events, facts.now)
        placed = [one for event in events if (one := self._placed(event)) is not None]
        by_account: dict[str, list[Placed]] = defaultdict(list)
        for one in placed:
            by_account[one.account].append(one)
        for name in facts.accounts:
            self._account(name, by_account[name], events)

    # --- whose --------------------------------------------------------------------------------------------------------

    def _placed(self, event: Doc) -> Placed | None:
        facts, at, subject = self.facts, event["at"], event.get("subject")
        if event["type"] == "pos.refund":
            return None
        catalog = facts.catalog(at)
        site = event["source"].split("/")[0]
        member = facts.member_at(subject, at) if subject else None
        account = None if member is None else facts.account_at(member, at)
        if member is None and is_paid(event):
            account = catalog.get("sites", {}).get(site, {}).get("walk_in")
        if account is None:
            if subject or event["type"] == "pos.sale":
                self.bill.unresolved.add((event["source"], event["id"], subject or ""))
            return None
        period = facts.period(account, at)
        return Placed(event=event, account=account, member=member, site=site, catalog=catalog, period=period)

    # --- one account --------------------------------------------------------------------------------------------------

    def _account(self, name: str, placed: list[Placed], events: list[Doc]) -> None:
        account = self.bill.accounts[name] = Account(self.facts, name)
        dues = Dues(self.facts, name, placed[0].time if placed else None)
        usage = [one for one in placed if not is_paid(one.event)]
        measure, sessions = Measure(self.facts), Sessions(self.facts)
        for one in usage:
            measure.event(one)
        sessions.all(usage)
        self.bill.unread |= measure.unread | sessions.unread
        self.bill.orphans |= sessions.orphans
        sales = [one for one in placed if one.event["type"] == "pos.sale"]
        items: list[Item] = [(_due_place(n, due), due) for n, due in enumerate(dues.found)]
        items += [(_usage_place(one), one) for one in [*measure.found, *sessions.found]]
        items += [((*position(one.event), 1), one) for one in sales]
        items += self._refunds(sales, events)
        self._walk(account, sorted(items, key=lambda item: item[0]))
        self.bill.lines += account.lines

    @staticmethod
    def _refunds(sales: list[Placed], events: list[Doc]) -> list[Item]:
        """Each at its own place, or right behind its sale where that is later."""
        found: list[Item] = []
        for sale in sales:
            name = (sale.event["source"], sale.event["data"]["order"])
            for event in events:
                if event["type"] != "pos.refund" or event["data"]["status"] != "completed":
                    continue
                data = event["data"]
                if (data["sale"]["source"], data["sale"]["order"]) != name:
                    continue
                behind = position(event) < position(sale.event)
                place = position(sale.event) if behind else position(event)
                found.append(((*place, 2, position(event)), _Refund(event, name, place[0], behind)))
        return found

    def _walk(self, account: Account, items: list[Item]) -> None:
        sales: dict[tuple[str, str], Sale] = {}
        for _, item in items:
            if isinstance(item, Due):
                account.due(item)
            elif isinstance(item, Contribution):
                booked = account.use(item, *self._plan(account, item.at))
                event = item.at.event
                if booked is not None and event["type"] == "pos.sale":
                    sales.setdefault(name_of(event), Sale(event)).add(booked)
            elif isinstance(item, _Refund):
                period = self.facts.period(account.name, item.at)
                sales[item.sale].refund(account, item.event, item.at, period, behind=item.behind)
            else:
                self._sale(account, item, sales.setdefault(name_of(item.event), Sale(item.event)))

    def _plan(self, account: Account, at: Placed) -> tuple[Doc | None, str | None, Doc | None]:
        """The subscription, the plan's name and the plan that price usage there."""
        sub = self.facts.subscription_at(account.name, at.member, at.time)
        name = sub["plan"] if sub else at.catalog.get("default_plan")
        plan = self.facts.plan(name, at.time)
        return sub, name if plan else None, plan

    # --- sales --------------------------------------------------------------------------------------------------------

    def _sale(self, account: Account, at: Placed, sale: Sale) -> None:
        """What a sale books beside its usage: all of it where the till was paid, else the tip."""
        data, event = at.event["data"], at.event
        meter, quantity = counted(event, at.catalog)
        tip = number(data.get("tip")) or ZERO
        if is_paid(event):
            taxes = [number(line["tax"]) for line in data["lines"] if line.get("tax") is not None]
            names = sorted({line["tax_name"] for line in data["lines"] if line.get("tax_name")})
            known = at.catalog.get("taxes", {}).get(names[0]) if len(names) == 1 else None
            rate = exact(known["rate"]) if known else None
            sale.paid = Line(
                account=account.name, member=at.member, site=at.site, key=account.key(event, meter, 0, ""),
                quantity=quantity, amount=sum(sale.nets, ZERO), settlement="paid", currency=data["currency"],
                tax=(", ".join(names) or "sale", rate, False) if taxes else None,
                till_tax=sum((tax for tax in taxes if tax is not None), ZERO), tip=tip, total=number(data["total"]),
                period=at.period, shares=self.facts.shares(meter, at.site, at.time),
            )  # fmt: skip
            account.book(sale.paid)
        elif tip:
            currency = at.period.terms.currency
            own = data["currency"] == currency
            _, name, _ = self._plan(account, at)
            sale.tip = Line(
                account=account.name, member=at.member, site=at.site, key=account.key(event, meter, 0, "tip"),
                plan=name, quantity=tip, amount=tip if own else ZERO, unpriced=not own,
                currency=currency, period=at.period,
            )  # fmt: skip
            account.book(sale.tip)


def is_paid(event: Doc) -> bool:
    return bool(event["type"] == "pos.sale" and event["data"]["settlement"] == "paid")


def name_of(sale: Doc) -> tuple[str, str]:
    return sale["source"], sale["data"]["order"]


def counted(event: Doc, catalog: Doc) -> tuple[str, Fraction]:
    """The first meter by name that counts a sale, and what it counts."""
    for name in sorted(catalog["meters"]):
        meter = catalog["meters"][name]
        total = ZERO
        for _, value, _ in readings(name, event, catalog):
            if meter.get("aggregate", "sum") in {"count", "unique", "unique_days"}:
                total += 1
            else:
                total += (number(value) or ZERO) * exact(meter.get("scale", "1"))
        if total:
            return name, total
    return "pos", Fraction(1)


def _due_place(n: int, due: Due) -> tuple[Any, ...]:
    return (due.time, "", ORDER.index(due.kind), due.id, due.meter, due.part, n)


def _usage_place(one: Contribution) -> tuple[Any, ...]:
    return (*position(one.at.event), 0, one.meter, one.element)


__all__ = ["NEVER", "Bill", "Facts", "Line", "Rater"]
