"""GET /v1/journal: a cursor over the entries, filters, and the trial balance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Gateway
from tests.booking.journals import at, told
from tests.booking.space import pages, sale


async def booked(gateway: Gateway) -> None:
    gateway.space.now = at("2026-03-09T12:00")
    await gateway.space.apply(LEDGER)
    await gateway.space.take(
        *(pages(f"p{n}", f"0{n}T10:00", 100 + n) for n in range(2, 8)), sale("s1", "04T12:00", "2.00")
    )


LEDGER = """
operator: northside
effective: 2026-01-01
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19, walk_in: walk-in}
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  flex:
    name: Flex
    prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}], cafe: [{id: cafe, model: pass_through}]}
ledger: {unmapped: suspense, revenue: {print-pages: "income:print:pages"}}
"""


async def test_pages_of_entries_from_a_cursor_on(gateway: Gateway) -> None:
    await booked(gateway)
    read: list[dict[str, Any]] = []
    path = "/v1/journal?limit=3"
    while True:
        answer = await gateway.api.get(path)
        assert answer.status == 200, answer.text
        read += answer.json["entries"]
        path = f"/v1/journal?limit=3&cursor={answer.json['next']}"
        if "Link" not in answer.headers:
            break
        assert answer.json["next"] in answer.headers["Link"]
    assert len(read) == len(await told(gateway.space)) == 7
    assert (await gateway.api.get(path)).json["entries"] == []
    first = read[0]
    assert (first["kind"], first["day"], first["suspense"]) == ("charge", "2026-03-02", False)
    assert first["postings"] == [
        {"account": "assets:receivable", "amount": "6.07"},
        {"account": "income:print:pages", "amount": "-5.1"},
        {"account": "liabilities:tax", "amount": "-0.97"},
    ]
    assert first["dimensions"]["account"] == "acme"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("day=2026-03-04", 2),
        ("since=2026-03-05&until=2026-03-06", 2),
        ("ledger_account=income:print", 6),
        ("ledger_account=income:pri", 0),
        ("suspense=1", 1),
        ("suspense=true&day=2026-03-05", 0),
    ],
)
async def test_filters(gateway: Gateway, query: str, count: int) -> None:
    await booked(gateway)
    assert len((await gateway.api.get(f"/v1/journal?{query}")).json["entries"]) == count


async def test_what_cannot_be_meant_is_said(gateway: Gateway) -> None:
    for query in ("day=2026-03-04&since=2026-03-01", "day=yesterday", "cursor=x", "account=acme"):
        answer = await gateway.api.get(f"/v1/journal?{query}")
        assert answer.status == 400, query


async def test_the_trial_balance_sums_to_nothing(gateway: Gateway) -> None:
    await booked(gateway)
    whole = (await gateway.api.get("/v1/journal/balances")).json
    assert whole["at"] is None
    assert {one["account"] for one in whole["balances"]} == {
        "assets:clearing",
        "assets:receivable",
        "equity:suspense",
        "income:print:pages",
        "liabilities:tax",
    }
    early = (await gateway.api.get("/v1/journal/balances?at=2026-03-02")).json
    assert early == {
        "at": "2026-03-02",
        "balances": [
            {"account": "assets:receivable", "currency": "EUR", "amount": "6.07"},
            {"account": "income:print:pages", "currency": "EUR", "amount": "-5.1"},
            {"account": "liabilities:tax", "currency": "EUR", "amount": "-0.97"},
        ],
    }


async def test_the_books_are_for_no_key_that_is_restricted(gateway: Gateway) -> None:
    for restricted in (
        await gateway.api.key("usage:read", site="berlin"),
        await gateway.api.key("usage:read", account="acme"),
    ):
        assert (await gateway.api.get("/v1/journal", key=restricted)).status == 403
