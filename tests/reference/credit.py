"""Credit of the second rater: which instances there are at a contribution, their order, their use, what comes back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any
from urllib.parse import quote

from tests.reference.dates import Period, Span
from tests.reference.facts import Facts
from tests.reference.values import CURRENCIES, SECONDS, ZERO, Doc, cut, equal, exact, rounded


@dataclass(frozen=True, kw_only=True)
class Instance:
    """`amount` is in `unit`, but in seconds for units of time. `rank` is its place in the order of credit."""

    id: str
    unit: str
    amount: Fraction
    meters: list[str] | None
    member: str | None
    effective: datetime
    expires: datetime
    priority: int
    origin: str
    rollover: Doc | None = None
    rank: tuple[Any, ...] = ()

    def in_force(self, instant: datetime) -> bool:
        return self.effective <= instant < self.expires

    @property
    def factor(self) -> int:
        return SECONDS.get(self.unit, 1)


def ranked(one: Instance) -> Instance:
    return replace(one, rank=(one.priority, one.expires, one.member is None, one.effective, one.id, 1, one.effective))


def scope(grant: Doc, plan: Doc, catalog: Doc) -> list[str]:
    """The meters that a plan's grant is for: those it names, else all that it could be for."""
    if grant.get("meters") is not None:
        return list(grant["meters"])
    if grant["unit"] == "credit":
        return list(catalog.get("credits", {}).get("rates", {}))
    if grant["unit"] in CURRENCIES:
        return list(plan.get("prices", {}))
    return [name for name, meter in catalog["meters"].items() if meter["unit"] == grant["unit"]]


@dataclass
class Drawn:
    """What one line took from one instance, as far as it has not come back."""

    instance: Instance
    covered: Fraction
    amount: Fraction
    whole: Fraction = ZERO

    def __post_init__(self) -> None:
        """Keep what was drawn at first."""
        self.whole = self.amount


