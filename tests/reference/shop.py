"""Random catalogs: every aggregation, price and wrapper, credit of every kind, fees, taxes, and versions of them."""

from __future__ import annotations

import copy

from tests.reference.chance import METERS, SITES, UNITS, VALUES, Chance
from tests.reference.values import Doc

FIELDS = {"pages": "impressions", "jobs": "impressions", "peak": "level", "plants": "level", "data": "quantity",
          "cafe": "amount", "items": "amount", "laundry": "quantity", "weight": "lines.amount", "receipts": "total",
          "rooms": "hours"}  # fmt: skip


class Shop:
    """Draws catalogs."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        one_of, yes = chance.one_of, chance.yes
        # Whether prices go over to another currency.
        self.dollars = yes(0.2)
        self.money = one_of(["USD", "USD", "JPY"])
        self.meters = {name: copy.deepcopy(meter) for name, meter in METERS.items() if yes(0.75)}
        if "data" in self.meters and yes(0.4):
            self.meters["data"]["scale"] = "0.25"
        self._sessions()
        if "traffic" in self.meters:
            self.meters["traffic"] |= {"from_zero": yes(0.5), "reset": one_of(["none", "below"])}
            if yes(0.2):
                self.meters["traffic"]["key"] = "ap"
            if yes(0.3):
                self.meters["traffic"]["forget"] = one_of(["2h", "3d"])
        for name, odds, key in (
            ("visits", 0.9, "door"),
            ("days", 0.5, "door"),
            ("denied", 0.5, "reason"),
            ("zones", 0.5, "area"),
        ):
            if name in self.meters and yes(odds):
                self.meters[name]["debounce"] = one_of(["20s", "5m", "8h"])
                if yes(0.4):
                    self.meters[name]["key"] = one_of([key, "member"])
        for name in ("peak", "plants"):
            if name in self.meters and yes(0.4):
                self.meters[name]["per"] = "member"

    def _sessions(self) -> None:
        one_of, yes = self.chance.one_of, self.chance.yes
        for name in ("presence", "online"):
            if name in self.meters:
                self.meters[name] |= {"max": one_of(["2h", "14h", "24h"]),
                                      "missing_end": one_of(["cap", "close_at", "last_seen", "none"]),
                                      "increment": one_of(["1s", "15m", "30s/6s"]),
                                      "minimum": one_of(["0s", "20s", "1h"])}  # fmt: skip
                if name == "online" and yes(0.2):
                    self.meters[name]["key"] = "ap"
                if self.meters[name]["missing_end"] == "last_seen" and yes(0.5):
                    self.meters[name]["idle"] = one_of(["20m", "3h"])

    def catalog(self) -> Doc:
        chance = self.chance
        taxes = {
            "vat": {"rate": "0.19", "inclusive": chance.one_of([False, False, True])},
            "low": {"rate": "0.07", "inclusive": False},
        }
        sites: Doc = {}
        for name, zone in SITES.items():
            sites[name] = {"name": name, "timezone": zone}
            if chance.yes(0.7):
                sites[name]["tax"] = chance.one_of(["vat", "low"])
            if chance.yes(0.7):
                sites[name]["walk_in"] = chance.one_of(["walk-in", "walk-in", "solo"])
            if chance.yes(0.8):
                sites[name]["closes"] = chance.one_of(["22:00", "18:30", "02:00"])
        if chance.yes(0.15):
            sites = {"berlin": sites["berlin"]}
        catalog: Doc = {
            "operator": "northside", "currency": "EUR", "timezone": "Europe/Berlin", "sites": sites, "taxes": taxes,
            "meters": copy.deepcopy(self.meters), "credits": {"rates": self.rates()},
        }  # fmt: skip
        catalog["plans"] = {name: self.plan(catalog) for name in ("one", "two")}
        if chance.yes(0.3):
            catalog["default_plan"] = "one"
        catalog["revenue_share"] = self.revenue_shares()
        return catalog

    def revenue_shares(self) -> list[Doc]:
        """Shares of which no two parties can get more than all of a line; alone a party may get all of it."""
        found = [self.revenue_share() for _ in range(self.chance.one_of([0, 1, 2, 4]))]
        if len({share["party"] for share in found}) > 1:
            found = [share | {"share": "0.333"} if share["share"] == "1" else share for share in found]
        return found

    def revenue_share(self) -> Doc:
        chance = self.chance
        match: Doc = {"meter": chance.one_of([*self.meters, "membership", "pos"])} if chance.yes(0.5) else {}
        match |= {"site": "berlin"} if chance.yes(0.4) else {}
        return {"party": chance.one_of(["landlord", "roaster"]), "share": chance.one_of(["0.12", "0.333", "1"]),
                "role": chance.one_of(["principal", "agent"])} | ({"match": match} if match else {})  # fmt: skip

    def rates(self) -> Doc:
        found: Doc = {}
        for name, meter in self.meters.items():
            if self.chance.yes(0.6):
                found[name] = [{"rate": self.chance.one_of(["1", "0.02", "0.3", "7"])}]
                dimensions = meter.get("group_by", [])
                if dimensions and self.chance.yes(0.5):
                    match = {dimensions[0]: self.chance.one_of(VALUES[dimensions[0]])}
                    found[name].insert(0, {"rate": self.chance.one_of(["0.1", "3"]), "match": match})
                    if self.chance.yes(0.3):
                        found[name].pop()
        return found

    # --- plans --------------------------------------------------------------------------------------------------------

    def plan(self, catalog: Doc) -> Doc:
        chance = self.chance
        grants = [one for n in range(chance.count(1, 5)) if (one := self.grant(f"g{n}", catalog))]
        prices = {name: self.prices(name, meter) for name, meter in catalog["meters"].items() if chance.yes(0.8)}
        plan: Doc = {"name": "Plan", "grants": grants, "prices": prices}
        if chance.yes(0.6):
            plan["fee"] = {
                "amount": chance.one_of(["199.00", "50", "0.01"]),
                "in": chance.one_of(["advance", "arrears"]),
            }
            if chance.yes(0.5):
                plan["fee"]["tax"] = chance.one_of(["vat", "low"])
        return plan

    def credit(self, catalog: Doc) -> Doc | None:
        """Unit, amount and scope of a grant."""
        chance = self.chance
        kind = chance.one_of(["unit", "unit", "unit", "credit", "money"])
        names = [name for name in catalog["meters"] if name in UNITS]
        rated = list(catalog["credits"]["rates"])
        if kind == "money":
            grant = {
                "unit": chance.one_of(["EUR", self.money] if self.dollars else ["EUR"]),
                "amount": chance.one_of(["5", "20.00", "0.37"]),
            }
            return grant | ({"meters": chance.some(list(catalog["meters"]), 3)} if chance.yes(0.5) else {})
        if kind == "credit" and rated:
            grant = {"unit": "credit", "amount": chance.one_of(["1", "10", "2.5"])}
            return grant | ({"meters": chance.some(rated, 3)} if chance.yes(0.5) else {})
        if not names:
            return None
        meter = chance.one_of(names)
        unit = catalog["meters"][meter]["unit"]
        grant = {"unit": unit, "amount": chance.one_of(["1", "5", "20", "7.5", "100"])}
        same = [name for name in names if catalog["meters"][name]["unit"] == unit]
        return grant | ({"meters": same if chance.yes(0.5) else [meter]} if chance.yes(0.8) else {})

    def grant(self, name: str, catalog: Doc) -> Doc | None:
        chance = self.chance
        credit = self.credit(catalog)
        if credit is None:
            return None
        grant = {"id": name, **credit, "every": "month", "for": chance.one_of(["account", "member"]),
                 "priority": chance.one_of([10, 100])}  # fmt: skip
        if grant["for"] == "account" and chance.yes(0.3):
            grant["per_seat"] = True
        if chance.yes(0.35):
            grant["rollover"] = {"max": chance.one_of(["1", "3.5", "50"])} | (
                {"periods": chance.count(1, 2)} if chance.yes(0.6) else {}
            )
        return grant

    # --- prices -------------------------------------------------------------------------------------------------------

    def prices(self, name: str, meter: Doc) -> list[Doc]:
        chance = self.chance
        found = []
        for n in range(chance.one_of([0, 1, 1, 1, 1, 2, 2, 3])):
            price: Doc = {"id": f"{name}-{n}"}
            price |= self.model(name)
            for dimension in meter.get("group_by", []):
                if chance.yes(0.25):
                    price.setdefault("match", {})[dimension] = chance.one_of(VALUES[dimension])
            if chance.yes(0.3):
                price["per"] = chance.one_of(["member", "account"])
            if chance.yes(0.3):
                price["tax"] = chance.one_of(["vat", "low"])
            found.append(price | self.wrappers())
        return found

    def wrappers(self) -> Doc:
        chance = self.chance
        found: Doc = {}
        if chance.yes(0.25):
            found["cap"] = {"amount": chance.one_of(["1", "8", "0.5", "40"]), "every": chance.one_of(["day", "period"])}
        elif chance.yes(0.05):
            found["cap"] = [{"amount": "2", "every": "day"}, {"amount": "3", "every": "period"}]
        if chance.yes(0.2):
            found["period_minimum"] = {"amount": chance.one_of(["10.00", "3", "100"])}
        if chance.yes(0.2):
            found["when"] = {"hours": chance.one_of(["18:00-24:00", "00:00-12:00", "22:00-06:00"])}
            if chance.yes(0.4):
                found["when"]["days"] = chance.one_of([["mon", "tue", "wed", "thu", "fri"], ["sat", "sun"], ["mon"]])
            if chance.yes(0.3):
                found["when"]["holidays"] = [chance.day().date().isoformat() for _ in range(3)]
            if chance.yes(0.3) and len(found["when"]) > 1:
                found["when"].pop("hours")
        return found

    def model(self, meter: str) -> Doc:
        chance = self.chance
        if meter == "cafe" and chance.yes(0.7):
            return {"model": "pass_through"} | ({"markup": "0.1"} if chance.yes(0.4) else {})
        kind = chance.one_of(["per_unit", "per_unit", "graduated", "graduated", "volume", "package", "flat",
                              "percentage"])  # fmt: skip
        if kind == "per_unit":
            return {"model": kind, "unit_price": chance.money()}
        if kind == "flat":
            return {"model": kind, "amount": chance.money()}
        if kind == "package":
            return {"model": kind, "size": chance.one_of(["1", "10", "0.5"]), "price": chance.money()} | (
                {"free": chance.one_of(["2", "10"])} if chance.yes(0.4) else {}
            )
        if kind == "percentage":
            return self.percentage(meter)
        return {"model": kind, "tiers": self.tiers()} | (
            {"flat_at_zero": True} if kind == "graduated" and chance.yes(0.4) else {}
        )

    def percentage(self, meter: str) -> Doc:
        chance = self.chance
        found: Doc = {"model": "percentage", "field": FIELDS.get(meter, "money")}
        for name, values in (("rate", ["0.013", "0.5"]), ("fixed", ["2", "0.1"]), ("minimum", ["1.75"]),
                             ("maximum", ["3", "12"]), ("free_amount", ["3", "40"])):  # fmt: skip
            if chance.yes(0.5):
                found[name] = chance.one_of(values)
        if chance.yes(0.4):
            found["free_events"] = chance.count(0, 3)
        return found

    def tiers(self) -> list[Doc]:
        chance = self.chance
        tiers: list[Doc] = []
        above = 0
        for _ in range(chance.count(0, 2)):
            above += chance.count(1, 40)
            tiers.append({"up_to": above, "unit_price": chance.money()})
        tiers.append({"unit_price": chance.money()})
        for tier in tiers:
            if chance.yes(0.4):
                tier["flat"] = chance.money()
        return tiers

    # --- versions -----------------------------------------------------------------------------------------------------

    def changed(self, before: Doc) -> Doc:
        body = copy.deepcopy(before)
        if self.dollars and self.chance.yes(0.7):
            body["currency"] = self.money
        fresh = self.catalog()
        for section in self.chance.random.sample(
            [
                "sites",
                "taxes",
                "plans",
                "default_plan",
                "plan",
                "meters",
                "tier",
                "credits",
                "gone",
                "zones",
                "revenue_share",
            ],
            2,
        ):
            if section == "plan":
                body["plans"]["one"] = self.plan(body)
            elif section == "plans":
                body["plans"] = {name: self.plan(body) for name in body["plans"]}
            elif section == "zones":
                self.chance.one_of(list(body["sites"].values()))["timezone"] = "Asia/Kathmandu"
            elif section == "gone":
                body["plans"].pop("two", None)
            elif section == "tier":
                self._reprice(body)
            elif section == "meters":
                self._remeter(body)
            elif section in fresh:
                body[section] = fresh[section]
            else:
                body.pop(section, None)
        return body

    def _remeter(self, body: Doc) -> None:
        for name, meter in body["meters"].items():
            if name in {"pages", "data", "rooms", "peak"} and self.chance.yes(0.5):
                meter["scale"] = self.chance.one_of(["0.5", "3"])
            elif name in {"jobs", "days", "denied"} and self.chance.yes(0.5):
                meter.pop("where", None)
            elif name in {"visits", "zones"} and self.chance.yes(0.5):
                meter["debounce"] = self.chance.one_of(["20s", "1m", "1d"])
            elif name in {"presence", "online"} and self.chance.yes(0.5):
                meter |= {"max": self.chance.one_of(["1h", "20h"]), "increment": self.chance.one_of(["1s", "10m"]),
                          "missing_end": self.chance.one_of(["cap", "last_seen", "none"])}  # fmt: skip

    def _reprice(self, body: Doc) -> None:
        """Other figures under the ids that there are."""
        for plan in body["plans"].values():
            if "fee" in plan:
                plan["fee"]["amount"] = "77.70"
            for prices in plan["prices"].values():
                for price in prices:
                    if self.chance.yes(0.3) and price["model"] == "per_unit":
                        price["unit_price"] = self.chance.money()
                    elif self.chance.yes(0.3):
                        price.pop("cap", None)
