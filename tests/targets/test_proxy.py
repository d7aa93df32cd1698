"""The proxy does to each request what it says, and to no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import httpx
import pytest

from tests.targets.fakes.spaces import FakeCobot
from tests.targets.proxy import Fault, FaultProxy, Odds

TOKEN = {"Authorization": "Bearer t"}
CHARGE = {"description": "Pages", "amount": "1"}
PATH = "/api/memberships/m1/charges"
SHORT_S = 0.2  # the patience of a client for what never comes
LONG_S = 30.0  # and for what comes, on however busy a machine


@pytest.fixture
async def fake() -> AsyncIterator[FakeCobot]:
    async with FakeCobot() as fake:
        fake.members.add("m1")
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=TOKEN) as session:
        yield session


async def _outcome(session: aiohttp.ClientSession, proxy: FaultProxy, patience_s: float = LONG_S) -> str:
    timeout = aiohttp.ClientTimeout(total=patience_s)
    try:
        async with session.post(proxy.url + PATH, json=CHARGE, timeout=timeout) as answer:
            await answer.read()
            return str(answer.status)
    except TimeoutError:
        return "time-out"
    except aiohttp.ClientConnectionError:
        return "reset"


@pytest.mark.parametrize(
    ("fault", "outcome", "committed"),
    [
        (Fault.TOO_MANY, "429", 0),
        (Fault.ERROR_BEFORE, "500", 0),
        (Fault.ERROR_AFTER, "500", 1),
        (Fault.HANG_AFTER, "time-out", 1),
        (Fault.RESET_BEFORE, "reset", 0),
        (Fault.RESET_AFTER, "reset", 1),
        (Fault.OUTAGE, "time-out", 0),
    ],
)
async def test_a_fault_commits_or_not_as_it_says(
    fake: FakeCobot, session: aiohttp.ClientSession, fault: Fault, outcome: str, committed: int
) -> None:
    async with FaultProxy(fake) as proxy:
        assert await _outcome(session, proxy) == "201"
        proxy.plan(fault)
        assert await _outcome(session, proxy, SHORT_S if outcome == "time-out" else LONG_S) == outcome
        assert await _outcome(session, proxy) == "201"  # on the same session, kept alive or not
        assert proxy.counts == {fault: 1}
    # Only now: the client may have given up before the proxy had forwarded.
    assert len(fake.books()) == 2 + committed


async def test_what_passes_is_what_the_fake_said(fake: FakeCobot) -> None:
    async with FaultProxy(fake) as proxy, httpx.AsyncClient(headers=TOKEN, base_url=proxy.url) as client:
        made = await client.post(PATH, json=CHARGE)
        listed = await client.get("/api/charges", params={"from": "2026-11-20", "to": "2026-11-20"})
        refused = await client.post("/api/memberships/m2/charges", json=CHARGE)
        assert (made.status_code, listed.status_code, refused.status_code) == (201, 200, 404)
        assert listed.json()[0]["id"] == made.json()["id"] == fake.books()[0].id
        assert fake.requests[0].call.headers["content-type"] == "application/json"


async def test_httpx_meets_the_same_faults(fake: FakeCobot) -> None:
    async with FaultProxy(fake) as proxy, httpx.AsyncClient(headers=TOKEN) as client:
        proxy.plan(Fault.RESET_AFTER, Fault.HANG_AFTER)
        for fault, patience_s in ((httpx.NetworkError, LONG_S), (httpx.TimeoutException, SHORT_S)):
            with pytest.raises(fault):
                await client.post(proxy.url + PATH, json=CHARGE, timeout=patience_s)
    assert len(fake.books()) == 2


async def test_every_other_429_names_a_time(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    async with FaultProxy(fake, Odds(too_many=1), retry_after_s=3) as proxy:
        named = []
        for _ in range(4):
            async with session.get(proxy.url + "/api/space") as answer:
                named.append(answer.headers.get("Retry-After"))
        assert named == ["3", None, "3", None]


async def test_an_outage_lasts_until_the_test_ends_it(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    async with FaultProxy(fake, pass_only=["/api"]) as proxy:
        with proxy.outage():
            assert await _outcome(session, proxy, SHORT_S) == "time-out"
        assert await _outcome(session, proxy) == "201"
        proxy.outage_for(timedelta(hours=2))
        fake.advance(hours=1.9)
        assert await _outcome(session, proxy, SHORT_S) == "time-out"
        fake.advance(hours=0.1)
        assert await _outcome(session, proxy) == "201"
        assert (len(fake.books()), proxy.counts[Fault.OUTAGE]) == (2, 2)


async def test_token_paths_pass(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    async with FaultProxy(fake, Odds(error_before=1), pass_only=["/api/memberships"]) as proxy:
        proxy.plan(Fault.RESET_BEFORE)
        assert await _outcome(session, proxy) == "201"
        async with session.get(proxy.url + "/api/space") as answer:
            pass_next = answer.status
    assert pass_next == 500


async def test_the_same_seed_gives_the_same_faults(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    odds = Odds(too_many=0.2, error_before=0.2, error_after=0.2)

    async def outcomes(seed: int) -> list[str]:
        async with FaultProxy(fake, odds, seed=seed) as proxy:
            seen = [await _outcome(session, proxy) for _ in range(40)]
            assert sum(proxy.counts.values()) == sum(one != "201" for one in seen)
            return seen

    first = await outcomes(1)
    assert await outcomes(1) == first != await outcomes(2)
    assert set(first) == {"201", "429", "500"}


async def test_faults_are_narrowed_to_what_is_asked_for(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    posts = lambda method, _path: method == "POST"  # noqa: E731
    async with FaultProxy(fake, Odds(error_before=1), affects=posts) as proxy:
        assert await _outcome(session, proxy) == "500"
        async with session.get(proxy.url + "/api/space") as answer:
            assert answer.status == 200


async def test_a_client_that_gives_up_calls_nothing_back(fake: FakeCobot, session: aiohttp.ClientSession) -> None:
    async with FaultProxy(fake) as proxy, fake.held_back() as arrived:
        sending = asyncio.create_task(_outcome(session, proxy, SHORT_S))
        await arrived()
        assert await sending == "time-out"
        assert fake.books() == ()
    assert len(fake.books()) == 1


async def test_a_hanging_answer_is_bounded(fake: FakeCobot) -> None:
    async with FaultProxy(fake, hang_s_max=0.01) as proxy, aiohttp.ClientSession(headers=TOKEN) as session:
        proxy.plan(Fault.HANG_AFTER)
        assert await _outcome(session, proxy) == "reset"


@pytest.mark.parametrize("odds", [{"too_many": 0.6, "error_after": 0.5}, {"too_many": -0.1}])
def test_odds_are_probabilities(odds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        Odds(**odds)
    assert Odds.evenly(0.6).drawn(0.59) is Fault.RESET_AFTER
    assert Odds.evenly(0.6).drawn(0.61) is None
