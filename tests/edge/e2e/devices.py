"""Devices that post to an agent, and what they were told, kept outside of every process that a test kills."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import aiohttp

# unknown: no answer, or none in time; it may be kept or not.
Answer: TypeAlias = Literal["safe", "refused", "unknown"]

BADGES: Final = 8
DEVICES: Final = 8
_TIMEOUT_S: Final = 10.0
_BATCH_EVENTS_MAX: Final = 9
# Of a device that has no answer or a no: it sends the same again, but not always for ever.
_PATIENCE: Final = {"unknown": 0.9, "refused": 0.6}
_REPEATED: Final = 0.05  # of what was told safe is sent again, as devices do that missed the answer
_NONSENSE: Final = 0.01


def badge_of(id: str) -> str:
    """The badge that every event of this id is of."""
    return f"badge:B{int(id.rpartition('-')[2]) % BADGES}"


@dataclass
class Journal:
    """What was told of each event. `nonsense` are ids of events that no agent can take."""

    answers: dict[str, set[Answer]] = field(default_factory=dict)
    nonsense: set[str] = field(default_factory=set)
    heard: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, id: str, answer: Answer) -> None:
        self.answers.setdefault(id, set()).add(answer)
        if answer != "unknown":
            self.heard += 1
            self._more.set()

    def told(self, answer: Answer) -> set[str]:
        return {id for id, answers in self.answers.items() if answer in answers}

    @property
    def refused(self) -> set[str]:
        """What was refused to its face, and never anything else."""
        return {id for id, answers in self.answers.items() if answers == {"refused"}}

    async def more(self, count: int) -> None:
        """Wait until so many more answers were heard."""
        until = self.heard + count
        while self.heard < until:
            self._more.clear()
            await self._more.wait()


class Device:
    """A door that posts batches to one agent, with its own dice."""

    def __init__(self, number: int, *, url: str, journal: Journal, seed: int, pause_s: float, part: str = "e") -> None:
        self._name = f"{part}{number}"
        self._url = f"{url}/v1/events"
        self._journal = journal
        self._dice = random.Random(f"{seed}-{self._name}")  # noqa: S311  a run is repeated by its seed
        self._pause_s = pause_s
        self._count = 0

    async def run(self, stop: Callable[[], bool]) -> None:
        """Post until told to stop."""
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as client:
            while not stop():
                batch = [self._event() for _ in range(self._dice.randint(1, _BATCH_EVENTS_MAX))]
                while await self._told(client, batch):  # noqa: ASYNC110 -- the agent is another process
                    await asyncio.sleep(self._dice.uniform(0, 0.3))
                await asyncio.sleep(self._dice.uniform(0, 2 * self._pause_s))

    async def _told(self, client: aiohttp.ClientSession, batch: Sequence[dict[str, Any]]) -> bool:
        """Post a batch and keep what was answered; whether it is to be sent again."""
        answers: list[Answer] = ["unknown"] * len(batch)
        try:
            answers = await self._post(client, batch)
        finally:
            for event, answer in zip(batch, answers, strict=True):
                self._journal.note(event["id"], answer)
        again = _PATIENCE.get(answers[0], _REPEATED)
        return self._dice.random() < again

    async def _post(self, client: aiohttp.ClientSession, batch: Sequence[dict[str, Any]]) -> list[Answer]:
        try:
            async with client.post(self._url, data=json.dumps(batch).encode()) as response:
                if response.status == 503:
                    return ["refused"] * len(batch)
                assert response.status == 200, await response.text()
                results = (await response.json())["results"]
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ["unknown"] * len(batch)
        assert [result["id"] for result in results] == [event["id"] for event in batch]
        return ["safe" if result["status"] == "accepted" else "refused" for result in results]

    def _event(self) -> dict[str, Any]:
        self._count += 1
        id = f"{self._name}-{self._count}"
        granted: object = True
        if self._dice.random() < _NONSENSE:
            granted = "maybe"
            self._journal.nonsense.add(id)
        event = {
            "specversion": "1.0",
            "id": id,
            "source": f"berlin/door/{self._name}",
            "type": "door.access",
            "subject": badge_of(id),
            "data": {"door": self._name, "granted": granted},
        }
        return event | ({"time": datetime.now(UTC).isoformat()} if self._dice.random() < 0.5 else {})
