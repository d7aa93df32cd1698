"""`meter identities` and `meter unresolved` on a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meter.model.errors import BadInput
from tests.booking.space import CATALOG, Space, entry, open_space
from tests.cli.command import done, machine, meter


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url) as opened:
        yield opened


async def test_a_badge_is_claimed_handed_on_and_put_right(space: Space) -> None:
    await space.take(entry("1", "05T09:00", subject="badge:04a2"))
    claimed = await machine("unresolved", "claim", "Badge:04a2", "ada")
    assert claimed == {"identity": "badge:04A2", "member": "ada", "accounts": ["acme"]}
    assert "badge:04A2 is eve" in await done("unresolved", "claim", "badge:04A2", "eve", "--from", "2026-03-10")
    [listed] = (await machine("identities", "list", "--identity", "badge:04a2"))["identities"]
    assert [claim["member"] for claim in listed["claims"]] == ["ada", "eve"]
    assert "badge:04A2" in await done("identities", "list", "--member", "eve")
    for changed in (True, False):
        ended = await machine("identities", "end", "badge:04a2", "--member", "ada", "--to", "2026-03-10")
        accounts = ["acme", "solo"] if changed else []
        assert ended == {"identity": "badge:04A2", "member": "ada", "changed": changed, "accounts": accounts}
    assert "was never eve's" in await done("identities", "withdraw", "badge:04a2", "--member", "eve")
    [listed] = (await machine("identities", "list", "--identity", "badge:04a2"))["identities"]
    assert listed["claims"] == [{"member": "ada", "from": None, "to": "2026-03-09T23:00:00Z"}]
    assert await done("identities", "list", "--member", "nobody") == ""


async def test_whose_identities_may_be(space: Space) -> None:
    await space.take(entry("1", "05T09:00", subject="badge:10EDA"), entry("2", "06T09:00", subject="user:zoe"))
    await space.apply(CATALOG.partition("members:")[0] + "members: {zoe: {account: acme, email: zoe@acme.example}}\n")
    found = (await machine("unresolved", "suggest"))["identities"]
    assert [(one["identity"], [who["member"] for who in one["suggestions"]]) for one in found] == [
        ("badge:10EDA", []),
        ("user:zoe", ["zoe"]),
    ]
    shown = await done("unresolved", "suggest", "USER:Zoe")
    assert "has the address zoe@acme.example" in " ".join(shown.split())
    assert "Members" not in await done("unresolved", "suggest", "badge:10EDA")


async def test_a_hashed_identity_needs_the_gateways_key(
    space: Space, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("METER_DATA_DIR", str(data))
    assert (await machine("identities", "list", "--identity", "badge:ADA1"))["identities"] != []
    assert list(data.iterdir()) == []
    claimed = await machine("unresolved", "claim", "mac:02:00:00:00:00:0a", "ada")
    [made] = data.iterdir()
    assert (made.name, made.stat().st_mode & 0o777, len(made.read_text())) == ("identity.key", 0o600, 43)
    assert claimed["identity"].startswith("mac:~")
    assert claimed["identity"].endswith(".000a")
    assert (await machine("identities", "list", "--identity", "mac:0200.0000.000A"))["identities"] != []
    monkeypatch.setenv("METER_IDENTITY_KEY", "another gateway's key")
    assert await machine_error("identities", "list", "--identity", "mac:0200.0000.000A") == "identity_key_mismatch"


async def machine_error(*arguments: str) -> str:
    """The code of the error with which `meter ...` ends."""

    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput), result.output
    return result.exception.code


async def test_claims_are_hashed_after_the_fact(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_IDENTITY_KEY", "the gateway's own key")
    assert (await machine("identities", "hash"))["claims"] == 0
    monkeypatch.setenv("METER_HASH_IDENTITIES", "mac,badge")
    checked = {one["part"]: one["detail"] for one in await machine("check", exit_code=1)}
    assert "meter identities hash" in checked["identities"]
    assert (await machine("identities", "hash"))["claims"] == 3
    checked = {one["part"]: one["detail"] for one in await machine("check", exit_code=1)}
    assert checked["identities"] is None
