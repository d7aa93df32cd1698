"""HTTP to the gateway, where MQTT is barred: the results of a call are its acknowledgement (contract, Edge)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import aiohttp
import msgspec

from edge.spool.records import Place
from edge.uplink.lost import Held
from edge.uplink.mqtt import Told
from edge.uplink.recall import Recall
from edge.uplink.timekeeper import Timekeeper
from edge.uplink.window import Limits
from meter.log import log
from meter.model.errors import Unavailable
from meter.transport.silence import silence

_BATCH: Final = "application/cloudevents-batch+json"
# A commit takes milliseconds; a gateway without its database answers 503 after fifteen seconds.
_TIMEOUT_S: Final = 30.0
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
# As many events in flight as over MQTT, or a gateway commits and rates little pieces: four times the work for each. In
# few calls, of which half carry a backlog at most: a call is one commit, and answered when it is rated.
LIMITS: Final = Limits(messages_max=6, events_max=500, kept_messages=3)


class _Result(msgspec.Struct, frozen=True):
    """What became of one event: whatever its status, it is committed."""

    status: str


class _Results(msgspec.Struct, frozen=True):
    results: list[_Result]


class _Time(msgspec.Struct, frozen=True):
    time: datetime


_RESULTS: Final = msgspec.json.Decoder(_Results)
_TIME: Final = msgspec.json.Decoder(_Time)
_HELD: Final = msgspec.json.Decoder(Held)


class HttpUplink:
    """One client for all calls. Close it with `close`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        tls: ssl.SSLContext | None,
        acknowledged: Callable[[Told], None],
        timekeeper: Timekeeper,
        agent: str,
        recall: Recall,
    ) -> None:
        """Call nothing yet. Make it inside a running loop. `agent`: its site and name, as in the gateway's paths."""
        self._url = url.rstrip("/")
        self._agent = agent
        self._recall = recall
        self._acknowledged = acknowledged
        self._timekeeper = timekeeper
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def connect(self) -> HttpChannel:
        """Return a channel, once the gateway has answered. Raises Unavailable."""
        await self.ask_time()
        return HttpChannel(self)

    async def ask_time(self) -> None:
        """Ask what time it is. Raises Unavailable."""
        mark = self._timekeeper.ask()
        answer = await self._call("GET", "/v1/clock")
        try:
            told = _TIME.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._odd("/v1/clock", error) from error
        await self._timekeeper.answered(mark, received=told.time)

    async def ask_stored(self) -> None:
        """Ask what the gateway holds of what it has acknowledged. Raises Unavailable."""
        told, held = self._recall.told(), []
        for boot in told:
            path = f"/v1/edges/{self._agent}/stored?boot={boot}"
            answer = await self._call("GET", path)
            try:
                held.append(_HELD.decode(answer))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise self._odd(path, error) from error
        await self._recall.compare(told, held)

    async def post(self, body: bytes, places: Sequence[Place]) -> None:
        """Post a batch and take its results. Raises Unavailable; it may have been committed all the same."""
        answer = await self._call("POST", "/v1/events", body)
        try:
            results = _RESULTS.decode(answer).results
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._odd("/v1/events", error) from error
        if len(results) != len(places):
            message = f"{self._url} answered {len(results)} results to {len(places)} events; is it a gateway?"
            raise Unavailable(message, code="gateway_unavailable")
        for boot in {place.boot for place in places}:
            settled = [place.sequence for place in places if place.boot == boot]
            self._acknowledged(Told(boot=boot, up_to=0, also=settled))

    async def certificate(self) -> bytes:
        """Return the gateway's answer to a request for another certificate. Raises Unavailable."""
        return await self._call("POST", f"/v1/edges/{self._agent}/certificate")

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {} if body is None else {"Content-Type": _BATCH}
        try:
            async with self._client.request(
                method, self._url + path, data=body, headers=headers, allow_redirects=False, ssl=self._tls
            ) as response:
                answer = await response.content.read(_ANSWER_BYTES_MAX)
                while more := await response.content.read(_ANSWER_BYTES_MAX):
                    answer += more
                    if len(answer) > _ANSWER_BYTES_MAX:
                        break
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the gateway {self._url} does not answer: {silence(error)}"
            raise Unavailable(message, code="gateway_unavailable") from error
        if status != 200:
            said = answer[:200].decode("utf-8", "replace").replace("\n", " ")
            remedy = "; check METER_EDGE_GATEWAY__API_KEY" if status in {401, 403} else ""
            raise Unavailable(f"the gateway answered {status} to {path}: {said}{remedy}", code="gateway_unavailable")
        return answer

    def _odd(self, path: str, error: Exception) -> Unavailable:
        message = f"{self._url}{path} did not answer as a gateway does ({error}); check METER_EDGE_GATEWAY__HTTP_URL"
        return Unavailable(message, code="gateway_unavailable")


class HttpChannel:
    """Calls as one connection: it ends with the first that fails, and the pause is the caller's."""

    limits = LIMITS

    def __init__(self, uplink: HttpUplink) -> None:
        """Call through `uplink`."""
        self._uplink = uplink
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._calls: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(LIMITS.messages_max)

    async def send(self, body: bytes, places: Sequence[Place]) -> None:
        """Post a message, beside others. Raises Unavailable once one has failed."""
        await self._room.acquire()
        if self._ended.done():
            self._room.release()
            raise Unavailable(self._ended.result(), code="gateway_unavailable")
        call = asyncio.create_task(self._post(body, places))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _post(self, body: bytes, places: Sequence[Place]) -> None:
        try:
            await self._uplink.post(body, places)
        except Unavailable as error:
            self._end(error.detail)
        except Exception as error:  # noqa: BLE001 -- a call that dies silently would leave its events in flight for ever
            log.exception("uplink_failed")
            self._end(f"fault: {error}")
        finally:
            self._room.release()

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    async def ask_time(self) -> None:
        """Ask what time it is, and what the gateway holds. Raises Unavailable where it does not know the time."""
        await self._uplink.ask_time()
        try:
            await self._uplink.ask_stored()
        except Unavailable as error:
            log.warning("stored_not_known", code=error.code, detail=error.detail)

    async def ended(self) -> str:
        """Wait until a call failed and return why."""
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Give up the calls that run."""
        self._end("closed here")
        for call in list(self._calls):
            call.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._calls, return_exceptions=True)
