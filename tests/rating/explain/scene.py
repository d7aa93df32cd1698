"""What is booked in a space and how it is explained: whole texts, with the charges' ids as #0, #1 ... in order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from meter.model.catalog import Condition, Increment, Meter, Pairing, Price, Site
from meter.model.charge import Charge
from meter.model.directory import Claim
from meter.model.event import Revision, UsageEvent
from meter.rating.explain import Explanation, explain, resolution_of
from tests.rating.arithmetic import adds_up
from tests.rating.world import (
    PAGES,
    USE,
    Ledger,
    Space,
    d,
    event,
    graduated,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    span,
    t,
    taxed,
)


@dataclass(frozen=True)
class Scene:
    """What is booked of what has happened, and its explanations."""

    where: Space
    ledger: Ledger
    events: tuple[UsageEvent, ...]
    revisions: tuple[Revision, ...]
    until: str | None

    def explained(self, charge: Charge) -> Explanation:
        folded = self.where.fold(*self.events, revisions=self.revisions, until=self.until, trace=True)
        key = charge.line.key
        line = next((line for line in folded.lines if line.key == key), None)
        wanted = dict.fromkeys([*charge.line.events, *(line.events if line is not None else ())])
        events = [one for name in wanted for one in self.events if one.key == name]
        return explain(
            charge,
            [each for each in self.ledger.charges if each.line.key == key],
            events,
            recomputed=line,
            evidence=folded.evidence_of(key),
            resolution=resolution_of(events, charge.line, self.where.directory),
            facts=self.where.facts,
        )

    def text(self, n: int = -1) -> list[str]:
        """The text of the n-th charge."""
        said = self.explained(self.ledger.charges[n]).text()
        for number, charge in enumerate(self.ledger.charges):
            said = said.replace(charge.id, f"#{number}")
        return said.splitlines()

    def json(self, n: int = -1) -> dict[str, Any]:
        """The JSON of the n-th charge, as it leaves."""
        found: dict[str, Any] = json.loads(json.dumps(self.explained(self.ledger.charges[n]).as_json(), default=str))
        return found


def booked(
    where: Space, *events: UsageEvent, revisions: Iterable[Revision] = (), until: str | None = None, **earlier: Any
) -> Scene:
    """Book everything at once, or first what was known `before`."""
    ledger = Ledger.empty()
    if earlier:
        ledger.make_good(where.lines(*earlier["before"]))
    ledger.make_good(where.lines(*events, revisions=revisions, until=until))
    return Scene(where, ledger, events, tuple(revisions), until)


BADGE = "badge:04A2991B"
TIERS = priced(graduated(("50", "0.25"), (None, "0.20")), tax="vat")
PRINT = plan(pages=TIERS, grants=[plan_grant("pages", PAGES, "100")])
OFFICE = space(PRINT, terms={"taxes": taxed("0.19")}, claims=[Claim(identity=BADGE, member="ada", span=span("01-01"))])
BURST = [printed("11-02 09:00", 120, by=BADGE), printed("11-03 09:00", 60, by=BADGE)]


def core(scene: Scene, n: int = -1) -> list[str]:
    """What lies between who it was for and the verdict; everything that is told adds up."""
    assert adds_up(scene.json(n))
    lines = scene.text(n)
    start = next(at for at, line in enumerate(lines) if line.startswith("Meter: "))
    assert lines[-1] == "Computed again from the stored facts: the same."
    return lines[start + 1 : -1]


BERLIN = Site(id="berlin", name="Berlin", timezone="Europe/Berlin", closes="22:00")
NOVEMBER = "2026-10-31T23:00:00Z"


def is_(value: str) -> tuple[Condition, ...]:
    return (Condition(path=("direction",), operator="=", value=value),)


def presence(**pairing: Any) -> Meter:
    increment = Increment(first_s=900, step_s=900)
    terms: dict[str, Any] = {"max_s": 50_400, "missing_end": "close_at", "increment": increment}
    found = Pairing(start=is_("in"), end=is_("out"), **(terms | pairing))
    return Meter(id="presence", event="door.access", aggregate="duration", unit="hour", pairing=found)


def hours(meter: Meter | None = None, **more: Any) -> Space:
    terms = {"meters": {"presence": meter or presence()}, "sites": {"berlin": BERLIN}}
    return space(plan(presence=per_unit("2"), **more), terms=terms)


def door(at: str, direction: str) -> UsageEvent:
    return event(f"{direction} {at}", "door.access", at, {"direction": direction})


def reads(aggregate: str, **more: Any) -> Meter:
    terms: dict[str, Any] = {"event": "meter.read", "value": ("n",), "unit": "seat", **more}
    return Meter(id="level", aggregate=aggregate, **terms)


def reading(at: str, n: Any) -> UsageEvent:
    return event(f"read {at}", "meter.read", at, {"n": n})


def level(meter: Meter, price: Price | None = None) -> Space:
    return space(plan(level=price or per_unit("10")), terms={"meters": {"level": meter}})


def use_at(price: Price) -> Space:
    return space(plan(use=price))


def credit(unit: str, amount: int, meter: str) -> Any:
    return replace(plan_grant("credits", USE, "1"), unit=unit, amount=d(amount), meters=(meter,))


def sale(settlement: str, lines: list[dict[str, Any]], **more: Any) -> UsageEvent:
    data = {"order": "o-1", "currency": "EUR", "settlement": settlement, "lines": lines, **more}
    return event("sale", "pos.sale", "11-02", data)


def refund(at: str, **more: Any) -> UsageEvent:
    of = {"source": "berlin/device", "order": "o-1"}
    data = {"refund": "r-1", "status": "completed", "currency": "EUR", "sale": of, **more}
    return event("r", "pos.refund", at, data, by=None)


VISITS = Meter(id="visits", event="door.access", aggregate="count", unit="visit", debounce_s=30)
ACTS = space(plan(visits=per_unit("2")), terms={"meters": {"visits": VISITS}})


def pulse(second: int) -> UsageEvent:
    return event(f"p{second:02}", "door.access", t("11-02") + timedelta(seconds=second), {})


ROOM = [{"amount": "20.00", "name": "Room"}]
COFFEE = [{"amount": "10.00", "tax": "1.90", "tax_name": "vat"}]
