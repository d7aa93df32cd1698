"""An amendment's data is whatever its sender wrote: no shape of it may hold up anybody's bill."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from tests.booking.space import amend, entry, open_space, pages, sale

_SOURCES = {"p": "berlin/print/hall", "d": "berlin/door/main", "s": "berlin/pos/bar", "w": "berlin/pos/bar"}
_FIELDS = (
    *("printer", "job", "impressions", "status", "door", "granted", "direction", "order", "currency", "lines", "total"),
    *("settlement", "quantity", "amount", "tax", "tax_name", "tip", "refund_of", "discount", "site", "member", "data"),
)
_LEAVES = (
    *(None, True, False, 0, -1, 7, 0.1, 10**17, -(10**17), 1e-12, "", "x", "12.50", "-3", "1e5", "NaN", "paid"),
    *("account", "completed", "EUR", "XXX", "vat19", "in", "٣", "∞", "x" * 300, "2026-03-02T09:00:00Z"),
)


def _anything(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth == 0 or kind < 0.5:
        return chance.choice(_LEAVES)
    if kind < 0.7:
        return [_anything(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return _object(chance, depth - 1)


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    return {chance.choice(_FIELDS): _anything(chance, depth) for _ in range(chance.randint(0, 7))}


def _mutated(chance: random.Random, body: bytes) -> dict[str, Any]:
    """The event's own data with a field or three of it, or of its lines, made something else."""
    data: dict[str, Any] = json.loads(body)["data"]
    for _ in range(chance.randint(1, 3)):
        lines = data.get("lines")
        inside = lines[0] if isinstance(lines, list) and lines and chance.random() < 0.7 else data
        if isinstance(inside, dict) and inside:
            inside[chance.choice(list(inside))] = _anything(chance, 2)
    return data


@pytest.mark.parametrize("seed", range(3))
async def test_no_shape_of_an_amendment_holds_anybody_up(database_url: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- the same shapes for the same seed
    made = {
        "p": lambda n: pages(n, "02T09:00", 3),
        "d": lambda n: entry(n, "02T09:00"),
        "s": lambda n: sale(n, "02T09:00", "3.00", "badge:ADA1", chance.choice(["paid", "account"])),
        "w": lambda n: sale(n, "02T09:00", "3.00"),
    }
    async with open_space(database_url) as space:
        for turn in range(4):
            bodies = [pages(f"eve-{turn}", "02T09:00", 5, "badge:EFE1")]
            for number in range(60):
                kind = chance.choice("pdsw")
                name = f"{kind}{turn}-{number}"
                body = made[kind](name)
                data = _object(chance, 3) if chance.random() < 0.3 else _mutated(chance, body)
                bodies += [body, amend(f"a-{name}", "03T09:00", name, _SOURCES[kind], data)]
            chance.shuffle(bodies)
            receipts = await space.accept(bodies)
            assert [receipt.detail for receipt in receipts if receipt.status != "accepted"] == []
            await space.rate()
        assert [row[5] for row in await space.sums() if row[0] == "solo"] == [Decimal(20)]
        assert space.telemetry.registry.get_sample_value("meter_fold_failures_total") == 0
        assert await space.rows("SELECT * FROM refolds") == []
