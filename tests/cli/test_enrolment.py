"""`meter edges enroll`, `revoke` and what a broker is told, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from meter.rundir import edge_ca_key
from meter.store import enrolment
from tests.booking.closes import heartbeat
from tests.booking.space import Space, open_space
from tests.cli.command import done, machine, meter
from tests.store.test_enrolment import public_key


@pytest_asyncio.fixture
async def space(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("METER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        for module in ("edges", "enrolment"):
            monkeypatch.setattr(f"meter.cli.{module}.now", lambda: opened.now)
        yield opened


async def use(space: Space, code: str, data_dir: Path) -> None:
    async with space.database.begin() as conn:
        signer = await enrolment.authority(conn, "northside", edge_ca_key(data_dir), at=space.now)
        await enrolment.use_enrollment(conn, "northside", code, public_key(), signer=signer, at=space.now)


async def test_what_is_typed_on_site_is_printed_alone(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await meter("edges", "enroll", "berlin")
    assert told.stdout.startswith("meter-edge enroll https://GATEWAY ")
    assert "METER_EDGES__HTTP_URL is not set" in told.stderr
    monkeypatch.setenv("METER_EDGES__HTTP_URL", "https://meter.example")
    opened = await machine("edges", "enroll", "berlin", "--edge", "desk", "--expires", "30m")
    assert opened["command"] == f"meter-edge enroll https://meter.example {opened['code']}"
    assert (opened["edge"], opened["expires"]) == ("desk", "2026-06-01T00:30:00Z")
    listed = await done("edges")
    assert "berlin-edge" in listed
    assert "its code is open until 2026-06-01T00:30:00Z" in listed


@pytest.mark.parametrize("arguments", [["prague"], ["berlin", "--expires", "tomorrow"], ["berlin", "--expires", "32d"]])
async def test_what_cannot_be_enrolled_is_refused(space: Space, arguments: list[str]) -> None:
    assert (await meter("edges", "enroll", *arguments)).exit_code != 0


async def test_the_broker_is_told_who_may_and_who_may_not(space: Space, tmp_path: Path) -> None:
    ca = x509.load_pem_x509_certificate((await done("edges", "ca")).encode())
    assert not list(x509.load_pem_x509_crl((await done("edges", "crl")).encode()))
    await use(space, (await machine("edges", "enroll", "berlin", "--edge", "edge-1"))["code"], tmp_path)
    await machine("edges", "enroll", "berlin", "--edge", "edge-2")
    rules = await done("edges", "acl")
    assert "user berlin:edge-1" in rules
    assert "edge-2" not in rules
    listed = await done("edges", "list")
    assert "2027-06-01" in listed
    assert "enrolled at 2026-06-01T00:00:00Z, not heard of yet" in listed
    await space.accept([heartbeat(space.now, sequence=1)])
    revoked = await machine("edges", "revoke", "berlin", "edge-1", "--reason", "stolen")
    assert (revoked["reason"], revoked["by"]) == ("stolen", "command line")
    assert "edge-1" not in await done("edges", "acl")
    assert len(list(x509.load_pem_x509_crl((await done("edges", "crl")).encode()))) == 1
    assert "revoked at 2026-06-01T00:00:00Z: stolen (0 events refused since)" in await done("edges", "list")
    assert x509.load_pem_x509_certificate((await done("edges", "ca")).encode()) == ca
    (tmp_path / "edge-ca.key").unlink()
    assert (await meter("edges", "crl")).exit_code != 0
    assert x509.load_pem_x509_certificate((await done("edges", "ca", "--new")).encode()) != ca
    assert await done("edges", "crl")
