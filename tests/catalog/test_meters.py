"""Meters: every key of a session, a counter and a gauge, conditions, and keys that do not go together."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.model.catalog import (
    Condition,
    Increment,
    Meter,
    Pairing,
)
from tests.catalog.reading import HEAD, faults, load, messages


def meter_of(rest: str) -> Meter:
    return load(HEAD + f"meters:\n  m: {{event: e, {rest}}}\n").catalog.meters["m"]


def test_every_key_of_a_session() -> None:
    every = "start: {s: 1}, end: {s: 0}, minimum: 20s, max: 1h30m, idle: 2h, increment: 30s/6s, missing_end: last_seen"
    assert meter_of(f"aggregate: duration, unit: minute, key: door.id, {every}") == Meter(
        id="m",
        event="e",
        aggregate="duration",
        unit="minute",
        key=("door", "id"),
        pairing=Pairing(
            start=(Condition(path=("s",), operator="=", value=1),),
            end=(Condition(path=("s",), operator="=", value=0),),
            max_s=5400,
            missing_end="last_seen",
            idle_s=7200,
            minimum_s=20,
            increment=Increment(first_s=30, step_s=6),
        ),
    )
    usual = meter_of("aggregate: duration, unit: second, start: {s: 1}, end: {s: 0}").pairing
    assert usual is not None
    assert (usual.max_s, usual.missing_end, usual.minimum_s) == (86_400, "none", 0)
    assert usual.increment == Increment(first_s=1, step_s=1)


def test_every_key_of_a_counter_and_of_a_gauge() -> None:
    counter = meter_of("aggregate: counter, value: v, unit: u, key: meter, reset: below, forget: 30d")
    assert (counter.key, counter.from_zero, counter.reset_below, counter.forget_s) == (
        ("meter",),
        False,
        True,
        30 * 86_400,
    )
    assert meter_of("aggregate: max, value: v, unit: u, per: member").per == "member"
    assert meter_of("aggregate: latest, value: v, unit: u").per == "account"


@pytest.mark.parametrize("aggregate", ["count", "unique_days", "unique, value: v"])
def test_what_asks_whether_something_happened_may_be_told_several_times(aggregate: str) -> None:
    meter = meter_of(f"aggregate: {aggregate}, unit: u, debounce: 1m30s, key: door.id")
    assert (meter.debounce_s, meter.key) == (90, ("door", "id"))
    meter = meter_of(f"aggregate: {aggregate}, unit: u, debounce: 1s, key: member")
    assert (meter.debounce_s, meter.key) == (1, None)
    assert meter_of(f"aggregate: {aggregate}, unit: u").debounce_s is None


@pytest.mark.parametrize("aggregate", ["sum", "max", "latest", "counter", "duration"])
def test_what_reads_values_loses_none(aggregate: str) -> None:
    rest = "unit: hour, start: {s: 1}, end: {s: 0}" if aggregate == "duration" else "unit: u, value: v"
    (message,) = messages(HEAD + f"meters:\n  m: {{event: e, aggregate: {aggregate}, {rest}, debounce: 30s}}\n")
    assert message == f"is for count, unique, unique_days: {aggregate} would lose what an event says"


@pytest.mark.parametrize("name", ["membership", "deposit", "credit"])
def test_what_is_booked_without_a_meter_keeps_its_name(name: str) -> None:
    assert faults(HEAD + f"meters:\n  {name}: {{event: e, aggregate: count, unit: u}}\n") == [
        ("0.yaml", 5, f"meters.{name}")
    ]


@pytest.mark.parametrize(
    ("rest", "paths"),
    [
        ("aggregate: count, unit: u, key: k", ["key"]),
        ("aggregate: sum, value: v, unit: u, from_zero: true", ["from_zero"]),
        ("aggregate: unique, value: v, unit: u, scale: 2", ["scale"]),
        ("aggregate: max, value: v, unit: u, reset: below", ["reset"]),
        ("aggregate: counter, value: v, unit: u, per: member", ["per"]),
        ("aggregate: count, unit: u, debounce: 0s", ["debounce"]),
        ("aggregate: count, unit: u, debounce: half a minute", ["debounce"]),
        ("aggregate: count, unit: u, debounce: 30s, forget: 1d", ["forget"]),
        ("aggregate: counter, value: v, unit: u, forget: 0s", ["forget"]),
        ("aggregate: duration, unit: hour", ["", ""]),
        ("aggregate: duration, unit: visit, start: {s: 1}, end: {s: 0}", ["unit"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, max: 0h", ["max"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, max: 99999d", ["max"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, increment: 30s/0s", ["increment"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, increment: 30", ["increment"]),
        ("aggregate: duration, unit: hour, start: {s: 1}, end: {s: 0}, value: v", ["value"]),
    ],
)
def test_a_key_of_another_aggregation_or_out_of_bounds_is_a_fault(rest: str, paths: list[str]) -> None:
    found = faults(HEAD + f"meters:\n  m: {{event: e, {rest}}}\n")
    assert found == [("0.yaml", 5, f"meters.m.{path}".rstrip(".")) for path in paths]


def test_every_comparison_of_where() -> None:
    where = "{status: completed, pages: {gt: 3, lte: 9.5}, kind: {in: [a, 1, true]}, x.y: {exists: false}, z: {'=': 1}}"
    text = HEAD + f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {where}}}\n"
    assert load(text).catalog.meters["m"].where == (
        Condition(path=("status",), operator="=", value="completed"),
        Condition(path=("pages",), operator="gt", value=Decimal(3)),
        Condition(path=("pages",), operator="lte", value=Decimal("9.5")),
        Condition(path=("kind",), operator="in", value=("a", 1, True)),
        Condition(path=("x", "y"), operator="exists", value=False),
        Condition(path=("z",), operator="=", value=1),
    )


@pytest.mark.parametrize(
    "where",
    ["{x: null}", "{x: {}}", "{x: {over: 3}}", "{x: {gt: many}}", "{x: {in: []}}", "{x: [1]}", "{a..b: 1}", "[x]", "x"],
)
def test_a_condition_that_says_nothing_is_a_fault(where: str) -> None:
    assert messages(HEAD + f"meters:\n  m: {{event: e, aggregate: count, unit: u, where: {where}}}\n")
