"""A space in which somebody asks before acting."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from meter.booking.authorizing import Answered, Authorizer, Wanted
from tests.booking.space import LATER, Space, pages

# Ten pages a month and no more; everybody's days cost 25 each.
STRICT = """
operator: northside
plans:
  flex:
    name: Flex
    grants: [{id: pages, unit: page, amount: "10", meters: [print-pages], overage: deny}]
    prices:
      print-pages: [{id: mono, model: graduated, tiers: [{up_to: 50, unit_price: "0.05"}, {unit_price: "0.041"}]}]
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
"""


class Asking:
    """One gateway's door for asks."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.authorizer = Authorizer(space.database, "northside", clock=lambda: space.now)

    async def ask(self, name: str, quantity: str | int = 1, meter: str = "print-pages", **more: Any) -> Answered:
        wanted = Wanted(
            id=name,
            identity="badge:ADA1",
            site="berlin",
            meter=meter,
            quantity=Decimal(quantity),
            expires_s=300,
            key="test",
        )
        return await self.authorizer.ask(replace(wanted, **more))

    async def allowed(self, name: str, quantity: str | int = 1, **more: Any) -> bool:
        return (await self.ask(name, quantity, **more)).authorization.allowed


def strict(catalog: str) -> str:
    """The tests' catalog with plans that deny what lies beyond credit."""
    head, _, rest = catalog.partition("plans:\n")
    _, _, tail = rest.partition("accounts:\n")
    return f"{head}plans:\n{STRICT.partition('plans:' + chr(10))[2]}accounts:\n{tail}"


def naming(body: bytes, authorization: str) -> bytes:
    """The event, naming what it settles."""
    return json.dumps(json.loads(body) | {"authorization": authorization}).encode()


def printed(name: str, count: int, at: datetime = LATER, *, settles: str | None = None, **more: Any) -> bytes:
    """A finished print job at an instant."""
    body = json.loads(pages(name, "02T08:00", count, **more)) | {"time": at.isoformat()}
    return json.dumps(body | ({"authorization": settles} if settles else {})).encode()
