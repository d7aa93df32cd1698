"""A clock that is three hours wrong until ten minutes after boot: events without a time bill at the right one.

boot ──── wrong by three hours ────┤ NTP steps the clock ├──── right ────▶
            A                                                  B
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.edge.e2e.brokers import NatsBroker
from tests.edge.e2e.machines import Machine
from tests.edge.e2e.rig import Served, served
from tests.edge.e2e.wires import Wire

# No measurement that is further off is taken, however busy this machine is; and the price is another three hours away.
ERROR: Final = timedelta(seconds=5)
BEHIND: Final = timedelta(hours=-3)
AHEAD: Final = timedelta(hours=3)
# A machine without a clock of its own starts with the time of its last shutdown: another month.
LAST_SHUTDOWN: Final = timedelta(days=-40)
NOW_PRICE, OTHER_PRICE = Decimal("1.00"), Decimal("5.00")


def space(at: datetime) -> str:
    """A space where it is noon, and where the hour around it has another price than all others."""
    ahead = 12 - (at + timedelta(minutes=30)).hour
    zone = f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"  # in these names, west is plus
    noon = 'when: {hours: "10:45-13:15"}'
    return f"""
operator: northside
currency: EUR
timezone: {zone}
sites:
  berlin: {{name: Berlin, timezone: {zone}}}
meters:
  doors: {{event: door.access, where: {{granted: true}}, aggregate: count, unit: door}}
plans:
  plan:
    name: Plan
    prices:
      doors:
        - {{id: noon, {noon}, model: per_unit, unit_price: "{NOW_PRICE}"}}
        - {{id: other, model: per_unit, unit_price: "{OTHER_PRICE}"}}
accounts:
  a1: {{name: A1, subscriptions: [{{id: a1, plan: plan, from: 2026-01-01}}]}}
members:
  m1: {{account: a1, name: M1, identities: ["badge:B1"]}}
"""


async def measured_and_cut_off(machine: Machine, off: timedelta) -> None:
    """The gateway has said what time it is, and hears A later."""
    machine.reach()
    await machine.boot(off)
    await machine.post("0")
    await machine.agent.drained()
    machine.leave()
    await machine.post("A")


async def set_and_reached(machine: Machine) -> None:
    """NTP sets the clock, and the gateway hears B and all that waits."""
    machine.set_by_ntp()
    await machine.post("B")
    machine.reach()
    await machine.agent.drained()


async def reached_before(machine: Machine, off: timedelta) -> None:
    """A is sent at once, by a measured offset; B after NTP took that away."""
    machine.reach()
    await machine.boot(off)
    await machine.post("A")
    await machine.agent.drained()
    machine.set_by_ntp()
    await machine.post("B")
    await machine.agent.drained()


async def reached_after(machine: Machine, off: timedelta) -> None:
    """The gateway is first heard when the clock is right, and A was said when it was not."""
    await machine.boot(off)
    await machine.post("A")
    await set_and_reached(machine)


async def measured_before_and_sent_after(machine: Machine, off: timedelta) -> None:
    await measured_and_cut_off(machine, off)
    await set_and_reached(machine)


async def restarted_in_between(machine: Machine, off: timedelta) -> None:
    """The machine's boot goes on, whatever agent runs in it."""
    await machine.boot(off)
    await machine.post("A")
    await machine.restart()
    await machine.post("A2")
    machine.set_by_ntp()
    await machine.restart()
    await machine.post("B")
    machine.reach()
    await machine.agent.drained()


async def measured_and_rebooted(machine: Machine, off: timedelta) -> None:
    """What was measured of a boot holds for it after its end."""
    await measured_and_cut_off(machine, off)
    await machine.boot(-off)
    await machine.post("B")
    machine.reach()
    await machine.agent.drained()


async def set_by_ntp_and_rebooted(machine: Machine, off: timedelta) -> None:
    """The gateway never heard of the first boot, and NTP knew what time it was."""
    await machine.boot(off)
    await machine.post("A")
    machine.set_by_ntp()
    await machine.post("B")
    await machine.measured()
    await machine.boot(timedelta(0))
    machine.reach()
    await machine.agent.drained()


