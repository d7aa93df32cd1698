"""A device and a desk, with a gateway that answers, is slow, is away, or is no gateway."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from edge import failpoints
from edge.authorizing.book import Limits
from edge.authorizing.composed import Asking
from edge.authorizing.desk import Desk
from edge.authorizing.gateway import AskedGateway, Declined, NotLetIn
from edge.authorizing.teller import Teller
from edge.spool.keeper import Keeper
from edge.uplink.timekeeper import Timekeeper
from meter.model.errors import BadInput, Unavailable
from tests.edge.authorizing.making import answer_of, ask, word
from tests.edge.clocks import VirtualClock
from tests.edge.spool.making import open_spool

PATH = "/v1/authorizations"
PROBLEM = "application/problem+json"


class Gateway:
    """Answers as told: `say` for each call in turn, the last one for ever; `got` is what came."""

    def __init__(self) -> None:
        self.say: list[Any] = []
        self.got: list[tuple[str, str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((request.method, request.path, json.loads(body) if body else None))
        say = self.say[0] if len(self.say) == 1 else self.say.pop(0)
        response: web.Response = await say(json.loads(body) if body else None)
        return response


def problem(status: int, code: str = "x") -> Any:
    async def say(_: Any) -> web.Response:
        return web.Response(status=status, body=json.dumps({"code": code, "detail": "why"}), content_type=PROBLEM)

    return say


def yes(*, replayed: bool = False, price: str = "1") -> Any:
    async def say(body: Any) -> web.Response:
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        offline = "offline" in (body or {})
        allowed = body["offline"]["allowed"] if offline else True
        name = "?" if body is None else body["id"]
        answer = answer_of(ask(name), word(price=price), allowed=allowed, offline=offline)
        return web.Response(body=answer, content_type="application/json", headers=headers)

    return say


async def page(_: Any) -> web.Response:
    """What a captive portal answers to everything."""
    return web.Response(text="<h1>Welcome to our Wi-Fi</h1>", content_type="text/html")


class Rig:
    def __init__(self, keeper: Keeper, gateway: Gateway, asked: AskedGateway, clock: VirtualClock) -> None:
        self.keeper = keeper
        self.gateway = gateway
        self.clock = clock
        timekeeper = Timekeeper({}, clock=clock, keep=keeper.measure)
        timekeeper.known.set()
        self.teller = Teller(keeper, asked, timekeeper=timekeeper, clock=clock)
        self.desk = Desk(
            keeper,
            asked,
            site="berlin",
            limits=Limits(account=Decimal(10), site=Decimal(10)),
            clock=clock,
            offset_ms=lambda: None,
            gave=self.teller.wake,
        )

    async def ask(self, id: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
        body = {"id": id, "member": "ada", "site": "berlin", "meter": "pages", "quantity": str(quantity), **more}
        answer: dict[str, Any] = json.loads(await self.desk.ask(json.dumps(body).encode()))
        return answer

    async def tell(self) -> dict[str, Any]:
        """Tell what there is to tell, and return how answers stand then."""
        running = asyncio.create_task(self.teller.run())
        await self.teller.catch_up()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return dict(Asking(desk=self.desk, gateway=None, teller=self.teller, site_risk=Decimal(10)).status())


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    gateway, clock = Gateway(), VirtualClock()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", gateway.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    asked = AskedGateway(f"http://127.0.0.1:{runner.addresses[0][1]}", key="k", tls=None, within_s=0.5)
    async with Keeper(open_spool(tmp_path, clock=clock)) as keeper:
        yield Rig(keeper, gateway, asked, clock)
    await asked.close()
    await runner.cleanup()


async def test_what_the_gateway_answers_is_passed_on_and_its_word_goes_further(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(503)]
    assert not (await rig.ask("a", 3))["offline"]
    assert rig.gateway.got[0][2]["identity"] == "member:ada"
    found = await rig.ask("b", 3)
    assert (found["offline"], found["allowed"], found["account"], found["unit"]) == (True, True, "acme", "page")
    assert (await rig.ask("c", 8))["left"] == "7"
    assert (await rig.ask("d", meter="days"))["reasons"] == ["unknown_offline"]


@pytest.mark.parametrize("away", [page, problem(500), problem(502), problem(503)])
async def test_what_is_no_answer_of_a_gateway_is_none(rig: Rig, away: Any) -> None:
    rig.gateway.say = [yes(), away]
    await rig.ask("a")
    assert (await rig.ask("b"))["offline"]


async def test_nobody_waits_longer_than_a_door_can(rig: Rig) -> None:
    never = asyncio.Event()

    async def silence(_: Any) -> web.Response:
        await never.wait()
        return web.Response()

    rig.gateway.say = [yes(), silence]
    await rig.ask("a")
    async with asyncio.timeout(20):
        assert (await rig.ask("b"))["offline"]
        calls = len(rig.gateway.got)
        assert (await rig.ask("c"))["offline"]
    assert len(rig.gateway.got) == calls  # who asks a moment later is not made to wait at all
    never.set()


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden")])
async def test_an_agent_that_is_shut_out_decides_nothing(rig: Rig, status: int, code: str) -> None:
    rig.gateway.say = [yes(), problem(status, code)]
    await rig.ask("a")
    with pytest.raises(NotLetIn, match="METER_EDGE_GATEWAY__API_KEY"):
        await rig.ask("b")


@pytest.mark.parametrize(("status", "code"), [(409, "conflict"), (422, "unknown_meter"), (429, "too_many_waiting")])
async def test_what_the_gateway_declines_is_declined(rig: Rig, status: int, code: str) -> None:
    rig.gateway.say = [problem(status, code)]
    with pytest.raises(Declined) as caught:
        await rig.ask("a")
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_an_earlier_answer_is_no_news_of_credit(rig: Rig) -> None:
    rig.gateway.say = [yes(price="9"), yes(replayed=True, price="1"), problem(503)]
    await rig.ask("a")
    await rig.ask("b")
    assert (await rig.ask("c", 2))["reasons"] == ["risk_limit"]


async def test_the_same_ask_has_the_same_answer_and_another_under_its_id_none(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(503)]
    for id in ("a", "b"):
        first = await rig.ask(id, 3)
        assert await rig.ask(id, 3) == first
        with pytest.raises(BadInput, match="another ask"):
            await rig.ask(id, 4)
    assert len(rig.gateway.got) == 2


async def test_nobody_hears_an_answer_before_it_is_on_disk(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(503), yes()]
    await rig.ask("known")
    for id in ("offline", "online"):
        reached, go = threading.Event(), threading.Event()

        def hold(reached: threading.Event = reached, go: threading.Event = go) -> None:
            reached.set()
            go.wait(20)

        failpoints.arm("before_commit", hold)
        try:
            asking = asyncio.create_task(rig.ask(id))
            assert await asyncio.to_thread(reached.wait, 20)
            await asyncio.sleep(0.05)
            assert not asking.done()
        finally:
            failpoints.disarm()
            go.set()
        assert (await asking)["offline"] == (id == "offline")


async def test_what_was_answered_is_told_once_and_what_was_let_go_after_it(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(503)]
    await rig.ask("a")
    await rig.ask("b", 2)
    await rig.ask("c", 11)
    assert json.loads(await rig.desk.let_go("b"))["state"] == "released"
    assert await rig.tell() == {"untold": 2, "refused": 0, "risk": {}, "risk_used": "0"}
    rig.gateway.say, rig.gateway.got = [yes()], []
    assert await rig.tell() == {"untold": 0, "refused": 0, "risk": {}, "risk_used": "0"}
    told = [(method, path.removeprefix(PATH), body and body.get("offline")) for method, path, body in rig.gateway.got]
    at = "2026-11-22T10:00:00Z"
    assert told == [
        ("POST", "", {"asked_at": at, "allowed": True, "reasons": []}),
        ("DELETE", "/b", None),
        ("POST", "", {"asked_at": at, "allowed": False, "reasons": ["risk_limit"]}),
    ]
    await rig.tell()
    assert len(rig.gateway.got) == 3


async def test_what_the_gateway_will_never_have_is_shown_and_not_told_again(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(503)]
    await rig.ask("a")
    await rig.ask("b", 2)
    rig.gateway.say = [problem(422, "unknown_meter")]
    # Its event may still come.
    assert await rig.tell() == {"untold": 0, "refused": 1, "risk": {"EUR": "2"}, "risk_used": "0.2"}
    assert Asking(desk=rig.desk, gateway=None, teller=rig.teller, site_risk=Decimal(10)).faults() == [
        "the gateway will not have an answer that was given here: b: unknown_meter: why"
    ]
    calls = len(rig.gateway.got)
    await rig.tell()
    assert len(rig.gateway.got) == calls


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_what_may_pass_is_told_again(rig: Rig, status: int) -> None:
    rig.gateway.say = [yes(), problem(503)]
    await rig.ask("a")
    await rig.ask("b", 2)
    rig.gateway.say = [problem(status)]
    assert (await rig.tell())["untold"] == 1
    rig.gateway.say = [yes()]
    assert (await rig.tell())["untold"] == 0


async def test_a_reservation_that_nobody_waits_for_is_let_go(rig: Rig) -> None:
    """The gateway had said yes when the agent had waited long enough, and had said no."""
    rig.gateway.say = [problem(503)]
    assert not (await rig.ask("b"))["allowed"]

    async def mine(body: Any) -> web.Response:
        return web.Response(body=answer_of(ask("b"), word()), content_type="application/json")

    rig.gateway.say, rig.gateway.got = [mine], []
    assert (await rig.tell())["untold"] == 0
    assert [method for method, *_ in rig.gateway.got] == ["POST", "DELETE"]


async def test_without_a_way_to_ask_it_says_what_is_missing(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with Keeper(open_spool(tmp_path, clock=clock)) as keeper:
        desk = Desk(
            keeper, None, site="berlin", limits=Limits(), clock=clock, offset_ms=lambda: None, gave=lambda: None
        )  # fmt: skip
        with pytest.raises(BadInput, match="METER_EDGE_GATEWAY__HTTP_URL") as caught:
            await desk.ask(b'{"id": "a", "member": "ada", "site": "berlin", "meter": "pages"}')
        assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"site": "hamburg"}, "forbidden"),
        ({"offline": {"asked_at": "2026-11-22T10:00:00Z", "allowed": True}}, "bad_body"),
        ({"member": None}, "bad_body"),
        ({"identity": "badge:1"}, "bad_body"),
        ({"quantity": "0"}, "invalid"),
        ({"quantity": "x"}, "bad_number"),
        ({"expires_s": 90_000}, "bad_body"),
        ({"data": {"x": "y" * 9_000}}, "bad_body"),
    ],
)
async def test_what_is_no_ask_is_refused_without_asking(rig: Rig, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        await rig.ask("a", **changes) if "quantity" not in changes else await rig.desk.ask(
            json.dumps({"id": "a", "member": "ada", "site": "berlin", "meter": "pages", **changes}).encode()
        )
    assert caught.value.code == code
    assert rig.gateway.got == []


async def test_what_only_the_gateway_knows_is_asked_of_it(rig: Rig) -> None:
    rig.gateway.say = [yes(), problem(404, "not_found"), problem(503)]
    assert json.loads(await rig.desk.show("x"))["id"] == "?"
    with pytest.raises(Declined):
        await rig.desk.let_go("x")
    with pytest.raises(Unavailable):
        await rig.desk.show("x")
