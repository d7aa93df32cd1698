"""FreeRADIUS: what is particular to its bodies and to the answers that it takes."""

import json

import pytest

from meter.model.wire import Refusal
from meter.sources.spec import Reading
from meter.sources.wifi.freeradius import FREERADIUS, read
from tests.sources.case import delivery, events, setup
from tests.sources.radius_bodies import attributes, version_3

SETUP = setup("freeradius", "campus", timezone="Europe/Berlin")


def answered(body: bytes) -> Reading:
    reading = read(SETUP, delivery(body))
    assert reading.reply is not None
    assert (reading.reply.status, reading.reply.body) == (204, b"")
    return reading


@pytest.mark.parametrize("body", [b"", b'{"username":"a"b","status":"Stop"}', b"[]", b"17", version_3(Class="%{x}")])
def test_the_answer_is_empty_whatever_came(body: bytes) -> None:
    """Version 3 expands `%{...}` in what it is answered."""
    assert FREERADIUS.hook is not None
    answered(body)


def test_what_cannot_be_read_is_kept() -> None:
    (item,) = answered(b'{"username":"a"b","status":"Stop"}').items
    assert isinstance(item, Refusal)
    assert (item.code, item.body) == ("not_json", b'{"username":"a"b","status":"Stop"}')


def test_octets_of_a_class_and_names_in_another_charset_lose_no_usage() -> None:
    whole = version_3()
    binary = whole[:-1] + rb', "Class": {"type": "octets", "value": ["\u0000\u0001a\u00ff"]}}'
    latin = whole.replace(b"Guests", "Gäste".encode("latin-1"))
    (first,) = events(answered(whole).items)
    for body in (binary, latin):
        (event,) = events(answered(body).items)
        assert event.data["bytes_in"] == first.data["bytes_in"]


def test_every_form_is_the_same_fact() -> None:
    made = attributes()
    forms = [
        version_3(),
        json.dumps(made).encode(),
        json.dumps({name: [value] for name, value in made.items()}).encode(),
        json.dumps({name: str(value) for name, value in made.items()}).encode(),
        json.dumps([{"name": name, "value": [value]} for name, value in made.items()]).encode(),
        json.dumps({name: {"value": value} for name, value in made.items()}).encode(),
        version_3(Acct_Status_Type=3),
        version_3(Event_Timestamp="Mar  2 2026 09:05:09 CET"),
    ]
    found = [events(answered(form).items) for form in forms]
    assert {(event.id, event.content_hash) for (event,) in found} == {(found[0][0].id, found[0][0].content_hash)}


def test_names_of_bodies_written_by_hand_can_be_told() -> None:
    made = setup("freeradius", "campus", options={"names": {"wer": "User-Name"}, "prefix": "radius."})
    body = {"radius.Acct-Status-Type": "Stop", "radius.Acct-Session-Id": "1", "wer": "ada", "unknown": "x"}
    (event,) = events(read(made, delivery(json.dumps(body).encode())).items)
    assert event.subject == "user:ada"
