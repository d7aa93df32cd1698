"""A quarter of an operator, July to September 2026, with what an accountant meets in one.

Two sites in two zones and a walk-in account each; people of `meter.simulate` and a few by hand, who move out, change
plans, buy packs that run out, pay in CHF, are claimed late, and get their money back in parts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

from meter.examples import example_catalog
from meter.simulate import directory_text, simulate

FIRST: Final = date(2026, 7, 1)
MEMBERS: Final = 10
# Late by so much: 5 % by hours, a few by weeks, over the closing of their month.
HOURS_LATE: Final = (5, 1, 14)
DAYS_LATE: Final = (2, 7, 40)
# Grants that have a price, one an account and unit.
BOUGHT: Final = ("days-ines", "days-lisbon-ines", "pack", "wallet", "feuilles")

_OWN = """
taxes:
  vat7-in: {rate: "0.07", inclusive: true, account: "liabilities:vat-reduced"}
plans:
  studio:
    name: Studio
    fee: {amount: "149.00", in: arrears, tax: vat7-in}
    prices:
      room-hours:
        - {id: studio-room, model: per_unit, unit_price: "11.11", tax: vat7-in, period_minimum: {amount: "40.00"}}
      print-pages: [{id: studio-page, model: per_unit, unit_price: "PAGE"}]
      cafe: [{id: studio-cafe, model: pass_through}]
  ahead:
    name: Ahead, with the tax in it
    fee: {amount: "219.00", in: advance, tax: vat7-in}
    prices:
      day-passes: [{id: ahead-day, model: per_unit, unit_price: "7.77"}]
      cafe: [{id: ahead-cafe, model: pass_through}]
accounts:
  atelier:
    name: Atelier
    subscriptions:
      - {id: atelier-studio, plan: studio, from: 2026-07-01, to: 2026-08-16, seats: 2, deposit: "450.00"}
      - {id: atelier-flex, plan: flex-10, from: 2026-08-16, seats: 3, deposit: "600.00",
         discounts: [{id: tenth, rate: "0.10", on: [fees, print-pages]}]}
  mover:
    name: Mover
    subscriptions:
      - {id: mover-ahead, plan: ahead, from: 2026-07-05, to: 2026-08-10, deposit: "300.00"}
      - {id: mover-resident, plan: resident, from: 2026-08-10, to: 2026-09-20}
  packer: {name: Packer, subscriptions: [{id: packer-day, plan: day-pass, from: 2026-07-01}]}
  helvetia:
    name: Helvetia
    currency: CHF
    subscriptions: [{id: helvetia-day, plan: day-pass, from: 2026-07-01, to: 2026-09-16, deposit: "250.00"}]
  newcomer: {name: Newcomer, subscriptions: [{id: newcomer-day, plan: day-pass, from: 2026-07-01}]}
members:
  mara: {account: atelier, name: Mara, identities: ["user:mara", "email:mara@atelier.example", "square:ATELIER"]}
  milo: {account: mover, name: Milo, identities: ["badge:0B0E01", "square:MOVER"]}
  pia: {account: packer, name: Pia, identities: ["badge:BAC001", "email:pia@packer.example", "square:PACKER"]}
  heidi: {account: helvetia, name: Heidi, identities: ["user:heidi", "square:HEIDI"]}
  nele: {account: newcomer, name: Nele}
grants:
  - {id: pack, account: packer, unit: day, amount: "10", meters: [day-passes], effective: 2026-07-06,
     expires: 2026-09-10, bought: {price: "185.00", tax: vat19}}
  - {id: wallet, account: packer, unit: EUR, amount: "60.00", effective: 2026-07-03, expires: 2026-09-05,
     bought: {price: "49.99", tax: vat7-in}}
  - {id: gift, account: packer, unit: EUR, amount: "10.00", priority: 50, effective: 2026-08-01}
  - {id: feuilles, account: helvetia, unit: page, amount: "100", effective: 2026-07-02, expires: 2026-08-20,
     bought: {price: "20.05"}}
revenue_share:
  - {match: {meter: cafe, site: berlin}, party: mitte, share: "0.12", basis: net, role: principal}
  - {match: {meter: cafe, site: lisbon}, party: baixa, share: "0.175", basis: net, role: agent}
  - {match: {meter: room-hours, site: lisbon}, party: baixa, share: "0.10", basis: net, role: agent}
  - {match: {meter: membership}, party: brand, share: "0.03", basis: net, role: principal}
ledger:
  accounts: {receivable: "assets:receivable", unbilled: "assets:unbilled", clearing: "assets:clearing",
             clearing.kiosk: "assets:clearing:kiosk", deferred: "liabilities:deferred"}
  unmapped: suspense
  rules:
    - {match: {meter: cafe, dimensions: {category: drinks}}, income: "income:food-beverage:drinks"}
    - {match: {kind: minimum}, income: "income:minimums"}
    - {match: {plan: studio, meter: membership}, income: "income:studios"}
  revenue:
    membership: "income:membership"
    day-passes: "income:day-passes"
    print-pages: "income:print"
    room-hours: "income:rooms"
    cafe: "income:FOOD"
    wifi-data: "4400:Erlöse WLAN"