@dataclass
class Credit:
    """The credit of one account.

    `used` is all that was drawn from each instance and has not come back; `begun` what came back to begin a new one.
    """

    facts: Facts
    account: str
    used: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    begun: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    returned: dict[str, Instance] = field(default_factory=dict)
    seen: dict[str, Instance] = field(default_factory=dict)

    # --- which there are ----------------------------------------------------------------------------------------------

    def instances(self, member: str | None, sub: Doc | None, period: Period) -> list[Instance]:
        found = [self._given(grant) for grant in self.facts.grants.values() if grant["account"] == self.account]
        found += self.returned.values()
        if sub is not None:
            found += self.planned(member, sub, period)
            found += self._rolled(member, sub, period, found)
        found = [one for one in found if one.member in {None, member}]
        self.seen |= {one.id: one for one in found}
        return found

    def _given(self, grant: Doc) -> Instance:
        start, end = self.facts.span(grant, self.facts.calendar(self.account), "effective", "expires")
        return ranked(
            Instance(
                id=grant["id"],
                unit=grant["unit"],
                amount=exact(grant["amount"]) * SECONDS.get(grant["unit"], 1),
                meters=grant.get("meters"),
                member=grant.get("member"),
                effective=start,
                expires=end,
                priority=grant.get("priority", 100),
                origin="bought" if grant.get("bought") else "given",
            )
        )

    def _part(self, sub: Doc, period: Period) -> Span:
        start, end = self.facts.sub_span(sub)
        return max(start, period.start), min(end, period.end)

    def planned(self, member: str | None, sub: Doc, period: Period) -> list[Instance]:
        """The instances that the subscription gives in the period to the account, and to this member."""
        part = self._part(sub, period)
        if part[0] >= part[1]:
            return []
        plan = self.facts.plan(sub["plan"], part[0]) or {}
        found = []
        for grant in plan.get("grants", []):
            holder, tail = None, ""
            if sub["member"] is not None:
                holder, tail = sub["member"], f"/{self.account}"
            elif grant.get("for") == "member":
                if member is None or not self._has_seat(member, sub, part):
                    continue
                holder, tail = member, f"/{member}"
            spans = [part] if holder is None else self.facts.membership(holder, self.account, part)
            amount = self._amount(grant, sub, spans, period)
            if amount > 0:
                one = Instance(
                    id=f"{sub['id']}/{grant['id']}/{period.name}{tail}",
                    unit=grant["unit"],
                    amount=amount * SECONDS.get(grant["unit"], 1),
                    meters=scope(grant, plan, self.facts.catalog(part[0])),
                    member=holder,
                    effective=spans[0][0],
                    expires=part[1],
                    priority=grant.get("priority", 100),
                    origin="plan",
                    rollover=grant.get("rollover"),
                )
                found.append(ranked(one))
        return found

    def _amount(self, grant: Doc, sub: Doc, spans: list[Span], period: Period) -> Fraction:
        amount = exact(grant["amount"])
        if grant.get("per_seat"):
            amount *= sub.get("seats") or 1
        days = sum(period.between(*span) for span in spans)
        # What is whole is not rounded.
        return amount if days == period.days else rounded(amount * days / period.days, 6)

    def _has_seat(self, member: str, sub: Doc, part: Span) -> bool:
        if sub.get("seats") is None:
            return True
        since = {name: self.facts.belongs_since(name, self.account, part) for name in self.facts.linked()}
        ordered = sorted((start, name) for name, start in since.items() if start is not None)
        return member in [name for _, name in ordered[: sub["seats"]]]

    def _rolled(self, member: str | None, sub: Doc, period: Period, own: list[Instance]) -> list[Instance]:
        """What was left of earlier periods and still goes on in this one."""
        everything = self.facts.periods(self.account)
        here = everything.index(period)
        start, end = self._part(sub, period)
        found = []
        for back in range(1, here + 1):
            if back > 24 or everything[here - back].end <= self.facts.sub_span(sub)[0]:
                break
            for old in self.planned(member, sub, everything[here - back]):
                if old.rollover is None or back > old.rollover.get("periods", 1):
                    continue
                left = min(exact(old.rollover["max"]) * old.factor, old.amount - self.used[old.id])
                if left <= 0:
                    continue
                name = old.id.replace(f"/{everything[here - back].name}", f"/{period.name}", 1)
                new = next((one for one in own if one.id == name), None)
                effective = new.effective if new else start
                last = everything[here - back + old.rollover.get("periods", 1)]
                rank = (old.priority, end, old.member is None, effective, name, 0, old.effective)
                rolled = replace(
                    old,
                    id=f"{old.id}/rolled",
                    amount=left,
                    effective=everything[here - back].end,
                    expires=min(last.end, self.facts.sub_span(sub)[1]),
                    origin="rollover",
                    rollover=None,
                    rank=rank,
                )
                found.append(rolled)
        return found

    def drawn(self, name: str) -> Fraction:
        """What the lines' draws sum to: a new instance begins with what one of them gave back to it."""
        return self.used[name] - self.begun[name]

    # --- drawing ------------------------------------------------------------------------------------------------------

    def left(self, one: Instance) -> Fraction:
        return one.amount - self.used[one.id]

    def eligible(self, member: str | None, sub: Doc | None, period: Period, meter: str, at: datetime) -> list[Instance]:
        return [
            one
            for one in sorted(self.instances(member, sub, period), key=lambda one: one.rank)
            if one.in_force(at) and (one.meters is None or meter in one.meters) and self.left(one) > 0
        ]

    def rate(self, meter: str, dimensions: Doc, at: datetime) -> Fraction | None:
        """Credits for one unit of the meter."""
        rates = self.facts.catalog(at).get("credits", {}).get("rates", {}).get(meter, [])
        for rate in rates:
            if all(name in dimensions and equal(dimensions[name], v) for name, v in rate.get("match", {}).items()):
                return exact(rate["rate"])
        return None

    def cover(self, instances: list[Instance], unit: str, rate: Fraction | None, quantity: Fraction) -> list[Drawn]:
        """Draw for a quantity (seconds for units of time) from unit and `credit` grants, in one order."""
        draws: list[Drawn] = []
        factor = SECONDS.get(unit, 1)
        for one in instances:
            if quantity <= 0:
                break
            left = self.left(one)
            if one.unit == unit and unit not in CURRENCIES:
                covered = amount = min(quantity, left)
            elif one.unit == "credit" and rate is not None:
                amount = rounded(quantity / factor * rate, 12)
                covered = quantity
                if amount > left:
                    covered, amount = cut(left / rate, 6) * factor, left
            else:
                continue
            self.used[one.id] += amount
            quantity -= covered
            draws.append(Drawn(one, covered, amount))
        return draws

    def pay(self, instances: list[Instance], currency: str, amount: Fraction) -> list[Drawn]:
        """Draw for an amount of money from money grants."""
        draws: list[Drawn] = []
        for one in instances:
            if amount > 0 and one.unit == currency:
                part = min(amount, self.left(one))
                self.used[one.id] += part
                amount -= part
                draws.append(Drawn(one, ZERO, part))
        return draws

    def give_back_quantity(self, drawn: list[Drawn], owed: Fraction) -> list[Drawn]:
        """Return the covers of a meter, the last first."""
        found: list[Drawn] = []
        for draw in reversed(drawn):
            if owed > 0 and draw.covered > 0:
                covered = min(owed, draw.covered)
                amount = draw.amount
                if covered < draw.covered and draw.instance.unit == "credit":
                    amount = rounded(draw.amount * covered / draw.covered, 12)
                elif covered < draw.covered:
                    amount = covered
                self._return(draw, covered, amount, found)
                owed -= covered
        return found

    def give_back_money(self, drawn: list[Drawn], owed: Fraction) -> list[Drawn]:
        found: list[Drawn] = []
        for draw in reversed(drawn):
            if owed > 0 and draw.amount > 0:
                amount = min(owed, draw.amount)
                self._return(draw, ZERO, amount, found)
                owed -= amount
        return found

    def _return(self, draw: Drawn, covered: Fraction, amount: Fraction, found: list[Drawn]) -> None:
        draw.covered -= covered
        draw.amount -= amount
        self.used[draw.instance.id] -= amount
        found.append(Drawn(draw.instance, -covered, -amount))

    def refund(  # noqa: PLR0917 -- as the rules name them
        self, draw: Drawn, covered: Fraction, amount: Fraction, at: datetime, end: datetime, by: Doc
    ) -> Drawn:
        """Return credit of a sale: to its instance, or where that has expired to a new one until `end`."""
        draw.covered -= covered
        draw.amount -= amount
        one = draw.instance
        if at < one.expires:
            self.used[one.id] -= amount
            return Drawn(one, -covered, -amount)
        name = f"{one.id}/returned/{quote(by['source'], safe='')}/{quote(by['id'], safe='')}"
        self.begun[name] += amount
        new = replace(
            one, id=name, amount=self.begun[name], effective=at, expires=end, origin="returned", rollover=None
        )
        self.returned[name] = self.seen[name] = ranked(new)
        return Drawn(new, -covered, -amount)
