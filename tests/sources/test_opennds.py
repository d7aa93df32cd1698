"""openNDS: a session's calls of the script, and who its portal says that it is."""

from urllib.parse import urlencode

import pytest

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from meter.sources.wifi.opennds import read
from tests.sources.case import delivery, events, setup

SETUP = setup("opennds", "lobby")
_CALL = {"mac": "aa:bb:cc:dd:ee:01", "session_start": 1772438709, "token": "7a1f"}


def called(method: str, **more: object) -> WireEvent:
    (event,) = events(read(SETUP, delivery(urlencode(_CALL | {"method": method} | more).encode())).items)
    return event


def test_a_session_is_one_from_login_to_deauth() -> None:
    login = called("auth_client", custom="ada%20l")
    start = called("client_auth", session_end=0)
    stop = called("idle_deauth", session_end=1772439309, bytes_incoming=2000, bytes_outgoing=100)
    assert {event.data["session"] for event in (login, start, stop)} == {start.data["session"]}
    assert [event.data["status"] for event in (login, start, stop)] == ["interim", "start", "stop"]
    assert (login.subject, login.data["seconds"], login.data["bytes_in"]) == ("member:ada l", 0, 0)
    assert stop.subject == "mac:aa-bb-cc-dd-ee-01"
    assert (stop.data["seconds"], stop.data["bytes_in"], stop.data["bytes_out"]) == (600, 2000, 100)
    assert stop.data["cause"] == "idle_deauth"


def test_lines_are_the_scripts_arguments() -> None:
    body = b"client_deauth\naa:bb:cc:dd:ee:01\n2000\n100\n1772438709\n1772439309\n7a1f\n"
    (event,) = events(read(SETUP, delivery(body)).items)
    same = called("client_deauth", session_end=1772439309, bytes_incoming=2000, bytes_outgoing=100)
    assert (event.id, event.content_hash) == (same.id, same.content_hash)


@pytest.mark.parametrize(
    "body",
    [
        b"method=auth_client&mac=nobody",
        b"method=reboot&mac=aa:bb:cc:dd:ee:01",
        b"client_deauth\naa:bb:cc:dd:ee:01\n-5\n",
        b"method=x&" + b"&".join(b"a%d=1" % n for n in range(100)),
    ],
)
def test_what_no_script_posts_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        read(SETUP, delivery(body))
    assert caught.value.code == "bad_payload"
