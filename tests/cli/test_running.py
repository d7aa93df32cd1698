"""A command that runs on what is kept is recorded: which, by whom, and about which member."""

from __future__ import annotations

import pytest

from tests.booking.space import CATALOG, open_space
from tests.cli.command import done


async def test_a_command_is_recorded_with_the_names_of_what_it_was_given(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url, CATALOG) as space:
        await done("statement", "acme")
        await done("privacy", "export", "ada")
        ran = await space.rows(
            "SELECT kind, object, detail->'filters', member FROM audit"
            " WHERE action = 'ran' AND actor LIKE 'cli:%' ORDER BY seq"
        )
    assert [tuple(row[:3]) for row in ran] == [
        ("meter statement", "acme", ["account", "period"]),
        ("meter privacy export", "", ["member"]),
    ]
    # About whom: by the pseudonym, never by the name.
    assert ran[0][3] is None
    assert ran[1][3] not in (None, "ada")
