"""`meter members` on a database of its own."""

from __future__ import annotations

import pytest

from tests.booking.space import CATALOG, entry, open_space
from tests.cli.command import done, machine, meter


async def test_a_merge_is_shown_and_done(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    async with open_space(database_url, CATALOG + "  ada-2: {account: acme}\n") as space:
        await space.take(entry("1", "02T08:00"), entry("2", "02T18:00", "member:ada-2"))
        shown = await done("members", "merge", "ada-2", "ada", "--dry-run")
        assert "-25" in shown
        assert "ada-2 would be ada: 0 identities, 1 links" in " ".join(shown.split())
        merged = await machine("members", "merge", "ada-2", "ada")
        assert (merged["applied"], merged["changed"], merged["costs"][0]["difference"]) == (True, True, "-25")
        await space.rate()
        assert await space.rows("SELECT sum(quantity) FROM charges") == [(1,)]
        again = await meter("members", "merge", "ada-2", "ada")
        assert (again.exit_code, again.stdout) == (0, "")
