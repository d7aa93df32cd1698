"""What the HTTP sink promises: each event answered for, waiting when asked, repeating what got no answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from meter.model.errors import BadInput, Unavailable
from meter.simulate import Delivery, deliver, simulate, to_http

KEY = "secret-key"


class Gateway:
    """Takes events as the contract says, except where the list of troubles names an answer for a request."""

    def __init__(self, troubles: list[Callable[[web.Request], web.Response]]) -> None:
        self.troubles = troubles
        self.batches: list[list[str]] = []
        self.seen: set[str] = set()

    async def take(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.content_type == "application/cloudevents-batch+json"
        body = await request.read()
        if self.troubles:
            return self.troubles.pop(0)(request)
        ids = [event["id"] for event in json.loads(body)]
        self.batches.append(ids)
        results = []
        for event_id in ids:
            results.append({"id": event_id, "status": "duplicate" if event_id in self.seen else "accepted"})
            self.seen.add(event_id)
        return web.json_response({"results": results})


@asynccontextmanager
async def gateway(*troubles: Callable[[web.Request], web.Response]) -> AsyncIterator[tuple[Gateway, str]]:
    told = Gateway(list(troubles))
    app = web.Application()
    app.router.add_post("/v1/events", told.take)
    async with TestServer(app) as server:
        yield told, str(server.make_url("/"))


def busy(_request: web.Request) -> web.Response:
    return web.Response(status=503, headers={"Retry-After": "0"})


def hasty(_request: web.Request) -> web.Response:
    return web.Response(status=429, headers={"Retry-After": "0"})


def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def day() -> list[Delivery]:
    return list(deliver(simulate(start_day=date(2026, 11, 18), members=15), seed=2))


async def test_every_event_is_sent_and_answered_for() -> None:
    deliveries = day()
    async with gateway() as (told, url):
        sent = await to_http(deliveries, url=url, key=KEY, batch_events_max=100)
    ids = [event.id for delivery in deliveries for event in delivery.events]
    assert sorted(i for batch in told.batches for i in batch) == sorted(ids)
    assert (sent.events, sent.accepted, sent.duplicates) == (len(ids), len(set(ids)), len(ids) - len(set(ids)))
    assert max(map(len, told.batches)) <= 100


async def test_pushing_back_and_lost_answers_lose_nothing() -> None:
    deliveries = day()
    async with gateway(busy, hasty, hang_up, busy) as (told, url):
        sent = await to_http(deliveries, url=url, key=KEY)
    assert told.troubles == []
    assert sent.retries == 4
    assert told.seen == {event.id for delivery in deliveries for event in delivery.events}


async def test_a_refused_key_ends_it_with_the_reason() -> None:
    async with gateway(lambda _request: web.Response(status=401, text="no such key")) as (_, url):
        with pytest.raises(BadInput, match="401: no such key"):
            await to_http(day(), url=url, key=KEY)


async def test_a_gateway_that_stays_busy_is_given_up() -> None:
    async with gateway(*[busy] * 100) as (_, url):
        with pytest.raises(Unavailable, match="none of 3 attempts"):
            await to_http(day(), url=url, key=KEY, attempts_max=3)