LIVES: Final[tuple[Callable[[Machine, timedelta], Awaitable[None]], ...]] = (
    reached_before,
    reached_after,
    measured_before_and_sent_after,
    restarted_in_between,
    measured_and_rebooted,
    set_by_ntp_and_rebooted,
)


@pytest_asyncio.fixture
async def gateway(data_dir: Path, database_url: str) -> AsyncIterator[Served]:
    async with served(
        data_dir, database_url=database_url, broker=NatsBroker, space=space(datetime.now(UTC))
    ) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An event as the gateway has it, and what it cost; None where it is not billed."""

    time: datetime
    flag: str | None
    amount: Decimal | None


async def lived(
    there: Served, directory: Path, *lives: tuple[Callable[[Machine, timedelta], Awaitable[None]], timedelta]
) -> tuple[dict[str, tuple[datetime, datetime]], dict[str, Stored]]:
    """When each event was in truth, and what became of it; the machines live side by side."""
    async with AsyncExitStack() as stack:
        machines = []
        for number, (life, _) in enumerate(lives):
            wire = await stack.enter_async_context(Wire(there.broker.port))
            machines.append(Machine(f"{life.__name__.replace('_', '-')}-{number}", directory, wire))
            stack.push_async_callback(machines[-1].agent.__aexit__, None, None, None)
        await asyncio.gather(*(life(machine, off) for machine, (life, off) in zip(machines, lives, strict=True)))
    ((count,),) = await there.gateway.rows("SELECT count(*) FROM events")
    await there.gateway.settled(events=count)
    events = await there.gateway.rows(
        "SELECT id, time, attributes::jsonb ->> 'timeflag' FROM events WHERE type = 'door.access'"
    )
    charges: list[dict[str, Any]] = (await there.gateway.get("/v1/charges", limit="1000"))["charges"]
    amounts = {str(charge["event"]["id"]): Decimal(charge["amount"]) for charge in charges}
    assert len(charges) == len(amounts)
    told = {id: when for machine in machines for id, when in machine.told.items()}
    return told, {id: Stored(time=time, flag=flag, amount=amounts.get(id)) for id, time, flag in events}


async def test_events_of_a_wrong_clock_bill_at_the_right_time(gateway: Served, tmp_path: Path) -> None:
    lives = [(life, BEHIND if number % 2 else AHEAD) for number, life in enumerate(LIVES)]
    more = [(reached_after, BEHIND), (reached_before, LAST_SHUTDOWN), (restarted_in_between, LAST_SHUTDOWN)]
    told, stored = await lived(gateway, tmp_path, *lives, *more)
    assert stored.keys() == told.keys()
    wrong = {
        id: f"stored as of {stored[id].time}, was {before}; {stored[id].amount}, {stored[id].flag}"
        for id, (before, after) in told.items()
        if not before - ERROR <= stored[id].time <= after + ERROR
        or stored[id].amount != NOW_PRICE
        or stored[id].flag is not None
    }
    assert wrong == {}


async def never_known(machine: Machine, off: timedelta) -> None:
    await machine.boot(off)
    await machine.post("A")
    await machine.boot(timedelta(0))
    await set_and_reached(machine)


@pytest.mark.parametrize("off", [BEHIND, AHEAD], ids=["behind", "ahead"])
async def test_a_boot_of_which_nobody_knew_the_time_is_flagged(gateway: Served, tmp_path: Path, off: timedelta) -> None:
    """It bills by the clock that it had, once that time has come, and everybody sees that."""
    told, stored = await lived(gateway, tmp_path, (never_known, off))
    a, b = sorted(told)
    before, after = told[b]
    assert before - ERROR <= stored[b].time <= after + ERROR
    assert (stored[b].flag, stored[b].amount) == (None, NOW_PRICE)
    before, after = told[a]
    assert before + off - ERROR <= stored[a].time <= after + off + ERROR
    assert (stored[a].flag, stored[a].amount) == ("unsynchronised", OTHER_PRICE if off < timedelta(0) else None)
