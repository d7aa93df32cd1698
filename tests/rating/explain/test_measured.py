"""How what was measured is explained: sessions, counters, levels, and acts that are told in many events."""

from __future__ import annotations

from dataclasses import replace

from meter.model.catalog import Increment
from meter.rating.explain.words import local_text
from tests.rating.explain.scene import (
    ACTS,
    BURST,
    COFFEE,
    OFFICE,
    VISITS,
    booked,
    core,
    door,
    hours,
    level,
    presence,
    pulse,
    reading,
    reads,
    sale,
)
from tests.rating.world import d, entered, event, per_unit, plan, space, t


def test_the_text_tells_the_whole_way_from_the_event_to_the_cent() -> None:
    assert booked(OFFICE, *BURST).text(1) == [
        "Charge #1 (original): 60 page; price price: 13.5 EUR",
        "Event: print.job job-11-03 09:00-badge:04A2991B from berlin/device at 2026-11-03T09:00:00Z",
        "Member: badge:04A2991B is ada since 2026-01-01T12:00:00Z, of account acme",
        "Meter: pages, 60 page, color = false",
        "  impressions = 60",
        "Price: price of plan flex; in this period 20 page so far, then 80",
        "  30 page x 0.25 = 7.5 (above 0 up to 50)",
        "  30 page x 0.2 = 6 (above 50)",
        "  18.5 - 5 = 13.5 EUR",
        "Amount: 13.5 EUR, booked as 13.5, plus 2.57 vat (19 %)",
        "Computed again from the stored facts: the same.",
    ]


def test_a_session_is_told_by_the_clock_of_its_site_with_its_rounding() -> None:
    scene = booked(hours(), door("11-02 08:00", "in"), door("11-02 10:20", "out"))
    assert scene.text() == [
        "Charge #0 (original): 2.5 hour; price each: 5 EUR",
        "Event: door.access in 11-02 08:00 from berlin/device at 2026-11-02T08:00:00Z",
        "Event: door.access out 11-02 10:20 from berlin/device at 2026-11-02T10:20:00Z",
        "Member: ada, of account acme",
        "Meter: presence, 2.5 hour",
        "  from 2026-11-02 09:00 to 2026-11-02 11:20 (Europe/Berlin): 2 h 20 min",
        "  in steps of 15 min: 2 h 30 min",
        "Price: each of plan flex; in this period 0 hour so far, then 2.5",
        "  2.5 hour x 2 = 5",
        "  5 - 0 = 5 EUR",
        "Amount: 5 EUR, booked as 5",
        "Computed again from the stored facts: the same.",
    ]


def test_a_session_without_an_end_says_what_ended_it() -> None:
    closed = booked(hours(), door("11-02 13:00", "in"), until="11-03")
    longest = booked(hours(presence(missing_end="cap")), door("11-02 13:00", "in"), until="11-04")
    followed = booked(hours(), door("11-02 08:00", "in"), door("11-02 09:00", "in"), door("11-02 17:00", "out"))
    rounded = presence(missing_end="last_seen", minimum_s=20, increment=Increment(first_s=30, step_s=360))
    seen = booked(hours(rounded), door("11-02 08:00", "in"), door("11-02 08:10", "through"), until="11-03")
    assert core(closed)[:3] == [
        "  from 2026-11-02 14:00 to 2026-11-02 22:00 (Europe/Berlin): 8 h",
        "  estimated, as no end came: it ends when the site closes (close_at)",
        "  in steps of 15 min: 8 h",
    ]
    assert core(longest)[:2] == [
        "  from 2026-11-02 14:00 to 2026-11-03 04:00 (Europe/Berlin): 14 h",
        "  estimated, as no end came: it lasts 14 h at most (cap)",
    ]
    assert core(followed, 0)[:2] == [
        "  from 2026-11-02 09:00 to 2026-11-02 10:00 (Europe/Berlin): 1 h",
        "  estimated, as no end came: it ends when the next one starts (close_at)",
    ]
    assert core(seen)[:3] == [
        "  from 2026-11-02 09:00 to 2026-11-02 09:10 (Europe/Berlin): 10 min",
        "  estimated, as no end came: it ends when it was last seen (last_seen)",
        "  at least 20 s, the first 30 s, then steps of 6 min: 12 min 30 s",
    ]


def test_a_counter_says_what_its_run_had_reached() -> None:
    meter = reads("counter", unit="kWh", scale=d("0.001"))
    scene = booked(level(meter, per_unit("0.3")), reading("11-02", 100_000), reading("11-03", 150_500))
    assert core(scene) == [
        "  n = 150500; the highest before it in its run was 100000: 50500 more, x 0.001 = 50.5 kWh",
        "Price: each of plan flex; in this period 0 kWh so far, then 50.5",
        "  50.5 kWh x 0.3 = 15.15",
        "  15.15 - 0 = 15.15 EUR",
        "Amount: 15.15 EUR, booked as 15.15",
    ]


