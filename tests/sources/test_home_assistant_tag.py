from datetime import UTC, datetime, timedelta

from meter.model.wire import WireEvent
from meter.sources.doors.home_assistant import read
from tests.sources.case import RECEIVED, events, message
from tests.sources.cases.home_assistant_tag import CASE, FIRED, SCANNED, TOPIC


def access(body: bytes, *, at: datetime = RECEIVED) -> WireEvent:
    (made,) = events(read(CASE.setup, message(TOPIC, body, at=at)).items)
    return made


def test_the_scanner_is_the_door() -> None:
    assert access(SCANNED).data == {"door": "0d5c2a7e", "granted": True, "direction": "in"}
    assert access(b'{"tag_id":"04A2991B"}').data["door"] == TOPIC


def test_an_event_has_its_time_and_needs_no_window() -> None:
    made = access(FIRED)
    assert made.time == datetime(2026, 3, 2, 8, 1, 27, 120000, tzinfo=UTC)
    assert access(FIRED, at=RECEIVED + timedelta(days=1)).id == made.id
    assert access(FIRED.replace(b"27.12", b"28.12")).id != made.id


def test_without_a_time_there_is_a_window() -> None:
    assert access(SCANNED).time is None
    assert access(SCANNED, at=RECEIVED + timedelta(seconds=29)).id == access(SCANNED).id
    assert access(SCANNED, at=RECEIVED + timedelta(seconds=30)).id != access(SCANNED).id


def test_a_tag_of_the_app_is_a_badge_like_any_other() -> None:
    tag = b"74c52c0c-3e2f-4b7e-9c8d-1f2a3b4c5d6e"
    assert access(b'{"tag_id":"%s"}' % tag).subject == f"badge:{tag.decode().upper()}"
