"""A gateway's dispatcher for one target, until it is killed: python -m tests.targets.fault_child CASE URL DATABASE."""

from __future__ import annotations

import asyncio
import sys

import pytest

from meter.export.dispatcher import Dispatcher
from meter.export.targets.spec import Means
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.booked import OPERATOR
from tests.targets.fault_run import cases
from tests.targets.worlds import hurry


async def deliver(name: str, url: str, database_url: str) -> None:
    case = cases()[name]
    setup, database = case.setup(url), Database(database_url, operator=OPERATOR)
    exporter = case.open(setup, Means(database=database, telemetry=Telemetry()))
    await Dispatcher(
        database, operator=OPERATOR, exporters={setup.name: exporter}, telemetry=Telemetry(), holder="child"
    ).run()


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        asyncio.run(deliver(*sys.argv[1:]))
