from datetime import datetime, timedelta

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.doors.esphome import read
from meter.sources.spec import Setup
from tests.sources.case import RECEIVED, events, message, setup
from tests.sources.cases.esphome_tag import CASE, TOPIC


def access(
    tag: bytes = b"74-10-37-94", *, given: Setup = CASE.setup, topic: str = TOPIC, at: datetime = RECEIVED
) -> WireEvent:
    (made,) = events(read(given, message(topic, tag, at=at)).items)
    return made


def test_a_held_card_is_one_read_in_a_window() -> None:
    pulses = [access(at=RECEIVED + timedelta(seconds=n)) for n in range(0, 30, 3)]
    assert len({(made.id, made.content_hash) for made in pulses}) == 1
    assert access(at=RECEIVED + timedelta(seconds=30)).id != pulses[0].id
    assert access(given=setup("esphome-tag", options={"window_s": 5})).id != pulses[0].id


def test_another_tag_or_reader_is_another_read() -> None:
    assert len({access().id, access(b"74-10-37-95").id, access(topic="rc522-back/tag").id}) == 3


def test_the_reader_is_the_door_unless_it_is_named() -> None:
    assert access().data == {"door": "rc522", "granted": True, "direction": "in"}
    assert access(topic="site/rc522/tag").data["door"] == "site/rc522"
    assert access(topic="tag").data["door"] == "tag"
    assert access(given=setup("esphome-tag", options={"door": "Front"})).data["door"] == "Front"


def test_no_time_is_made_up() -> None:
    assert access().time is None


def test_who_takes_a_tag_away_leaves_where_that_is_so() -> None:
    given = setup("esphome-tag", options={"removed_is_out": True})
    out = access(given=given, topic="rc522/tag_removed")
    assert (out.data["door"], out.data["direction"]) == ("rc522", "out")
    assert out.id != access(given=given).id


@pytest.mark.parametrize(
    ("tag", "form", "length", "badge"),
    [
        (b"94371074", "hex_reversed", 0, "74103794"),
        (b"1947219860", "decimal", 4, "74103794"),
        (b"116,04151", "facility_card", 0, "741037"),
        (b"10111010000010000001101110", "wiegand26", 0, "741037"),
    ],
)
def test_readers_spell_badges_in_their_own_way(tag: bytes, form: str, length: int, badge: str) -> None:
    given = setup("esphome-tag", options={"badge_form": form, "badge_bytes": length})
    assert access(tag, given=given).subject == f"badge:{badge}"


@pytest.mark.parametrize("garbage", [b"hello", b"{}", b"74-10-", b"\xff", b"7" * 97, b"-", b"74 10\n37"])
def test_what_is_no_tag_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read(CASE.setup, message(TOPIC, garbage))
    assert refused.value.code == "bad_payload"


def test_a_wrong_parity_is_refused() -> None:
    given = setup("esphome-tag", options={"badge_form": "wiegand26"})
    with pytest.raises(BadInput) as refused:
        read(given, message(TOPIC, b"00111010000010000001101110"))
    assert refused.value.code == "bad_identity"


def test_a_reader_that_only_reads_opens_nothing() -> None:
    assert access(given=setup("esphome-tag", options={"granted": False})).data["granted"] is False
