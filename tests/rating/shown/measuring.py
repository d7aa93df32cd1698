"""Examples of sections 1 to 3: periods, identities, events, what each aggregation counts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from meter.model.directory import Claim, Span
from meter.model.event import UsageEvent
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.model.period import Periods, Terms
from meter.model.wire import read_event
from meter.rating.resolve import member_of
from tests.rating.shown.words import (
    ZONE,
    bill,
    by_meter,
    door,
    example,
    figures,
    hours,
    house,
    money,
    on,
    print_job,
    quantities,
    total,
    used,
)
from tests.rating.world import Space, amend, d, directory, event, void

PLAIN = """
    meters: {{use: {{event: usage.reported, unit: unit, {meter}}}}}
    plans: {{flex: {{prices: {{use: [{{id: each, model: per_unit, unit_price: "1"}}]}}}}}}
"""
PAGES = """
    meters: {pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}}
    plans: {flex: {prices: {pages: [{id: page, model: per_unit, unit_price: "0.05"}]}}}
"""
DOOR = """
    meters: {{door: {{event: door.access, where: {{granted: true}}, {meter}}}}}
    plans: {{flex: {{prices: {{door: [{{id: each, model: per_unit, unit_price: "4.00"}}]}}}}}}
"""
PRESENCE = "aggregate: duration, unit: hour, start: {direction: in}, end: {direction: out}"


def reported(meter: str) -> Space:
    return house(PLAIN.format(meter=meter))


def at_the_door(meter: str) -> Space:
    return house(DOOR.format(meter=meter))


@example
def periods() -> str:
    anchor, months = 31, ("01-31", "02-28", "03-31")
    starts = [Periods(Terms("EUR", ZONE, anchor)).at(on(day)).start.astimezone(on(day).tzinfo) for day in months]
    told = [f"{start.day} {start:%B}" for start in starts]
    return f"With `anchor_day` {anchor}, periods begin on {told[0]}, {told[1]} and {told[2]}."


@example
def claims() -> str:
    badge = "badge:04A2991B"
    claims = [
        Claim(identity=badge, member="ada", span=Span(start=on("01-01 00:00"))),
        Claim(identity=badge, member="bob", span=Span(start=on("11-10 00:00"))),
    ]
    people = directory(claims=claims)
    names = {"ada": "Ada", "bob": "Bob"}
    whose = [names[member_of(badge, on(day), people) or ""] for day in ("11-09", "11-10")]
    return (
        f"A badge is claimed for {names[claims[0].member]} from 1 January and for {names[claims[1].member]} from "
        f"10 November: what it does on 9 November is {whose[0]}'s, on 10 November {whose[1]}'s."
    )


@example
def offsets() -> str:
    fast_s = 90
    body = {"specversion": "1.0", "id": "1", "source": "berlin/door/main", "type": "door.access"}
    sent = body | {
        "data": {"door": "main", "granted": True},
        "time": "2026-11-02T12:00:30Z",
        "edgeoffsetms": fast_s * 1000,
    }
    read: Any = read_event(json.dumps(sent).encode())
    time = instant_text(read.time)[11:19]
    return f"A reader's clock is {fast_s} s fast and says 12:00:30: the event counts at {time}."


@example
def amendments() -> str:
    where, five, nine = house(PAGES), 5, 9
    job = print_job("11-02", five)
    amended = amend(job, {**job.data, "impressions": nine})
    now = quantities(where.lines(job, revisions=[amended]))
    after = quantities(where.lines(job, revisions=[amended, void(amended)]))
    return f"A job of {five} pages is amended to {nine}: {now} pages. The amendment is voided: {after} again."


@example
def counting() -> str:
    where = at_the_door("aggregate: count, unit: opening")
    seen = [door("11-02 09:00"), door("11-02 09:05", granted=False), door("11-02 18:00", "out")]
    count = total(line.quantity for line in where.lines(*seen))
    return f"{len(seen)} openings at a door, one of them refused, with `where: {{granted: true}}`: {plain(count)}."


@example
def summing() -> str:
    where = house("""
        meters:
          wifi: {event: wifi.session, aggregate: sum, value: bytes_in, scale: "1e-9", unit: GB}
          cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
        plans: {flex: {prices: {wifi: [{id: data, model: per_unit, unit_price: "0.10"}],
                                cafe: [{id: cafe, model: pass_through}]}}}
    """)
    read = 1_500_000_000
    session = event("w", "wifi.session", on("11-02"), {"session": "w", "status": "stop", "bytes_in": read})
    lines = [{"quantity": 1, "amount": "3.50"}, {"quantity": 1, "amount": "4.00"}]
    sale = event(
        "s", "pos.sale", on("11-03"), {"order": "o", "currency": "EUR", "lines": lines, "settlement": "account"}
    )
    found = where.lines(session, sale)
    gigabytes, parts = quantities(by_meter(found, "wifi")), figures(line.quantity for line in by_meter(found, "cafe"))
    return (
        f'{read:_} bytes with `scale: "1e-9"` are {gigabytes} GB. The value `lines.amount` of a sale with two lines '
        f"gives two "
        f"contributions, {parts}."
    ).replace("_", " ")


def told_one_after_the_other(meter: str, readings: list[int]) -> str:
    events = [used(f"11-{day:02}", reading) for day, reading in enumerate(readings, 2)]
    return quantities(reported(meter).lines(*events))


@example
def highest() -> str:
    readings = [3, 5, 4, 7]
    steps = told_one_after_the_other("aggregate: max", readings)
    return f"Desks in use, {figures(map(d, readings), plain)}: lines of {steps}, together the highest."


@example
def latest() -> str:
    readings = [4, 6, 5]
    steps = told_one_after_the_other("aggregate: latest", readings)
    return f"Seats of a team, {figures(map(d, readings), plain)}: lines of {steps}, together the last."


@example
def days() -> str:
    where = at_the_door("aggregate: unique_days, unit: day")
    seen = [door("11-02 09:00"), door("11-02 13:00"), door("11-02 18:00")]
    booked = bill(where, where.lines(*seen))
    late = bill(where, where.lines(door("11-02 08:00"), *seen), booked=booked)
    told = {str(charge.role): f"{charge.line.key.time.astimezone(on('11-02').tzinfo):%H:%M}" for charge in late}
    assert len(booked) == 1
    return (
        f"Ada comes at 09:00, 13:00 and 18:00: {plain(booked[0].line.quantity)} day, at 09:00. An event of 08:00 of "
        f"that day comes "
        f"in late: the line of {told['reversal']} is reversed and one of {told['original']} is booked."
    )


@example
def distinct() -> str:
    where = house("""
        meters: {rooms: {event: room.booking, aggregate: unique, value: resource, unit: room}}
        plans: {flex: {prices: {rooms: [{id: room, model: per_unit, unit_price: "1"}]}}}
    """)
    rooms = ["harbour", "attic", "harbour"]
    events = [
        event(f"b{n}", "room.booking", on(f"11-{n + 2:02}"), {"booking": f"b{n}", "resource": room})
        for n, room in enumerate(rooms)
    ]
    count = plain(total(line.quantity for line in where.lines(*events)))
    return f"Ada books {', '.join(rooms[:-1])} and {rooms[-1]} again: {count} rooms."


def counted(readings: list[int], **more: str) -> str:
    terms = ", ".join(f"{name}: {value}" for name, value in more.items())
    events = [used(f"11-{day:02}", reading) for day, reading in enumerate(readings, 2)]
    lines = reported(f"aggregate: counter{terms and ', '}{terms}").lines(*events)
    return plain(total(line.quantity for line in lines))


VISITS = "aggregate: count, unit: visit"


def reads(*seconds: int) -> list[UsageEvent]:
    data, nine = {"door": "main", "granted": True}, on("11-02 09:00")
    return [event(f"read-{after:02}", "door.access", nine + timedelta(seconds=after), data) for after in seconds]


@example
def held_open() -> str:
    gap_s, held = 30, range(5)
    once, each = at_the_door(f"{VISITS}, debounce: {gap_s}s"), at_the_door(VISITS)

    def visits(*more: int) -> str:
        return plain(total(line.quantity for line in once.lines(*reads(*held, *more))))

    (line,) = once.lines(*reads(*held))
    first, later = line.key.time.astimezone(on("11-02").tzinfo), figures(map(d, held[1:]), plain)
    return (
        f"A door that is held open reads Ada's badge at 09:00:00 and {later} s later; with `debounce: {gap_s}s` it is "
        f"{visits()} visit, at {first:%H:%M:%S}, and without it {len(each.lines(*reads(*held)))}. She badges again "
        f"{gap_s - 1} s after the last read: still {visits(held[-1] + gap_s - 1)} visit; {gap_s} s after it: "
        f"{visits(held[-1] + gap_s)}."
    )


@example
def joined_late() -> str:
    where = at_the_door(f"{VISITS}, debounce: 30s")
    first, between, second = reads(0, 20, 40)
    apart, joined = where.lines(first, second), where.lines(first, between, second)
    corrected = bill(where, joined, booked=bill(where, apart))
    assert [(str(charge.role), charge.line.key.id) for charge in corrected] == [("reversal", second.id)]
    return (
        f"Reads of 09:00:00 and 09:00:40 are {len(apart)} visits. One of 09:00:20 comes in late: {len(joined)} visit, "
        "and the line of 09:00:40 is reversed."
    )


@example
def estimated_ends() -> str:
    where = at_the_door(f"{PRESENCE}, increment: 15m, missing_end: cap")
    come, found = door("11-02 09:00"), door("11-02 11:20", "out")
    swept = event("sweep", "door.access", on("11-02 11:00"), {"granted": True, "direction": "out", "estimated": True})
    (estimate,), (exact,) = where.lines(come, swept), where.lines(come, swept, found)
    return (
        "In at 09:00; a restart at 11:30 ends the session where it was heard of last, at 11:00: "
        f"{hours(estimate)}. The stop of 11:20 is found the next day: {hours(exact)}, with `increment: 15m`."
    )


@example
def counters() -> str:
    readings = [100, 90, 110]
    none, zero, below = (
        counted(readings),
        counted(readings, from_zero="true"),
        counted(readings, from_zero="true", reset="below"),
    )
    return (
        f"Readings of {figures(map(d, readings), plain)}: {none}; with `from_zero: true` {zero}, and with `reset: "
        f"below` "
        f"beside it {below}."
    )


@example
def counter_across_a_month() -> str:
    where = reported("aggregate: counter, from_zero: true")
    first, late, second = used("01-31 10:00", 100), used("01-31 20:00", 120), used("02-01 10:00", 150)

    def february(*events: UsageEvent) -> str:
        return quantities(line for line in where.lines(*events) if line.key.time >= on("02-01 00:00"))

    return (
        f"A counter stands at 100 on 31 January and at 150 on 1 February: February has {february(first, second)}. A "
        f"reading of "
        f"120 from the evening of 31 January comes in late: February has {february(first, late, second)}."
    )


@example
def forgetting() -> str:
    readings = [("11-02", 40), ("11-20", 10)]

    def gained(terms: str) -> str:
        where = reported(f"aggregate: counter, from_zero: true{terms}")
        return quantities(where.lines(*(used(day, reading) for day, reading in readings)))

    return (
        f"A session of Wi-Fi ends at {readings[0][1]}; {18} days later one with the same name stands at "
        f"{readings[1][1]}: lines of "
        f"{gained('')}, with `forget: 7d` of {gained(', forget: 7d')}."
    )


@example
def sessions() -> str:
    where = at_the_door(PRESENCE + ", increment: 15m")
    (line,) = where.lines(door("11-02 09:00"), door("11-02 17:20", "out"))
    return f"In at 09:00, out at 17:20, `increment: 15m`: {plain(line.quantity)} h, at 09:00."


@example
def increments() -> str:
    def billed(lengths: list[int], terms: str) -> list[str]:
        where = at_the_door(PRESENCE.replace("hour", "second") + f", {terms}")
        found = []
        for length in lengths:
            start = on("11-02 09:00")
            end = event("end", "door.access", start + timedelta(seconds=length), {"granted": True, "direction": "out"})
            (line,) = where.lines(door("11-02 09:00"), end)
            found.append(plain(line.quantity))
        return found

    one, two, three = billed([32, 57, 75], "increment: 30s/6s")
    (least,) = billed([21], "minimum: 20s, increment: 15s")
    return (
        f"With `increment: 30s/6s`, calls of 32, 57 and 75 s count {one}, {two} and {three} s. With `minimum: 20s` and "
        f"`increment: 15s`, one of 21 s counts {least}."
    )


@example
def missing_ends() -> str:
    def known(policy: str, clock: str) -> str:
        where = at_the_door(f"{PRESENCE}, max: 14h, idle: 1h, missing_end: {policy}")
        seen = [door("11-02 09:00"), door("11-02 11:30", "none")]
        before = where.lines(*seen, until=on(f"11-02 {clock}") - timedelta(microseconds=1))
        assert before == ()
        found = where.lines(*seen, until=on(f"11-02 {clock}"))
        return plain(found[0].quantity) if found else "nothing"

    cap, close, last = known("cap", "23:00"), known("close_at", "22:00"), known("last_seen", "12:30")
    return (
        "Ada comes in at 09:00, opens a door inside at 11:30, and never leaves; the site closes at 22:00, `max` is 14 "
        "h, `idle` "
        f"1 h. `cap`: {cap} h, known at 23:00. `close_at`: {close} h, known at 22:00. `last_seen`: {last} h, known at "
        f"12:30. "
        f"`none`: {known('none', '23:00')}."
    )


@example
def two_starts() -> str:
    where = at_the_door(f"{PRESENCE}, max: 14h, missing_end: close_at")
    first, second = where.lines(door("11-02 09:00"), door("11-02 10:00"), door("11-02 18:00", "out"), until=on("11-03"))
    return f"In at 09:00, in again at 10:00, out at 18:00: {hours(first)} and {hours(second)}."


@example
def a_late_end() -> str:
    where = at_the_door(f"{PRESENCE}, max: 14h, missing_end: close_at")
    come, gone = door("11-02 14:00"), door("11-02 23:30", "out")
    estimate = where.lines(come, until=on("11-03"))
    charges = bill(where, estimate)
    corrected = bill(where, where.lines(come, gone, until=on("11-03")), booked=charges)
    roles = [str(charge.role) for charge in corrected]
    assert roles == ["reversal", "replacement"]
    return (
        f"In at 14:00; the site closes at 22:00: {hours(estimate[0])}, {money(charges[0].rounded)} at 4.00 an hour. "
        f"The exit of "
        f"23:30 comes in the next day: the line is reversed, and one of {hours(corrected[1].line)} booked, "
        f"{money(total(charge.rounded for charge in corrected))} more."
    )


@example
def an_orphan() -> str:
    where = at_the_door(f"{PRESENCE}, max: 14h")
    folded = where.fold(door("11-02 09:00"), door("11-02 23:30", "out"), until=on("11-03"))
    return (
        f"In at 09:00, out at 23:30, `max: 14h`: {len(folded.lines)} lines, and {len(folded.orphans)} end without a "
        f"start on the "
        "list."
    )
