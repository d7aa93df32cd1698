from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from meter.model.event import Revision, UsageEvent
from meter.rating.effective import effective
from tests.rating.world import amend, event, printed, use, void


def ids(events: list[UsageEvent], revisions: list[Revision] | None = None) -> list[str]:
    return [found.id for found in effective(events, revisions or [])]


def test_events_come_out_in_order_of_time_then_source_then_id() -> None:
    at_once = [use("11-02", 1, id="b"), use("11-02", 1, id="a"), replace(use("11-02", 1, id="c"), source="berlin/a")]
    earlier = use("11-01", 1, id="z")
    for order in permutations([*at_once, earlier]):
        assert ids(list(order)) == ["z", "c", "a", "b"]


def test_ids_compare_by_their_bytes() -> None:
    assert ids([use("11-02", 1, id="\U00010000"), use("11-02", 1, id="\uffff")]) == ["\uffff", "\U00010000"]


def test_a_voided_event_does_not_count() -> None:
    one, two = use("11-02", 1, id="one"), use("11-03", 1, id="two")
    assert ids([one, two], [void(one)]) == ["two"]


def test_the_latest_amendment_counts_whatever_came_first() -> None:
    one = use("11-02", 5)
    late = amend(one, {"quantity": 9}, id="late", at="11-20")
    early = amend(one, {"quantity": 7}, id="early", at="11-10")
    for revisions in ([late, early], [early, late]):
        assert [found.data for found in effective([one], revisions)] == [{"quantity": 9}]


def test_a_voided_amendment_leaves_the_one_before_it() -> None:
    one = use("11-02", 5)
    late = amend(one, {"quantity": 9}, id="late", at="11-20")
    early = amend(one, {"quantity": 7}, id="early", at="11-10")
    assert [found.data for found in effective([one], [void(late), late, early])] == [{"quantity": 7}]


def test_a_void_is_final_and_cannot_be_voided() -> None:
    one = use("11-02", 5)
    first = void(one, id="first")
    assert ids([one], [first, void(first, id="second")]) == []


def test_amending_an_amendment_or_a_void_changes_nothing() -> None:
    one = use("11-02", 5)
    amendment = amend(one, {"quantity": 9})
    again = amend(amendment, {"quantity": 1}, id="again")
    assert [found.data for found in effective([one], [amendment, again])] == [{"quantity": 9}]
    gone = void(one)
    assert ids([one], [gone, amend(gone, {"quantity": 1}, id="again")]) == []


def test_voiding_an_event_leaves_nothing_for_its_amendment() -> None:
    one = use("11-02", 5)
    assert ids([one], [amend(one, {"quantity": 9}), void(one)]) == []


def test_of_several_events_on_one_thing_the_latest_counts() -> None:
    first = replace(printed("11-02", 5), thing="job-1")
    second = replace(printed("11-03", 8), thing="job-1")
    for order in ([first, second], [second, first]):
        assert ids(order) == [second.id]


def test_a_voided_event_is_not_the_latest_on_its_thing() -> None:
    first = replace(printed("11-02", 5), thing="job-1")
    second = replace(printed("11-03", 8), thing="job-1")
    assert ids([first, second], [void(second)]) == [first.id]


def test_things_are_told_apart_by_source_and_type() -> None:
    first = replace(printed("11-02", 5), thing="1")
    other_source = replace(printed("11-03", 5), thing="1", source="berlin/other")
    other_type = event("s", "pos.sale", "11-04", {"order": "1"})
    assert len(ids([first, other_source, other_type])) == 3


def test_an_amendment_counts_for_the_latest_only() -> None:
    first = replace(printed("11-02", 5), thing="job-1")
    second = replace(printed("11-03", 8), thing="job-1")
    amended = amend(first, {"impressions": 99})
    assert [found.data["impressions"] for found in effective([first, second], [amended])] == [8]
    found = effective([first, second], [amended, void(second)])
    assert [each.data["impressions"] for each in found] == [99]


def test_heartbeats_and_revisions_themselves_never_come_out() -> None:
    kinds = ("edge.heartbeat", "event.voided", "event.amended")
    assert ids([event(kind, kind, "11-02", {}) for kind in kinds]) == []


def refund(status: str, *, id: str, at: str, order: str = "o") -> UsageEvent:
    sale = {"source": "berlin/till", "order": order}
    return event(id, "pos.refund", at, {"refund": "r", "sale": sale, "status": status}, by=None)


def test_of_a_refunds_events_the_latest_counts_with_its_status() -> None:
    pending, completed = refund("pending", id="1", at="11-02"), refund("completed", id="2", at="11-03")
    failed = refund("failed", id="3", at="11-04")
    for order in permutations([pending, completed, failed]):
        assert [found.data["status"] for found in effective(order, [])] == ["failed"]
    assert [found.data["status"] for found in effective([completed, pending], [])] == ["completed"]
    assert [found.data["status"] for found in effective([completed, failed], [void(failed)])] == ["completed"]


def test_an_amendment_does_not_move_a_refund_to_another_sale() -> None:
    one = refund("completed", id="1", at="11-02")
    (found,) = effective([one], [amend(one, {"amount": "3", "sale": {"source": "x", "order": "y"}})])
    assert found.data == {"amount": "3", "sale": {"source": "berlin/till", "order": "o"}}


@pytest.mark.parametrize(
    ("said", "hours"),
    [
        ({}, "1.666666666667"),
        ({"hours": None}, "1.666666666667"),
        ({"hours": "2.5"}, "2.5"),
        ({"end": "2026-11-02T09:00:00Z"}, "0"),
        ({"end": "2026-11-02T11:00:00.5+01:00"}, "1.000138888889"),
    ],
)
@pytest.mark.parametrize("kind", ["room.booking", "locker.rental", "phonebooth.session"])
def test_a_booking_has_its_hours_said_or_derived(kind: str, said: Mapping[str, Any], hours: str) -> None:
    data = {"booking": "b", "start": "2026-11-02T09:00:00Z", "end": "2026-11-02T10:40:00Z", **said}
    booking = replace(event("b", kind, "11-02", data), thing="b")
    (found,) = effective([booking], [])
    assert Decimal(found.data["hours"]) == Decimal(hours)
    shorter = amend(booking, {**data, "hours": None, "end": "2026-11-02T09:30:00Z"})
    (found,) = effective([booking], [shorter])
    assert found.data["hours"] == Decimal("0.5")
    (found,) = effective([booking], [amend(booking, {"end": 7}, id="odd")])
    assert found.data == {"end": 7}
