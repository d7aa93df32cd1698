"""Events whose time is doubtful: listed, explained and counted; sources whose clocks are in another zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from meter.model.doubt import FLAG_CHARS_MAX, REASONS, doubt_text, reason_of, time_flag
from meter.model.instant import instant_text
from meter.sources.make import TimeFlag
from tests.api.conftest import Gateway
from tests.booking.space import LATER, entry, pages, void


def flagged(body: bytes, flag: str, *, time: bool = True) -> bytes:
    envelope: dict[str, Any] = json.loads(body) | {"timeflag": flag}
    if not time:
        del envelope["time"]
    return json.dumps(envelope).encode()


async def listed(gateway: Gateway, query: str = "", **options: str) -> list[tuple[str, str]]:
    page = (await gateway.api.get(f"/v1/doubtful{query}", **options)).json
    return [(item["event"]["id"], item["flag"]) for item in page["doubtful"]]


@pytest.fixture
async def doubted(gateway: Gateway) -> Gateway:
    ahead = json.loads(entry("ahead", "05T09:00")) | {"time": instant_text(LATER + timedelta(hours=1))}
    await gateway.space.take(
        flagged(pages("1", "04T09:00", 120), "ambiguous"),
        flagged(pages("2", "02T09:00", 5), "unset_clock", time=False),
        flagged(entry("3", "03T09:00"), "by hand"),
        entry("4", "03T10:00"),
        json.dumps(ahead).encode(),
    )
    return gateway


async def test_what_is_doubtful_with_why(doubted: Gateway) -> None:
    page = (await doubted.api.get("/v1/doubtful")).json
    assert page["doubtful"][:2] == [
        {
            "event": {"source": "berlin/door/main", "id": "3"},
            "type": "door.access",
            "site": "berlin",
            "time": "2026-03-03T09:00:00Z",
            "timed": True,
            "received_at": instant_text(LATER),
            "flag": "by hand",
            "reason": "its sender says 'by hand'",
        },
        {
            "event": {"source": "berlin/print/hall", "id": "1"},
            "type": "print.job",
            "site": "berlin",
            "time": "2026-03-04T09:00:00Z",
            "timed": True,
            "received_at": instant_text(LATER),
            "flag": "ambiguous",
            "reason": "the clocks at the site show the device's local time twice that day, or never",
        },
    ]
    by_receipt, ahead = page["doubtful"][2:]
    assert (by_receipt["time"], by_receipt["timed"], by_receipt["flag"]) == (instant_text(LATER), False, "unset_clock")
    assert (ahead["event"]["id"], ahead["flag"]) == ("ahead", "future_time")
    assert (page["sources"], page["next"]) == ([], None)


async def test_filters_restricted_keys_and_pages(doubted: Gateway) -> None:
    whole = [("3", "by hand"), ("1", "ambiguous"), ("2", "unset_clock"), ("ahead", "future_time")]
    assert await listed(doubted) == whole
    assert await listed(doubted, "?flag=ambiguous") == [("1", "ambiguous")]
    assert await listed(doubted, "?from=2026-03-04T09:00:00Z") == whole[1:]
    for site, expected in (("berlin", whole), ("hamburg", [])):
        assert await listed(doubted, key=await doubted.api.key("usage:read", site=site)) == expected
    of_account = await doubted.api.key("usage:read", account="acme")
    assert (await doubted.api.get("/v1/doubtful", key=of_account)).status == 403
    found: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await doubted.api.get(f"/v1/doubtful?limit=1&cursor={cursor}")).json
        found += [(item["event"]["id"], item["flag"]) for item in page["doubtful"]]
        cursor = page["next"]
    assert found == whole


@pytest.mark.parametrize("cursor", ["d", "nonsense", "dWzEsMl0", "d" + "A" * 40, "dW10", "é"])
async def test_a_cursor_of_another_make_is_refused(gateway: Gateway, cursor: str) -> None:
    answer = await gateway.api.get(f"/v1/doubtful?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (400, "bad_cursor")


async def test_what_is_voided_or_not_ahead_any_more_leaves_the_list(doubted: Gateway) -> None:
    doubted.space.now = LATER + timedelta(hours=2)
    await doubted.space.take(void("v", "05T09:00", "1", "berlin/print/hall"))
    assert await listed(doubted) == [("3", "by hand"), ("2", "unset_clock")]


async def test_an_explanation_says_what_is_doubtful(doubted: Gateway) -> None:
    told = {}
    for charge in await doubted.charges():
        explained = (await doubted.api.get(f"/v1/charges/{charge['id']}/explain")).json
        told[charge["event"]["id"]] = (explained["events"][0]["time_flag"], explained["text"].splitlines()[1])
    said = {
        "1": ("ambiguous", "print.job 1 from berlin/print/hall at 2026-03-04T09:00:00Z; doubtful time: the clocks at"),
        "2": (
            "unset_clock",
            f"print.job 2 from berlin/print/hall at {instant_text(LATER)}; time by receipt: the device's",
        ),
        "3": ("by hand", "door.access 3 from berlin/door/main at 2026-03-03T09:00:00Z; doubtful time: its sender says"),
        "4": (None, "door.access 4 from berlin/door/main at 2026-03-03T10:00:00Z"),
    }
    assert {name: flag for name, (flag, _) in told.items()} == {name: said[name][0] for name in told}
    assert len(told) == 3
    for name, (_, line) in told.items():
        assert line.startswith(f"Event: {said[name][1]}")


async def test_doubtful_times_are_counted_by_few_words(doubted: Gateway) -> None:
    await doubted.space.take(flagged(entry("3", "03T09:00"), "by hand"))  # a duplicate
    registry = doubted.space.telemetry.registry

    def count(flag: str) -> float | None:
        return registry.get_sample_value("meter_doubtful_times_total", {"flag": flag})

    flags = ("ambiguous", "unset_clock", "other", "future_time")
    assert [count(flag) for flag in (*flags, "by hand", "no_zone")] == [1, 1, 1, 1, None, None]


def prompt(origin: str, n: int, late: timedelta, now: datetime) -> bytes:
    body = json.loads(entry(f"{origin}-{n}", "02T09:00", subject=f"badge:ADA{n}"))
    return json.dumps(body | {"source": origin, "time": instant_text(now - late)}).encode()


def delayed(origin: str, n: int, late: timedelta) -> bytes:
    """An event without a time whose sender says how long it has tried: no clock that could be in another zone."""
    body = json.loads(entry(f"{origin}-{n}", "02T09:00", subject=f"badge:ADA{n}"))
    del body["time"]
    return json.dumps(body | {"source": origin, "delayms": int(late.total_seconds() * 1000)}).encode()


async def test_a_source_whose_events_all_come_late_by_quarters_of_an_hour_is_told(gateway: Gateway) -> None:
    space, start = gateway.space, datetime(2026, 6, 1, 9, tzinfo=UTC)
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    for n in range(10):
        space.now = start + n * 7 * minute
        wander = timedelta(seconds=n * 9)
        bodies = [
            prompt("berlin/door/prompt", n, wander, space.now),
            prompt("berlin/door/zone", n, 5 * hour + wander, space.now),
            prompt("berlin/door/nepal", n, -5 * hour - 45 * minute, space.now),
            prompt("berlin/door/late", n, 5 * hour + 2 * wander, space.now),  # some by more than a minute and a half
            prompt("berlin/door/early", n, 5 * hour - 2 * wander, space.now),
            prompt("berlin/door/batch", n, n * hour, space.now),
            delayed("berlin/door/untimed", n, hour),
        ]
        await space.accept(bodies if n else [*bodies, prompt("berlin/door/zone", 99, 3 * minute, space.now)])
        if n < 9:
            await space.accept([prompt("berlin/door/few", n, hour, space.now)])
    sources = (await gateway.api.get("/v1/doubtful")).json["sources"]
    assert sources == [
        {"source": "berlin/door/nepal", "events": 10, "late_seconds": -20_700, "last": "2026-06-01T10:03:00Z"},
        # One in ten may be otherwise.
        {"source": "berlin/door/zone", "events": 11, "late_seconds": 18_000, "last": "2026-06-01T10:03:00Z"},
    ]
    since = (await gateway.api.get("/v1/doubtful?from=2026-06-01T04:30:00Z")).json["sources"]
    assert [one["source"] for one in since] == ["berlin/door/nepal"]
    hamburg = await gateway.api.key("usage:read", site="hamburg")
    assert (await gateway.api.get("/v1/doubtful", key=hamburg)).json["sources"] == []
    page = (await gateway.api.get("/v1/doubtful?limit=1")).json
    assert (await gateway.api.get(f"/v1/doubtful?limit=1&cursor={page['next']}")).json["sources"] == []


def test_every_flag_of_sources_has_words() -> None:
    assert set(get_args(TimeFlag)) <= REASONS.keys()


def test_a_flag_is_what_its_sender_says() -> None:
    assert time_flag(None) is time_flag({}) is time_flag({"timeflag": None, "zone": "b"}) is None
    assert time_flag({"timeflag": "fallback"}) == "fallback"
    assert time_flag({"timeflag": True}) == "True"
    assert time_flag({"timeflag": "x" * 200}) == "x" * FLAG_CHARS_MAX
    assert reason_of("no_zone") == "the device's time names no zone"
    assert doubt_text(None, timed=True) == ""
    assert doubt_text(None, timed=False) == "time by receipt: it came without one"
