"""Access tokens: refreshed once by whoever comes first, and no refresh token lost on the way."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meter.export.authorised import Authorised
from meter.export.contract import Limits
from meter.export.http import Channel, Unauthorised
from meter.export.oauth import LASTS_S, Endpoint, Granted, TokenKeeper, read_answer
from meter.model.errors import BadInput, Broken, Unavailable
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.owning import as_owner
from tests.targets.fakes.oauth import Tokens
from tests.targets.fakes.quickbooks import REALM, TOKEN_PATH, FakeQuickBooks

SECRET = "the secret/of the client"
REMEDY = "ask the vendor's playground for one"
COMPANY = f"/v3/company/{REALM}/companyinfo/{REALM}"


@pytest.fixture
async def vendor() -> AsyncIterator[FakeQuickBooks]:
    async with FakeQuickBooks() as fake:
        yield fake


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Gateways:
    """Keepers of one target's token, as the gateways of one deployment have them."""

    def __init__(self, stack: AsyncExitStack, vendor: FakeQuickBooks, database: Database) -> None:
        self.stack, self.vendor, self.database = stack, vendor, database
        self.first = vendor.tokens.first()
        self.telemetry = Telemetry()

    def keeper(self, database: Database | None = None, **changes: Any) -> TokenKeeper:
        given: dict[str, Any] = {
            "operator": "northside",
            "target": "books",
            "endpoint": Endpoint(url=self.vendor.url + TOKEN_PATH, remedy=REMEDY),
            "client_id": "client",
            "client_secret": SECRET,
            "refresh_token": self.first,
            "telemetry": self.telemetry,
        }
        made = TokenKeeper(database or self.database, **{**given, **changes})
        self.stack.push_async_callback(made.close)
        return made

    def asked_with(self) -> list[str]:
        """Return the refresh tokens that the vendor was asked with, in order."""
        return [parse_qs(one.call.body.decode())["refresh_token"][0] for one in self.vendor.calls("POST", TOKEN_PATH)]

    def count(self, outcome: str) -> float:
        labels = {"target": "books", "outcome": outcome}
        return self.telemetry.registry.get_sample_value("meter_oauth_refreshes_total", labels) or 0.0

    async def expire(self) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text("UPDATE oauth_tokens SET access_until = clock_timestamp()"))

    async def kept(self) -> tuple[str | None, str | None]:
        async with self.database.begin() as connection:
            rows = await connection.execute(text("SELECT refresh_token, previous_refresh_token FROM oauth_tokens"))
            refresh_token, previous = rows.one()
        return refresh_token, previous


@pytest.fixture
async def gateways(stack: AsyncExitStack, vendor: FakeQuickBooks, database: Database) -> Gateways:
    return Gateways(stack, vendor, database)


async def test_many_calls_of_two_gateways_refresh_once(
    gateways: Gateways, stack: AsyncExitStack, database_url: str
) -> None:
    other = Database(database_url, operator="northside")
    stack.push_async_callback(other.dispose)
    keepers = [gateways.keeper(), gateways.keeper(other)]
    tokens = await asyncio.gather(*(keepers[n % 2].token() for n in range(20)))
    assert set(tokens) == {"access-0"}
    assert gateways.asked_with() == [gateways.first]
    await gateways.expire()
    again = await asyncio.gather(*(gateways.keeper(one).token() for one in [other, gateways.database] * 10))
    assert set(again) == {"access-1"}
    assert len(gateways.asked_with()) == 2
    assert gateways.count("refreshed") == 2


async def test_each_refresh_asks_with_the_token_that_the_one_before_gave(gateways: Gateways) -> None:
    for _ in range(4):
        await gateways.keeper().token()
        await gateways.expire()
    assert gateways.asked_with() == [f"refresh-{n}" for n in range(4)]
    assert await gateways.kept() == ("refresh-4", "refresh-3")


