"""MQTT in: every message is read, queued, committed and only then acknowledged (decision 0007).

connection g: message ─▶ events ─▶ batcher ─▶ commit ─▶ PUBACK on g, if g still lives
                                                   ├──▶ spaces/{site}/acks/{edge}: what the agent may forget
                                                   └──▶ spaces/{site}/clocks/{edge}: what time it is
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion

from meter import failpoints
from meter.clock import Clock, monotonic_s, now
from meter.ingest.arrival import Arrival, Outcome, Receipt
from meter.ingest.batcher import Batcher, QueueFull
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import instant_text
from meter.store.edges import EdgeProgress
from meter.telemetry import Telemetry
from meter.transport.mqtt_address import BrokerAddress, broker_address
from meter.transport.mqtt_message import read_message
from meter.transport.mqtt_session import OTHER_VERSION, MqttSession, ProtocolRefused
from meter.transport.topics import Topics, ack_topic, clock_topic

_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MAX_S: Final = 10.0
# A connection that held so long was none of a series of failures.
_STABLE_S: Final = 10.0
# A stopping gateway waits so long for what it has read to be committed; the broker sends the rest again.
_FINISH_S: Final = 5.0
_NO_CLIENT_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


def client_id(operator: str, shard: int, nonce: str) -> str:
    """Return the fixed client id of an ingest shard: who connects with it inherits the shard's queue.

    `nonce` is the operator's, from the database: a device that could guess the id could take the queue away.
    """
    return f"{_shown(operator, shard)}-{nonce}"


def _shown(operator: str, shard: int) -> str:
    return f"meter-{_NO_CLIENT_ID.sub('-', operator)}-{shard}"


class MqttIngest:
    """Keeps one shard's session connected. Run it while holding the shard's lease; cancel it to stop."""

    def __init__(
        self,
        url: str,
        *,
        operator: str,
        nonce: str,
        shard: int = 0,
        topics: Callable[[], Topics],
        batcher: Batcher,
        telemetry: Telemetry,
        pace: Callable[[], Awaitable[None]] | None = None,
        clock: Clock = now,
    ) -> None:
        """Connect to nothing yet. `topics` is asked at each connection and by `renew`, agents are told after `pace`.

        Raises BadInput for a wrong `url`.
        """
        self._address: BrokerAddress = broker_address(url)
        self.client_id = client_id(operator, shard, nonce)
        self._shown = _shown(operator, shard)
        self._topics_now = topics
        self._topics = topics()
        self._batcher = batcher
        self._telemetry = telemetry
        self._pace = pace
        self._telling: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._session: MqttSession | None = None
        self._unfinished = 0  # messages read from this connection and not yet acknowledged
        self._finished = asyncio.Event()
        self._finishing = False
        self._renewed = asyncio.Event()
        self._overflow: deque[tuple[MqttSession, int, list[Arrival]]] = deque()
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Connect, read and acknowledge until cancelled; after a loss connect again, with growing pauses."""
        backoff_s = _BACKOFF_FIRST_S
        self._batcher.on_room.append(self._on_room)
        self._batcher.on_commit.append(self._on_commit)
        try:
            while True:
                started = monotonic_s()
                try:
                    if await self._serve():
                        continue
                except ProtocolRefused as error:
                    refused, self._protocol = self._protocol, OTHER_VERSION[self._protocol]
                    log.info("mqtt_protocol", version=refused.name, detail=error.detail, next=self._protocol.name)
                except Unavailable as error:
                    log.warning("mqtt_unavailable", code=error.code, detail=error.detail)
                except Exception:  # noqa: BLE001 -- a reader that ends silently would look like a quiet day
                    log.exception("mqtt_failed")
                if monotonic_s() - started > _STABLE_S:
                    backoff_s = _BACKOFF_FIRST_S
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311 -- spreads reconnections
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
        finally:
            self._batcher.on_room.remove(self._on_room)
            self._batcher.on_commit.remove(self._on_commit)
            for telling in self._telling:
                telling.cancel()

    def use(self, url: str) -> None:
        """Say who we are by `url` from the next connection on."""
        self._address = broker_address(url)

    def renew(self) -> None:
        """Read by what `topics` gives now, and connect anew where that has other filters."""
        known, self._topics = set(self._topics.subscriptions), self._topics_now()
        wanted = set(self._topics.subscriptions)
        if known != wanted:
            log.info("mqtt_topics", added=sorted(wanted - known), left=sorted(known - wanted))
            self._renewed.set()

    async def _serve(self) -> bool:
        """Hold one connection until it ends; return whether by `renew`. Raises Unavailable where there was none."""
        self._topics = self._topics_now()
        self._renewed.clear()
        self._finishing = False
        self._overflow.clear()  # of the last connection: comes again
        self._unfinished = 0
        self._finished.set()
        session = MqttSession(
            self._address,
            client_id=self.client_id,
            protocol=self._protocol,
            on_message=self._on_message,
            full=lambda: self._batcher.full,
        )
        self._session = session  # from here on messages may come: a session kept at the broker needs no subscription
        try:
            await session.open(self._topics.subscriptions, leave=self._topics.leave)
            self._telemetry.mqtt_connected(connected=True, client_id=self._shown)
            self.connected.set()
            reason = await self._ended_or_renewed(session)
            if reason is None:
                await self._finish(session, reason="other topics")
                return True
            self._telemetry.mqtt_connected(connected=False, client_id=self._shown, reason=reason)
        except asyncio.CancelledError:
            await self._finish(session, reason="stopping")
            raise
        else:
            return False
        finally:
            self.connected.clear()
            session.close()
            self._session = None

    async def _ended_or_renewed(self, session: MqttSession) -> str | None:
        """Wait for the connection's end and return its reason; None where it is to be made anew."""
        ended, renewed = asyncio.ensure_future(session.ended()), asyncio.ensure_future(self._renewed.wait())
        try:
            await asyncio.wait([ended, renewed], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            ended.cancel()
            renewed.cancel()

    async def _finish(self, session: MqttSession, *, reason: str) -> None:
        """Read no more, and let what was read be committed and acknowledged."""
        self._finishing = True
        session.pause()
        try:
            async with asyncio.timeout(_FINISH_S):
                if session.alive:
                    await self._finished.wait()
        except TimeoutError:
            log.info("mqtt_unfinished", messages=self._unfinished)
        self._telemetry.mqtt_connected(connected=False, client_id=self._shown, reason=reason)

    def _on_message(self, session: MqttSession, message: MQTTMessage) -> None:
        if message.retain:
            self._telemetry.retained_ignored()
            self._acknowledge(session, message.mid if message.qos else 0)
            return
        arrivals = self._arrivals(message)
        mid = message.mid if message.qos else 0
        if arrivals is None:
            self._acknowledge(session, mid)
            return
        self._unfinished += 1
        self._finished.clear()
        self._submit(session, mid, arrivals)

    def _submit(self, session: MqttSession, mid: int, arrivals: list[Arrival]) -> None:
        try:
            self._batcher.submit(arrivals, partial(self._committed, session, mid))
        except QueueFull:
            # Read in one go with the message that filled the queue: a few, and none is lost.
            self._overflow.append((session, mid, arrivals))
            session.pause()

    def _arrivals(self, message: MQTTMessage) -> list[Arrival] | None:
        """Return what a message holds; None where it is one of our own acknowledgements."""
        received_at = self._clock()
        heard = read_message(self._topics, message, received_at=received_at)
        if heard is None:
            return None
        return [
            Arrival(
                parsed=item,
                channel="mqtt",
                origin=heard.topic,
                received_at=received_at,
                content_type=heard.content_type,
                site=heard.site,
            )
            for item in heard.items
        ]

    def _committed(self, session: MqttSession, mid: int, _receipts: Sequence[Receipt]) -> None:
        self._acknowledge(session, mid)
        if session is self._session:
            self._unfinished -= 1
            if not self._unfinished:
                self._finished.set()

    def _acknowledge(self, session: MqttSession, mid: int) -> None:
        if mid:
            session.ack(mid)

    def _on_commit(self, outcome: Outcome) -> None:
        """Tell the agents what they may forget: a broker's own acknowledgement is not durability. And the time."""
        if self._session is None or "mqtt" not in outcome.channels:
            return
        if self._pace is None:
            self._tell(outcome.progress)
        elif outcome.progress:
            telling = asyncio.create_task(self._tell_later(self._pace, outcome.progress))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        for asked in outcome.questions:
            # RFC 5905, section 8: with both instants the time spent here is no part of the round trip.
            times = {"received": instant_text(asked.received_at), "sent": instant_text(self._clock())}
            stored = [
                {"boot": boot[-1], "up_to": outcome.stored[boot].up_to, "beyond": outcome.stored[boot].beyond}
                for boot in asked.spools
            ]
            answer = {"asked": asked.asked, **times, **({"stored": stored} if stored else {})}
            self._session.publish(clock_topic(asked.site, asked.edge), msgspec.json.encode(answer))

    async def _tell_later(self, pace: Callable[[], Awaitable[None]], progress: Sequence[EdgeProgress]) -> None:
        await pace()
        self._tell(progress)

    def _tell(self, progress: Sequence[EdgeProgress]) -> None:
        if self._session is None:
            return  # agents send again what they were not told of
        for one in progress:
            told = {"boot": one.boot, "up_to": one.up_to, "also": one.also}
            failpoints.reach("before_agent_told")
            self._session.publish(ack_topic(one.site, one.edge), msgspec.json.encode(told))

    def _on_room(self) -> None:
        waiting, self._overflow = self._overflow, deque()
        for session, mid, arrivals in waiting:
            self._submit(session, mid, arrivals)
        if self._session is not None and not self._overflow and not self._finishing:
            self._session.resume()