"""


class Happened(NamedTuple):
    """An event, and when the gateway hears of it."""

    arrives: datetime
    body: bytes


def catalog(*, effective: str | None = None, locked: str | None = None) -> list[tuple[str, str]]:
    """The catalog's files; from September on pages cost more and what is eaten has another account."""
    head, _, _ = example_catalog().partition("\nledger:\n")
    later = effective is not None or (locked or "") >= "2026-08-31"
    own = _OWN.replace("PAGE", "0.07" if later else "0.06").replace("FOOD", "kitchen" if later else "food-beverage")
    if locked:
        own += f"  locked: {locked}\n"
    if effective:
        head += f"\neffective: {effective}\n"
    people = directory_text(sites=2, members=MEMBERS, since=FIRST)
    return [("plans.yaml", head), ("people.yaml", people), ("own.yaml", own)]


@cache
def happened() -> tuple[Happened, ...]:
    """All that happens, by the time at which the gateway hears of it."""
    chance = random.Random(20260701)  # noqa: S311 -- the same quarter each time
    found = []
    for time, body in [*_simulated(), *_by_hand()]:
        late = timedelta(seconds=chance.randrange(20))
        if chance.randrange(100) < HOURS_LATE[0]:
            late = timedelta(hours=chance.randint(*HOURS_LATE[1:]))
        elif chance.randrange(100) < DAYS_LATE[0]:
            late = timedelta(days=chance.randint(*DAYS_LATE[1:]))
        found.append(Happened(time + late, json.dumps(body).encode()))
    return tuple(sorted(found))


def _simulated() -> Iterable[tuple[datetime, dict[str, Any]]]:
    for n in range(92):
        day = FIRST + timedelta(days=n)
        # A day a week, and each month's last.
        if day.weekday() == 1 or (day + timedelta(days=1)).day == 1:
            for event in simulate(start_day=day, sites=2, members=MEMBERS):
                body = json.loads(event.body)
                if body["type"] == "door.held" or (body["type"] == "wifi.session" and body["data"]["status"] != "stop"):
                    continue
                # Months close a day after their end: no agent says how far it is.
                for mark in ("edge", "boot", "sequence"):
                    body.pop(mark, None)
                yield event.time, body


def _by_hand() -> Iterable[tuple[datetime, dict[str, Any]]]:
    yield from _entries()
    yield from _tills()
    yield from _corrections()
    for n, (day, pages) in enumerate([("07-03", 40), ("07-20", 31), ("08-12", 17), ("09-02", 55), ("09-03", 21)]):
        for who in ("mara", "heidi"):
            data = {"printer": "hall", "job": f"{who}-{n}", "impressions": pages, "color": False, "status": "completed"}
            yield event(f"{who}-{n}", f"{day}T10:00", "berlin/print/hall", "print.job", f"user:{who}", data)
    for n, (day, who) in enumerate([("07-08", "mara@atelier"), ("08-05", "mara@atelier"), ("07-09", "pia@packer")]):
        data = {"booking": f"b{n}", "resource": "room-attic", "start": f"2026-{day}T12:00:00Z", "status": "used"}
        data |= {"end": f"2026-{day}T13:30:00Z", "hours": 1.5}
        yield event(f"b{n}", f"{day}T15:30", "lisbon/room/calendar", "room.booking", f"email:{who}.example", data)


def _entries() -> Iterable[tuple[datetime, dict[str, Any]]]:
    """Six days of the pack of ten, days of one who pays for each, and of one whose badge nobody knows yet."""
    days = {
        "BAC001": ("07-07", "07-21", "07-31", "08-11", "08-31", "09-08", "09-14"),
        "0B0E01": ("07-06", "07-15", "08-03"),
        "1A7E01": ("07-02", "07-16", "08-06", "08-27"),
    }
    for badge, when in days.items():
        for day in when:
            data = {"door": "main", "granted": True, "direction": "in"}
            yield event(f"{badge}-{day}", f"{day}T09:00", "berlin/door/main", "door.access", f"badge:{badge}", data)


