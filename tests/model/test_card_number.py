"""Numbers of payment cards: every issuer's, in every spelling; and what only looks like one."""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from uuid import UUID

import pytest

from meter.model import card_number
from meter.model.card_less import card_less
from meter.model.errors import BadInput
from meter.model.identity import normalise_identity
from meter.model.wire import Refusal, read_event
from tests.ingest.bodies import body

# The numbers that issuers and processors publish for tests.
ISSUED = [
    "4111111111111111",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "30569309025904",
    "6011111111111117",
    "3566002020360505",
    "6200000000000005",
    "6759649826438453",
    "2200000000000004",
]
SPELLED = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111\u00a01111\u00a01111\u00a01111",
    "4111+1111+1111+1111",
    "4111%201111%201111%201111",
]
AROUND = [
    "{}",
    "paid with {}, thanks",
    "{}.",
    "pan={}&exp=1228",
    "card:{}",
    "card-{} 12/28",
    "2026-11-23 {}",
    "1234 {}",
    "{} 123",
    "%B{}^LOVELACE/ADA^2812",
    "a\nb\n{}",
    "\u00fc{}",
]
NONE = [
    "4111111111111112",  # its check digit is wrong
    "1111111111111117",  # nobody's beginning
    "4006381333931",  # a barcode
    "41111111111111111111",
    "04111111111111111",
    "x4111111111111111",
    "4111111111111111x",
    "0.4111111111111111",
    "4111111111111111.25",
    "2026-11-23T04:35:00.411111Z",
    "1790000000000000",  # microseconds since 1970
    "20261123043500",
    "+49 30 4111 1111 1111",
    "550e8400-e29b-4111-8111-411111111111",
    "ch_3MqLiJ4111111111111111",
]


@pytest.mark.parametrize("number", ISSUED)
def test_every_issuers_numbers_are_found(number: str) -> None:
    assert card_number.holds(number)
    assert not card_number.holds(number[:-1] + str((int(number[-1]) + 1) % 10))
    masked = card_number.masked_text(number)
    assert masked == number[:6] + "*" * (len(number) - 10) + number[-4:]
    assert not card_number.holds(masked)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("spelled", SPELLED)
def test_every_spelling_is_found_wherever_it_stands(spelled: str, around: str) -> None:
    text = around.format(spelled)
    assert card_number.masked_text(text) == around.format("411111******1111")


def test_numbers_one_after_the_other_are_all_masked() -> None:
    text = "5555 4111 1111 1111 1111 and 378282246310005,4111111111111111"
    assert card_number.masked_text(text) == "5555 411111******1111 and 378282*****0005,411111******1111"


@pytest.mark.parametrize("text", NONE)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert card_number.masked_text(text) == text


@pytest.mark.parametrize("spelled", [*SPELLED, "%B4111111111111111^LOVELACE/ADA^2812"])
def test_a_long_body_is_searched_in_parts_as_it_would_be_in_one(spelled: str) -> None:
    number, part = spelled.encode(), 65_536
    for before in range(part - len(number) - 3, part + 4):
        for beside in (b" ", b"x", b"7"):
            whole = b" " * (before - 1) + beside + number + beside + b" " * 300
            once = card_number._masked(beside + number + beside)
            assert card_number._masked(whole) == b" " * (before - 1) + once + b" " * 300


def test_ids_and_codes_of_other_shapes_are_none() -> None:
    rng = random.Random(23)  # noqa: S311 -- the same shapes on every run
    for _ in range(5_000):
        barcode = f"{rng.choice((30, 40, 45, 50, 54))}{rng.randrange(10**11):011d}"
        micros = rng.randrange(1_577_836_800_000_000, 2_177_452_800_000_000)
        uid = 4 << 48 | rng.getrandbits(48)
        for text in (
            barcode,
            f"{micros}",
            f"{uid}",
            str(UUID(int=rng.getrandbits(128))),
            f"{rng.getrandbits(96):024x}",
        ):
            assert not card_number.holds(text), text


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"order": "o-1", "note": "4111 1111 1111 1111"}, "data.note"),
        ({"order": "o-1", "tenders": [{}, {"card": {"pan": "4111111111111111"}}]}, "data.tenders[1].card.pan"),
        ({"order": "o-1", "pan": 4111111111111111}, "data.pan"),
        ({"order": "o-1", "pan": 4111111111111111.0}, "data.pan"),
        ({"order": "o-1", "4111111111111111": 1}, "data"),
        ({"order": "o-1", "body_base64": b64encode(b"pan=4111111111111111").decode()}, "data.body_base64"),
    ],
)
def test_a_body_stays_json_and_the_path_is_told(data: dict[str, object], path: str) -> None:
    sent = body(data=data)
    masked, where = card_number.masked_body(sent)
    assert where == path
    assert json.loads(masked).keys() == json.loads(sent).keys()
    assert b"4111111111111111" not in masked.replace(b" ", b"")
    assert card_number.masked_body(masked) == (masked, None)


def test_thousands_of_names_that_look_alike_once_masked_stay_apart() -> None:
    """Each in a few bytes: what tells them apart must not grow with their number."""
    spelled = (f"411111{middle:06d}11{last:02d}" for middle in range(3_000) for last in range(100))
    names = [name for name in spelled if name.endswith("11") and card_number.holds(name)]
    assert len(names) > 200
    sent = body(data=dict.fromkeys([*names, "411111******1111 (2)"], 1))
    masked, where = card_number.masked_body(sent)
    assert where == "data"
    assert len(json.loads(masked)["data"]) == len(names) + 1
    assert len(masked) < len(sent) + 8 * len(names)


def test_digits_that_are_escaped_are_read() -> None:
    sent = body(data={"note": "XX111111111111111"}).replace(b"XX", b"\\u0034")
    assert card_number.masked_body(sent)[1] == "data.note"


def test_what_an_agent_counts_by_is_no_card() -> None:
    sent = body(edge="hut", boot=4111111111111111, sequence=378282246310005)
    assert card_number.masked_body(sent) == (sent, None)


def test_an_event_becomes_a_refusal_that_keeps_its_sender() -> None:
    refused = card_less(
        read_event(body(edge="hut", boot=3, sequence=7, type="till.note", data={"note": "4111111111111111"}))
    )
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.id) == ("card_number", "e-1")
    assert (refused.edge, refused.boot, refused.sequence) == ("hut", 3, 7)
    assert "data.note" in refused.detail
    assert "1111" not in refused.detail


def test_what_is_refused_already_keeps_its_reason() -> None:
    refused = card_less(read_event(body(time="paid by card in March 4111 1111 1111 1111")))
    assert isinstance(refused, Refusal)
    assert refused.code == "bad_time"
    assert "4111" not in refused.detail
    assert b"411111******1111" in refused.body


def test_what_an_agent_could_not_read_stays_with_its_number_masked() -> None:
    inner = b64encode(b"<pan>4111111111111111</pan>").decode()
    told = {"code": "not_json", "detail": "no JSON", "origin": "POST /x", "body_base64": inner}
    kept = card_less(read_event(body(type="edge.refusal", subject=None, data=told)))
    assert not isinstance(kept, Refusal)
    assert b64decode(kept.data["body_base64"]) == b"<pan>411111******1111</pan>"


def test_an_identity_is_no_card() -> None:
    with pytest.raises(BadInput, match="payment card") as refused:
        normalise_identity("card:4111 1111 1111 1111")
    assert refused.value.code == "card_number"
