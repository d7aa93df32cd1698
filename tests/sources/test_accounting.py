"""RADIUS accounting: sessions, times, counters, identities (`meter.sources.wifi.accounting`)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.wire import WireEvent, stand_in
from meter.sources.wifi import accounting
from tests.sources.case import RECEIVED, events, setup
from tests.sources.radius_bodies import AT, attributes

SETUP = setup("freeradius", "campus", timezone="Europe/Berlin")


def read(*, at: datetime = RECEIVED, options: dict[str, Any] | None = None, **changes: Any) -> WireEvent:
    made = SETUP if options is None else setup("freeradius", "campus", options=options)
    (event,) = events(accounting.read(made, attributes(**changes), received_at=at))
    return event


def judged_time(event: WireEvent, at: datetime) -> datetime:
    return stand_in(event, at) if event.time is None else event.time


def test_an_interim_says_what_was_used_so_far() -> None:
    event = read()
    assert event.time == datetime(2026, 3, 2, 8, 5, 9, tzinfo=UTC)
    assert event.data == {
        "session": event.data["session"],
        "status": "interim",
        "seconds": 600,
        "bytes_in": 2**32 + 5,
        "bytes_out": 1000,
        "ap": "00-10-a4-23-19-c0",
        "ssid": "Guests",
        "nas": "ap-lobby/192.0.2.7",
        "protocol": "radius",
    }


def test_one_session_whatever_its_packets_hold() -> None:
    session = read().data["session"]
    same = [
        read(Acct_Status_Type="Start", User_Name=None, Acct_Session_Time=None),
        read(Acct_Status_Type=2, Event_Timestamp=AT + 60, Calling_Station_Id="aabb.ccdd.ee01"),
        read(NAS_Port=None, User_Name="AABBCCDDEE01"),
    ]
    assert {event.data["session"] for event in same} == {session}
    others = [
        read(NAS_IP_Address="192.0.2.8"),
        read(Acct_Session_Id="5F6A0002"),
        read(Calling_Station_Id="AA-BB-CC-DD-EE-02"),
    ]
    assert session not in {event.data["session"] for event in others}


def test_a_login_class_tells_sessions_apart_where_the_nas_counts_anew() -> None:
    first, second = (read(Class=f"ai:{digit * 32}").data["session"] for digit in "ab")
    assert first != second
    assert first == read(Class="ai:" + "a" * 32, NAS_Identifier="renamed").data["session"]


@pytest.mark.parametrize("timestamp", [AT, None, 17])
@given(
    delays=st.lists(st.integers(0, 5000), min_size=2, max_size=4), jitters_ms=st.lists(st.integers(0, 900), max_size=4)
)
def test_a_retransmission_is_the_same_event(timestamp: int | None, delays: list[int], jitters_ms: list[int]) -> None:
    """Loss and repetition: it comes `delay` seconds later, says so, and takes its time on the way."""
    seen, times = set(), []
    for number, delay_s in enumerate(delays):
        jitter = timedelta(milliseconds=jitters_ms[number] if number < len(jitters_ms) else 0)
        at = RECEIVED + timedelta(milliseconds=500) + timedelta(seconds=delay_s) + jitter
        event = read(at=at, Event_Timestamp=timestamp, Acct_Delay_Time=delay_s)
        seen.add((event.id, event.content_hash))
        times.append(judged_time(event, at))
    assert len(seen) == 1
    assert max(times) - min(times) < timedelta(seconds=1)


def test_without_a_clock_the_receipt_less_the_delay_stands_in() -> None:
    event = read(Event_Timestamp=None, Acct_Delay_Time=3600)
    assert event.time is None
    assert judged_time(event, RECEIVED) == RECEIVED - timedelta(hours=1)
    unset = read(Event_Timestamp=17)
    assert (unset.time, unset.attributes) == (None, {"timeflag": "unset_clock"})
    assert judged_time(read(Event_Timestamp=None, Acct_Delay_Time=2**32 - 1), RECEIVED) == RECEIVED


def test_without_a_clock_the_same_counters_on_another_day_are_another_fact() -> None:
    first = read(Event_Timestamp=None)
    assert read(Event_Timestamp=None, at=RECEIVED + timedelta(days=1)).id != first.id


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Mar  2 2026 09:05:09 CET", datetime(2026, 3, 2, 8, 5, 9, tzinfo=UTC)),
        ("Oct 25 2026 02:30:00 CEST", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("Oct 25 2026 02:30:00 CET", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        (str(AT), datetime(2026, 3, 2, 8, 5, 9, tzinfo=UTC)),
        ("2026-03-02T08:05:09Z", datetime(2026, 3, 2, 8, 5, 9, tzinfo=UTC)),
    ],
)
def test_a_time_has_many_forms(text: str, time: datetime) -> None:
    assert read(Event_Timestamp=text).time == time


@pytest.mark.parametrize(
    ("octets", "gigawords", "total"),
    [(7, None, 7), (7, 0, 7), (7, 3, 3 * 2**32 + 7), (None, 1, 2**32), (2**32 + 7, 1, 2**32 + 7), (None, None, None)],
)
def test_octets_have_gigawords(octets: int | None, gigawords: int | None, total: int | None) -> None:
    event = read(Acct_Output_Octets=octets, Acct_Output_Gigawords=gigawords)
    assert event.data.get("bytes_in") == total


def test_directions_can_be_swapped() -> None:
    event = read(options={"swap_octets": True})
    assert (event.data["bytes_in"], event.data["bytes_out"]) == (1000, 2**32 + 5)


def test_a_start_counts_from_nothing() -> None:
    event = read(Acct_Status_Type="Start", Acct_Output_Octets=None, Acct_Output_Gigawords=None, Acct_Session_Time=None)
    assert (event.data["seconds"], event.data["bytes_in"]) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, "email:ada@acme.example"),
        ({"User_Name": "Ada"}, "user:ada"),
        ({"User_Name": "ACME\\ada"}, "user:acme\\ada"),
        ({"User_Name": "anonymous@acme.example", "Chargeable_User_Identity": "c-17"}, "cui:c-17"),
        ({"User_Name": "@acme.example"}, "mac:aa-bb-cc-dd-ee-01"),
        ({"User_Name": "aa-bb-cc-dd-ee-01"}, "mac:aa-bb-cc-dd-ee-01"),
        ({"User_Name": "AABBCCDDEE01", "Calling_Station_Id": None}, "mac:aa-bb-cc-dd-ee-01"),
        ({"User_Name": None, "Calling_Station_Id": "aabb.ccdd.ee01"}, "mac:aa-bb-cc-dd-ee-01"),
        ({"User_Name": None, "Calling_Station_Id": "10.0.0.7"}, None),
        ({"User_Name": None, "Calling_Station_Id": "00-00-00-00-00-00"}, None),
        ({"User_Name": None, "Class": "m-17"}, "mac:aa-bb-cc-dd-ee-01"),
    ],
)
def test_who_it_is(changes: dict[str, Any], subject: str | None) -> None:
    assert read(**changes).subject == subject


def test_who_it_is_by_option() -> None:
    assert read(options={"user_is": "user"}).subject == "user:ada@acme.example"
    assert read(options={"class_is": "member"}, User_Name="anonymous", Class="m-17").subject == "member:m-17"
    assert read(options={"anonymous": ["guest"]}, User_Name="Guest").subject == "mac:aa-bb-cc-dd-ee-01"


def test_the_stations_address_stands_nowhere_else() -> None:
    told: list[dict[str, Any]] = [{}, {"User_Name": "AABBCCDDEE01"}, {"Acct_Multi_Session_Id": "AABBCCDDEE01-5F"}]
    for changes in told:
        event = read(Acct_Session_Id="AABBCCDDEE01-17", **changes)
        shown = str((event.id, event.data)).lower().replace("-", "").replace(":", "")
        assert "aabbccddee01" not in shown


def test_a_nas_that_restarts() -> None:
    event = read(Acct_Status_Type="Accounting-On", User_Name=None, Acct_Session_Id=None)
    assert (event.type, event.subject) == ("nas.restarted", None)
    assert event.data == {"nas": "ap-lobby/192.0.2.7", "status": "on"}
    assert event.data["nas"] == read().data["nas"]


@pytest.mark.parametrize("status", [15, "9", "Tunnel-Start", "Failed"])
def test_what_counts_nothing_is_nothing(status: object) -> None:
    assert accounting.read(SETUP, attributes(Acct_Status_Type=status), received_at=RECEIVED) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Acct_Status_Type": None},
        {"Acct_Session_Id": None},
        {"Acct_Session_Time": -1},
        {"Acct_Output_Gigawords": 2**31},
        {"Event_Timestamp": "yesterday"},
        {"Event_Timestamp": "2026-13-01T00:00:00Z"},
        {"Acct_Input_Octets": "many"},
    ],
)
def test_what_is_not_accounting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        accounting.read(SETUP, attributes(**changes), received_at=RECEIVED)
    assert caught.value.code == "bad_payload"


def test_why_a_session_ended() -> None:
    assert read(Acct_Status_Type=2, Acct_Terminate_Cause=4).data["cause"] == "Idle-Timeout"
    assert read(Acct_Status_Type=2, Acct_Terminate_Cause="Idle-Timeout").data["cause"] == "Idle-Timeout"
    assert read(Acct_Status_Type=2, Acct_Terminate_Cause=99).data["cause"] == "99"
