"""What a bill reads of a movement is all that has to be kept of it (decision 0026)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from meter.model.catalog import Condition, Meter, Pairing, Percentage, Price
from meter.model.event import Revision, UsageEvent, is_movement
from meter.model.payloads import KNOWN_TYPES
from meter.rating.movements import only, read_of
from tests.rating.histories import Facts, History, facts, histories
from tests.rating.test_laws import final, laws, whole
from tests.rating.world import catalog, d, plan

# Sensors of every kind; of the two last nothing tells where anybody was, but what a fold reads is told as well.
KINDS = ("door.access", "desk.seen", "meter.read", "print.job")
# What devices send beside.
MORE = {"door": "main", "credential": "04AA", "holder": {"name": "Ada Lovelace"}, "reason": "tailgate", "seconds": 7}


def test_movements_are_doors_wifi_and_desks() -> None:
    assert {name for name in KNOWN_TYPES if is_movement(name)} == {"door.access", "wifi.session"}
    assert is_movement("door.held")
    assert is_movement("desk.seen")
    assert not is_movement("doorbell.rung")


def met(*path: str) -> Condition:
    return Condition(path=path, operator="=", value="x")


PLAIN: dict[str, Any] = {"id": "m", "event": "door.access", "aggregate": "count", "unit": "entry"}


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ({}, set()),
        ({"where": (met("a", "b"),)}, {"a"}),
        ({"value": ("a",)}, {"a"}),
        ({"group_by": (("a",), ("b", "c"))}, {"a", "b"}),
        ({"key": ("a",), "debounce_s": 5}, {"a"}),
        (
            {
                "aggregate": "duration",
                "pairing": Pairing(start=(met("a"),), end=(met("b"),)),
            },
            {"a", "b", "estimated"},
        ),
        ({"event": "wifi.session", "value": ("a",)}, set()),
    ],
    ids=["nothing", "where", "value", "group_by", "key", "pairing", "another type"],
)
def test_every_way_in_which_a_meter_reads_is_known(terms: dict[str, Any], kept: set[str]) -> None:
    versions = [catalog(version=1, meters={}), catalog(version=2, meters={"m": Meter(**{**PLAIN, **terms})})]
    assert read_of(versions, "door.access") == kept


def test_what_a_percentage_is_of_is_read_too() -> None:
    model = Percentage(path=("paid", "net"), rate=d("0.1"))
    meters = {"m": Meter(**PLAIN)}
    found = catalog(plan("flex", m=(Price(id="p", model=model),)), meters=meters)
    assert read_of([found], "door.access") == {"paid"}


@laws
@given(known=facts(), history=histories())
def test_folded_without_the_rest_every_line_is_the_same(known: Facts, history: History) -> None:
    """Thinned, and thinned with everything that corrections say of it: line by line what was billed before."""
    where = final(known)
    kept = {kind: read_of(where.catalogs.versions, kind) for kind in KINDS}
    told: list[UsageEvent] = [
        replace(one, data={**MORE, **one.data}) if one.type in kept else one for one in history.events
    ]
    thin = [replace(one, data=only(one.data, kept[one.type])) if one.type in kept else one for one in told]
    assert not any(MORE.keys() & one.data.keys() for one in thin if one.type in kept)
    corrections: list[Revision] = history.revisions
    before = whole(where, History(told, corrections, history.until))
    after = whole(where, History(thin, corrections, history.until))
    assert after.lines == before.lines
    assert after.unread == before.unread
    assert after.orphans == before.orphans
