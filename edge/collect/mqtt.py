"""The site's own broker: what devices publish there is in the spool before the broker hears that it was taken.

message ─▶ its topic's decoder ─▶ intake ─▶ commit ─▶ PUBACK on the same connection, if that still lives

The session is persistent: what comes while the agent is away waits at the broker, and what was subscribed stays so.
The spool keeps what that was, so that a topic that is no longer wanted is unsubscribed. A full spool ends the
connection, so that everything stays at the broker; what a device sent without asking for an acknowledgement (QoS 0) is
held until it is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion

from edge.clock import Clock, monotonic_s
from edge.heartbeat import CollectorState
from edge.intake import Intake, Origin
from edge.spool.errors import SpoolFailed
from edge.spool.keeper import Keeper
from meter.log import log
from meter.model.errors import Unavailable
from meter.model.instant import EPOCH
from meter.model.wire import Parsed
from meter.transport.mqtt_address import BrokerAddress
from meter.transport.mqtt_message import read_message
from meter.transport.mqtt_session import OTHER_VERSION, MqttSession, ProtocolRefused
from meter.transport.topics import Topics

# A site's broker is in the next room: it is back within seconds, or for long.
_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MAX_S: Final = 30.0
# A full spool is not empty sooner.
_FULL_S: Final = 5.0
# What is being committed at once; beyond it the connection is not read. Largest messages count by their bytes.
PENDING_MAX: Final = 256
PENDING_BYTES_MAX: Final = 4 * 1024 * 1024
# A broker hands over what waited right after the connection; after so long without a message none is left.
_SETTLED_S: Final = 5.0
# An agent that stops waits so long for its last commits; the broker sends the rest again.
_FINISH_S: Final = 5.0
# What agents publish themselves: where the gateway's broker is the site's own, it would come round for ever.
_AGENTS: Final = "edge"


class BrokerCollector:
    """Hears the site's broker."""

    name = "broker"

    def __init__(
        self,
        address: BrokerAddress,
        *,
        topics: Topics,
        site: str,
        edge: str,
        keeper: Keeper,
        intake: Intake,
        clock: Clock,
    ) -> None:
        """Connect to nothing yet."""
        self._address = address
        self._topics = topics
        self._client_id = f"meter-edge-devices-{site}-{edge}"
        self._own = f"spaces/{site}/{_AGENTS}/"
        self._keeper = keeper
        self._intake = intake
        self._clock = clock
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._session: MqttSession | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._pending_bytes = 0
        self._full = False
        self._heard_s = 0.0
        self._complete_until = EPOCH
        self._detail: str | None = "not connected yet"
        self._last: datetime | None = None
        self.retained = 0

    @property
    def state(self) -> CollectorState:
        """Return how it is. Complete up to now once the broker has handed over what waited there."""
        self._mark()
        if self._session is None:
            state = CollectorState(state="waiting" if self._full else "failing", detail=self._detail)
        else:
            ignored = f"{self.retained} retained messages ignored" if self.retained else None
            state = CollectorState(detail=ignored)
        return CollectorState(
            state=state.state, detail=state.detail, last=self._last, complete_until=self._complete_until
        )

    async def run(self) -> None:
        """Connect, hear and acknowledge until cancelled."""
        backoff_s = _BACKOFF_FIRST_S
        while True:
            try:
                self._detail = await self._serve()
                backoff_s = _BACKOFF_FIRST_S
            except ProtocolRefused as error:
                self._detail, self._protocol = error.detail, OTHER_VERSION[self._protocol]
            except Unavailable as error:
                self._detail = error.detail
            if self._full:
                # Those that nobody sends again are kept first.
                await asyncio.gather(*self._pending, return_exceptions=True)
                await asyncio.sleep(_FULL_S)
                continue
            log.warning("site_broker_unreachable", detail=self._detail)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    async def _serve(self) -> str:
        """Hold one connection until it ends, and return why. Raises Unavailable."""
        self._full = False
        session = MqttSession(
            self._address,
            client_id=self._client_id,
            protocol=self._protocol,
            on_message=self._on_message,
            full=self._is_busy,
        )
        try:
            self._heard_s = monotonic_s()
            await self._subscribe(session)
            if session.alive:
                self._session = session
            log.info("site_broker_connected", broker=self._address.shown)
            return await session.ended()
        except asyncio.CancelledError:
            session.pause()
            if self._pending:
                await asyncio.wait(self._pending, timeout=_FINISH_S)
            for task in self._pending:
                task.cancel()
            raise
        finally:
            self._mark()
            self._session = None
            session.close()

    async def _subscribe(self, session: MqttSession) -> None:
        """Open the session with the filters that are wanted and no others. Raises Unavailable and SpoolFailed."""
        wanted = self._topics.subscriptions
        stored = (await self._keeper.positions()).get(self.name)
        known: list[str] = [] if stored is None else msgspec.json.decode(stored, type=list[str])
        # Kept before the broker hears of them: of what a kill comes between it is known that it may be subscribed.
        if not set(wanted) <= set(known):
            await self._remember([*known, *wanted])
        leave = [name for name in known if name not in wanted]
        await session.open(wanted, leave=leave)
        if leave:
            log.info("site_broker_unsubscribed", topics=leave)
            await self._remember(wanted)

    async def _remember(self, filters: Sequence[str]) -> None:
        names = list(dict.fromkeys(filters))
        await self._keeper.put([], {self.name: msgspec.json.encode(names).decode()})

    def _is_busy(self) -> bool:
        return len(self._pending) >= PENDING_MAX or self._pending_bytes >= PENDING_BYTES_MAX

    def _on_message(self, session: MqttSession, message: MQTTMessage) -> None:
        self._heard_s = monotonic_s()
        if message.retain:
            self.retained += 1
        heard = None if message.retain else read_message(self._topics, message, received_at=self._clock.read().wall)
        if heard is None or heard.topic.startswith(self._own):
            self._acknowledge(session, message)
            return
        origin = Origin(name=f"mqtt {heard.topic}"[:200], content_type=heard.content_type)
        size = len(message.payload)
        task = asyncio.create_task(self._keep(session, message, heard.items, origin))
        self._pending.add(task)
        self._pending_bytes += size
        task.add_done_callback(partial(self._kept, session, size))

    async def _keep(self, session: MqttSession, message: MQTTMessage, items: Sequence[Parsed], origin: Origin) -> None:
        """Have a message committed, then acknowledged. Without room it is left to the broker, which sends it again."""
        while True:
            try:
                await self._intake.keep(items, origin=origin)
            except Unavailable as error:
                self._full, self._detail = True, error.detail
                session.close()
                if message.qos:
                    return
                await asyncio.sleep(_FULL_S)
            except SpoolFailed:
                return  # the process ends
            else:
                self._last = self._clock.read().wall
                self._acknowledge(session, message)
                return

    def _kept(self, session: MqttSession, size: int, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        self._pending_bytes -= size
        if not self._is_busy():
            session.resume()

    def _acknowledge(self, session: MqttSession, message: MQTTMessage) -> None:
        if message.qos:
            session.ack(message.mid)

    def _mark(self) -> None:
        """Take note that everything up to now was heard, where that is so."""
        settled = monotonic_s() - self._heard_s >= _SETTLED_S and not self._pending
        if self._session is not None and self._session.alive and settled:
            self._complete_until = self._clock.read().wall
