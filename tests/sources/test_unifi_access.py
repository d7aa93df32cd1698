import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Refusal, WireEvent
from meter.sources.doors.unifi_access import check, read
from meter.sources.registry import VENDORS
from meter.sources.spec import Answer, Delivery, Setup
from tests.sources.case import FILLED, KEYS, RECEIVED, delivery, events, setup
from tests.sources.cases.unifi_access import CASE, DOOR, PERSON, PUBLISHED, page, row, unlock

LOGGED = setup("unifi-access", "hub", secrets=KEYS, api_base="https://192.0.2.7:12445/", api_key=FILLED["api_key"])
AT_START = {"since": "2026-03-01T09:30:00Z", "newest": "2026-03-01T09:30:00Z"}
FEED = VENDORS["unifi-access"].feeds["log"]
FETCH = VENDORS["unifi-access"].fetches["log"]


def webhook(body: bytes, *, after: timedelta = timedelta(0), given: Setup = CASE.setup) -> Delivery:
    at = RECEIVED + after
    bare = delivery(body, at=at)
    assert CASE.sign is not None
    headers, _ = CASE.sign(given, KEYS[0], bare)
    return delivery(body, at=at, headers=headers)


def access(body: bytes, *, after: timedelta = timedelta(0), given: Setup = CASE.setup) -> WireEvent:
    (made,) = events(read(given, webhook(body, after=after)).items)
    return made


def answer(*rows: Any) -> Answer:
    return Answer(status=200, body=page(*rows), received_at=RECEIVED)


def logged(*rows: Any, given: Setup = LOGGED) -> Sequence[WireEvent]:
    return events(FEED.read(given, None, answer(*rows)).items)


# --- signatures -------------------------------------------------------------------------------------------------------


def test_a_vector_computed_elsewhere() -> None:
    """printf '1772443800.{"event":"x"}' | openssl dgst -sha256 -hmac the-active-key"""
    value = "7383a986f4b511965ef1042b366197ad97eff3c67c228727bf73ddca07ca8cc3"
    at = datetime.fromtimestamp(1772443800, UTC)
    check(CASE.setup, delivery(b'{"event":"x"}', at=at, headers={"signature": f"t=1772443800,v1={value}"}))


def test_the_signature_may_be_of_the_body_alone() -> None:
    """printf '{"event":"x"}' | openssl dgst -sha256 -hmac the-active-key"""
    value = "ee679e4d2c08d4a21de2d082a76318a137e2645a9caa0dd59d1fb08cdc026399"
    at = datetime.fromtimestamp(1772443800, UTC)
    signed = delivery(b'{"event":"x"}', at=at, headers={"signature": f"t=1772443800,v1={value}"})
    check(setup("unifi-access", secrets=KEYS, options={"signed": "body"}), signed)
    with pytest.raises(BadInput, match="option signed"):
        check(CASE.setup, signed)


