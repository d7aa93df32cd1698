"""The one law, through whole gateways: the bill is a function of the set of events, not of how they came.

A working day of the simulated space goes in once in order; then shuffled, each event three times, over MQTT and HTTP,
with the gateway killed five times in between. Charges, draws, balances and the ledger must come out the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from meter.rundir import admin_key
from meter.simulate import NO_FAULTS, Delivery, deliver, simulate, to_http, to_mqtt
from meter.simulate.pace import unpaced
from tests.e2e.whole import whole_catalog
from tests.export.books import beancount_totals
from tests.gateway import RunningGateway

A_TUESDAY = date(2026, 11, 17)
KILLS = 5


def _a_day() -> list[Delivery]:
    return list(deliver(simulate(start_day=A_TUESDAY, members=40), seed=1, faults=NO_FAULTS))


async def _over_http(gateway: RunningGateway, deliveries: Sequence[Delivery]) -> None:
    await to_http(deliveries, url=gateway.addresses.http, key=admin_key(gateway.data_dir), pace=unpaced)


async def _over_mqtt(gateway: RunningGateway, deliveries: Sequence[Delivery]) -> None:
    url = gateway.addresses.mqtt
    assert url is not None
    await to_mqtt(deliveries, url=url, pace=unpaced)


async def _outcome(gateway: RunningGateway, *, events: int) -> dict[str, Any]:
    """What must be the same: sums of charges and draws, rounded totals, balances, the journal and the ledger files."""
    await gateway.settled(events=events)
    rows = gateway.rows
    accounts = [row[0] for row in await rows("SELECT account FROM accounts ORDER BY 1")]
    return {
        "events": await rows("SELECT count(*) FROM events"),
        "charges": await rows(
            "SELECT account, member, meter, price, settlement, trim_scale(sum(quantity)), trim_scale(sum(covered)),"
            " trim_scale(sum(amount)) FROM charges GROUP BY 1, 2, 3, 4, 5"
            " HAVING sum(quantity) <> 0 OR sum(amount) <> 0 ORDER BY 1, 2, 3, 4, 5"
        ),
        "rounded": await rows(
            "SELECT account, period_start, meter, site, settlement, tax_rate, trim_scale(sum(rounded))"
            " FROM charges GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(rounded) <> 0 ORDER BY 1, 2, 3, 4, 5, 6"
        ),
        "draws": await rows(
            'SELECT account, "grant", trim_scale(sum(amount)) FROM draws GROUP BY 1, 2 HAVING sum(amount) <> 0'
            " ORDER BY 1, 2"
        ),
        "balances": [
            (await gateway.get(f"/v1/accounts/{account}/balances", at="2026-11-18T00:00:00Z"))["grants"]
            for account in accounts
        ],
        "journal": await rows(
            "SELECT ledger_account, currency, trim_scale(sum(amount)) FROM journal GROUP BY 1, 2"
            " HAVING sum(amount) <> 0 ORDER BY 1, 2"
        ),
        "ledger": beancount_totals(gateway.data_dir / "ledger" / "beancount" / "main.beancount"),
        "unresolved": await rows("SELECT source, id, identity FROM unresolved ORDER BY 1, 2"),
    }


@pytest.mark.slow
async def test_the_bill_is_a_function_of_the_set_of_events(session_dir: Path) -> None:
    day = _a_day()
    catalog = session_dir / "whole.yaml"
    catalog.write_text(whole_catalog())
    arguments = ("--catalog", str(catalog))
    in_order = session_dir / "in-order"
    in_order.mkdir()
    async with RunningGateway(in_order, arguments=arguments) as gateway:
        await _over_http(gateway, day)
        expected = await _outcome(gateway, events=len(day))
    assert len(expected["charges"]) > 40, "the day has become too quiet to show anything"
    billed = {row[2] for row in expected["charges"]}
    assert billed >= {"presence", "stay", "doors-used", "membership", "credit", "cafe", "print-pages", "wifi-data"}
    assert expected["ledger"], "nothing reached the ledger"

    chance = random.Random(7)  # noqa: S311 -- the same shuffle each time
    shuffled = day * 3
    chance.shuffle(shuffled)
    parts = [shuffled[n :: KILLS + 1] for n in range(KILLS + 1)]
    killed = session_dir / "killed"
    killed.mkdir()
    gateway = RunningGateway(killed, arguments=arguments)
    for n, part in enumerate(parts):
        await gateway.start()
        send = _over_mqtt if n % 2 else _over_http
        sending = asyncio.create_task(send(gateway, part))
        if n < KILLS:
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            await gateway.kill()
            sending.cancel()
            with suppress(Exception, asyncio.CancelledError):
                await sending
            # What the gateway did not acknowledge its sender still has.
            parts[n + 1].extend(part)
        else:
            await sending
    try:
        assert await _outcome(gateway, events=len(day)) == expected
    finally:
        await gateway.stop()
