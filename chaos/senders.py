"""Devices: each writes its intent down, sends it, and sends it again until it is told that it is safe."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import aiohttp
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from chaos.journal import Intent, Journal
from chaos.world import ACCOUNTS, KISI_FIRST, LATE_DAYS, ZONE, account_of

_TIMEOUT_S: Final = 8.0
_BATCH_EVENTS_MAX: Final = 9
_REPEATED: Final = 0.05  # of what was told safe is sent again, as devices do that missed the answer
_LATE: Final = 0.1  # of the jobs were printed days ago
_AGAIN_S: Final = 0.3
LOOPBACK: Final = "127.0.0.1"


class Sender(ABC):
    """One device. `run` until told to stop, and then until everything that it meant is safe."""

    way: str

    def __init__(self, number: int, *, journal: Journal, seed: int, pause_s: float) -> None:
        self.name = f"{self.way}{number}"
        self.dice = random.Random(f"{seed}-{self.name}")  # noqa: S311  a run is repeated by its seed
        self._journal = journal
        self._pause_s = pause_s
        self._count = 0

    async def run(self, stop: Callable[[], bool]) -> None:
        """Send until told to stop; return when the last answer was heard."""
        while not stop():
            batch = [self._event() for _ in range(self.dice.randint(1, self.batch_events_max))]
            self._journal.intend(*(intent for intent, _ in batch))
            while not await self._told([event for _, event in batch]) or self.dice.random() < _REPEATED:  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(self.dice.uniform(0, _AGAIN_S))
            await asyncio.sleep(self.dice.uniform(0, 2 * self._pause_s))

    async def _told(self, events: Sequence[Mapping[str, Any]]) -> bool:
        try:
            safe = await self.send(events)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False  # kept or not: nobody knows
        if safe:
            self._journal.tell(*(self.id_of(event) for event in events))
        return safe

    @property
    def batch_events_max(self) -> int:
        """Return how many go in one message."""
        return _BATCH_EVENTS_MAX

    def id_of(self, event: Mapping[str, Any]) -> str:
        """Return the id that the event is stored under."""
        return str(event["id"])

    @abstractmethod
    async def send(self, events: Sequence[Mapping[str, Any]]) -> bool:
        """Send once; return whether all were told to be safe."""

    @abstractmethod
    def _event(self) -> tuple[Intent, Mapping[str, Any]]:
        """Return the next event, as it is meant and as it is sent."""

    def _door(self) -> tuple[Intent, Mapping[str, Any]]:
        """Return a door that opens now; every other one leaves the time to whoever hears of it."""
        self._count += 1
        at = datetime.now(UTC) if self.dice.random() < 0.5 else None
        subject = f"badge:B{self.dice.randrange(ACCOUNTS)}"
        id = f"{self.name}-{self._count}"
        data = {"door": self.name, "granted": True}
        return self._intent(id, "doors", Decimal(1), subject, at), self._envelope(id, "door.access", subject, at, data)

    def _job(self) -> tuple[Intent, Mapping[str, Any]]:
        """Return a job that was printed just now, or days ago where the printer was offline."""
        self._count += 1
        at = datetime.now(UTC) - timedelta(seconds=self.dice.uniform(0, 60))
        if self.dice.random() < _LATE:
            begin = at.astimezone(ZONE).replace(day=1, hour=0, minute=0, second=0)
            at = max(at - timedelta(days=self.dice.uniform(0, LATE_DAYS)), begin.astimezone(UTC))
        subject = f"badge:B{self.dice.randrange(ACCOUNTS)}"
        id, pages = f"{self.name}-{self._count}", self.dice.randint(1, 20)
        data = {"printer": self.name, "job": id, "impressions": pages, "status": "completed"}
        return self._intent(id, "pages", Decimal(pages), subject, at), self._envelope(
            id, "print.job", subject, at, data
        )

    def _intent(self, id: str, meter: str, quantity: Decimal, subject: str, at: datetime | None) -> Intent:
        return Intent(
            id=id, way=self.way, account=account_of(subject), meter=meter, quantity=quantity, subject=subject, at=at
        )

    def _envelope(
        self, id: str, kind: str, subject: str, at: datetime | None, data: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        event = {"specversion": "1.0", "id": id, "source": f"berlin/{self.way}/{self.name}", "type": kind}
        event |= {} if at is None else {"time": at.isoformat()}
        return {**event, "subject": subject, "data": data}


class _Posting(Sender):
    """Posts batches of CloudEvents; `urls` are tried in turn."""

    def __init__(
        self, number: int, *, urls: Sequence[str], key: str, journal: Journal, seed: int, pause_s: float
    ) -> None:
        super().__init__(number, journal=journal, seed=seed, pause_s=pause_s)
        self._urls, self._turn = urls, 0
        self._headers = {"Content-Type": "application/cloudevents-batch+json", "Authorization": f"Bearer {key}"}

    async def send(self, events: Sequence[Mapping[str, Any]]) -> bool:
        self._turn += 1
        url = f"{self._urls[self._turn % len(self._urls)]}/v1/events"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=timeout) as client,
            client.post(url, data=json.dumps(events).encode()) as answer,
        ):
            if answer.status != 200:
                return False
            results = (await answer.json())["results"]
        return all(result["status"] in {"accepted", "duplicate"} for result in results)


class AgentDoor(_Posting):
    """A door that posts to the agent on site."""

    way = "agent"

    def _event(self) -> tuple[Intent, Mapping[str, Any]]:
        return self._door()


class HttpPrinter(_Posting):
    """A printer that posts to one gateway, and to the other if that says nothing."""

    way = "http"

    def _event(self) -> tuple[Intent, Mapping[str, Any]]:
        return self._job()


class HookedDoor(Sender):
    """A lock of Kisi's, which posts signed webhooks to one gateway or the other."""

    way = "hook"

    def __init__(
        self, number: int, *, urls: Sequence[str], secret: str, journal: Journal, seed: int, pause_s: float
    ) -> None:
        super().__init__(number, journal=journal, seed=seed, pause_s=pause_s)
        self._urls, self._turn, self._secret = urls, 0, secret

    @property
    def batch_events_max(self) -> int:
        return 1

    def id_of(self, event: Mapping[str, Any]) -> str:
        return str(event["uuid"])

    async def send(self, events: Sequence[Mapping[str, Any]]) -> bool:
        self._turn += 1
        body = json.dumps(events[0]).encode()
        signed = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        url = f"{self._urls[self._turn % len(self._urls)]}/hooks/kisi/front"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.post(url, data=body, headers={"X-Signature": signed}) as answer,
        ):
            return 200 <= answer.status < 300

    def _event(self) -> tuple[Intent, Mapping[str, Any]]:
        self._count += 1
        id, user = str(UUID(int=self.dice.getrandbits(128), version=4)), KISI_FIRST + self.dice.randrange(ACCOUNTS)
        at = datetime.now(UTC).replace(microsecond=0)
        event = {
            "uuid": id, "type": "lock.unlock", "success": True, "actor_type": "User", "actor_id": user,
            "object_type": "Lock", "object_id": 1, "object_name": "Front door",
            "created_at": at.isoformat().replace("+00:00", "Z"),
        }  # fmt: skip
        return self._intent(id, "doors", Decimal(1), f"kisi:{user}", at), event


class MqttPrinter(Sender):
    """A printer that publishes to the broker itself, and believes its acknowledgement: it keeps nothing."""

    way = "mqtt"

    def __init__(self, number: int, *, port: int, journal: Journal, seed: int, pause_s: float) -> None:
        super().__init__(number, journal=journal, seed=seed, pause_s=pause_s)
        self._port = port

    def _event(self) -> tuple[Intent, Mapping[str, Any]]:
        return self._job()

    async def send(self, events: Sequence[Mapping[str, Any]]) -> bool:
        return await asyncio.to_thread(self._published, json.dumps(events).encode())

    def _published(self, body: bytes) -> bool:
        """Return whether the broker has acknowledged the message, on a connection of its own."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"printer-{self.name}")
        client.connect_timeout = _TIMEOUT_S
        client.connect(LOOPBACK, self._port)
        client.loop_start()
        try:
            told = client.publish(f"spaces/berlin/mqtt/{self.name}", body, qos=1)
            told.wait_for_publish(timeout=_TIMEOUT_S)
            return told.is_published()
        except RuntimeError:
            return False  # it was not connected
        finally:
            client.disconnect()
            client.loop_stop()
