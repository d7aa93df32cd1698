"""Meraki: its secret stands in the body, and must stand nowhere else."""

import pytest

from meter.model.errors import BadInput
from meter.model.wire import Refusal
from meter.sources.wifi.meraki import MERAKI, check, read, redacted
from tests.sources.case import KEYS, delivery, setup
from tests.sources.cases.meraki import alert

SETUP = setup("meraki", "dashboard", secrets=KEYS)


def test_either_secret_passes() -> None:
    for key in KEYS:
        check(SETUP, delivery(alert(key)))


@pytest.mark.parametrize(
    "body",
    [
        alert("another"),
        alert(""),
        alert(KEYS[0][:-1]),
        alert("\u00e4"),
        b"",
        b"null",
        b'{"sharedSecret":["the-active-key"]}',
        b'{"sharedSecret":null}',
        b'{"sharedSecret":"the-active-key"',
        b'{"sharedSecret":"wrong","sharedSecret":"the-active-key"}',
    ],
)
def test_everything_else_does_not(body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        check(SETUP, delivery(body))
    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize(
    "body",
    [
        alert(),
        b'{"sharedSecret" : "the-active-key"}',
        b'{"sharedSecret":"the-active-key',
        b'{"sharedSecret":17,"a":1}',
        b'{"\\u0073haredSecret":"the-active-key"}',
        b'{"sharedSecret":"x","copy":["an-older-key"]}'.replace(b"an-older-key", KEYS[1].encode()),
    ],
)
def test_what_is_kept_shows_no_secret(body: bytes) -> None:
    kept = redacted(SETUP, delivery(body))
    assert not any(key.encode() in kept for key in KEYS)
    assert b"17," not in kept
    assert b"redacted" in kept
    assert MERAKI.hook is not None
    assert MERAKI.hook.redact(SETUP, delivery(body)) == kept


def test_a_refusal_shows_no_secret() -> None:
    (item,) = read(SETUP, delivery(b'{"sharedSecret":"the-active-key"}')).items
    assert isinstance(item, Refusal)
    assert b"the-active-key" not in item.body
