"""OfficeRnD: signatures by the vendor's formula, and bookings through their states."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.registry import VENDORS
from tests.sources.case import RECEIVED, delivery, events, setup
from tests.sources.cases.officernd import BOOKING, CASE, MEMBER, MEMBERSHIP, sign, webhook

HOOK = VENDORS["officernd"].hook
assert HOOK is not None
READ, CHECK = HOOK.read, HOOK.check


def made(event: str, thing: Mapping[str, Any], **options: Any) -> list[WireEvent]:
    given = setup("officernd", secrets=("k",), options=options)
    return events(READ(given, delivery(webhook(event, thing))).items)


def place(event: WireEvent) -> tuple[datetime | None, str, str]:
    return event.time, event.source, event.id


def test_the_time_stands_behind_the_body_and_is_found_by_its_name() -> None:
    stamp = str(int(RECEIVED.timestamp()))
    good = hmac.new(b"k", b"{}." + stamp.encode(), hashlib.sha256).hexdigest()
    other_order = hmac.new(b"k", stamp.encode() + b".{}", hashlib.sha256).hexdigest()
    given = setup("officernd", secrets=("k",))
    CHECK(given, delivery(b"{}", headers={"officernd-signature": f"signature={good}, t={stamp}"}))
    with pytest.raises(BadInput, match="signature"):
        CHECK(given, delivery(b"{}", headers={"officernd-signature": f"t={stamp},signature={other_order}"}))


def test_how_old_a_signature_may_be_is_a_setting() -> None:
    long = setup("officernd", secrets=("k",), options={"skew_s": 7200})
    late = RECEIVED.replace(hour=10)
    headers, _ = sign(long, "k", delivery(b"{}"))
    CHECK(long, delivery(b"{}", headers=headers, at=late))
    with pytest.raises(BadInput) as caught:
        CHECK(setup("officernd", secrets=("k",)), delivery(b"{}", headers=headers, at=late))
    assert caught.value.code == "stale"


def test_the_latest_state_of_a_booking_counts() -> None:
    (booked,) = made("booking.created", BOOKING)
    moved = {**BOOKING, "end": {"dateTime": "2026-03-02T12:00:00Z"}, "modifiedAt": "2026-03-01T18:00:00Z"}
    (longer,) = made("booking.updated", moved)
    (back,) = made("booking.updated", {**BOOKING, "modifiedAt": "2026-03-01T19:00:00Z"})
    (removed,) = made("booking.removed", {**BOOKING, "modifiedAt": "2026-03-01T19:00:00Z"})
    assert sorted([removed, back, longer, booked], key=place) == [booked, longer, back, removed]
    assert len({event.id for event in (booked, longer, back, removed)}) == 4
    assert {event.thing for event in (booked, longer, back, removed)} == {"65e1c0ffee"}
    assert [event.data["status"] for event in (booked, longer, back, removed)] == [*["booked"] * 3, "cancelled"]
    # Charged in the period in which it was made, whatever is changed later.
    assert {event.time for event in (booked, longer, back, removed)} == {datetime(2026, 2, 20, 8, tzinfo=UTC)}


def test_changes_within_one_second_are_in_their_order() -> None:
    whole, half = (
        made("booking.updated", {**BOOKING, "modifiedAt": f"2026-03-01T18:00:00{part}Z"})[0] for part in ("", ".5")
    )
    assert place(whole) < place(half)


@pytest.mark.parametrize("name", ["canceled", "tentative"])
def test_what_is_cancelled_or_not_confirmed_is_no_booking(name: str) -> None:
    (event,) = made("booking.updated", {**BOOKING, name: True})
    assert event.data["status"] == "cancelled"


def test_a_series_is_refused_unless_it_is_said_to_count_once() -> None:
    series = {**BOOKING, "recurrence": {"rrule": "FREQ=DAILY"}}
    with pytest.raises(BadInput, match="series"):
        made("booking.created", series)
    assert len(made("booking.created", series, series="once")) == 1
    assert len(made("booking.created", {**BOOKING, "recurrence": {"rrule": None}})) == 1


def test_references_may_be_whole_objects() -> None:
    expanded = {**BOOKING, "resourceId": None, "resource": {"_id": "65aa01"}, "member": {"_id": "65bb01", "name": "A"}}
    (event,) = made("booking.created", expanded)
    assert (event.data["resource"], event.subject) == ("65aa01", "officernd:65bb01")


def test_a_member_without_a_company_has_an_account() -> None:
    account, member = made("member.created", {**MEMBER, "team": None})
    assert (account.data["kind"], account.data["id"]) == ("account", "officernd-65bb01")
    assert member.data["body"]["account"] == "officernd-65bb01"
    assert member.data["body"]["identities"] == ["officernd:65bb01", "email:Ada@ACME.example"]


def test_a_membership_is_the_companys_or_the_members() -> None:
    (of_company,) = events(READ(CASE.setup, delivery(webhook("membership.created", MEMBERSHIP))).items)
    assert of_company.data["body"] == {
        "account": "officernd-65cc01",
        "plan": "flex-10",
        "from": "2026-01-01T00:00:00Z",
        "to": None,
    }
    (of_member,) = made("membership.created", {**MEMBERSHIP, "member": "65bb01"})
    assert of_member.data["body"]["member"] == "officernd-65bb01"
    assert of_member.data["body"]["plan"] == "Flex 10"
