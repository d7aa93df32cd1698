"""`meter authorizations` over a real database: what was asked, what was answered, what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from meter.booking.authorizing import Offline
from tests.booking.asking import Asking, printed, strict
from tests.booking.space import CATALOG, open_space
from tests.cli.command import done, machine, meter


@pytest_asyncio.fixture
async def asking(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url, strict(CATALOG)) as space:
        monkeypatch.setattr("meter.cli.authorizations.now", lambda: space.now)
        yield Asking(space)


async def test_asks_are_listed_with_their_answers_the_newest_first(asking: Asking) -> None:
    assert "nobody has asked" in (await meter("authorizations")).output
    for name, quantity in (("a", 4), ("b", 2)):
        await asking.ask(name, quantity, expires_s=60)
        asking.space.now += timedelta(seconds=1)
    await asking.ask("c", 5)
    await asking.ask("d", identity="badge:NOBODY")
    await asking.ask("e", 1, meter="day-passes")
    await asking.ask("f", offline=Offline(asked_at=asking.space.now, allowed=False, reasons=("risk_limit",)))
    asking.space.now += timedelta(seconds=60)
    await asking.space.accept([printed("j1", 4, settles="a"), printed("j2", 5, settles="c")])
    lines = (await done("authorizations", "list")).splitlines()
    shown = {line.split()[0]: line for line in lines if line.strip()}
    for name, facts in {
        "a": ("ada of acme", "berlin", "4 page print-pages", "yes", "0 EUR", "settled by berlin/print/hall j1, late"),
        "b": ("2026-06-01T00:00:01Z", "expired"),
        "c": ("no: no_credit (4 would go)", "refused, but came as berlin/print/hall j2"),
        "d": ("nobody known", "no: unknown_identity", "refused"),
        "f": ("offline: no, risk_limit", "refused"),
        "e": ("25 EUR", "open until 2026-06-01T00:05:02Z"),
    }.items():
        for fact in facts:
            assert fact in shown[name], (name, fact)
    told = await machine("authorizations", "list", "--open", "--account", "acme")
    assert [one["id"] for one in told["authorizations"]] == ["e"]
    for options, ids in ((["--unused"], ["b"]), (["--offline"], ["f"]), (["--offline", "--unused"], [])):
        told = await machine("authorizations", "list", *options)
        assert [one["id"] for one in told["authorizations"]] == ids
    assert (await machine("authorizations", "list", "--site", "hamburg"))["authorizations"] == []
    assert len((await machine("authorizations", "list", "--limit", "2"))["authorizations"]) == 2


async def test_one_ask_is_shown_whole(asking: Asking) -> None:
    await asking.ask("a", 4)
    shown = await done("authorizations", "show", "a")
    for fact in ("allowed  true", "state  open", '"covered":"4"', '"sold_beyond":false'):
        assert fact in shown, fact
    assert (await machine("authorizations", "show", "a"))["cost"]["draws"][0]["grant"] == "acme-flex/pages/2026-06"
    assert (await meter("authorizations", "show", "b")).exit_code != 0