def test_what_follows_a_value_says_what_it_was_before() -> None:
    assert core(booked(level(reads("max")), reading("11-02", 20), reading("11-03", 30))) == [
        "  n = 30; the highest so far in the period was 20: 10 more",
        "Price: each of plan flex; in this period 20 seat so far, then 30",
        "  10 seat x 10 = 100",
        "  300 - 200 = 100 EUR",
        "Amount: 100 EUR, booked as 100",
    ]
    assert core(booked(level(reads("latest")), reading("11-02", 20), reading("11-03", 15))) == [
        "  n = 15; the one before it in the period was 20: 5 less",
        "Price: each of plan flex; in this period 20 seat so far, then 15",
        "  -5 seat x 10 = -50",
        "  150 - 200 = -50 EUR",
        "Amount: -50 EUR, booked as -50",
    ]


def test_what_counts_once_says_what_it_is_the_first_of() -> None:
    assert core(booked(space(plan(days=per_unit("25"))), entered("11-02 23:30")))[:1] == [
        "  the member's first event of 2026-11-03 (Europe/Berlin), which counts one",
    ]
    assert core(booked(level(reads("unique")), reading("11-02", "window")))[:1] == [
        "  the member's first event of the period with n = window, which counts one",
    ]
    assert core(booked(level(reads("count")), reading("11-02", 1)))[:1] == [
        "  one for the event",
    ]


def test_the_clock_shows_seconds_only_where_there_are_some() -> None:
    instants = ("2026-11-02T09:00:00Z", "2026-11-02T09:00:07Z", "2026-11-02T09:00:00.000005Z")
    shown = [local_text(t(instant), "UTC") for instant in instants]
    assert shown == ["2026-11-02 09:00", "2026-11-02 09:00:07", "2026-11-02 09:00:00.000005"]


def test_a_guest_of_the_walk_in_account_is_told() -> None:
    where = space(plan(), account="walk-in")
    scene = booked(where, replace(sale("paid", COFFEE, total="11.90"), subject=None))
    assert "Account: walk-in, the site's account for guests without a known identity" in scene.text()


def test_what_was_told_again_is_told_with_what_counted() -> None:
    scene = booked(ACTS, *map(pulse, range(0, 160, 20)))
    assert len(scene.ledger.charges) == 1
    told = ", ".join(f"p{second} from berlin/device" for second in (20, 40, 60, 80, 100))
    assert core(scene)[:2] == ["  one for the event", f"  the same act, told again within 30 s: {told} and 2 more"]
    assert scene.json()["same_act"] is None
    assert scene.json()["measured"] == {
        "aggregate": "count",
        "first": None,
        "debounce_seconds": 30,
        "told_again": [{"source": "berlin/device", "id": f"p{second}"} for second in range(20, 160, 20)],
    }


def test_an_act_that_was_told_once_says_no_more_than_that() -> None:
    scene = booked(ACTS, pulse(0), pulse(30))
    assert core(scene)[0] == "  one for the event"
    assert core(scene)[1].startswith("Price: ")
    assert scene.json()["measured"]["told_again"] == []


def test_each_meter_has_acts_of_its_own() -> None:
    longer = replace(VISITS, id="longer", debounce_s=60)
    terms = {"meters": {"visits": VISITS, "longer": longer}}
    scene = booked(space(plan(visits=per_unit("2"), longer=per_unit("2")), terms=terms), pulse(0), pulse(20), pulse(55))
    told = {(charge.line.meter, charge.line.key.id): n for n, charge in enumerate(scene.ledger.charges)}
    assert sorted(told) == [("longer", "p00"), ("visits", "p00"), ("visits", "p55")]
    again = [core(scene, told[name])[1] for name in sorted(told)]
    assert again[0] == "  the same act, told again within 1 min: p20 from berlin/device, p55 from berlin/device"
    assert again[1] == "  the same act, told again within 30 s: p20 from berlin/device"
    assert again[2].startswith("Price: ")


def test_a_line_taken_back_says_of_which_act_its_event_tells() -> None:
    first, second, third = pulse(0), pulse(20), pulse(40)
    scene = booked(ACTS, first, second, third, before=[third])
    assert [charge.role for charge in scene.ledger.charges] == ["original", "original", "reversal"]
    same = "  within 30 s of p20 from berlin/device: the same act, which p00 from berlin/device began"
    assert same in scene.text()
    assert scene.json()["same_act"] == {
        "debounce_seconds": 30,
        "before": {"source": "berlin/device", "id": "p20"},
        "first": {"source": "berlin/device", "id": "p00"},
    }
    scene = booked(ACTS, first, second, before=[second])
    assert "  within 30 s of p00 from berlin/device: the same act" in scene.text()


def test_an_end_that_is_an_estimate_says_so() -> None:
    left = event("left", "door.access", "11-02 10:20", {"direction": "out", "estimated": True})
    scene = booked(hours(), door("11-02 08:00", "in"), left)
    assert core(scene)[:3] == [
        "  from 2026-11-02 09:00 to 2026-11-02 11:20 (Europe/Berlin): 2 h 20 min",
        "  estimated, as its end says of itself",
        "  in steps of 15 min: 2 h 30 min",
    ]
    found = scene.json()
    assert found["estimated"]
    assert (found["measured"]["ended_by"], found["measured"]["missing_end"]) == ("estimated_end", None)
    assert [event["id"] for event in found["events"]] == ["in 11-02 08:00", "left"]
