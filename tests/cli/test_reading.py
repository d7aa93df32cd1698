"""The reading commands over a real database, run as from a shell but in a thread of this process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text

from meter.cli import reading as reading_module
from meter.model.errors import BadInput
from tests.booking.space import Space, entry, open_space, pages
from tests.booking.uncounted import SINCE_JANUARY, door, scan
from tests.cli.command import done, machine, meter
from tests.owning import as_owner


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        yield opened


async def test_charges_as_json_are_the_apis_page(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "_PAGE_CHARGES", 2)
    await space.take(*(pages(f"{n}", f"02T{n:02}:00", 10) for n in range(5)))
    page = await machine("charges")
    assert [charge["event"]["id"] for charge in page["charges"]] == ["0", "1", "2", "3", "4"]
    assert page["charges"][0]["quantity"] == "10"
    await space.take(pages("5", "02T05:00", 10))
    rest = await machine("charges", "--cursor", page["next"])
    assert [charge["event"]["id"] for charge in rest["charges"]] == ["5"]
    assert len((await machine("charges", "--limit", "3"))["charges"]) == 3
    assert (await machine("charges", "--cursor", rest["next"]))["charges"] == []


async def test_charges_are_filtered(space: Space) -> None:
    await space.take(
        pages("1", "01T22:30", 10),
        pages("2", "01T23:30", 10),
        entry("3", "02T09:00"),
        pages("4", "02T09:00", 1, "badge:EFE1"),
    )

    async def got(*arguments: str) -> list[str]:
        return sorted(charge["event"]["id"] for charge in (await machine("charges", *arguments))["charges"])

    assert await got("--account", "acme") == ["1", "2", "3"]
    assert await got("--member", "eve") == ["4"]
    assert await got("--meter", "day-passes") == ["3"]
    assert await got("--site", "nowhere") == []
    assert await got("--since", "2026-03-02", "--account", "acme") == ["2", "3"]  # midnight in Berlin is 23:00 UTC
    assert await got("--until", "2026-03-02") == ["1"]
    assert await got("--since", "2026-03-01T23:30:00Z", "--until", "2026-03-02T10:00:00+01:00") == ["2"]


async def test_charges_as_csv_and_as_a_table(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 120), pages("2", "02T10:00", 10))
    rows = list(csv.DictReader(io.StringIO(await done("charges", "--csv"))))
    assert [(row["event_id"], row["amount"]) for row in rows] == [("1", "1"), ("2", "0.5")]
    table = await done("charges", "--limit", "1")
    assert rows[0]["id"] in table
    assert rows[1]["id"] not in table


async def test_balance_shows_what_is_left(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 30))
    found = await machine("balance", "acme", "--at", "2026-03-03")
    assert found["at"] == "2026-03-02T23:00:00Z"
    assert [(grant["amount"], grant["remaining"]) for grant in found["grants"]] == [("100", "70")]
    assert "70" in await done("balance", "acme", "--at", "2026-03-03")


async def test_explain_tells_the_arithmetic(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 120))
    [charge] = (await machine("charges"))["charges"]
    assert "20 page x 0.05 = 1" in await done("explain", charge["id"])
    assert (await machine("explain", charge["id"]))["recomputed"]["agrees"] is True


async def test_unresolved_are_listed_and_claimed(space: Space) -> None:
    await space.take(pages("1", "02T09:00", 120, "badge:ZZ"))
    assert "badge:ZZ" in await done("unresolved")
    [item] = (await machine("unresolved", "list"))["identities"]
    assert (item["identity"], item["events"]) == ("badge:ZZ", 1)
    assert await machine("unresolved", "claim", "badge:zz", "ada") == {
        "identity": "badge:ZZ",
        "member": "ada",
        "accounts": ["acme"],
    }
    await space.rate()
    assert (await machine("unresolved", "list"))["identities"] == []
    [charge] = (await machine("charges"))["charges"]
    assert charge["member"] == "ada"


async def test_what_no_meter_could_count_is_listed(space: Space) -> None:
    await space.apply(SINCE_JANUARY)
    assert (await machine("unread")) == {"unread": []}
    await space.take(door("1", "02T12:00", "out"), scan("2", "02T09:00", 1, "[x]", subject="badge:EFE1"))
    shown = await done("unread")
    assert "orphan: an end" in shown
    assert "parts.pages is '[x]', not a number (element 2)" in shown
    assert [item["event"]["id"] for item in (await machine("unread"))["unread"]] == ["1", "2"]
    assert [item["code"] for item in (await machine("unread", "--account", "acme"))["unread"]] == ["orphan"]
    assert [item["element"] for item in (await machine("unread", "--meter", "scans"))["unread"]] == [1]


async def test_doubtful_times_are_listed(space: Space) -> None:
    assert (await machine("doubtful")) == {"doubtful": [], "sources": []}
    body = json.loads(door("1", "02T12:00", "in")) | {"timeflag": "no_zone"}
    await space.take(json.dumps(body).encode())
    assert "no_zone: the device's time names no" in " ".join((await done("doubtful")).split())
    assert [item["event"]["id"] for item in (await machine("doubtful", "--flag", "no_zone"))["doubtful"]] == ["1"]
    assert (await machine("doubtful", "--flag", "ambiguous"))["doubtful"] == []
    # Midnight in Berlin.
    assert len((await machine("doubtful", "--since", "2026-03-02"))["doubtful"]) == 1
    assert (await machine("doubtful", "--since", "2026-03-03"))["doubtful"] == []


async def test_a_source_in_another_zone_is_listed(space: Space) -> None:
    await space.accept([door(f"{n}", "02T12:00", "in") for n in range(10)])
    async with as_owner(space.database) as connection:
        await connection.execute(text("UPDATE events SET received_at = time + interval '1 hour'"))
    assert "berlin/door/main" in await done("doubtful")
    assert [one["late_seconds"] for one in (await machine("doubtful"))["sources"]] == [3600]


async def test_keys_are_made_listed_and_revoked(space: Space) -> None:
    made = await machine("keys", "create", "--scope", "usage:read", "--scope", "events:write", "--site", "berlin")
    assert made["secret"].startswith("mk_")
    listed = await done("keys", "list", "--json")
    assert made["secret"] not in listed
    [key] = json.loads(listed)["keys"]
    assert (key["id"], key["scopes"], key["site"]) == (made["id"], ["events:write", "usage:read"], "berlin")
    assert (await machine("keys", "revoke", made["id"]))["revoked_at"] is not None
    plain = await done("keys", "create", "--scope", "admin")
    assert len(plain.split()) == 1  # the secret alone goes to standard output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["charges", "--cursor", "x"], "bad_cursor"),
        (["charges", "--since", "2026-02-30"], "bad_time"),
        (["charges", "--csv", "--json"], "bad_option"),
        (["balance", "nobody"], "not_found"),
        (["explain", "ch_none"], "not_found"),
        (["unresolved", "claim", "badge:ZZ", "nobody"], "invalid"),
        (["unresolved", "claim", "nonsense", "ada"], "bad_identity"),
        (["keys", "create", "--scope", "everything"], "invalid"),
        (["keys", "revoke", "key_none"], "not_found"),
    ],
)
async def test_invalid_input_is_said_to_be_so(space: Space, arguments: list[str], code: str) -> None:
    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput)  # which `main` says in one line, with exit code 2
    assert result.exception.code == code