async def test_a_token_that_is_not_given_anew_stays_and_so_does_the_one_before_it(
    gateways: Gateways, vendor: FakeQuickBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateways.keeper().token()
    monkeypatch.setattr(Tokens, "_new_refresh", lambda _: "refresh-1")
    await gateways.expire()
    await gateways.keeper().token()
    assert await gateways.kept() == ("refresh-1", "refresh-0")


async def test_an_answer_that_dies_with_the_gateway_is_asked_for_again(
    gateways: Gateways, vendor: FakeQuickBooks
) -> None:
    async with vendor.held_back() as arrived:
        dying = asyncio.create_task(gateways.keeper().token())
        await arrived()
        async with as_owner(gateways.database) as connection:
            writing = await connection.execute(
                text("SELECT count(backend_xid) FROM pg_stat_activity WHERE datname = current_database()")
            )
            assert writing.scalar_one() == 0, "readers of the tail would wait for the vendor"
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
    with pytest.raises(Unavailable) as caught:
        await dying
    assert "access-0" not in "".join(traceback.format_exception(caught.value))
    assert "refresh-1" in vendor.tokens.refresh, "the vendor has changed it, and nobody here knows"
    assert await gateways.keeper().token() == "access-1"
    assert gateways.asked_with() == [gateways.first, gateways.first]
    assert await gateways.kept() == ("refresh-2", gateways.first)


async def test_a_token_that_cannot_be_kept_is_not_used(gateways: Gateways) -> None:
    keeper = gateways.keeper()
    async with as_owner(gateways.database) as connection:
        await connection.execute(text("ALTER TABLE oauth_tokens ADD CONSTRAINT full_disk CHECK (target = '')"))
    with pytest.raises(Broken, match="23514") as caught:
        await keeper.token()
    assert "access-0" not in "".join(traceback.format_exception(caught.value))
    async with as_owner(gateways.database) as connection:
        await connection.execute(text("ALTER TABLE oauth_tokens DROP CONSTRAINT full_disk"))
    assert await keeper.token() == "access-1", "access-0 was given and never used"


@pytest.mark.parametrize(("dead", "asked"), [(["refresh-2"], 2), (["refresh-2", "refresh-1"], 3)])
async def test_older_tokens_are_tried_where_the_newest_is_refused(
    gateways: Gateways, vendor: FakeQuickBooks, dead: list[str], asked: int
) -> None:
    for _ in range(2):
        await gateways.keeper().token()
        await gateways.expire()
    for token in dead:
        del vendor.tokens.refresh[token]
    await gateways.keeper().token()
    assert gateways.asked_with()[2:] == ["refresh-2", "refresh-1", gateways.first][:asked]
    assert await gateways.kept() == (f"refresh-{3 - len(dead)}", gateways.asked_with()[-1])


async def test_where_none_is_taken_somebody_has_to_authorise_anew(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    keeper = gateways.keeper()
    await keeper.token()
    vendor.tokens.refresh.clear()
    await gateways.expire()
    with capture_logs() as logs, pytest.raises(BadInput, match=REMEDY) as caught:
        await gateways.keeper().token()
    assert caught.value.code == "authorisation_ended"
    assert gateways.count("refused") == 1
    said = caught.value.detail + json.dumps(logs)
    assert not any(secret in said for secret in (SECRET, "refresh-", "access-"))


async def test_before_there_is_an_operator_no_refresh_token_is_used_up(
    gateways: Gateways, vendor: FakeQuickBooks
) -> None:
    with pytest.raises(BadInput, match="apply one first"):
        await gateways.keeper(operator="").token()
    assert not vendor.requests


async def test_a_new_token_in_the_settings_wins(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    await gateways.keeper().token()
    new = vendor.tokens.first()
    assert await gateways.keeper(refresh_token=new).token() == "access-1"
    assert gateways.asked_with() == [gateways.first, new]
    assert await gateways.keeper(refresh_token=new).token() == "access-1", "it is the row's from now on"


async def test_gateways_with_old_and_new_settings_do_not_take_each_others_tokens(
    gateways: Gateways, vendor: FakeQuickBooks
) -> None:
    """While settings are rolled out: the old ones' authorisation may be good for years to come."""
    new = vendor.tokens.first()
    for _ in range(3):
        await gateways.keeper().token()
        await gateways.keeper(refresh_token=new).token()
        await gateways.expire()
        vendor.advance(hours=25)  # whatever was replaced is refused from now on
    assert gateways.count("refreshed") == 6
    async with gateways.database.begin() as connection:
        await connection.execute(text("UPDATE oauth_tokens SET refreshed_at = clock_timestamp() - interval '31 days'"))
    await gateways.keeper(refresh_token=new).token()
    assert (await gateways.kept())[1] is not None, "one row: the settings of a month ago are forgotten"


async def test_without_any_refresh_token_one_is_asked_for(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    with pytest.raises(BadInput, match=REMEDY):
        await gateways.keeper(refresh_token=None).token()
    assert not vendor.requests


async def test_a_typing_error_in_the_settings_is_not_covered_up(gateways: Gateways) -> None:
    await gateways.keeper().token()
    with pytest.raises(BadInput, match="authorise the app anew"):
        await gateways.keeper(refresh_token="refesh-0").token()
    assert await gateways.keeper().token() == "access-0", "what was there still is"


async def test_a_client_of_its_own_needs_no_refresh_token(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    vendor.tokens.client_credentials = True
    endpoint = Endpoint(url=vendor.url + TOKEN_PATH, remedy=REMEDY, grant="client_credentials", scope="accounting")
    assert await gateways.keeper(endpoint=endpoint, refresh_token=None).token() == "access-0"
    [call] = vendor.calls("POST", TOKEN_PATH)
    assert parse_qs(call.call.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["accounting"]}
    assert await gateways.kept() == (None, None)


async def test_an_unknown_client_is_not_asked_to_authorise(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.export.oauth.read_answer", lambda *_: "invalid_client")
    with pytest.raises(BadInput, match="check client_id and client_secret"):
        await gateways.keeper().token()


async def test_whoever_is_cancelled_leaves_the_others_their_token(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    keeper = gateways.keeper()
    async with vendor.held_back() as arrived:
        first, second = (asyncio.create_task(keeper.token()) for _ in range(2))
        await arrived()
        first.cancel()
    assert await second == "access-0"
    assert first.cancelled()
    assert len(gateways.asked_with()) == 1


async def test_a_token_endpoint_that_fails_is_asked_again(gateways: Gateways, vendor: FakeQuickBooks) -> None:
    keeper = gateways.keeper()
    vendor.fail_next(503, committed=False, path=TOKEN_PATH)
    with pytest.raises(Unavailable, match="503"):
        await keeper.token()
    assert gateways.count("unavailable") == 1
    assert await keeper.token() == "access-0"


async def test_how_long_the_authorisation_lasts_is_shown_and_its_end_is_announced(
    gateways: Gateways, vendor: FakeQuickBooks
) -> None:
    vendor.tokens.refresh_for = timedelta(days=3)
    with capture_logs() as logs:
        await gateways.keeper().token()
    assert [one["days"] for one in logs if one["event"] == "authorisation_ends"] == [3]
    shown = gateways.telemetry.registry.get_sample_value("meter_oauth_authorisation_seconds", {"target": "books"})
    assert shown is not None
    assert round(shown / 86_400) == 3


@pytest.fixture
async def company(gateways: Gateways, vendor: FakeQuickBooks) -> AsyncIterator[Authorised]:
    asking = Authorised(Channel(vendor.url, Limits(items_max=1)), gateways.keeper())
    yield asking
    await asking.close()


async def test_a_request_that_meets_a_token_which_has_ended_goes_again(
    company: Authorised, vendor: FakeQuickBooks
) -> None:
    for _ in range(3):
        assert (await company.request("GET", COMPANY)).status == 200
        vendor.advance(hours=2)
    assert [one.status for one in vendor.calls("GET", COMPANY)] == [200, 401, 200, 401, 200]


async def test_a_new_token_that_is_refused_as_well_is_not_replaced_again(
    company: Authorised, vendor: FakeQuickBooks, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokens, "good", lambda *_: False)
    assert [(await company.request("GET", COMPANY)).status for _ in range(3)] == [401] * 3
    assert len(gateways.asked_with()) == 2
    assert len(vendor.calls("GET", COMPANY)) == 4


async def test_a_request_without_a_token_has_not_left(company: Authorised, vendor: FakeQuickBooks) -> None:
    vendor.tokens.refresh.clear()
    with pytest.raises(Unauthorised, match="authorise the app anew"):
        await company.request("GET", COMPANY)
    assert not vendor.calls("GET", COMPANY)


@pytest.mark.parametrize(
    ("status", "body", "read"),
    [
        (200, '{"access_token": "a", "expires_in": 60}', Granted(access_token="a", lasts_s=60.0)),
        (
            200,
            '{"access_token": "a", "expires_in": "soon", "refresh_token": "r", "x_refresh_token_expires_in": 9}',
            Granted(access_token="a", lasts_s=LASTS_S, refresh_token="r", refresh_lasts_s=9.0),
        ),
        (400, '{"error": "invalid_grant", "error_description": "refresh-0 is old"}', "invalid_grant"),
        (401, '{"error": "invalid_client"}', "invalid_client"),
        (400, '{"error": "refresh-0 is wrong"}', None),
        (200, "<html>", None),
        (200, '{"access_token": ""}', None),
        (200, '{"access_token": "a\\r\\nX-Other: 1"}', None),
        (200, '{"access_token": "a\\u0000"}', None),
        (200, '{"access_token": "a", "refresh_token": "r\\u0000"}', None),
        (200, '{"access_token": "a", "refresh_token": ["r"]}', None),
        (200, f'{{"access_token": "{"a" * 9000}"}}', None),
        (200, '{"access_token": "a", "refresh_token": null}', Granted(access_token="a", lasts_s=LASTS_S)),
        (429, '{"error": "slow_down"}', None),
        (500, '{"error": "server_error"}', None),
        (400, "[]", None),
    ],
)
def test_what_an_answer_says(status: int, body: str, read: Granted | str | None) -> None:
    if read is None:
        with pytest.raises(Unavailable) as caught:
            read_answer(status, body.encode())
        assert "refresh-0" not in caught.value.detail
    else:
        assert read_answer(status, body.encode()) == read