@pytest.mark.parametrize(("off_s", "good"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_an_old_or_early_signature_is_stale(off_s: int, *, good: bool) -> None:
    sent = webhook(unlock())
    late = delivery(sent.body, at=RECEIVED + timedelta(seconds=off_s), headers=sent.headers)
    if good:
        check(CASE.setup, late)
        return
    with pytest.raises(BadInput) as refused:
        check(CASE.setup, late)
    assert refused.value.code == "stale"


@pytest.mark.parametrize("t", ["", "0", "-1", "now", "1e9", "\u0661\u0662", "9" * 30])
def test_a_time_that_cannot_be_is_refused_though_it_is_signed(t: str) -> None:
    value = hmac.new(KEYS[0].encode(), f"{t}.".encode() + unlock(), hashlib.sha256).hexdigest()
    with pytest.raises(BadInput) as refused:
        check(CASE.setup, delivery(unlock(), headers={"signature": f"t={t},v1={value}"}))
    assert refused.value.code in {"bad_signature", "stale"}


def test_of_two_signatures_one_is_enough() -> None:
    sent = webhook(unlock())
    check(CASE.setup, delivery(sent.body, headers={"signature": sent.headers["signature"] + ",v1=0123"}))


# --- the webhook ------------------------------------------------------------------------------------------------------


def test_a_repetition_that_is_signed_anew_is_the_same_access() -> None:
    first, again = access(unlock()), access(unlock(), after=timedelta(seconds=20))
    assert (first.id, first.content_hash) == (again.id, again.content_hash)
    assert access(unlock(), after=timedelta(seconds=40)).id != first.id


def test_a_repetition_of_the_same_bytes_is_the_same_access_until_it_is_stale() -> None:
    sent = webhook(unlock())
    late = delivery(sent.body, at=RECEIVED + timedelta(seconds=290), headers=sent.headers)
    assert [event.id for event in events(read(CASE.setup, late).items)] == [access(unlock()).id]


@pytest.mark.parametrize("result", ["Access Denied", "Access Denied / Unknown (NFC)", "access granted", "Pending"])
def test_only_the_documented_word_opens(result: str) -> None:
    denied = access(unlock(seen={"result": result}))
    assert (denied.data["granted"], denied.data["reason"]) == (False, result)


def test_what_differs_in_the_fact_is_another_access() -> None:
    others = {
        access(unlock()).id,
        access(unlock(actor={"id": "another"})).id,
        access(unlock(seen={"result": "Access Denied"})).id,
        access(unlock(seen={"authentication_type": "FACE"})).id,
        access(unlock().replace(DOOR.encode(), b"another-door")).id,
    }
    assert len(others) == 5


def test_the_receipt_time_stands_in_and_says_so() -> None:
    made = access(unlock())
    assert made.time is None
    assert made.attributes == {"timeflag": "fallback"}
    assert made.data == {
        "door": DOOR,
        "granted": True,
        "door_name": "Front door",
        "direction": "in",
        "credential": "NFC",
        "hint": {"name": "Mira Muster"},
    }


def test_who_opens_from_afar_did_not_come_in() -> None:
    for how in ("REMOTE", "CALL", "REX", "EXIT_BUTTON", "BUTTON_DOOR_BELL"):
        made = access(unlock(seen={"authentication_type": how}))
        assert made.subject is None
        assert "hint" not in made.data


def test_a_pin_is_never_passed_on() -> None:
    body = unlock(actor=None, seen={"authentication_type": "PIN_CODE", "authentication_value": "493817"})
    made = access(body)
    assert made.subject is None
    assert b"493817" not in made.body


def test_the_way_may_stand_in_a_field() -> None:
    given = setup("unifi-access", options={"direction_path": "data.object.way", "direction": ""})
    assert access(unlock(seen={"way": "exit"}), given=given).data["direction"] == "out"
    assert "direction" not in access(unlock(), given=given).data


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_row_is_an_access_at_the_time_of_the_log() -> None:
    (made,) = logged(row())
    assert made.subject == f"unifi:{PERSON}"
    assert made.time == datetime(2026, 3, 2, 8, 1, 27, tzinfo=UTC)
    assert made.data == {
        "door": DOOR,
        "granted": True,
        "door_name": "Front door",
        "direction": "out",
        "credential": "NFC",
        "hint": {"name": "Mira Muster"},
    }


def test_the_references_own_row_is_a_denied_card() -> None:
    """No person, no door and an empty _id: the card, the hub and the rest of the row stand for them."""
    (made,) = logged(
        row(
            actor={"id": "", "display_name": "N/A", "type": "user"},
            event={"result": "BLOCKED", "display_message": "Access Denied / Unknown (NFC)"},
            target=[{"type": "UAH", "id": "7483c2773855", "display_name": "UA-HUB-3855"}],
        )
    )
    assert made.subject == "badge:6FC02554"
    assert made.data == {
        "door": "7483c2773855",
        "granted": False,
        "door_name": "UA-HUB-3855",
        "direction": "in",
        "reason": "Access Denied / Unknown (NFC)",
        "credential": "NFC",
    }


def test_rows_without_ids_are_told_apart() -> None:
    rows = [
        row(),
        row(event={"published": PUBLISHED + 1}),
        row(event={"result": "BLOCKED"}),
        row(actor={"id": "another"}),
        row(authentication={"credential_provider": "FACE"}),
        row(target=[{"type": "door", "id": "another"}]),
        *[
            row(actor={"id": ""}, authentication={"credential_provider": "NFC", "issuer": card})
            for card in ("01", "02")
        ],
    ]
    assert len({made.id for made in logged(*rows)}) == len(rows)
    assert logged(row())[0].id == logged(row(_id="given-later"))[0].id


@pytest.mark.parametrize("how", ["REMOTE_THROUGH_UAH", "remote", "CALL", "BUTTON_DOOR_BELL"])
def test_a_remote_unlock_in_the_log_is_nobodys(how: str) -> None:
    (made,) = logged(row(authentication={"credential_provider": how, "issuer": ""}))
    assert made.subject is None


def test_a_pin_in_the_log_is_never_passed_on() -> None:
    """Not even in a digest, from which six digits are soon guessed."""
    pins = [
        row(actor={"id": ""}, authentication={"credential_provider": "PIN_CODE", "issuer": pin})
        for pin in ("493817", "271828")
    ]
    first, second = logged(*pins)
    assert first.subject is None
    assert first.id == second.id


def test_one_bad_row_is_one_refusal() -> None:
    polled = FEED.read(LOGGED, None, answer(row(), row(target=[]), "nonsense", None, row(event={"published": "soon"})))
    assert [type(item) for item in polled.items] == [WireEvent, Refusal, Refusal, Refusal, Refusal]
    assert polled.more is False


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"code":"CODE_UNAUTHORIZED"}', b'{"code":"SUCCESS","data":{"hits":{}}}']
)
def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        FEED.read(LOGGED, None, Answer(status=200, body=body, received_at=RECEIVED))
    assert refused.value.code in {"bad_payload", "not_json"}


