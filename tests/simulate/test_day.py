"""The laws of a simulated day."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.identity import normalise_identity
from meter.model.instant import parse_instant
from meter.simulate import TrueEvent, population, simulate

WEDNESDAY = date(2026, 11, 18)
days = st.dates(min_value=date(2026, 1, 1), max_value=date(2028, 12, 31))
seeds = st.integers(min_value=0, max_value=10**9)


def decoded(events: list[TrueEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.body, parse_float=Decimal) for event in events]


def test_the_same_seed_gives_the_same_bytes_on_every_python() -> None:
    digest = sha256(b"\n".join(event.body for event in simulate(start_day=WEDNESDAY, sites=3, days=4))).hexdigest()
    # Changes only when the simulation is meant to change.
    assert digest == "fc4b4ecb4bf74c182e0751cd9157a87af6d055f6f4353c0f998349ecf3987b6c"


@given(day=days, seed=seeds)
@settings(max_examples=25)
def test_repeated_runs_agree_and_other_seeds_differ(day: date, seed: int) -> None:
    once = list(simulate(start_day=day, members=10, days=2, seed=seed))
    assert once == list(simulate(start_day=day, members=10, days=2, seed=seed))
    assert once != list(simulate(start_day=day, members=10, days=2, seed=seed + 1))


@given(day=days, seed=seeds)
@settings(max_examples=25)
def test_more_days_and_sites_only_add(day: date, seed: int) -> None:
    narrow = list(simulate(start_day=day, members=8, days=1, seed=seed))
    wide = list(simulate(start_day=day, sites=5, members=8, days=2, seed=seed))
    assert set(narrow) <= set(wide)
    next_day = list(simulate(start_day=day + timedelta(days=1), members=8, days=1, seed=seed))
    assert [e for e in wide if e.site == "berlin"] == narrow + next_day


@given(day=days, seed=seeds)
@settings(max_examples=25)
def test_events_come_in_order_of_time_with_an_id_each(day: date, seed: int) -> None:
    events = list(simulate(start_day=day, sites=5, members=6, days=3, seed=seed))
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len({event.id for event in events}) == len(events)


@given(day=days, seed=seeds)
@settings(max_examples=25)
def test_the_envelope_says_what_the_gateway_asks_for(day: date, seed: int) -> None:
    events = list(simulate(start_day=day, sites=2, members=12, seed=seed))
    for event, body in zip(events, decoded(events), strict=True):
        assert body["specversion"] == "1.0"
        assert (body["source"], body["id"]) == (event.source, event.id)
        assert event.source.startswith(f"{event.site}/{event.kind}/")
        assert parse_instant(body["time"]) == event.time
        if "subject" in body:
            assert normalise_identity(body["subject"]) == body["subject"]


@given(day=days, seed=seeds)
@settings(max_examples=40)
def test_an_exit_follows_an_entry(day: date, seed: int) -> None:
    inside: dict[str, bool] = defaultdict(bool)
    for body in decoded(list(simulate(start_day=day, members=30, seed=seed))):
        data = body["data"]
        if body["type"] != "door.access" or not data["granted"] or data["door"] != "main":
            continue
        if data["direction"] == "out":
            assert inside[body["subject"]], "left without having come in"
        inside[body["subject"]] = data["direction"] == "in"


@given(day=days, seed=seeds)
@settings(max_examples=40)
def test_what_a_session_has_moved_never_falls(day: date, seed: int) -> None:
    last: dict[str, dict[str, Any]] = {}
    for body in decoded(list(simulate(start_day=day, members=15, seed=seed))):
        if body["type"] != "wifi.session":
            continue
        data = body["data"]
        before = last.get(data["session"])
        if before is None:
            assert (data["status"], data["seconds"], data["bytes_in"], data["bytes_out"]) == ("start", 0, 0, 0)
        else:
            assert before["status"] != "stop"
            assert data["status"] in {"interim", "stop"}
            assert all(before[field] <= data[field] for field in ("seconds", "bytes_in", "bytes_out"))
        last[data["session"]] = data


@given(day=days, seed=seeds)
@settings(max_examples=40)
def test_a_sale_adds_up_and_a_stranger_never_buys_on_account(day: date, seed: int) -> None:
    for body in decoded(list(simulate(start_day=day, members=30, seed=seed))):
        if body["type"] != "pos.sale":
            continue
        data = body["data"]
        lines = sum(Decimal(line["amount"]) + Decimal(line["tax"]) for line in data["lines"])
        assert lines + Decimal(data.get("tip", "0")) == Decimal(data["total"])
        for line in data["lines"]:
            rate = Decimal(line["tax_name"].removeprefix("vat")) / 100
            assert abs(Decimal(line["amount"]) * rate - Decimal(line["tax"])) <= Decimal("0.01")
        assert "subject" in body or data["settlement"] == "paid"


@given(day=days, seed=seeds)
@settings(max_examples=40)
def test_meetings_share_no_room_and_end_as_they_were_booked(day: date, seed: int) -> None:
    booked: dict[str, dict[str, Any]] = {}
    for body in decoded(list(simulate(start_day=day, members=40, seed=seed))):
        if body["type"] != "room.booking":
            continue
        data = body["data"]
        if data["status"] == "booked":
            for other in booked.values():
                apart = data["end"] <= other["start"] or other["end"] <= data["start"]
                assert apart or other["resource"] != data["resource"]
            booked[data["booking"]] = data
        else:
            assert {**data, "status": "booked"} == booked[data["booking"]]
        hours = (datetime.fromisoformat(data["end"]) - datetime.fromisoformat(data["start"])) / timedelta(hours=1)
        assert data["hours"] == Decimal(hours)


@given(day=days, seed=seeds)
@settings(max_examples=25)
def test_an_edge_numbers_its_events_without_a_hole(day: date, seed: int) -> None:
    events = list(simulate(start_day=day, sites=2, members=10, days=2, seed=seed))
    runs: dict[int, list[int]] = defaultdict(list)
    for event, body in zip(events, decoded(events), strict=True):
        assert ("edge" in body) == (event.site == "lisbon")
        if "edge" in body:
            runs[body["boot"]].append(body["sequence"])
    for sequences in runs.values():
        assert sorted(sequences) == list(range(1, len(sequences) + 1))


def test_a_working_day_has_everything_that_a_gateway_must_bear() -> None:
    bodies = decoded(list(simulate(start_day=WEDNESDAY, days=3)))
    known = {
        identity
        for space in population(sites=1, members=40)
        for member in space.members
        for identity in (member.badge, member.user, member.email, member.square, *member.macs)
    }
    seen = {
        (body["type"], "known" if body.get("subject") in known else "unknown" if "subject" in body else "nobody")
        for body in bodies
    }
    assert {
        ("door.access", "known"),
        ("door.access", "unknown"),
        ("door.held", "nobody"),
        ("print.job", "known"),
        ("wifi.session", "known"),
        ("wifi.session", "unknown"),
        ("pos.sale", "known"),
        ("pos.sale", "nobody"),
        ("room.booking", "known"),
    } <= seen
    doors = [body["data"] for body in bodies if body["type"] == "door.access"]
    assert {data.get("reason") for data in doors} >= {None, "unknown_credential", "unreadable"}
    ins = sum(data["granted"] and data["direction"] == "in" and data["door"] == "main" for data in doors)
    outs = sum(data["direction"] == "out" for data in doors)
    assert outs < ins, "nobody forgot an exit in three days"
    assert {body["data"]["settlement"] for body in bodies if body["type"] == "pos.sale"} == {"paid", "account"}


def test_handouts_are_printed_just_before_meetings() -> None:
    bodies = decoded(list(simulate(start_day=WEDNESDAY, days=5)))
    starts = [parse_instant(b["data"]["start"]) for b in bodies if b["type"] == "room.booking"]
    jobs = [parse_instant(b["time"]) for b in bodies if b["type"] == "print.job"]
    quarter = timedelta(minutes=15)
    before = sum(any(start - quarter <= job < start for start in starts) for job in jobs)
    # Far more than the share of the day that these quarters of an hour are.
    assert before > len(jobs) / 3


def test_hours_are_those_of_the_site() -> None:
    spaces = {space.site.id: space.site for space in population(sites=5, members=40)}
    for event in simulate(start_day=WEDNESDAY, sites=5):
        body = json.loads(event.body)
        if body["type"] == "pos.sale":
            local = datetime.fromisoformat(body["time"])
            assert 8 <= local.hour < 18
            assert local.astimezone(UTC) == event.time
        if body["type"] == "door.access" and body["data"]["granted"]:
            site = spaces[event.site]
            local = event.time.astimezone(ZoneInfo(site.zone))
            assert site.opens <= local.hour * 60 + local.minute < site.closes


@pytest.mark.parametrize("wrong", [{"sites": 0}, {"sites": 501}, {"members": 0}, {"members": 2001}, {"days": 0}])
def test_senseless_sizes_are_refused_at_once(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="take 1 to"):
        simulate(start_day=WEDNESDAY, **wrong)
