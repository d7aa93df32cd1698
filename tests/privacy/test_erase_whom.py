"""Erased is one person, under whichever ids, and nobody of another operator."""

from __future__ import annotations

import re
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.hashing import IdentityHasher
from meter.store.engine import Database
from tests.booked import OPERATOR
from tests.booking.space import CATALOG, Space, open_space, pages, sale
from tests.cli.command import done, machine, meter
from tests.owning import as_owner
from tests.privacy.test_erase import found_in
from tests.privacy.test_erase_refused import dump
from tests.privacy.test_export import BADGE, MAC, MAIL, MEMBER, NAME, PEOPLE

KEY = "the same for every gateway"
# She came three times: by the front desk, by the booking system, by the portal.
THRICE = PEOPLE + "  zq-2: {account: acme, name: Z. Quandt, identities: ['badge:2EE2EE']}\n  zq-3: {account: acme}\n"
OTHERS = "Z. Quandt|2EE2EE|zq-2|zq-3"


@pytest.fixture(autouse=True)
def _command_line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)


async def filled(space: Space) -> None:
    await space.take(
        pages("z1", "02T08:00", 60, f"badge:{BADGE}", job_owner=NAME),
        pages("z2", "02T09:00", 60, "badge:2EE2EE", job_owner="Z. Quandt"),
        pages("z3", "02T10:00", 60, "member:zq-3", job_owner="zq-2"),
        sale("s1", "05T10:00", "3.50", f"mac:{MAC}", "account"),
    )


async def standing(space: Space, words: str) -> list[Any]:
    """Where any column of any table holds one of the words."""
    found = []
    for table, rows in (await dump(space.database)).items():
        found += [(table, row) for row in rows if re.search(words, row)]
    return found


async def test_of_members_that_are_one_all_go(database_url: str) -> None:
    """The one that remains stands for those that were merged into it, and those into these."""
    async with open_space(database_url, CATALOG + THRICE) as space:
        await filled(space)
        await done("members", "merge", "zq-3", "zq-2")
        await done("members", "merge", "zq-2", MEMBER)
        await space.rate()
        sums = await space.sums()
        assert {member for _, member, *_ in sums} == {MEMBER}
        told = await machine("privacy", "erase", MEMBER, "--yes")
        async with as_owner(space.database) as owner:
            assert await found_in(owner) == []
        assert await standing(space, OTHERS) == []
        await space.rate()
        assert await space.sums() == [(account, told["pseudonym"], *rest) for account, _, *rest in sums]


@pytest.mark.parametrize("command", ["erase", "export"])
async def test_who_was_merged_away_is_nobody_of_her_own(database_url: str, command: str) -> None:
    """Without the one that remains, half of a person would go, or be told."""
    async with open_space(database_url, CATALOG + THRICE) as space:
        await filled(space)
        await done("members", "merge", "zq-2", MEMBER)
        before = await dump(space.database)
        failed = await meter("privacy", command, "zq-2", *(["--yes"] if command == "erase" else []))
        assert isinstance(failed.exception, BadInput)
        assert failed.exception.code == "merged_member"
        assert f"name {MEMBER}" in str(failed.exception)
        assert await dump(space.database) == before


async def test_identities_that_are_kept_as_hashes_go(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_IDENTITY_KEY", KEY)
    monkeypatch.setenv("METER_HASH_IDENTITIES", "mac,badge,email")
    database = Database(database_url, hasher=IdentityHasher({"mac", "badge", "email"}, KEY.encode))
    space = Space(database)
    try:
        await space.apply(CATALOG + PEOPLE)
        hashes = [one for [one] in await space.rows("SELECT identity FROM identities WHERE member = 'zoe-9'")]
        assert all(":~" in one for one in hashes)
        await filled(space)
        assert len(await standing(space, "|".join(map(re.escape, hashes)))) > len(hashes)
        sums = await space.sums()
        told = await machine("privacy", "erase", MEMBER, "--yes")
        values = [re.escape(one.partition(":")[2]) for one in hashes]
        assert await standing(space, "|".join([*values, rf"{NAME}\b", MAIL, rf"{MEMBER}\b(?!-)"])) == []
        await space.rate()
        renamed = [
            (account, told["pseudonym"] if member == MEMBER else member, *rest) for account, member, *rest in sums
        ]
        assert sorted(await space.sums()) == sorted(renamed)
    finally:
        await space.leases.close()
        await database.dispose()


async def test_another_operators_member_of_the_same_name_stays(database_url: str) -> None:
    async with open_space(database_url, CATALOG + PEOPLE) as space:
        await filled(space)
        beside = Database(database_url, operator="southside")
        try:
            theirs = Space(beside)
            await theirs.apply((CATALOG + PEOPLE).replace(f"operator: {OPERATOR}", "operator: southside"))
            await theirs.accept([pages("z1", "02T08:00", 60, f"badge:{BADGE}", job_owner=NAME)])
            before = await dump(beside, operator="southside")
            assert any(NAME in row for rows in before.values() for row in rows)
            await machine("privacy", "erase", MEMBER, "--yes")
            assert await dump(beside, operator="southside") == before
            [[left]] = await space.rows(
                "SELECT count(*) FROM events WHERE operator = 'northside' AND data::text LIKE '%Zoë Quandt%'"
            )
            assert left == 0
        finally:
            await beside.dispose()