def _tills() -> Iterable[tuple[datetime, dict[str, Any]]]:
    """Sales of the three settlements, a total that is a cent off, tips, CHF; refunds in parts, some months later."""
    yield sale("k1", "07-04T11:00", "84.03", "15.97", till="berlin/pos/kiosk", total="100.00", tip="5.00")
    yield sale("k2", "07-11T11:00", "10.00", "1.90", till="berlin/pos/kiosk", total="11.91")
    yield sale("k3", "07-11T11:01", "10.00", "1.90", till="berlin/pos/kiosk", total="11.91")
    yield sale("c1", "07-12T11:00", "20.00", "1.40", till="lisbon/pos/bar", currency="CHF", tax_name="vat7")
    yield sale("h1", "07-14T12:00", "33.33", "6.33", subject="square:HEIDI", currency="CHF", settlement="account")
    yield sale(
        "h2", "08-14T12:00", "12.50", "2.38", subject="square:HEIDI", currency="CHF", settlement="account", tip="1"
    )
    yield sale("p1", "07-22T12:00", "21.90", "1.53", subject="square:PACKER", settlement="account", tax_name="vat7")
    yield sale("p2", "08-24T12:00", "45.45", "8.64", subject="square:PACKER", settlement="account", category="drinks")
    yield sale("p3", "09-20T12:00", "9.99", "1.90", subject="square:PACKER", settlement="account", tip="0.80")
    yield sale("m1", "07-23T12:00", "17.17", "1.20", subject="square:MOVER", settlement="account", tax_name="vat7")
    yield sale("a1", "08-02T12:00", "30.00", "5.70", subject="square:ATELIER", till="lisbon/pos/bar")
    # Somebody whom nobody knows yet: the guests' until claimed.
    yield sale("n1", "07-10T12:00", "7.77", "1.48", subject="square:NEW1")
    for id, day, of, amount, till in [
        ("r1", "07-05T09:00", "k1", "33.33", "berlin/pos/kiosk"),
        ("r2", "08-19T09:00", "k1", "41.67", "berlin/pos/kiosk"),
        ("r3", "09-29T09:00", "k1", "25.00", "berlin/pos/kiosk"),
        ("r4", "08-08T09:00", "c1", "7.13", "lisbon/pos/bar"),
        ("r5", "08-28T09:00", "p1", "11.11", "berlin/pos/bar"),
        # The wallet that paid for it has run out by then.
        ("r6", "09-15T09:00", "p2", "20.00", "berlin/pos/bar"),
        ("r7", "09-16T09:00", "h1", "13.00", "berlin/pos/bar"),
        ("r8", "09-01T09:00", "a1", "35.70", "lisbon/pos/bar"),
    ]:
        currency = "CHF" if of in {"c1", "h1"} else "EUR"
        data = {"refund": id, "sale": {"source": till, "order": of}, "amount": amount, "currency": currency}
        yield event(id, day, till, "pos.refund", None, data | {"status": "completed"})


def _corrections() -> Iterable[tuple[datetime, dict[str, Any]]]:
    for id, day, target, source in [
        ("v1", "08-13T18:00", "BAC001-07-21", "berlin/door/main"),
        ("v2", "09-03T18:00", "s-m1", "berlin/pos/bar"),
        ("v3", "07-13T18:00", "s-k3", "berlin/pos/kiosk"),
    ]:
        data = {"source": source, "id": target, "reason": "it was not so"}
        yield event(id, day, "berlin/office", "event.voided", None, data)
    jobs = {"printer": "hall", "color": False, "status": "completed"}
    for id, day, target, pages in [("a1", "07-09T18:00", "mara-0", 44), ("a2", "09-12T18:00", "mara-1", 3)]:
        amended = {"data": jobs | {"job": target, "impressions": pages}}
        target_key = {"source": "berlin/print/hall", "id": target, "reason": "counted wrongly"}
        yield event(id, day, "berlin/office", "event.amended", None, target_key | amended)


def sale(
    order: str, time: str, net: str, tax: str, *, till: str = "berlin/pos/bar", subject: str | None = None, **more: str
) -> tuple[datetime, dict[str, Any]]:
    """A sale of one line, paid by somebody unknown unless it says otherwise."""
    line = {"quantity": 1, "amount": net, "tax": tax, "tax_name": more.get("tax_name", "vat19")}
    line |= {"category": more.get("category", "food")}
    gross = Decimal(net) + Decimal(tax) + Decimal(more.get("tip", 0))
    data: dict[str, Any] = {"order": order, "currency": more.get("currency", "EUR"), "lines": [line]}
    data |= {"total": more.get("total", str(gross)), "settlement": more.get("settlement", "paid")}
    if "tip" in more:
        data["tip"] = more["tip"]
    return event(f"s-{order}", time, till, "pos.sale", subject, data)


def event(  # noqa: PLR0917 -- as an event reads
    id: str, time: str, source: str, kind: str, subject: str | None, data: dict[str, Any]
) -> tuple[datetime, dict[str, Any]]:
    """An event of 2026 at a local time of Berlin, like "07-02T09:00"."""
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": kind,
        "time": f"2026-{time}:00+02:00",
    }
    body |= {"data": data} | ({"subject": subject} if subject else {})
    return datetime.fromisoformat(body["time"]).astimezone(UTC), body
