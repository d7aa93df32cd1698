"""Random spaces: catalogs with versions, people who move, badges that change hands, and seven weeks of events."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

Doc = dict[str, Any]
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "UTC")
SITES = {"berlin": "Europe/Berlin", "lordhowe": "Australia/Lord_Howe", "havana": "America/Havana"}
ACCOUNTS = ("acme", "solo", "zeta")
MEMBERS = ("ada", "bob", "eve", "kim")
BADGES = ("badge:B1", "badge:B2", "badge:B3", "badge:B4", "badge:B5")
START = datetime(2026, 2, 18, tzinfo=UTC)
DAYS = 50
METERS: Doc = {
    "pages": {"event": "print.job", "where": {"status": "completed"}, "aggregate": "sum", "value": "impressions",
              "unit": "page", "group_by": ["color"]},
    "jobs": {"event": "print.job", "where": {"impressions": {"gte": 3, "lt": 30}}, "aggregate": "count",
             "unit": "job", "group_by": ["color", "paper"]},
    "days": {"event": "door.access", "where": {"granted": True, "direction": {"in": ["in", "both"]}},
             "aggregate": "unique_days", "unit": "day"},
    "denied": {"event": "door.access", "where": {"reason": {"exists": True}}, "aggregate": "count", "unit": "try",
               "group_by": ["door"]},
    "cafe": {"event": "pos.sale", "aggregate": "sum", "value": "lines.amount", "unit": "EUR", "group_by": ["category"]},
    "items": {"event": "pos.sale", "aggregate": "sum", "value": "lines.quantity", "unit": "item"},
    "data": {"event": "usage.reported", "unit": "GB", "group_by": ["kind"]},
}  # fmt: skip
VALUES: dict[str, list[Any]] = {"color": [True, False], "paper": ["a4", "a3"], "door": ["main", "back"],
          "category": ["food", "drink"],
          "kind": ["up", 1]}  # fmt: skip
UNITS = {"pages": "page", "jobs": "job", "days": "day", "data": "GB", "items": "item"}


@dataclass
class Scenario:
    """`versions` in the order of application, each with its date; `puts` are parts of the directory."""

    versions: list[tuple[str | None, Doc]]
    puts: list[Doc]
    events: list[Doc] = field(default_factory=list)


class Maker:
    """Draws one scenario from a seed."""

    def __init__(self, seed: int, *, events: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 -- the same scenario for the same seed
        self.count = events
        self.moments: list[datetime] = []
        self.serial = 0

    def make(self) -> Scenario:
        chance = self.chance
        first = self.catalog()
        self.meters = first["meters"]
        versions: list[tuple[str | None, Doc]] = [(None, first)]
        for _ in range(chance.choice([0, 1, 1, 2])):
            changed = self.changed(versions[-1][1])
            versions.append((self.date() if versions[1:] == [] or chance.random() < 0.6 else versions[-1][0], changed))
        puts = self.people()
        return Scenario(versions=versions, puts=puts, events=self.make_events())

    def chosen(self, odds: float) -> bool:
        return self.chance.random() < odds

    def date(self) -> str:
        """A date, or now and then an instant; remembered, so that events fall close to it."""
        at = START + timedelta(days=self.chance.randint(1, DAYS - 1))
        if self.chosen(0.2):
            at += timedelta(hours=self.chance.randint(0, 23), minutes=self.chance.choice([0, 30]))
            self.moments.append(at)
            return at.isoformat().replace("+00:00", "Z")
        self.moments.append(at)
        return at.date().isoformat()

    def instant(self) -> str:
        """An instant, as the dates of members are put: whose midnight a date means hangs on their accounts so far."""
        at = START + timedelta(days=self.chance.randint(1, DAYS - 1), hours=self.chance.choice([0, 4, 5, 13, 23]))
        self.moments.append(at)
        return at.isoformat().replace("+00:00", "Z")

    def money(self) -> str:
        return self.chance.choice(["0.004", "0.05", "0.333", "1.25", "2", "0", "12.345"])

    def catalog(self) -> Doc:
        chance = self.chance
        taxes = {
            "vat": {"rate": "0.19", "inclusive": chance.choice([False, False, True])},
            "low": {"rate": "0.07", "inclusive": False},
        }
        sites: Doc = {}
        for name, zone in SITES.items():
            sites[name] = {"name": name, "timezone": zone}
            if self.chosen(0.7):
                sites[name]["tax"] = chance.choice(["vat", "low"])
            if self.chosen(0.7):
                sites[name]["walk_in"] = chance.choice(["walk-in", "walk-in", "solo"])
        meters = {name: copy.deepcopy(meter) for name, meter in METERS.items() if self.chosen(0.85)}
        if "data" in meters and self.chosen(0.4):
            meters["data"]["scale"] = "0.25"
        plans = {name: self.plan(meters) for name in ("one", "two")}
        catalog = {
            "operator": "northside", "currency": "EUR", "timezone": "Europe/Berlin", "sites": sites, "taxes": taxes,
            "meters": meters, "plans": plans,
        }  # fmt: skip
        if self.chosen(0.3):
            catalog["default_plan"] = "one"
        return catalog

    def plan(self, meters: Doc) -> Doc:
        chance = self.chance
        grants = []
        for n in range(chance.randint(0, 4)):
            meter = chance.choice([name for name in (*meters, "data") if name in UNITS and name in meters] or [""])
            if meter:
                grants.append(self.grant(f"g{n}", meter))
        prices = {name: self.prices(name, meter) for name, meter in meters.items() if self.chosen(0.8)}
        return {"name": "Plan", "grants": grants, "prices": prices}

    def grant(self, name: str, meter: str) -> Doc:
        chance = self.chance
        grant = {"id": name, "unit": UNITS[meter], "amount": chance.choice(["1", "5", "20", "7.5", "100"]),
                 "meters": [meter], "every": "month", "for": chance.choice(["account", "member"]),
                 "priority": chance.choice([10, 100])}  # fmt: skip
        if grant["for"] == "account" and self.chosen(0.3):
            grant["per_seat"] = True
        return grant

    def prices(self, name: str, meter: Doc) -> list[Doc]:
        found = []
        for n in range(self.chance.choice([0, 1, 1, 2, 3])):
            price: Doc = {"id": f"{name}-{n}"}
            price |= self.model(name)
            for dimension in meter.get("group_by", []):
                if self.chosen(0.4):
                    price.setdefault("match", {})[dimension] = self.chance.choice(VALUES[dimension])
            if self.chosen(0.3):
                price["per"] = self.chance.choice(["member", "account"])
            if self.chosen(0.3):
                price["tax"] = self.chance.choice(["vat", "low"])
            found.append(price)
        return found

    def model(self, meter: str) -> Doc:
        if meter == "cafe" and self.chosen(0.8):
            return {"model": "pass_through"} | ({"markup": "0.1"} if self.chosen(0.4) else {})
        if self.chosen(0.4):
            return {"model": "per_unit", "unit_price": self.money()}
        tiers: list[Doc] = []
        above = 0
        for _ in range(self.chance.randint(0, 2)):
            above += self.chance.randint(1, 40)
            tiers.append({"up_to": above, "unit_price": self.money()})
        tiers.append({"unit_price": self.money()})
        for tier in tiers:
            if self.chosen(0.3):
                tier["flat"] = self.money()
        return {"model": "graduated", "tiers": tiers}

    def changed(self, before: Doc) -> Doc:
        body = copy.deepcopy(before)
        fresh = self.catalog()
        for section in self.chance.sample(["sites", "taxes", "plans", "default_plan", "plan", "meters"], 2):
            if section == "plan":
                body["plans"]["one"] = self.plan(body["meters"])
            elif section == "plans":
                body["plans"] = {name: self.plan(body["meters"]) for name in ("one", "two")}
            elif section == "meters":
                for meter in body["meters"].values():
                    if "value" in meter and "where" not in meter and self.chosen(0.5):
                        meter["scale"] = self.chance.choice(["0.5", "3"])
                    elif "where" in meter and self.chosen(0.5):
                        meter.pop("where")
            elif section in fresh:
                body[section] = fresh[section]
            else:
                body.pop(section, None)
        return body

    def people(self) -> list[Doc]:
        """The directory, in several puts: claims, moves and grants that come later, and spans that end later."""
        chance = self.chance
        accounts: Doc = {"walk-in": {"name": "Guests", "timezone": "Europe/Berlin"}}
        for name in ACCOUNTS:
            accounts[name] = {"name": name, "timezone": chance.choice(ZONES),
                              "anchor_day": chance.choice([1, 1, 15, 29, 30, 31])}  # fmt: skip
            if self.chosen(0.1):
                accounts[name]["currency"] = "USD"
        puts: list[Doc] = [{"accounts": accounts, "members": {name: {"name": name} for name in MEMBERS}}]
        for name in ACCOUNTS:
            puts += [
                {"accounts": {name: accounts[name] | {"subscriptions": [sub]}}} for sub in self.subs(name, seats=True)
            ]
        for member in MEMBERS:
            links = self.links()
            puts += [{"members": {member: {"name": member, "accounts": [link]}}} for link in links[1:]]
            puts[0]["members"][member]["accounts"] = links[:1]
            if self.chosen(0.25):
                puts += [
                    {"members": {member: {"name": member, "subscriptions": [s]}}}
                    for s in self.subs(member, seats=False)
                ]
        for _ in range(chance.randint(3, 8)):
            claim: Doc = {"id": chance.choice(BADGES)}
            if self.chosen(0.6):
                claim["from"] = self.instant()
            member = chance.choice(MEMBERS)
            puts.append({"members": {member: {"name": member, "identities": [claim]}}})
            if self.chosen(0.4):
                ended = claim | {"to": self.after(claim.get("from"), dates=False)}
                puts.append({"members": {member: {"name": member, "identities": [ended]}}})
        for n in range(chance.randint(0, 4) if self.meters.keys() & UNITS.keys() else 0):
            puts.append({"grants": [self.given(f"pack-{n}")]})
        return [puts[0], *self.shuffled(puts[1:])]

    def shuffled(self, puts: list[Doc]) -> list[Doc]:
        """In another order, but that of the puts of one key: a later one replaces an earlier one."""
        keyed = [(self.chance.random(), put) for put in puts]
        ends = {json.dumps(_without_end(put), sort_keys=True): [] for put in puts}  # type: ignore[var-annotated]
        for rank, put in keyed:
            ends[json.dumps(_without_end(put), sort_keys=True)].append(rank)
        ranks = {name: sorted(several) for name, several in ends.items()}
        found = [(ranks[json.dumps(_without_end(put), sort_keys=True)].pop(0), put) for put in puts]
        return [put for _, put in sorted(found, key=lambda pair: pair[0])]

    def after(self, start: str | None, *, dates: bool = True) -> str:
        for _ in range(50):
            found = self.date() if dates else self.instant()
            if start is None or (date.fromisoformat(found[:10]) - date.fromisoformat(start[:10])).days > 1:
                return found
        return "2026-06-01" if dates else "2026-06-01T00:00:00Z"

    def subs(self, holder: str, *, seats: bool) -> list[Doc]:
        found: list[Doc] = []
        when = self.date if seats else self.instant
        start = when() if self.chosen(0.5) else "2026-01-01T00:00:00Z"
        for n in range(self.chance.randint(0 if seats else 1, 2)):
            sub: Doc = {"id": f"{holder}-{n}", "plan": self.chance.choice(["one", "two"]), "from": start}
            if seats and self.chosen(0.5):
                sub["seats"] = self.chance.randint(1, 3)
            found.append(sub)
            start = self.after(start, dates=seats)
            sub["to"] = start
            if start >= "2026-06":
                break
        if found and self.chosen(0.5):
            found[-1].pop("to")
        return found

    def links(self) -> list[Doc]:
        chance = self.chance
        links: list[Doc] = [{"id": chance.choice(ACCOUNTS)}]
        if self.chosen(0.3):
            links[0]["from"] = self.instant()
        if self.chosen(0.3):
            links[0]["to"] = self.after(links[0].get("from"), dates=False)
        if self.chosen(0.4):
            second = {"id": chance.choice(ACCOUNTS), "from": self.instant()}
            if (second["id"], second["from"]) != (links[0]["id"], links[0].get("from")):
                links.append(second)
        return links

    def given(self, name: str) -> Doc:
        meter = self.chance.choice([name for name in UNITS if name in self.meters])
        grant: Doc = {"id": name, "account": self.chance.choice(ACCOUNTS), "unit": UNITS[meter],
                      "amount": self.chance.choice(["3", "10", "0.5"]),
                      "priority": self.chance.choice([10, 50, 100])}  # fmt: skip
        if self.chosen(0.3):
            grant["member"] = self.chance.choice(MEMBERS)
        if self.chosen(0.5):
            grant["effective"] = self.date()
        if self.chosen(0.4):
            grant["expires"] = self.after(grant.get("effective"))
        return grant

    # --- events -------------------------------------------------------------------------------------------------------

    def make_events(self) -> list[Doc]:
        events = [self.event() for _ in range(self.count)]
        for n in range(self.count // 6):
            target = self.chance.choice(events)
            if self.chosen(0.5):
                events.append(self.revision(n, "event.voided", target, {}))
            else:
                other = self.of_type(target["type"])
                events.append(self.revision(n, "event.amended", target, {"data": other["data"]}))
        return events

    def revision(self, n: int, kind: str, target: Doc, more: Doc) -> Doc:
        data = {"source": target["source"], "id": target["id"], "reason": "wrong"} | more
        return {"type": kind, "source": "berlin/office", "id": f"r{n}", "at": self.moment(), "data": data}

    def moment(self) -> datetime:
        at = START + timedelta(seconds=self.chance.randint(0, DAYS * 86400))
        if self.chosen(0.3) and self.moments:
            at = self.chance.choice(self.moments) + timedelta(hours=self.chance.randint(-14, 14))
            at += timedelta(microseconds=self.chance.choice([-1, 0, 0, 1]))
        elif self.chosen(0.3):
            at = at.replace(hour=self.chance.choice([4, 5, 13, 22, 23]), minute=self.chance.choice([0, 59]), second=0)
        return at

    def event(self) -> Doc:
        return self.of_type(self.chance.choice(["print.job", "door.access", "pos.sale", "usage.reported"]))

    def of_type(self, kind: str) -> Doc:
        self.serial += 1
        chance = self.chance
        site = chance.choice([*SITES, "nowhere"] if self.chosen(0.1) else list(SITES))
        event: Doc = {"type": kind, "source": f"{site}/{kind.replace('.', '-')}", "id": f"e{self.serial}",
                      "at": self.moment()}  # fmt: skip
        subject = chance.choice([*BADGES, *BADGES, "member:ada", "badge:NOBODY"])
        if self.chosen(0.92 if kind != "pos.sale" else 0.6):
            event["subject"] = subject
        event["data"] = self.data(kind)
        return event

    def data(self, kind: str) -> Doc:  # noqa: C901 -- one branch a type
        chance = self.chance
        thing = f"t{chance.randint(0, 9)}" if self.chosen(0.15) else f"u{self.serial}"
        if kind == "print.job":
            data: Doc = {"printer": "p", "job": thing, "impressions": chance.choice([0, 1, 2, 3, 7, 29, 30, 64]),
                         "status": chance.choice(["completed"] * 4 + ["cancelled"])}  # fmt: skip
            for name in ("color", "paper"):
                if self.chosen(0.7):
                    data[name] = chance.choice(VALUES[name])
            return data
        if kind == "door.access":
            data = {"door": chance.choice(["main", "back"]), "granted": self.chosen(0.8)}
            if self.chosen(0.8):
                data["direction"] = chance.choice(["in", "in", "out"])
            return data | ({"reason": "late"} if self.chosen(0.3) else {})
        if kind == "usage.reported":
            quantity = chance.choice([1, "2.5", "-1", "-4", 12, "-30", "0.000001"])
            return {"meter": chance.choice(["data"] * 5 + ["pages"]), "quantity": quantity,
                    "kind": chance.choice(["up", 1, True, "down"])}  # fmt: skip
        lines = []
        for _ in range(chance.randint(0, 3)):
            line: Doc = {
                "quantity": chance.choice([1, 2, "-1"]),
                "amount": chance.choice(["3.20", "0.015", "12", "-2.50"]),
            }
            if self.chosen(0.5):
                line["tax_name"] = chance.choice(["vat", "low", "city"])
            if self.chosen(0.5):
                line["tax"] = chance.choice(["0.61", "0.22", "0"])
            if self.chosen(0.6):
                line["category"] = chance.choice(VALUES["category"])
            lines.append(line)
        data = {"order": thing, "currency": "EUR" if self.chosen(0.9) else "USD", "lines": lines, "total": "9.99",
                "settlement": chance.choice(["paid", "account"])}  # fmt: skip
        if self.chosen(0.3):
            data["tip"] = chance.choice(["1.00", "0.5"])
        return data


def _without_end(put: Doc) -> Doc:
    """What tells puts of one key from others: the entry without its end."""
    found = copy.deepcopy(put)
    for member in found.get("members", {}).values():
        for entries in member.values():
            for entry in entries if isinstance(entries, list) else []:
                entry.pop("to", None)
    return found


def wire(event: Doc) -> bytes:
    """The event as it is sent."""
    body = {name: value for name, value in event.items() if name != "at"}
    body |= {"specversion": "1.0", "time": event["at"].isoformat().replace("+00:00", "Z")}
    return json.dumps(body).encode()
