"""Deliveries to a gateway over HTTP, as a batching client sends them: it waits when asked and repeats what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import aiohttp

from meter.model.errors import BadInput, Unavailable
from meter.simulate.event import Delivery
from meter.simulate.pace import Pace, Sent, unpaced

# Simulated events stay below a kilobyte: far from the megabyte at which a body is refused.
_BATCH_EVENTS_MAX: Final = 500
_REQUESTS_IN_FLIGHT_MAX: Final = 4
_ATTEMPTS_MAX: Final = 10
_ANSWER_WAIT_S: Final = 30.0
_BACKOFF_S: Final = 0.2
_BACKOFF_S_MAX: Final = 10.0
_PUSHING_BACK: Final = frozenset({429, 503})
_BATCH_TYPE: Final = "application/cloudevents-batch+json"


async def to_http(
    deliveries: Iterable[Delivery],
    *,
    url: str,
    key: str,
    pace: Pace = unpaced,
    batch_events_max: int = _BATCH_EVENTS_MAX,
    attempts_max: int = _ATTEMPTS_MAX,
) -> Sent:
    """Post the events of all deliveries to `url`/v1/events and return once the gateway has answered for each.

    `key` is a bearer key with the scope `events:write`. Raises BadInput when the gateway refuses a request as a whole,
    Unavailable when it answers none of `attempts_max` attempts, with what was sent until then committed.
    """
    sent = Sent()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": _BATCH_TYPE}
    wait = aiohttp.ClientTimeout(total=_ANSWER_WAIT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=wait) as session:
        poster = _Poster(session, f"{url.rstrip('/')}/v1/events", sent, attempts_max)
        try:
            await poster.run(deliveries, pace, batch_events_max)
        except ExceptionGroup as faults:
            # Several requests may fail for one reason: the first one tells it.
            raise faults.exceptions[0] from faults
    return sent


class _Poster:
    def __init__(self, session: aiohttp.ClientSession, url: str, sent: Sent, attempts_max: int) -> None:
        self._session = session
        self._url = url
        self._sent = sent
        self._attempts_max = attempts_max
        self._in_flight = asyncio.Semaphore(_REQUESTS_IN_FLIGHT_MAX)

    async def run(self, deliveries: Iterable[Delivery], pace: Pace, batch_events_max: int) -> None:
        batch: list[bytes] = []
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                delay_s = pace(delivery)
                # What is due leaves before the wait for what is not.
                if batch and (delay_s > 0 or len(batch) + len(delivery.events) > batch_events_max):
                    await self._post_soon(group, batch)
                    batch = []
                if delay_s > 0:
                    await asyncio.sleep(delay_s)
                batch += [event.body for event in delivery.events]
                self._sent.deliveries += 1
            if batch:
                await self._post_soon(group, batch)

    async def _post_soon(self, group: asyncio.TaskGroup, batch: list[bytes]) -> None:
        await self._in_flight.acquire()
        group.create_task(self._post(batch))

    async def _post(self, batch: list[bytes]) -> None:
        body = b"[" + b",".join(batch) + b"]"
        try:
            for attempt in range(self._attempts_max):
                delay_s = await self._attempt(body, min(_BACKOFF_S * 2**attempt, _BACKOFF_S_MAX))
                if delay_s is None:
                    self._sent.events += len(batch)
                    return
                self._sent.retries += 1
                await asyncio.sleep(delay_s)
        finally:
            self._in_flight.release()
        raise Unavailable(f"{self._url} took none of {self._attempts_max} attempts; is the gateway up?")

    async def _attempt(self, body: bytes, backoff_s: float) -> float | None:
        """Return None when the gateway has answered, else the seconds to wait before the same again."""
        try:
            async with self._session.post(self._url, data=body) as response:
                if response.status in _PUSHING_BACK:
                    asked = response.headers.get("Retry-After", "")
                    return min(float(asked), _BACKOFF_S_MAX) if asked.isdecimal() else backoff_s
                if response.status >= 500:
                    return backoff_s
                if response.status != 200:
                    detail = (await response.text())[:300]
                    raise BadInput(f"{self._url} answers {response.status}: {detail}", code="refused")
                results = (await response.json())["results"]
        except (aiohttp.ClientError, TimeoutError):
            return backoff_s
        for result in results:
            status = result["status"]
            self._sent.accepted += status == "accepted"
            self._sent.duplicates += status == "duplicate"
            self._sent.rejected += status == "rejected"
        return None
