"""A second rater, written from the rules alone: no checkpoint, no cache, nothing of `meter.rating`.

It sorts all events, goes through them once for each account, and recomputes whatever it needs. It covers count, sum and
unique_days; per_unit, graduated and pass_through; unit grants; sales; voids, amendments and things; tax and rounding.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

Doc = dict[str, Any]
Span = tuple[datetime, datetime]
ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
THINGS = {"pos.sale": "order", "print.job": "job"}
# Any currency that the scenarios use.
CURRENCIES = {"EUR", "USD", "JPY"}
PLACES = {"EUR": 2, "USD": 2, "JPY": 0}


def number(value: Any) -> Decimal | None:
    """The number that JSON says, as a number or as a decimal string."""
    return None if value is None or isinstance(value, bool | dict | list) else Decimal(str(value))


def rounded(amount: Decimal, places: int) -> Decimal:
    """Half away from zero."""
    return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def day_of(instant: datetime, zone: str) -> date:
    """The local date."""
    return instant.astimezone(ZoneInfo(zone)).date()


@cache
def midnight(day: date, zone: str) -> datetime:
    """The first minute that has the local date."""
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while day_of(instant, zone) < day:
        instant += timedelta(minutes=1)
    return instant


@cache
def period_starts(zone: str, anchor: int) -> list[tuple[str, datetime]]:
    """The billing periods of two years by name and start."""
    found = []
    for year in (2025, 2026):
        for month in range(1, 13):
            first_of_next = date(year + month // 12, month % 12 + 1, 1)
            last = (first_of_next - timedelta(days=1)).day
            found.append((f"{year}-{month:02}", midnight(date(year, month, min(anchor, last)), zone)))
    return found


def instant_of(when: Any, zone: str, default: datetime) -> datetime:
    """A date means midnight in the zone."""
    if when is None:
        return default
    if "T" in when:
        return datetime.fromisoformat(when).astimezone(UTC)
    return midnight(date.fromisoformat(when), zone)


@dataclass(frozen=True)
class Period:
    name: str
    start: datetime
    end: datetime


@dataclass(kw_only=True)
class Instance:
    id: str
    unit: str
    amount: Decimal
    meters: list[str] | None
    member: str | None
    effective: datetime
    expires: datetime
    priority: int

    def rank(self) -> tuple[Any, ...]:
        return (self.priority, self.expires, self.member is None, self.effective, self.id)

    def in_force(self, instant: datetime) -> bool:
        return self.effective <= instant < self.expires


@dataclass(kw_only=True)
class Line:
    account: str
    member: str | None
    site: str
    key: tuple[datetime, str, str, str, int, str]
    plan: str | None = None
    price: str | None = None
    quantity: Decimal
    covered: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    unpriced: bool = False
    settlement: str = "account"
    currency: str
    tax: tuple[str, Decimal | None, bool] | None = None
    till_tax: Decimal | None = None
    period: Period
    tip: Decimal = Decimal(0)
    total: Decimal | None = None
    draws: list[tuple[str, Decimal]] = field(default_factory=list)


class Facts:
    """All that was ever applied: catalog versions in the order of application, and the directory put together."""

    def __init__(  # noqa: C901 -- one loop a section
        self, versions: list[tuple[str | None, Doc]], people: list[Doc], events: list[Doc]
    ) -> None:
        self.versions = [
            (ALWAYS if n == 0 else instant_of(effective, body["timezone"], ALWAYS), n, body)
            for n, (effective, body) in enumerate(versions)
        ]
        self.accounts: dict[str, Doc] = {}
        self.members: set[str] = set()
        self.links: dict[tuple[str, str, Any], Doc] = {}
        self.claims: dict[tuple[str, str, Any], Doc] = {}
        self.subscriptions: dict[str, Doc] = {}
        self.grants: dict[str, Doc] = {}
        for put in people:
            for name, account in put.get("accounts", {}).items():
                self.accounts[name] = account
                for sub in account.get("subscriptions", []):
                    self.subscriptions[sub["id"]] = sub | {"account": name, "member": None}
            for name, member in put.get("members", {}).items():
                self.members.add(name)
                for link in member.get("accounts", []):
                    self.links[name, link["id"], link.get("from")] = link | {"member": name}
                for claim in member.get("identities", []):
                    self.claims[claim["id"], name, claim.get("from")] = claim | {"member": name}
                for sub in member.get("subscriptions", []):
                    self.subscriptions[sub["id"]] = sub | {"account": None, "member": name}
            for grant in put.get("grants", []):
                self.grants[grant["id"]] = grant
        self.first: dict[str, datetime] = {}
        for event in events:
            if event.get("subject"):
                self.first[event["subject"]] = min(event["at"], self.first.get(event["subject"], NEVER))

    def catalog(self, instant: datetime) -> Doc:
        return max((v for v in self.versions if v[0] <= instant), key=lambda v: v[:2])[2]

    def zone_of_member(self, member: str) -> str:
        links = [link for link in self.links.values() if link["member"] == member]
        first = min(links, key=lambda one: (instant_of(one.get("from"), self.zone(one["id"]), ALWAYS), one["id"]))
        return self.zone(first["id"])

    def zone(self, account: str) -> str:
        return str(self.accounts[account]["timezone"])

    def span(self, entry: Doc, zone: str, first: str = "from", last: str = "to") -> Span:
        return instant_of(entry.get(first), zone, ALWAYS), instant_of(entry.get(last), zone, NEVER)

    def sub_span(self, sub: Doc) -> Span:
        zone = self.zone(sub["account"]) if sub["account"] else self.zone_of_member(sub["member"])
        return self.span(sub, zone)

    def member_at(self, identity: str, instant: datetime) -> str | None:
        if identity.startswith("member:"):
            return identity[7:] if identity[7:] in self.members else None
        covering = []
        for claim in self.claims.values():
            start, end = self.span(claim, self.zone_of_member(claim["member"]))
            if claim.get("from") is None:
                start = self.first[identity] if claim["id"] == identity else start
            if claim["id"] == identity and start <= instant < end:
                covering.append((start, claim["member"]))
        return max(covering)[1] if covering else None

    def account_at(self, member: str, instant: datetime) -> str | None:
        covering = []
        for link in self.links.values():
            start, end = self.span(link, self.zone_of_member(member))
            if link["member"] == member and start <= instant < end:
                covering.append((start, link["id"]))
        return max(covering)[1] if covering else None

    def subscription_at(self, account: str, member: str | None, instant: datetime) -> Doc | None:
        for holder in (("member", member), ("account", account)):
            for sub in self.subscriptions.values():
                start, end = self.sub_span(sub)
                if holder[1] is not None and sub[holder[0]] == holder[1] and start <= instant < end:
                    return sub
        return None

    def period(self, account: str, instant: datetime) -> Period:
        starts = period_starts(self.zone(account), self.accounts[account].get("anchor_day", 1))
        n = max(n for n, (_, start) in enumerate(starts) if start <= instant)
        return Period(starts[n][0], starts[n][1], starts[n + 1][1])

    def membership(self, member: str, account: str, within: Span) -> list[Span]:
        """The spans in which the member's usage is the account's, cut to `within`."""
        edges = {within[0], within[1]}
        for link in self.links.values():
            if link["member"] == member:
                edges |= {e for e in self.span(link, self.zone_of_member(member)) if within[0] < e < within[1]}
        ordered = sorted(edges)
        found: list[Span] = []
        for start, end in pairwise(ordered):
            if self.account_at(member, start) == account:
                if found and found[-1][1] == start:
                    start = found.pop()[0]  # noqa: PLW2901 -- joined with its neighbour
                found.append((start, end))
        return found

    def belongs_since(self, member: str, account: str, part: Span) -> datetime | None:
        """The start of the membership that first overlaps `part`."""
        for start, end in self.membership(member, account, (ALWAYS, NEVER)):
            if start < part[1] and part[0] < end:
                return start
        return None

    def instances(self, account: str, member: str | None, sub: Doc | None, period: Period) -> list[Instance]:
        found = [self._given(grant) for grant in self.grants.values() if grant["account"] == account]
        found = [i for i in found if i.member in {None, member} and i.unit not in CURRENCIES]
        return found + ([] if sub is None else self._planned(account, member, sub, period))

    def _given(self, grant: Doc) -> Instance:
        start, end = self.span(grant, self.zone(grant["account"]), "effective", "expires")
        return Instance(
            id=grant["id"],
            unit=grant["unit"],
            amount=Decimal(grant["amount"]),
            meters=grant.get("meters"),
            member=grant.get("member"),
            effective=start,
            expires=end,
            priority=grant.get("priority", 100),
        )

    def _planned(self, account: str, member: str | None, sub: Doc, period: Period) -> list[Instance]:
        start, end = self.sub_span(sub)
        part = (max(start, period.start), min(end, period.end))
        if part[0] >= part[1]:
            return []
        zone = self.zone(account)
        found = []
        for grant in self.catalog(part[0])["plans"].get(sub["plan"], {}).get("grants", []):
            holder, tail, spans = None, "", [part]
            if sub["member"] is not None:
                holder, tail = sub["member"], f"/{account}"
            elif grant.get("for") == "member":
                if member is None or not self._has_seat(account, member, sub, part):
                    continue
                holder, tail = member, f"/{member}"
            if holder is not None:
                spans = self.membership(holder, account, part)
            days = sum((day_of(b, zone) - day_of(a, zone)).days for a, b in spans)
            whole = (day_of(period.end, zone) - day_of(period.start, zone)).days
            amount = Decimal(grant["amount"])
            if grant.get("per_seat"):
                amount *= sub.get("seats") or 1
            if spans != [(period.start, period.end)]:
                amount = rounded(amount * days / whole, 6)
            if amount > 0:
                found.append(
                    Instance(
                        id=f"{sub['id']}/{grant['id']}/{period.name}{tail}",
                        unit=grant["unit"],
                        amount=amount,
                        meters=grant["meters"],
                        member=holder,
                        effective=spans[0][0],
                        expires=part[1],
                        priority=grant.get("priority", 100),
                    )
                )
        return found

    def _has_seat(self, account: str, member: str, sub: Doc, part: Span) -> bool:
        if sub.get("seats") is None:
            return True
        since = {name: self.belongs_since(name, account, part) for name in self.members if self._linked(name)}
        ranked = sorted((start, name) for name, start in since.items() if start is not None)
        return member in [name for _, name in ranked[: sub["seats"]]]

    def _linked(self, member: str) -> bool:
        return any(link["member"] == member for link in self.links.values())


def position(event: Doc) -> tuple[datetime, str, str]:
    return (event["at"], event["source"], event["id"])


def counting(events: list[Doc]) -> list[Doc]:
    """The events that count, with the data that counts, in order."""
    voided = {(e["data"]["source"], e["data"]["id"]) for e in events if e["type"] == "event.voided"}
    usage = {(e["source"], e["id"]): dict(e) for e in events if e["type"] not in {"event.voided", "event.amended"}}
    for amendment in sorted((e for e in events if e["type"] == "event.amended"), key=position):
        target = (amendment["data"]["source"], amendment["data"]["id"])
        if (amendment["source"], amendment["id"]) not in voided and target in usage:
            usage[target]["counted"] = amendment["data"]["data"]
    latest: dict[Any, Doc] = {}
    for event in sorted((e for key, e in usage.items() if key not in voided), key=position):
        name = event["data"].get(THINGS.get(event["type"], ""))
        latest[(event["type"], event["source"], name) if name else (event["source"], event["id"], 0, 0)] = event
    return sorted((e | {"data": e.get("counted", e["data"])} for e in latest.values()), key=position)


def fits(where: Doc, data: Doc) -> bool:
    for name, condition in where.items():
        terms = condition if isinstance(condition, dict) else {"=": condition}
        for operator, wanted in terms.items():
            if operator == "exists":
                if (name in data) != wanted:
                    return False
            elif (
                name not in data
                or (operator == "=" and not equal(data[name], wanted))
                or (operator == "in" and not any(equal(data[name], one) for one in wanted))
            ):
                return False
            elif operator in {"gt", "gte", "lt", "lte"}:
                value = number(data[name])
                bound = Decimal(str(wanted))
                if value is None or not {
                    "gt": value > bound, "gte": value >= bound, "lt": value < bound, "lte": value <= bound
                }[operator]:  # fmt: skip
                    return False
    return True


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def total_price(price: Doc, quantity: Decimal) -> Decimal:
    """P(Q)."""
    if price["model"] == "per_unit":
        return quantity * Decimal(price["unit_price"])
    if price["model"] == "pass_through":
        return quantity * (1 + Decimal(price.get("markup", "0")))
    tiers = price["tiers"]
    if quantity <= 0:
        return quantity * Decimal(tiers[0].get("unit_price", "0"))
    amount, above = Decimal(0), Decimal(0)
    for n, tier in enumerate(tiers):
        if quantity > above:
            top = quantity if n == len(tiers) - 1 else min(quantity, Decimal(tier["up_to"]))
            amount += (top - above) * Decimal(tier.get("unit_price", "0")) + Decimal(tier.get("flat", "0"))
            above = top
    return amount


@dataclass
class _Account:
    name: str
    period: Period | None = None
    q: dict[Any, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    used: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    days: set[Any] = field(default_factory=set)
    drawn: dict[str, list[tuple[str, Decimal]]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class Bill:
    lines: list[Line] = field(default_factory=list)
    unresolved: set[tuple[str, str, str]] = field(default_factory=set)


class Rater:
    """Rates all events by all facts, once."""

    def __init__(self, facts: Facts, events: list[Doc]) -> None:
        self.facts = facts
        self.accounts: dict[str, _Account] = {}
        self.bill = Bill()
        with localcontext(prec=80):
            for event in counting(events):
                self._event(event)

    def _event(self, event: Doc) -> None:
        facts, at, subject = self.facts, event["at"], event.get("subject")
        catalog = facts.catalog(at)
        site = event["source"].split("/")[0]
        paid = event["type"] == "pos.sale" and event["data"]["settlement"] == "paid"
        member = facts.member_at(subject, at) if subject else None
        account = None if member is None else facts.account_at(member, at)
        if member is None and paid:
            account = catalog["sites"].get(site, {}).get("walk_in")
        if account is None:
            if subject or event["type"] == "pos.sale":
                self.bill.unresolved.add((event["source"], event["id"], subject or ""))
            return
        state = self.accounts.setdefault(account, _Account(account))
        period = facts.period(account, at)
        if state.period != period:
            state.period = period
            state.q.clear()
            state.drawn.clear()
        if paid:
            self._paid(event, state, member, catalog, site)
            return
        sub = facts.subscription_at(account, member, at)
        name = sub["plan"] if sub else catalog.get("default_plan")
        plan = catalog["plans"].get(name) if name else None
        for meter in sorted(catalog["meters"]):
            for element, quantity, dimensions, item in self._measure(meter, event, catalog, state, member, site):
                if quantity and (plan is None or meter in priced_or_granted(plan)):
                    self._rate(event, state, member, site, catalog, sub, name if plan else None, plan, meter,
                               element, quantity, dimensions, item)  # fmt: skip
        if event["type"] == "pos.sale" and (tip := number(event["data"].get("tip"))):
            meter, _ = self._counted(event, catalog)
            currency = facts.accounts[account].get("currency", catalog["currency"])
            own = event["data"]["currency"] == currency
            self._line(event, state, member, site, meter, 0, "tip", plan=name if plan else None, quantity=tip,
                       amount=tip if own else Decimal(0), unpriced=not own, currency=currency)  # fmt: skip

    def _line(  # noqa: PLR0917 -- as the rules name them
        self, event: Doc, state: _Account, member: str | None, site: str, meter: str, element: int,
              part: str, **more: Any) -> None:  # fmt: skip
        assert state.period is not None
        key = (event["at"], event["source"], event["id"], meter, element, part)
        line = Line(account=state.name, member=member, site=site, key=key, period=state.period, **more)
        self.bill.lines.append(line)

    def _measure(  # noqa: PLR0917 -- as the rules name them
        self, name: str, event: Doc, catalog: Doc, state: _Account, member: str | None,
                 site: str) -> list[tuple[int, Decimal, Doc, Doc | None]]:  # fmt: skip
        meter, data = catalog["meters"][name], event["data"]
        if meter["event"] != event["type"] or not fits(meter.get("where", {}), data):
            return []
        if event["type"] == "usage.reported" and data["meter"] != name:
            return []
        aggregate = meter.get("aggregate", "sum")
        if aggregate == "unique_days":
            zone = catalog["sites"].get(site, catalog)["timezone"]
            seen = (name, member, day_of(event["at"], zone))
            if seen in state.days:
                return []
            state.days.add(seen)
        if aggregate != "sum":
            return [(0, Decimal(1), dimensions_of(meter, data, None), None)]
        path = meter.get("value", "quantity").split(".")
        scale = Decimal(meter.get("scale", "1"))
        items: list[Doc | None] = [*data[path[0]]] if len(path) == 2 else [None]
        found = []
        for element, item in enumerate(items):
            value = number((item or data).get(path[-1]))
            if value is not None:
                found.append((element, value * scale, dimensions_of(meter, data, item), item))
        return found

    def _counted(self, event: Doc, catalog: Doc) -> tuple[str, Decimal]:
        for name in sorted(catalog["meters"]):
            parts = self._measure(name, event, catalog, _Account(""), None, "")
            if total := sum((quantity for _, quantity, _, _ in parts), Decimal(0)):
                return name, total
        return "pos", Decimal(1)

    def _paid(self, event: Doc, state: _Account, member: str | None, catalog: Doc, site: str) -> None:
        data = event["data"]
        meter, quantity = self._counted(event, catalog)
        taxes = [number(line["tax"]) for line in data["lines"] if line.get("tax") is not None]
        names = sorted({line["tax_name"] for line in data["lines"] if line.get("tax_name")})
        known = catalog["taxes"].get(names[0]) if len(names) == 1 else None
        tax = (", ".join(names) or "sale", Decimal(known["rate"]) if known else None, False) if taxes else None
        self._line(
            event, state, member, site, meter, 0, "",
            quantity=quantity,
            amount=sum((Decimal(line["amount"]) for line in data["lines"]), Decimal(0)),
            settlement="paid",
            currency=data["currency"],
            tax=tax,
            till_tax=sum((t for t in taxes if t is not None), Decimal(0)),
            tip=number(data.get("tip")) or Decimal(0),
            total=number(data["total"]),
        )  # fmt: skip

    def _rate(  # noqa: PLR0917 -- as the rules name them
        self, event: Doc, state: _Account, member: str | None, site: str, catalog: Doc, sub: Doc | None,
              plan_name: str | None, plan: Doc | None, meter: str, element: int, quantity: Decimal,
              dimensions: Doc, item: Doc | None) -> None:  # fmt: skip
        assert state.period is not None
        unit = catalog["meters"][meter]["unit"]
        currency = self.facts.accounts[state.name].get("currency", catalog["currency"])
        price = None
        for one in (plan or {}).get("prices", {}).get(meter, []):
            if all(name in dimensions and equal(dimensions[name], v) for name, v in one.get("match", {}).items()):
                price = one
                break
        if price is not None:
            money = event["data"]["currency"] if event["type"] == "pos.sale" else unit
            foreign = price["model"] == "pass_through" and money in CURRENCIES and money != currency
            if foreign or catalog["currency"] != currency:
                price = None
        if price is None:
            key: Any = (plan_name, meter)
        else:
            content = repr(sorted((k, v) for k, v in price.items() if k != "id"))
            key = (plan_name, price["id"], content, member if price.get("per") == "member" else None)
        before = state.q[key]
        if quantity > 0:
            draws = self._draw(state, member, sub, meter, unit, quantity, event["at"])
            if catalog["meters"][meter].get("aggregate", "sum") == "sum":
                state.drawn[meter] += draws
        else:
            draws = self._give_back(state, meter, -quantity - max(before, Decimal(0)))
        covered = sum((amount for _, amount in draws), Decimal(0))
        state.q[key] = before + quantity - covered
        amount = Decimal(0)
        if price is not None:
            amount = rounded(total_price(price, state.q[key]), 12) - rounded(total_price(price, before), 12)
        self._line(
            event, state, member, site, meter, element, "",
            plan=plan_name,
            price=price and price["id"],
            quantity=quantity,
            covered=covered,
            amount=amount,
            unpriced=price is None and quantity != covered,
            currency=currency,
            tax=self._tax(catalog, site, price, item),
            draws=draws,
        )  # fmt: skip

    def _draw(  # noqa: PLR0917 -- as the rules name them
        self, state: _Account, member: str | None, sub: Doc | None, meter: str, unit: str,
              quantity: Decimal, at: datetime) -> list[tuple[str, Decimal]]:  # fmt: skip
        assert state.period is not None
        draws = []
        for one in sorted(self.facts.instances(state.name, member, sub, state.period), key=Instance.rank):
            if one.unit == unit and (one.meters is None or meter in one.meters) and one.in_force(at):
                amount = min(quantity, one.amount - state.used[one.id])
                if amount > 0:
                    state.used[one.id] += amount
                    quantity -= amount
                    draws.append((one.id, amount))
        return draws

    def _give_back(self, state: _Account, meter: str, owed: Decimal) -> list[tuple[str, Decimal]]:
        draws: list[tuple[str, Decimal]] = []
        while owed > 0 and state.drawn[meter]:
            name, amount = state.drawn[meter].pop()
            returned = min(owed, amount)
            if returned < amount:
                state.drawn[meter].append((name, amount - returned))
            state.used[name] -= returned
            owed -= returned
            draws.append((name, -returned))
        return draws

    def _tax(self, catalog: Doc, site: str, price: Doc | None, item: Doc | None) -> Any:
        net = item is not None and price is not None and price["model"] == "pass_through"
        name = None
        if item is not None:
            name = item.get("tax_name")
            if name not in catalog["taxes"]:
                tax, amount = number(item.get("tax")), number(item.get("amount"))
                if tax is not None and amount:
                    return name or "sale", rounded(tax / amount, 6), False
                name = None
        name = name or (price or {}).get("tax") or catalog["sites"].get(site, {}).get("tax")
        if name is None:
            return None
        tax = catalog["taxes"][name]
        return name, Decimal(tax["rate"]), bool(tax.get("inclusive")) and not net


def dimensions_of(meter: Doc, data: Doc, item: Doc | None) -> Doc:
    found: Doc = {}
    for name in meter.get("group_by", []):
        for place in (item or {}, data):
            if name in place:
                found[name] = place[name]
                break
    return found


def priced_or_granted(plan: Doc) -> set[str]:
    return set(plan.get("prices", {})) | {meter for grant in plan.get("grants", []) for meter in grant["meters"]}


def balances(facts: Facts, lines: list[Line], account: str, at: datetime) -> dict[str, tuple[Decimal, Decimal]]:
    """Amount and use of every instance in force at `at`."""
    period = facts.period(account, at)
    members = [m for m in facts.members if facts.account_at(m, at) == account]
    subs = [s for s in facts.subscriptions.values() if s["account"] == account]
    found: dict[str, Instance] = {}
    for member in [None, *members]:
        own = [s for s in facts.subscriptions.values() if member is not None and s["member"] == member]
        for sub in [None, *subs, *own]:
            found |= {one.id: one for one in facts.instances(account, member, sub, period)}
    used: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line.account == account and line.key[0] <= at:
            for name, amount in line.draws:
                used[name] += amount
    return {one.id: (one.amount, used[one.id]) for one in found.values() if one.in_force(at)}
