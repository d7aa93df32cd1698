"""From what arrives to what files and receivers hold: every charge once, corrections included, as the API gives it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest_asyncio

from meter.export.charge_json import charge_json
from meter.export.contract import Exporter
from meter.export.gather.gatherer import Gatherer
from meter.export.targets.files import FILES
from meter.export.targets.files.target import FilesTarget
from meter.export.targets.spec import Kind, Setup
from meter.export.targets.webhook import WEBHOOK, WebhookTarget
from meter.model.charge import Charge
from meter.sources.options import options_of
from meter.store.readers import ChargeFilter, charges_after
from meter.store.usage import BEGINNING
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, Space, open_space, pages, sale, void
from tests.export.test_gatherer import leased
from tests.targets.cases import webhook as receiving
from tests.targets.driving import driven
from tests.targets.fakes.receiver import FakeReceiver
from tests.targets.random_charges import sums_of


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, CATALOG) as opened:
        yield opened


async def booked(space: Space) -> list[Charge]:
    async with space.database.begin() as conn:
        page = await charges_after(conn, OPERATOR, BEGINNING, ChargeFilter(), charges_max=1000)
    return [charge for charge, _ in page.charges]


async def deliver(space: Space, kind: Kind, setup: Setup, target: Exporter) -> None:
    """Let some usage arrive, some late, some of it void; gather and send after each."""
    gatherer = Gatherer(
        space.database,
        operator=OPERATOR,
        target=setup.name,
        shape=kind.shape(setup),
        clock=lambda: space.now,
        past=True,
    )
    arrivals = [
        [pages("p1", "02T10:00", 150), sale("s1", "02T12:00", "3.50")],
        [pages("p2", "03T10:00", 30)],
        [void("v1", "20T00:00", "p1", "berlin/print/hall"), pages("p0", "02T09:00", 77)],
    ]
    async with driven(space.database, target, setup.name) as lane:
        for arrival in arrivals:
            await space.take(*arrival)
            async with leased(space, "gather") as lease:
                while (await gatherer.step(lease)).items:
                    pass
            await lane.drain()


async def test_files_hold_what_is_booked(space: Space, data_dir: Path) -> None:
    options, _ = options_of(FILES.options, {})
    setup = Setup(
        operator=OPERATOR, name="lake", kind="files", data_dir=data_dir, base_url=None, grain="charge", options=options
    )
    await deliver(space, FILES, setup, FilesTarget(setup))
    rows = [
        row
        for path in (data_dir / "files" / "lake").rglob("*.csv")
        for row in csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
    ]
    charges = await booked(space)
    assert any(charge.role == "reversal" for charge in charges)
    assert sorted(row["id"] for row in rows) == sorted(charge.id for charge in charges)
    assert sum(Decimal(row["rounded"]) for row in rows) == sum(charge.rounded for charge in charges)
    [(_, tax)] = sums_of(charges).values()
    assert sum(Decimal(row["tax_amount"] or 0) for row in rows) == tax


async def test_a_receiver_is_told_what_is_booked(space: Space) -> None:
    async with FakeReceiver() as fake:
        setup = receiving.setup(fake.url)
        await deliver(space, WEBHOOK, setup, WebhookTarget(setup))
        told = [charge for message in fake.taken.values() for charge in message["data"]["charges"]]
    charges = await booked(space)
    accounts = {charge.line.account for charge in charges}
    for account in accounts:
        expected = [json.loads(msgspec.json.encode(charge_json(one))) for one in charges if one.line.account == account]
        assert [one for one in told if one["account"] == account] == expected
    assert len(told) == len(charges) > 4
