from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from meter.cli import drafts as drafts_module
from meter.model.errors import BadInput
from tests.booking.space import Space, open_space
from tests.cli import command
from tests.store.vendor_news import account, member, says, subscription, tell

meter = partial(command.meter, "drafts")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(drafts_module, "_PAGE", 2)
    monkeypatch.setattr(drafts_module, "APPLIED_MAX", 2)
    async with open_space(database_url) as opened:
        await tell(opened.database, subscription(), member(), account())
        yield opened


async def test_all_are_previewed_and_applied_in_order(space: Space) -> None:
    listed = (await meter()).stdout
    assert listed.index("cobot/main/account/") < listed.index("cobot/main/member/")
    foreseen = await command.machine("drafts", "apply", "--all", "--dry-run")
    assert [(one["applied"], one["draft"]["kind"]) for one in foreseen["drafts"]] == [
        (False, "account"),
        (False, "member"),
        (False, "subscription"),
    ]
    shown = await meter("apply", "--all", "--dry-run")
    assert "cobot/main/member/cobot-9: 1 new members, 1 new links, 1 new identities" in shown.stdout
    assert "would be rated again: cobot-9" in " ".join(shown.stdout.split())
    assert (await meter("apply", "--all")).exit_code == 0
    assert (await command.machine("drafts", "list"))["drafts"] == []
    everything = (await command.machine("drafts", "list", "--all"))["drafts"]
    assert {draft["state"] for draft in everything} == {"applied"}


async def test_one_that_does_not_hold_is_said(space: Space) -> None:
    result = await meter("apply", "cobot/main/member/cobot-9")
    assert result.exit_code == 1
    assert "'cobot-9'" in result.stderr
    assert "'cobot-9'" in (await meter("list", "--kind", "member")).stdout
    assert "nina@nine.example" in (await meter("show", "cobot/main/member/cobot-9")).stdout
    (told,) = (await command.machine("drafts", "apply", "cobot/main/member/cobot-9", exit_code=1))["drafts"]
    assert "'cobot-9'" in told["fault"]


async def test_what_the_vendor_did_not_say_itself_is_marked(space: Space) -> None:
    assert "not by the vendor" not in (await meter()).stdout
    await tell(space.database, says("account", {"name": "Mallory"}, id="forged"), channel="http")
    assert "not by the vendor (http)" in (await meter()).stdout


async def test_they_are_put_aside(space: Space) -> None:
    assert await command.machine("drafts", "dismiss", "--all") == {
        "dismissed": [f"cobot/main/{kind}/cobot-9" for kind in ("account", "member", "subscription")]
    }
    assert "no draft is open" in (await meter()).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply"],
        ["apply", "--all", "cobot/main/member/x"],
        ["apply", "nonsense"],
        ["show", "cobot/main/member/nobody"],
        ["list", "--kind", "grant"],
    ],
)
async def test_what_cannot_be_meant_is_wrong_usage(space: Space, arguments: list[str]) -> None:
    result = await meter(*arguments)
    assert isinstance(result.exception, BadInput)
