import base64
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from meter.sources.spec import Request, Setup, Token
from meter.transport.asking import files as files_module
from meter.transport.asking import http as http_module
from meter.transport.asking.files import FileTransport
from meter.transport.asking.http import HttpTransport
from meter.transport.asking.transport import Declined, TryLater, retry_after_s
from tests.ingest.bodies import NOW
from tests.ingest.loopback import served

SETUP = Setup(vendor="doors", name="main", site="berlin")


class Vendor:
    def __init__(self) -> None:
        self.base = ""
        self.tokens = 0
        self.seen: list[tuple[str, str, str, bytes]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path_qs, request.headers.get("Authorization", ""), body))
        if request.path == "/token":
            self.tokens += 1
            return web.json_response({"access_token": f"t{self.tokens}", "expires_in": 3600})
        if request.path == "/elsewhere":
            raise web.HTTPFound("/secret")
        if request.path == "/big":
            return web.Response(body=b"x" * 200_000)
        if request.path.startswith("/status/"):
            return web.Response(status=int(request.path.rpartition("/")[2]), text="why")
        return web.json_response({"ok": True})


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    held = Vendor()
    async with served(held.answer) as held.base:
        yield held


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpTransport]:
    made = HttpTransport(clock=lambda: NOW)
    yield made
    await made.close()


async def test_it_asks_as_the_request_says(http: HttpTransport, vendor: Vendor) -> None:
    request = Request(
        method="POST", url=f"{vendor.base}/x?a=1", query={"b": "2"}, headers={"Authorization": "k"}, body=b"{}"
    )
    answer = await http.ask(SETUP, request)
    assert (answer.status, answer.body, answer.received_at) == (200, b'{"ok": true}', NOW)
    assert vendor.seen == [("POST", "/x?a=1&b=2", "k", b"{}")]


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_is_an_answer(http: HttpTransport, vendor: Vendor, status: int) -> None:
    assert (await http.ask(SETUP, Request(url=f"{vendor.base}/status/{status}"))).status == status


@pytest.mark.parametrize(
    ("status", "raised"),
    [(408, TryLater), (429, TryLater), (500, TryLater), (503, TryLater), (400, Declined), (401, Declined)],
)
async def test_other_answers_say_who_has_to_do_something(
    http: HttpTransport, vendor: Vendor, status: int, raised: type[Exception]
) -> None:
    with pytest.raises(raised, match=f"answered {status}: why"):
        await http.ask(SETUP, Request(url=f"{vendor.base}/status/{status}"))


async def test_no_redirect_is_followed(http: HttpTransport, vendor: Vendor) -> None:
    with pytest.raises(Declined, match="302"):
        await http.ask(SETUP, Request(url=f"{vendor.base}/elsewhere"))
    assert len(vendor.seen) == 1


async def test_an_answer_without_end_is_given_up(
    http: HttpTransport, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "ANSWER_BYTES_MAX", 100_000)
    with pytest.raises(Declined, match="more than 100000 bytes"):
        await http.ask(SETUP, Request(url=f"{vendor.base}/big"))


async def test_nobody_there_is_a_reason_to_try_later_in_words(http: HttpTransport) -> None:
    with pytest.raises(TryLater, match=r"does not answer: Connect call failed \('127.0.0.1', 9\)$"):
        await http.ask(SETUP, Request(url="http://127.0.0.1:9/"))


@pytest.mark.parametrize("url", ["", "/relative", "file:///etc/passwd", "ftp://x/"])
async def test_only_http_is_spoken(http: HttpTransport, url: str) -> None:
    with pytest.raises(Declined, match="check api_base"):
        await http.ask(SETUP, Request(url=url))


async def test_a_token_is_had_once_and_again_when_it_is_refused(http: HttpTransport, vendor: Vendor) -> None:
    token = Token(url=f"{vendor.base}/token", form={"grant_type": "client_credentials", "client_secret": "s&="})
    for _ in range(2):
        await http.ask(SETUP, Request(url=f"{vendor.base}/x", token=token))
    assert [seen[1:3] for seen in vendor.seen] == [("/token", ""), ("/x", "Bearer t1"), ("/x", "Bearer t1")]
    assert vendor.seen[0][3] == b"grant_type=client_credentials&client_secret=s%26%3D"
    with pytest.raises(Declined):
        await http.ask(SETUP, Request(url=f"{vendor.base}/status/401", token=token))
    await http.ask(SETUP, Request(url=f"{vendor.base}/x", token=token))
    assert vendor.seen[-1][2] == "Bearer t2"


@pytest.mark.parametrize(("status", "raised"), [(503, TryLater), (401, Declined)])
async def test_without_a_token_nothing_is_asked(
    http: HttpTransport, vendor: Vendor, status: int, raised: type[Exception]
) -> None:
    token = Token(url=f"{vendor.base}/status/{status}", form={})
    with pytest.raises(raised, match="no access token"):
        await http.ask(SETUP, Request(url=f"{vendor.base}/x", token=token))
    assert len(vendor.seen) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("999999999", 86_400),
        ("soon", None),
        ("Mon, 02 Mar 2026 12:01:00 GMT", 60),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0),
        ("Mon, 02 Mar 99999999999 11:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, now_=datetime(2026, 3, 2, 12, tzinfo=UTC)) == seconds


# --- files ------------------------------------------------------------------------------------------------------------


async def read(path: Path, **arguments: Any) -> list[dict[str, str]]:
    answer = await FileTransport().ask(SETUP, Request(over="file", url=str(path), arguments=arguments))
    found: list[dict[str, str]] = json.loads(answer.body)
    return found


async def test_the_newest_files_are_read_and_known_ones_left_out(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"log_{number}.txt"
        path.write_bytes(b"line %d" % number)
        os.utime(path, (number, number))
    (tmp_path / "other.txt").write_bytes(b"x")
    found = await read(tmp_path / "log_*.txt", newest=2)
    assert [(item["name"], base64.b64decode(item["body"])) for item in found] == [
        ("log_2.txt", b"line 2"),
        ("log_3.txt", b"line 3"),
    ]
    known = {item["name"]: item["sha256"] for item in found}
    (tmp_path / "log_3.txt").write_bytes(b"line 3\nmore")
    assert [item["name"] for item in await read(tmp_path / "log_*.txt", newest=2, unless=known)] == ["log_3.txt"]
    with pytest.raises(TryLater, match="check the option path"):
        await read(tmp_path / "nothing*")


async def test_a_file_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "FILE_BYTES_MAX", 10)
    (tmp_path / "log").write_bytes(b"x" * 11)
    with pytest.raises(Declined, match="rotate it"):
        await read(tmp_path / "log")
