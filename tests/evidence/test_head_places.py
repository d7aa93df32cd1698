"""Heads of the seals in a store: an object each, found again by whoever verifies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from meter.export.head_places import heads_at
from meter.export.targets.files.places import StoreAccess
from meter.model.errors import BadInput
from meter.store.seals import seal_some
from tests.booked import OPERATOR
from tests.booking.space import LATER, Space, entry, open_space
from tests.cli.command import machine, meter
from tests.evidence.test_seals import seal, sealer, tampering, verify_in
from tests.targets.fakes.s3 import FakeS3

PLACE = "s3://lake/heads"


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        await opened.take(entry("d1", "03T09:00"))
        await seal(opened.database)
        yield opened


def access(store: FakeS3) -> StoreAccess:
    return StoreAccess(endpoint=store.url, access_key="AKIDFAKE", secret_key="a-secret-long-enough")


async def test_a_head_is_an_object_and_a_chain_made_anew_is_found_by_it(space: Space) -> None:
    async with FakeS3() as store:
        heads = heads_at(PLACE, access(store))
        assert await heads.read(OPERATOR) == []
        sealing = sealer(space.database, heads)
        await sealing.tell()
        await sealing.tell()
        await space.take(entry("d9", "09T09:00"))
        await seal(space.database)
        await sealing.tell()
        told = await heads.read(OPERATOR)
        assert (len(told), len(store.objects)) == (2, 2)
        assert told[0].n < told[1].n
        assert await heads.read("somebody-else") == []
        async with tampering(space.database) as connection:
            assert await verify_in(connection, told) == []
            await connection.execute(text("UPDATE charges SET amount = amount + 1"))
            await connection.execute(text("DELETE FROM seals"))
            while await seal_some(connection, OPERATOR, at=LATER):
                pass
            assert any("is of another chain" in fault for fault in await verify_in(connection, told))


async def test_the_command_asks_the_store(space: Space, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeS3() as store:
        heads = heads_at(PLACE, access(store))
        sealing = sealer(space.database, heads)
        await sealing.tell()
        settings = {
            "DATABASE_URL": database_url,
            "AUDIT__HEADS": PLACE,
            "STORE__ENDPOINT": store.url,
            "STORE__ACCESS_KEY": "AKIDFAKE",
            "STORE__SECRET_KEY": "a-secret-long-enough",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"METER_{name}", value)
        assert (await machine("audit", "verify"))["heads"] == 1
        monkeypatch.delenv("METER_AUDIT__HEADS")
        assert (await machine("audit", "verify", "--heads", PLACE))["heads"] == 1
        (name,) = store.objects
        store.objects[name.replace(".json", ".bak")] = store.objects[name]
        assert "is no head" in str((await meter("audit", "verify", "--heads", PLACE)).exception)
    await space.take(entry("d9", "09T09:00"))
    await seal(space.database)
    with pytest.raises(OSError, match=r"."):
        await sealing.tell()
    assert "cannot read the heads at s3://lake/heads" in str(
        (await meter("audit", "verify", "--heads", PLACE)).exception
    )


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="gs://lake is no place for heads"):
        heads_at("gs://lake", StoreAccess())
    assert heads_at(str(tmp_path / "heads.jsonl"), StoreAccess()).where == str(tmp_path / "heads.jsonl")