def test_the_log_is_asked_for_in_seconds_and_pages() -> None:
    asked = FEED.request(LOGGED, {**AT_START, "page": 3, "token": None, "paged_at": "2026-03-02T09:29:59Z"}, RECEIVED)
    assert (asked.method, asked.url) == ("POST", "https://192.0.2.7:12445/api/v1/developer/system/logs")
    assert asked.query == {"page_num": "3", "page_size": "100"}
    assert asked.headers["Authorization"] == "Bearer the-api-key"
    assert json.loads(asked.body) == {
        "topic": "door_openings",
        "since": int(RECEIVED.timestamp()) - 86_400,
        "until": int(RECEIVED.timestamp()) + 300,
    }
    assert asked.verify_tls
    given = setup("unifi-access", api_base="https://hub", api_key="k", options={"verify_tls": False})
    assert not FEED.request(given, None, RECEIVED).verify_tls


def test_a_poll_goes_through_the_pages_and_on_from_the_newest_row() -> None:
    full = FEED.read(LOGGED, None, answer(*[row(event={"published": PUBLISHED + n}) for n in range(100)]))
    assert full.more
    assert (
        full.cursor.items() >= {"since": AT_START["since"], "page": 2, "newest": "2026-03-02T08:01:27.099000Z"}.items()
    )
    last = FEED.read(LOGGED, full.cursor, answer(row(event={"published": PUBLISHED - 60_000})))
    assert not last.more
    assert last.cursor == {"since": "2026-03-02T07:01:27Z", "newest": "2026-03-02T08:01:27.099000Z"}
    nothing = FEED.read(LOGGED, last.cursor, answer())
    assert nothing.cursor == last.cursor


def test_a_row_from_the_future_does_not_lead_the_poll() -> None:
    """What comes after it would never be asked for."""
    far = FEED.read(LOGGED, None, answer(row(event={"published": 4102444800000})))
    assert far.cursor == {"since": "2026-03-02T08:35:00Z", "newest": "2026-03-02T09:35:00Z"}


# --- both routes ------------------------------------------------------------------------------------------------------


def test_one_act_by_both_routes_is_one_access() -> None:
    (notice,) = events(read(LOGGED, webhook(unlock(), given=LOGGED)).items)
    assert notice.type == "source.changed"
    wanted = notice.data
    signed = int(RECEIVED.timestamp())
    assert wanted["since"] <= signed - 60
    assert wanted["until"] >= signed + 60
    around = FETCH.request(LOGGED, wanted)
    assert json.loads(around.body)["until"] == wanted["until"]
    found = events(FETCH.read(LOGGED, wanted, answer(row())).items)
    polled = logged(row())
    assert [(e.source, e.id, e.content_hash) for e in found] == [(e.source, e.id, e.content_hash) for e in polled]


def test_a_notice_that_comes_twice_is_one() -> None:
    first, again = (events(read(LOGGED, webhook(unlock(), given=LOGGED)).items)[0] for _ in range(2))
    assert (first.id, first.content_hash) == (again.id, again.content_hash)


def test_where_webhooks_count_the_log_does_not() -> None:
    given = setup("unifi-access", secrets=KEYS, api_base="https://hub", api_key="k", options={"usage_from": "webhook"})
    polled = FEED.read(given, None, answer(*[row()] * 100))
    assert (list(polled.items), polled.more) == ([], False)
    assert access(unlock(), given=given).type == "door.access"
