"""Random directories, in several puts: claims, moves and grants that come later, and spans that end later."""

from __future__ import annotations

import copy
import json

from tests.reference.chance import ACCOUNTS, BADGES, MEMBERS, ZONES, Chance
from tests.reference.shop import Shop
from tests.reference.values import Doc


class People:
    """Draws directories."""

    def __init__(self, chance: Chance, shop: Shop, catalog: Doc) -> None:
        self.chance = chance
        self.shop = shop
        self.catalog = catalog
        # Far enough back that everybody has been there for a few periods.
        self.long_ago = f"{chance.start.year - 1}-11-01T00:00:00Z"

    def puts(self) -> list[Doc]:
        chance = self.chance
        accounts: Doc = {"walk-in": {"name": "Guests", "timezone": "Europe/Berlin"}}
        for name in ACCOUNTS:
            accounts[name] = {"name": name, "timezone": chance.one_of(ZONES),
                              "anchor_day": chance.one_of([1, 1, 15, 29, 30, 31])}  # fmt: skip
            if chance.yes(0.06):
                accounts[name]["currency"] = "USD"
        puts: list[Doc] = [{"accounts": accounts, "members": {name: {"name": name} for name in MEMBERS}}]
        for name in ACCOUNTS:
            subs = self.subs(name, seats=True)
            if subs and "to" not in subs[-1] and chance.yes(0.3):
                subs.append(subs[-1] | {"to": chance.after(subs[-1].get("from"))})
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
        given = [self.given(f"pack-{n}") for n in range(chance.count(0, 4))]
        puts += [{"grants": [grant]} for grant in given if grant is not None]
        for grant in given:
            if grant is not None and "expires" not in grant and chance.yes(0.3):
                puts.append({"grants": [grant | {"expires": chance.after(grant.get("effective"))}]})
        return [puts[0], *self.shuffled(puts[1:])]

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
            if seats and start is not None and chance.yes(0.2):
                sub["deposit"] = "200.00"
            if chance.yes(0.4):
                sub["discounts"] = [self.discount(f"d{n}") for n in range(chance.count(1, 2))]
            found.append(sub)
            start = chance.after(start, dates=seats)
            sub["to"] = start
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
