"""Random directories, in several puts: claims, moves and grants that come later, and spans that end later."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, time, timedelta

from tests.reference.chance import ACCOUNTS, BADGES, DAYS, MEMBERS, ZONES, Chance, text_of
from tests.reference.dates import ALWAYS, MONTHS, Calendar, instant_of
from tests.reference.shop import Shop
from tests.reference.values import Doc


class People:
    """Draws directories."""

    def __init__(self, chance: Chance, shop: Shop, catalog: Doc) -> None:
        self.chance = chance
        self.shop = shop
        self.catalog = catalog
        self.calendars: dict[str, Calendar] = {}
        # Far enough back that everybody has been there for a few periods.
        self.long_ago = f"{chance.start.year - 1}-11-01T00:00:00Z"

    def puts(self) -> list[Doc]:
        chance = self.chance
        accounts: Doc = {"walk-in": {"name": "Guests", "timezone": "Europe/Berlin", "currency": "EUR"}}
        accounts |= {name: {"name": name} | self.terms() for name in ACCOUNTS}
        puts: list[Doc] = [{"accounts": accounts, "members": {name: {"name": name} for name in MEMBERS}}]
        puts += [{"terms": {name: terms}} for name in accounts for terms in self.changes(name, accounts[name])]
        for name in ACCOUNTS:
            subs = self.subs(name, seats=True)
            if subs and "to" not in subs[-1] and chance.yes(0.3):
                subs.append(subs[-1] | {"to": chance.after(subs[-1].get("from"))})
            subs = [self.dated(sub, name) for sub in subs]
            puts += [{"accounts": {name: accounts[name] | {"subscriptions": [sub]}}} for sub in subs]
        for member in MEMBERS:
            links = self.links()
            puts += [{"members": {member: {"name": member, "accounts": [link]}}} for link in links[1:]]
            puts[0]["members"][member]["accounts"] = links[:1]
            if chance.yes(0.25):
                puts += [
                    {"members": {member: {"name": member, "subscriptions": [s]}}}
                    for s in self.subs(member, seats=False)
                ]
        puts += self.claims()
        drawn = [self.given(f"pack-{n}") for n in range(chance.count(0, 4))]
        given = [grant for grant in drawn if grant is not None]
        given += [
            grant | {"expires": chance.after(grant.get("effective"))}
            for grant in given
            if "expires" not in grant and chance.yes(0.3)
        ]
        puts += [{"grants": [self.dated(grant, grant["account"])]} for grant in given]
        return [puts[0], *self.shuffled(puts[1:])]

    def terms(self) -> Doc:
        chance = self.chance
        return {"timezone": chance.one_of(ZONES), "anchor_day": chance.one_of([1, 1, 15, 29, 30, 31]),
                "currency": "USD" if chance.yes(0.06) else "EUR"}  # fmt: skip

    def changes(self, account: str, first: Doc) -> list[Doc]:
        """Other terms, each from a month on that the scenario may see; every period has some length."""
        chance = self.chance
        months = [month for month in MONTHS if self.seen(month)]
        found = []
        terms = {name: first[name] for name in ("timezone", "currency")} | {"anchor_day": first.get("anchor_day", 1)}
        for month in sorted(chance.random.sample(months, chance.one_of([0, 0, 0, 1, 1, 2]))):
            other = self.terms()
            changed = terms | {name: other[name] for name in terms if chance.yes(0.5)}
            if chance.yes(0.6 if self.shop.dollars else 0.1):
                changed["currency"] = self.shop.money
            if changed != terms:
                found.append(changed | {"from": month})
                terms = changed
        self.calendars[account] = calendar = Calendar.of_terms([first, *found], self.catalog)
        if any(period.start >= period.end for period in calendar.periods):
            return self.changes(account, first)
        for period in calendar.periods:
            if period.name in dict(calendar.eras[1:]):
                chance.moments.append(period.start)
                chance.turns.append(datetime.combine(period.day, time(), UTC))
        return found

    def seen(self, month: str) -> bool:
        begins = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
        return timedelta(days=-75) < begins - self.chance.start < timedelta(days=DAYS + 15)

    def dated(self, entry: Doc, account: str) -> Doc:
        """With instants for dates where the terms change: what a date means hangs on when it is put."""
        calendar = self.calendars[account]
        if len(calendar.eras) == 1:
            return entry
        dates: Doc = {
            name: text_of(instant_of(entry[name], calendar, ALWAYS))
            for name in ("from", "to", "effective", "expires")
            if name in entry
        }
        if "discounts" in entry:
            dates["discounts"] = [self.dated(discount, account) for discount in entry["discounts"]]
        return entry | dates

    def claims(self) -> list[Doc]:
        puts: list[Doc] = []
        badges = [badge for badge in BADGES if self.chance.yes(0.8)]
        badges += [self.chance.one_of(BADGES) for _ in range(self.chance.count(0, 4))]
        for n, badge in enumerate(badges):
            claim: Doc = {"id": badge}
            if self.chance.yes(0.2 if n < len(BADGES) else 0.7):
                claim["from"] = self.chance.instant()
            member = self.chance.one_of(MEMBERS)
            puts.append({"members": {member: {"name": member, "identities": [claim]}}})
            if self.chance.yes(0.2):
                ended = claim | {"to": self.chance.after(claim.get("from"), dates=False)}
                puts.append({"members": {member: {"name": member, "identities": [ended]}}})
        return puts

    def shuffled(self, puts: list[Doc]) -> list[Doc]:
        """In another order, but that of the puts of one key: a later one replaces an earlier one."""
        keyed = [(self.chance.random.random(), put) for put in puts]
        ends: dict[str, list[float]] = {}
        for rank, put in keyed:
            ends.setdefault(json.dumps(without_end(put), sort_keys=True), []).append(rank)
        ranks = {name: sorted(several) for name, several in ends.items()}
        found = [(ranks[json.dumps(without_end(put), sort_keys=True)].pop(0), put) for put in puts]
        return [put for _, put in sorted(found, key=lambda pair: pair[0])]

    def subs(self, holder: str, *, seats: bool) -> list[Doc]:
        chance = self.chance
        found: list[Doc] = []
        start: str | None = (chance.date() if seats else chance.instant()) if chance.yes(0.5) else self.long_ago
        if seats and chance.yes(0.15):
            start = None
        for n in range(chance.one_of([0, 1, 1, 2]) if seats else chance.count(1, 2)):
            sub: Doc = {"id": f"{holder}-{n}", "plan": chance.one_of(["one", "two"])}
            if start is not None:
                sub["from"] = start
            if seats and chance.yes(0.5):
                sub["seats"] = chance.count(1, 3)
            if start is not None and chance.yes(0.2):
                sub["deposit"] = "200.00"
            if chance.yes(0.4):
                sub["discounts"] = [self.discount(f"d{n}") for n in range(chance.count(1, 2))]
            found.append(sub)
            start = chance.after(start, dates=seats)
            sub["to"] = start
            for discount in sub.get("discounts", []):
                if "from" not in discount and chance.yes(0.3):
                    discount["to"] = start
        if found and chance.yes(0.5):
            found[-1].pop("to")
        return found

    def discount(self, name: str) -> Doc:
        chance = self.chance
        found: Doc = {"id": name}
        found |= {"rate": chance.one_of(["0.1", "0.333", "1"])} if chance.yes(0.6) else {"amount": "7.50"}
        if chance.yes(0.6):
            meters = chance.some(list(self.catalog["meters"]) or ["fees"], 3)
            found["on"] = "fees" if chance.yes(0.5) else meters
        if chance.yes(0.3):
            found["from"] = chance.instant()
        if chance.yes(0.3):
            found["to"] = chance.after(found.get("from"), dates=False)
        return found

    def links(self) -> list[Doc]:
        chance = self.chance
        links: list[Doc] = [{"id": chance.one_of(ACCOUNTS)}]
        if chance.yes(0.2):
            links[0]["from"] = chance.instant()
        if chance.yes(0.2):
            links[0]["to"] = chance.after(links[0].get("from"), dates=False)
        if chance.yes(0.4):
            second = {"id": chance.one_of(ACCOUNTS), "from": chance.instant()}
            if (second["id"], second["from"]) != (links[0]["id"], links[0].get("from")):
                links.append(second)
        return links

    def given(self, name: str) -> Doc | None:
        chance = self.chance
        credit = self.shop.credit(self.catalog)
        if credit is None:
            return None
        grant: Doc = {"id": name, "account": chance.one_of(ACCOUNTS), **credit,
                      "priority": chance.one_of([10, 50, 100])}  # fmt: skip
        if chance.yes(0.3):
            grant["member"] = chance.one_of(MEMBERS)
        if chance.yes(0.5):
            grant["effective"] = chance.date()
        if chance.yes(0.4):
            grant["expires"] = chance.after(grant.get("effective"))
        if chance.yes(0.5) and "effective" in grant:
            grant["bought"] = {"price": "180.00"} | ({"tax": "vat"} if chance.yes(0.5) else {})
        return grant


def without_end(put: Doc) -> Doc:
    """What tells puts of one key from others: the entry without its end."""
    found = copy.deepcopy(put)
    for holder in [*found.get("members", {}).values(), *found.get("accounts", {}).values()]:
        for entries in holder.values():
            for entry in entries if isinstance(entries, list) else []:
                entry.pop("to", None)
    for grant in found.get("grants", []):
        grant.pop("expires", None)
    return found
