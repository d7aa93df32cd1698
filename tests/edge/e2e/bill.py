"""What must be stored and billed, computed from what devices were told and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.edge.e2e.devices import BADGES, Journal, badge_of
from tests.gateway import RunningGateway

# Every badge is of an account of its own; each of the two plans has another price.
PRICES: Final = (Decimal("0.07"), Decimal("0.11"))
_LISTED_MAX: Final = 10


def catalog() -> str:
    """A space that bills every door that opens."""
    plans = "".join(
        f"  plan{n}: {{name: Plan {n}, prices: {{doors: [{{id: door, model: per_unit, unit_price: '{price}'}}]}}}}\n"
        for n, price in enumerate(PRICES)
    )
    badges = range(BADGES)
    accounts = "".join(
        f"  a{n}: {{name: A{n}, subscriptions: [{{id: a{n}, plan: plan{n % len(PRICES)}, from: 2026-01-01}}]}}\n"
        for n in badges
    )
    members = "".join(f"  m{n}: {{account: a{n}, name: M{n}, identities: ['badge:B{n}']}}\n" for n in badges)
    return (
        "operator: northside\ncurrency: EUR\ntimezone: Europe/Berlin\n"
        "sites:\n  berlin: {name: Berlin, timezone: Europe/Berlin}\n"
        "meters:\n  doors: {event: door.access, where: {granted: true}, aggregate: count, unit: door}\n"
        f"plans:\n{plans}accounts:\n{accounts}members:\n{members}"
    )


def price_of(id: str) -> tuple[str, Decimal]:
    """Whose event it is, and what it costs."""
    number = int(badge_of(id).removeprefix("badge:B"))
    return f"a{number}", PRICES[number % len(PRICES)]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, by id; nothing anywhere is exact. `stored` counts the doors' events, `total` is their bill."""

    stored: int
    total: Decimal
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    never_promised: tuple[str, ...]
    wrong: tuple[str, ...]
    holes: tuple[str, ...]

    @property
    def faults(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """How many of each, with the first of them."""
        found = {name: getattr(self, name) for name in ("lost", "twice", "never_promised", "wrong", "holes")}
        return {name: (len(ids), ids[:_LISTED_MAX]) for name, ids in found.items() if ids}


async def judged(gateway: RunningGateway, journal: Journal) -> Verdict:
    """Hold the gateway's events, its charges and its view of agents to the journal."""
    events = Counter(id for (id,) in await gateway.rows("SELECT id FROM events WHERE type = 'door.access'"))
    charges = await _charges(gateway)
    billed = Counter(charge["event"]["id"] for charge in charges)
    safe = journal.told("safe") - journal.nonsense
    possible = journal.told("safe") | journal.told("unknown")
    edges = (await gateway.get("/v1/edges"))["edges"]
    return Verdict(
        stored=sum(events.values()),
        total=sum((Decimal(charge["amount"]) for charge in charges), Decimal(0)),
        lost=tuple(sorted(safe - events.keys())),
        twice=_twice(events) + _twice(billed),
        never_promised=tuple(sorted((events.keys() | billed.keys()) - (possible - journal.nonsense))),
        wrong=tuple(sorted(events.keys() ^ billed.keys())) + tuple(_wrong(charges)),
        holes=tuple(
            f"{edge['boot']}: {edge['holes']}, up to {edge['up_to']} of {edge['last_sequence']}"
            for edge in edges
            if edge["holes"] or edge["up_to"] != edge["last_sequence"]
        ),
    )


def _twice(ids: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(id for id, count in ids.items() if count > 1))


def _wrong(charges: Iterable[dict[str, Any]]) -> Iterable[str]:
    for charge in charges:
        account, price = price_of(charge["event"]["id"])
        due = ("usage", account, Decimal(1), price)
        if (charge["kind"], charge["account"], Decimal(charge["quantity"]), Decimal(charge["amount"])) != due:
            yield f"{charge['event']['id']}: {charge}"


async def _charges(gateway: RunningGateway) -> list[dict[str, Any]]:
    """All that billing systems would pull."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while page := (answer := await gateway.get("/v1/charges", cursor=cursor, limit="1000"))["charges"]:
        found += page
        cursor = answer["next"]
    return found
