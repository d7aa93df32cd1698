"""What the system holds at the end, as plain rows for the oracle; and when it is at rest."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import aiohttp
import asyncpg

from chaos.oracle import Held
from chaos.world import ACCOUNTS
from tests.targets.fakes.receiver import FakeReceiver
from tests.targets.fakes.stripe import FakeStripe

_POLL_S: Final = 0.1
# Stored is rated, booked is gathered by every target, and nothing is on its way.
_AT_REST: Final = """
    SELECT NOT EXISTS (SELECT FROM refolds)
       AND NOT EXISTS (SELECT FROM outbox WHERE state IN ('pending', 'sending', 'uncertain'))
       AND NOT EXISTS (SELECT FROM export_buckets WHERE dirty AND due_at <= clock_timestamp() + interval '1 second')
       AND (SELECT count(*) FROM export_cursors) = $1
       AND NOT EXISTS (SELECT FROM export_cursors AS e
                        WHERE CASE e.reads WHEN 'entries' THEN EXISTS (SELECT FROM entries AS b WHERE b.xid >= e.xid)
                                           ELSE EXISTS (SELECT FROM charges AS b WHERE b.xid >= e.xid) END)
       AND EXISTS (SELECT FROM rating_cursors)
       AND NOT EXISTS (SELECT FROM events AS e WHERE (e.xid, e.seq) > (
               SELECT xid, seq FROM rating_cursors ORDER BY xid, seq LIMIT 1))
"""


async def at_rest(database_url: str, *, targets: int, within_s: float) -> bool:
    """Return whether nothing is left to do, waiting for that for a while."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(within_s):
            while not await connection.fetchval(_AT_REST, targets):  # noqa: ASYNC110 -- another process tells nobody
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False
    else:
        return True
    finally:
        await connection.close()


async def read(
    database_url: str, gateway_url: str, key: str, *, stripe: FakeStripe, receiver: FakeReceiver, books: FakeReceiver
) -> Held:
    """Return what is held everywhere."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        query = "SELECT id, time, type, subject, data FROM events WHERE type IN ('door.access', 'print.job')"
        events = await connection.fetch(query)
        charges = await connection.fetch("SELECT * FROM charges")
        draws = await connection.fetch('SELECT account, "grant", amount FROM draws')
        postings = await connection.fetch("SELECT entry, ledger_account, amount FROM journal")
        outbox = await connection.fetch("SELECT state, count(*) AS n FROM outbox GROUP BY state")
        rejections = await connection.fetch("SELECT code FROM rejections")
    finally:
        await connection.close()
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(gateway_url, headers=headers) as client:
        pulled = await _pulled(client)
        balances = [
            {**one, "account": f"a{n}"}
            for n in range(ACCOUNTS)
            for one in (await _got(client, f"/v1/accounts/a{n}/balances"))["grants"]
        ]
    return Held(
        events=[dict(row) for row in events],
        charges=[dict(row) for row in charges],
        draws=[dict(row) for row in draws],
        postings=[dict(row) for row in postings],
        outbox={row["state"]: row["n"] for row in outbox},
        rejections=[row["code"] for row in rejections],
        balances=balances,
        pulled=pulled,
        invoiced=_invoiced(stripe),
        hooked=[charge for one in receiver.taken.values() for charge in one["data"]["charges"]],
        journalled=[entry for one in books.taken.values() for entry in one["data"]["entries"]],
    )


async def _got(client: aiohttp.ClientSession, path: str, **query: str) -> Any:
    async with client.get(path, params=query) as answer:
        answer.raise_for_status()
        return await answer.json()


async def _pulled(client: aiohttp.ClientSession) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    cursor = ""
    while page := (answer := await _got(client, "/v1/charges", cursor=cursor, limit="1000"))["charges"]:
        found += page
        cursor = answer["next"]
    return found


def _invoiced(stripe: FakeStripe) -> Mapping[str, tuple[Decimal, Decimal]]:
    sums: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
    for one in stripe.books():
        net, tax = sums[one.customer]
        sums[one.customer] = net + one.amount, tax + one.tax
    return dict(sums)
