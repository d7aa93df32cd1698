"""The life of a key: what it is for, until when it is good, when it was used, and the one that follows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.api import auth
from meter.clock import monotonic_s, now
from meter.store.hints import KEYS
from meter.store.keys import OVERLAP_HOURS, USE_NOTED_EVERY_S
from tests.api.conftest import Api, serving, the_services

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


async def made(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.call("POST", "/v1/keys", json={"scopes": ["usage:read"], "account": "acme", **more})
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def opens(api: Api, key: dict[str, Any]) -> bool:
    api.services.keys.heard()  # as if nobody had seen it yet
    return (await api.get("/v1/charges", key=key["secret"])).status == 200


async def test_a_key_ends_when_it_was_to_end(database_url: str) -> None:
    clock = Hands()
    async with serving(the_services(database_url, clock=clock)) as api:
        key = await made(api, label="export of the accountants", expires_at="2026-03-02T14:00:00+01:00")
        assert (key["label"], key["expires_at"]) == ("export of the accountants", "2026-03-02T13:00:00Z")
        assert await opens(api, key)
        clock.at = START + timedelta(hours=1)
        assert not await opens(api, key)


async def test_a_remembered_key_ends_when_it_was_to_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = now() + timedelta(seconds=2)
    key = await made(api, expires_at=ends.isoformat())
    assert await opens(api, key)
    after = monotonic_s() + 2
    assert auth.CACHE_TTL_S > 2
    monkeypatch.setattr(auth, "monotonic_s", lambda: after)
    object.__setattr__(api.services, "clock", lambda: ends)
    assert (await api.get("/v1/charges", key=key["secret"])).status == 401


@pytest.mark.parametrize(
    "body",
    [
        {"label": "x" * 201},
        {"expires_at": "tomorrow"},
        {"expires_at": "2026-03-02"},
        {"expires_at": "2020-01-01T00:00:00Z"},
    ],
)
async def test_a_life_that_makes_no_sense_is_refused(api: Api, body: dict[str, str]) -> None:
    answer = await api.call("POST", "/v1/keys", json={"scopes": ["usage:read"], **body})
    assert answer.status in {400, 422}
    assert (await api.get("/v1/keys")).json["keys"] == []


async def test_the_last_use_is_told_to_the_minute(database_url: str) -> None:
    clock = Hands()
    async with serving(the_services(database_url, clock=clock)) as api:
        key, unused = await made(api), await made(api)

        async def told() -> str | None:
            found = {one["id"]: one["last_used_at"] for one in (await api.get("/v1/keys")).json["keys"]}
            assert found[unused["id"]] is None
            last: str | None = found[key["id"]]
            return last

        assert await told() is None
        assert await opens(api, key)
        assert await told() == "2026-03-02T12:00:00Z"
        clock.at += timedelta(seconds=USE_NOTED_EVERY_S)
        assert await opens(api, key)
        assert await told() == "2026-03-02T12:00:00Z"
        clock.at += timedelta(seconds=1)
        assert await opens(api, key)
        assert await told() == "2026-03-02T12:01:01Z"


async def test_one_key_follows_another_and_both_work_for_a_while(database_url: str) -> None:
    clock = Hands()
    async with serving(the_services(database_url, clock=clock)) as api:
        first = await made(api, label="till")
        second = (await api.call("POST", f"/v1/keys/{first['id']}/rotate")).json
        same = ("scopes", "site", "account", "label", "client")
        assert [second[name] for name in same] == [first[name] for name in same]
        assert second["expires_at"] is None
        assert await opens(api, first)
        assert await opens(api, second)
        # Two are good: a third would leave one behind that nobody knows of.
        for one in (first, second):
            third = await api.call("POST", f"/v1/keys/{one['id']}/rotate")
            assert (third.status, third.json["code"]) == (409, "conflict")
            assert "revoke one first" in third.json["detail"]
        clock.at += timedelta(hours=OVERLAP_HOURS)
        assert not await opens(api, first)
        assert await opens(api, second)
        gone = await api.call("POST", f"/v1/keys/{first['id']}/rotate")
        assert (gone.status, gone.json["code"]) == (409, "conflict")
        third = await api.call("POST", f"/v1/keys/{second['id']}/rotate", json={"overlap_hours": 0})
        assert third.json["client"] == first["id"]
        assert not await opens(api, second)
        assert await opens(api, third.json)


@pytest.mark.parametrize("lasts", [None, timedelta(days=90)])
async def test_a_key_whose_successor_was_revoked_is_followed_by_another_for_as_long(
    api: Api, lasts: timedelta | None
) -> None:
    """The new secret leaked, or nobody has it: the old one is still in use, and ends when it was to."""
    first = await made(api, expires_at=None if lasts is None else (now() + lasts).isoformat())
    for _ in range(3):
        followed = await api.call("POST", f"/v1/keys/{first['id']}/rotate")
        assert followed.status == 201, followed.text
        second, at = followed.json, now()
        assert second["client"] == first["id"]
        ends = None if lasts is None else datetime.fromisoformat(second["expires_at"])
        assert (ends is None) == (lasts is None)
        assert ends is None or lasts is None or abs(ends - at - lasts) < timedelta(minutes=10)
        await api.call("DELETE", f"/v1/keys/{second['id']}")
        assert not await opens(api, second)
    assert await opens(api, first)
    (listed,) = [one for one in (await api.get("/v1/keys")).json["keys"] if one["id"] == first["id"]]
    assert datetime.fromisoformat(listed["expires_at"]) <= now() + timedelta(hours=OVERLAP_HOURS)


async def test_what_cannot_follow_is_told(api: Api) -> None:
    assert (await api.call("POST", "/v1/keys/key_none/rotate")).status == 404
    key = await made(api)
    assert (await api.call("POST", f"/v1/keys/{key['id']}/rotate", json={"overlap_hours": 10_000})).status == 422
    await api.call("DELETE", f"/v1/keys/{key['id']}")
    assert (await api.call("POST", f"/v1/keys/{key['id']}/rotate")).status == 409


async def test_a_key_never_outlives_its_end_by_being_followed(api: Api) -> None:
    ends = (now() + timedelta(hours=1)).replace(microsecond=0)
    key = await made(api, expires_at=ends.isoformat())
    before = now()
    second = (await api.call("POST", f"/v1/keys/{key['id']}/rotate")).json
    listed = {one["id"]: one["expires_at"] for one in (await api.get("/v1/keys")).json["keys"]}
    assert listed[key["id"]] == ends.isoformat().replace("+00:00", "Z")
    # The one that follows is good for as long as the former was meant to be.
    assert before + timedelta(minutes=59) < datetime.fromisoformat(second["expires_at"]) <= now() + timedelta(hours=1)


async def test_another_gateway_hears_at_once_that_a_key_was_revoked(api: Api) -> None:
    key = await made(api)
    heard = []
    async with serving(the_services(api.db.url)) as other:
        assert (await other.get("/v1/charges", key=key["secret"])).status == 200
        async with api.db.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.add_listener("meter_hints", lambda *given: heard.append(given[-1]))
            await api.call("DELETE", f"/v1/keys/{key['id']}")
            await driver.fetchval("SELECT 1")
        assert heard == [KEYS]
        # What the hint does there:
        assert (await other.get("/v1/charges", key=key["secret"])).status == 200
        other.services.keys.heard()
        assert (await other.get("/v1/charges", key=key["secret"])).status == 401
