"""Brokers killed and emptied, gateways and agents killed, wires cut: what a device was told is safe is billed once.

METER_TEST_WAY_EVENTS   events that devices post, 1,200 unless set; from 10,000 on with the faults of the long form
METER_TEST_SEED         of the faults and of the devices
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from tests.edge.e2e.bill import Verdict, price_of
from tests.edge.e2e.brokers import Broker, MosquittoBroker, NatsBroker
from tests.edge.e2e.rig import Rig, rigged
from tests.edge.e2e.schedule import What, scheduled

EVENTS: Final = int(os.environ.get("METER_TEST_WAY_EVENTS", "1200"))
SEED: Final = int(os.environ.get("METER_TEST_SEED", "1"))
LONG: Final = EVENTS >= 10_000
FAULTS: Final[dict[What, int]] = (
    {"kill_broker": 50, "lose_broker": 5, "kill_gateway": 10, "kill_agent": 20, "cut": 50}
    if LONG
    else {"kill_broker": 3, "lose_broker": 1, "kill_gateway": 1, "kill_agent": 2, "cut": 4}
)
# Eight devices with five events each: 70 events a second, so that faults come every other second and meet what flows.
PAUSE_S: Final = 0.5


async def suffered(rig: Rig, *, over: Sequence[str]) -> Verdict:
    """What has become of what devices posted while all faults of the schedule came."""
    wires = tuple(wire for wire, way in WAYS.items() if way in over)
    faults = scheduled(SEED, FAULTS, events=EVENTS, wires=wires)
    async with rig.posting(rig.devices(seed=SEED, pause_s=PAUSE_S)):
        await rig.suffer(faults)
        while len(rig.journal.answers) < EVENTS:
            await rig.journal.more(1)
    verdict = await rig.verdict()
    told = {name: len(rig.journal.told(name)) for name in ("safe", "unknown")} | {"refused": len(rig.journal.refused)}
    print(f"seed {SEED}: {dict(sorted(rig.done.items()))}, {told}, {verdict.stored} stored")  # noqa: T201
    return verdict


WAYS: Final = {"agent_broker": "mqtt", "broker_gateway": "mqtt", "agent_gateway": "http"}


@pytest.mark.parametrize(
    ("broker", "over"),
    [(NatsBroker, ("mqtt",)), (MosquittoBroker, ("mqtt",)), (NatsBroker, ("mqtt", "http"))],
    ids=["nats", "mosquitto", "nats, HTTP in its stead"],
)
async def test_what_devices_were_told_is_billed_once(
    data_dir: Path, database_url: str, broker: Callable[[Path], Broker], over: Sequence[str]
) -> None:
    async with rigged(data_dir, database_url=database_url, broker=broker, over=over) as rig:
        verdict = await suffered(rig, over=over)
        assert verdict.faults == {}
        assert len(rig.journal.told("safe")) >= EVENTS * 0.2, "faults left hardly anything to see"
        assert sum(rig.done.values()) == sum(FAULTS.values())
        billed = {id for (id,) in await rig.gateway.rows("SELECT id FROM events WHERE type = 'door.access'")}
        assert verdict.total == sum((price_of(id)[1] for id in billed), Decimal(0))


@pytest.mark.parametrize("broker", [NatsBroker, MosquittoBroker])
async def test_an_agent_that_lets_go_on_the_brokers_word_loses_events(
    data_dir: Path, database_url: str, broker: Callable[[Path], Broker]
) -> None:
    """The control: the same faults, and a broker's acknowledgement taken for the gateway's."""
    command = ("tests.edge.e2e.child", json.dumps({"release_on_puback": True, "no_recall": True}))
    async with rigged(data_dir, database_url=database_url, broker=broker, command=command) as rig:
        verdict = await suffered(rig, over=("mqtt",))
        assert len(verdict.lost) > 0
        assert set(verdict.faults) <= {"lost", "holes"}
        print(f"lost {len(verdict.lost)} of {len(rig.journal.told('safe'))}")  # noqa: T201
