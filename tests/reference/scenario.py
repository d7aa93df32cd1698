"""Random spaces: catalogs with versions, people who move, badges that change hands, and seven weeks of events."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

from tests.reference.chance import ACCOUNTS, BADGES, DAYS, SITES, VALUES, Chance, Scenario, text_of
from tests.reference.facts import Facts
from tests.reference.people import People
from tests.reference.shop import Shop
from tests.reference.values import Doc

__all__ = ["ACCOUNTS", "DAYS", "Maker", "Scenario", "wire"]


class Maker:
    """Draws one scenario from a seed."""

    def __init__(self, seed: int, *, events: int) -> None:
        self.chance = Chance(seed)
        self.count = events
        self.serial = 0
        self.events: list[Doc] = []
        self.dollars, self.money = 0.07, "USD"

    def make(self) -> Scenario:
        chance = self.chance
        shop = Shop(chance)
        first = shop.catalog()
        versions: list[tuple[str | None, Doc]] = [(None, first)]
        for _ in range(chance.one_of([0, 1, 1, 2])):
            changed = shop.changed(versions[-1][1])
            dated = versions[1:] == [] or chance.yes(0.6)
            versions.append((chance.date() if dated else versions[-1][0], changed))
        self.dollars, self.money = (0.4, shop.money) if shop.dollars else (0.07, "USD")
        puts = People(chance, shop, first).puts()
        self.make_events()
        last = max(event["at"] for event in self.events)
        # Now and then some events are still to come.
        now = last + timedelta(seconds=chance.count(-10 if chance.yes(0.1) else 0, 30) * 86400 + chance.count(0, 86400))
        found = Scenario(versions=versions, puts=puts, now=now, start=chance.start, events=self.events)
        found.closes = self.closes(Facts(versions, puts, [], now=now))
        return found

    def closes(self, facts: Facts) -> list[tuple[str, datetime]]:
        """Some accounts' periods up to one that is over."""
        found = []
        for name in facts.accounts:
            over = [p for p in facts.periods(name) if p.end <= facts.now]
            late = [p for p in over if p.end > self.chance.start - timedelta(days=40)]
            if late and self.chance.yes(0.6):
                last = self.chance.one_of(late)
                found += [(name, period.start) for period in late if period.start <= last.start]
        return found

    # --- events -------------------------------------------------------------------------------------------------------

    def make_events(self) -> None:
        chance = self.chance
        while len(self.events) < self.count:
            kind = chance.one_of(["print.job", "door.access", "stay", "pos.sale", "pos.sale", "usage.reported",
                                  "wifi", "space.gauge", "room.booking"])  # fmt: skip
            if kind == "stay":
                self.stay()
            elif kind == "wifi":
                self.wifi()
            else:
                self.add(kind, self.data(kind))
                self.follow(self.events[-1])
        for n in range(self.count // 7):
            target = chance.one_of(self.events)
            if target["type"] in {"event.voided", "event.amended"}:
                continue
            if chance.yes(0.5):
                self.revise(n, "event.voided", target, {})
            else:
                self.revise(n, "event.amended", target, {"data": self.other(target)})
                if chance.yes(0.3):
                    self.revise(n + 1000, "event.voided", self.events[-1], {})

    def follow(self, event: Doc) -> None:
        """What comes of it."""
        chance, kind = self.chance, event["type"]
        if kind in {"door.access", "space.gauge"} and chance.yes(0.5):
            self.again(event)
        if kind == "pos.sale" and chance.yes(0.4):
            self.refunds(event)
        elif kind == "pos.sale" and chance.yes(0.1):
            event["data"]["total"] = "9.99"

    def again(self, event: Doc) -> None:
        """The same once more, and more than once: a door that is held open, or somebody who comes back soon."""
        chance, at = self.chance, event["at"]
        for _ in range(chance.count(1, 4)):
            at += timedelta(seconds=chance.one_of([0, 12, 12, 20, 20, 200, 200, 300, 20_000, 28_800]))
            at += timedelta(microseconds=chance.one_of([-1, 0, 0, 0, 1])) if chance.yes(0.3) else timedelta()
            data = dict(event["data"])
            if "door" in data and chance.yes(0.3):
                data["door"] = chance.one_of(["main", "back"])
            self.add(event["type"], data, source=event["source"], subject=event.get("subject"), at=at)

    def other(self, target: Doc) -> Doc:
        """Other data for the same thing."""
        kept: Doc = {
            name: target["data"][name] for name in ("order", "refund", "sale", "booking", "job", "meter", "session")
                if name in target["data"]}  # fmt: skip
        if target["type"] == "pos.refund":
            return {**target["data"], "status": self.chance.one_of(["completed", "failed"])}
        if target["type"] == "wifi.session":
            return {**target["data"], "bytes_in": self.chance.count(0, 5000)}
        return self.data(target["type"]) | kept

    def revise(self, n: int, kind: str, target: Doc, more: Doc) -> None:
        data = {"source": target["source"], "id": target["id"], "reason": "wrong"} | more
        self.events.append(
            {"type": kind, "source": "berlin/office", "id": f"r{n}", "at": self.chance.moment(), "data": data}
        )

    def add(self, kind: str, data: Doc, **more: object) -> None:
        """One more event; site, person and time are drawn unless given."""
        chance = self.chance
        self.serial += 1
        site = chance.one_of([*SITES, "nowhere"] if chance.yes(0.1) else list(SITES))
        event: Doc = {"type": kind, "source": f"{site}/{kind.replace('.', '-')}", "id": f"e{self.serial}",
                      "at": chance.moment()}  # fmt: skip
        if chance.yes(0.92 if kind != "pos.sale" else 0.6):
            event["subject"] = self.subject()
        event |= more
        event["data"] = data
        self.events.append({name: value for name, value in event.items() if value is not None})

    def subject(self) -> str:
        return self.chance.one_of([*BADGES, *BADGES, *BADGES, "member:ada", "member:kim", "badge:NOBODY"])

    def stay(self) -> None:
        """Somebody comes and goes, not always both, and not always through doors that say so."""
        chance = self.chance
        subject, at, site = self.subject(), chance.moment(), chance.one_of(list(SITES))
        for direction in chance.one_of(
            ["in out", "in out in out", "in in out", "in", "out", "in - out", "in - -"]
        ).split():
            data: Doc = {"door": chance.one_of(["main", "back"]), "granted": chance.yes(0.95)}
            if direction != "-":
                data["direction"] = direction
            if direction == "out" and chance.yes(0.15):
                data["estimated"] = chance.yes(0.8)
            self.add("door.access", data, subject=subject, source=f"{site}/door-access", at=at)
            at += timedelta(seconds=chance.one_of([0, 1, 45, 3600, 7200, 30_000, 60_000, chance.count(1, 90_000)]))

    def wifi(self) -> None:
        """A session with its readings, now and then with one that falls or comes late."""
        chance = self.chance
        subject, at, site = self.subject(), chance.moment(), chance.one_of(list(SITES))
        session, read = f"s{chance.count(0, 4)}", 0
        for status in chance.one_of(["start interim stop", "start interim interim", "start stop", "interim stop",
                                     "start", "start interim start stop", "start interim stop stop",
                                     "start stop interim start"]).split():  # fmt: skip
            data: Doc = {"session": session, "status": status, "ap": chance.one_of(["ap1", "ap2"])}
            if chance.yes(0.05):
                data.pop("ap")
            if status == "stop" and chance.yes(0.5):
                data["estimated"] = True
            if chance.yes(0.85):
                read = max(0, read + chance.count(-300, 2500))
                data["bytes_in"] = read
            self.add("wifi.session", data, subject=subject, source=f"{site}/wifi", at=at)
            at += timedelta(seconds=chance.one_of([30, 600, 4000, 20_000, 100_000, chance.count(1, 90_000)]))

    def refunds(self, sale: Doc) -> None:
        """Some refunds of one sale: by amount, or of its lines."""
        chance, data = self.chance, sale["data"]
        several = [line for line in data["lines"] if not line["amount"].startswith("-")]
        for n in range(chance.count(1, 3)):
            refund: Doc = {"refund": f"f{self.serial}-{n if chance.yes(0.85) else 0}",
                           "sale": {"source": sale["source"], "order": data["order"]}, "currency": data["currency"],
                           "status": chance.one_of(["completed"] * 4 + ["pending", "failed"])}  # fmt: skip
            if several and chance.yes(0.4):
                line = chance.one_of(several)
                refund["lines"] = [
                    {"sku": line["sku"], "quantity": 1, "amount": in_cents(chance.one_of(["1", line["amount"]]))}
                ]
            else:
                refund["amount"] = in_cents(chance.one_of(["1.00", "0.33", "5.95", data["total"]]))
            if chance.yes(0.05):
                refund |= chance.one_of([{"currency": "JPY"}, {"sale": refund["sale"] | {"order": "unknown"}}])
            at = sale["at"] + timedelta(seconds=chance.one_of([-3600, 60, 86400, chance.count(0, 30 * 86400)]))
            at = min(at, chance.start + timedelta(days=DAYS + 20))
            self.add("pos.refund", refund, source=sale["source"], subject=None, at=at)

    # --- data ---------------------------------------------------------------------------------------------------------

    def data(self, kind: str) -> Doc:
        chance = self.chance
        thing = f"t{chance.count(0, 9)}" if chance.yes(0.15) else f"u{self.serial}"
        if kind == "print.job":
            data: Doc = {"printer": "p", "job": thing, "impressions": chance.one_of([0, 1, 2, 3, 7, 29, 30, 64]),
                         "status": chance.one_of(["completed"] * 4 + ["cancelled"])}  # fmt: skip
            return data | {name: chance.one_of(VALUES[name]) for name in ("color", "paper") if chance.yes(0.7)}
        if kind == "door.access":
            data = {"door": chance.one_of(["main", "back"]), "granted": chance.yes(0.8)}
            data |= {"direction": chance.one_of(["in", "in", "out"])} if chance.yes(0.8) else {}
            return data | ({"reason": "late"} if chance.yes(0.3) else {})
        if kind == "usage.reported":
            quantity = chance.one_of([1, "2.5", "-1", "-4", 12, "-30", "0.000001", 40])
            return {"meter": chance.one_of(["data"] * 5 + ["pages"]), "quantity": quantity,
                    "kind": chance.one_of(["up", 1, True, "down"])}  # fmt: skip
        if kind == "space.gauge":
            data = {"level": chance.one_of([0, 1, 3, "4.5", 20, "none"])}
            return data | ({"area": chance.one_of(["north", "south", 3])} if chance.yes(0.8) else {})
        if kind == "room.booking":
            start = chance.moment()
            length = timedelta(minutes=chance.one_of([60, 45, 100, 7]))
            status = chance.one_of(["booked", "used", "cancelled"])
            data = {"booking": thing, "resource": chance.one_of(["big", "small"]), "start": text_of(start),
                    "end": text_of(start + length), "status": status}  # fmt: skip
            return data | ({"hours": chance.one_of(["1", "0.5", "1.3333", "2.25", 3])} if chance.yes(0.6) else {})
        return self.sale(thing)

    def sale(self, thing: str) -> Doc:
        chance = self.chance
        lines, total = [], Decimal(0)
        settlement = chance.one_of(["paid", "account", "account"])
        # A till takes whole cents.
        amounts = ["3.20", "12", "7.77", "0.02"]
        amounts += ["0.015", "3.20", "-2.50", "-7.77"] if settlement == "account" else []
        for n in range(chance.one_of([0, 1, 1, 2, 2, 3])):
            amount = chance.one_of(amounts)
            quantities: list[int | str] = [1, 2, 2, 3] if amount > "0" else [1, "-1", "-2"]
            line: Doc = {"sku": f"sku{n}", "quantity": chance.one_of(quantities), "amount": amount}
            if chance.yes(0.5):
                line["tax_name"] = chance.one_of(["vat", "low", "city"])
            if chance.yes(0.5):
                line["tax"] = chance.one_of(["0.61", "0.22", "0"])
            if chance.yes(0.6):
                line["category"] = chance.one_of(VALUES["category"])
            if chance.yes(0.3):
                line["detail"] = {"kg": chance.one_of(["0.25", 2, "some"])}
            lines.append(line)
            total += Decimal(amount) + Decimal(line.get("tax", "0"))
        other = chance.yes(self.dollars)
        # No till takes parts of a yen.
        currency = chance.one_of(["USD", self.money if settlement == "account" else "USD"]) if other else "EUR"
        data: Doc = {"order": thing, "currency": currency, "lines": lines, "settlement": settlement}
        if chance.yes(0.3):
            data["tip"] = chance.one_of(["1.00", "0.5"])
        total += Decimal(data.get("tip", "0"))
        if settlement == "account" and chance.yes(0.2):
            total = Decimal("9.99")
        data["total"] = str(total)
        return data


def in_cents(amount: str) -> str:
    """What a till can give back."""
    return str(Decimal(amount).quantize(Decimal("0.01")))


def wire(event: Doc) -> bytes:
    """The event as it is sent."""
    body = {name: value for name, value in event.items() if name != "at"}
    body |= {"specversion": "1.0", "time": text_of(event["at"])}
    return json.dumps(body).encode()
