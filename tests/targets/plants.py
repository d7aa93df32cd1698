"""Exporters with a fault of ours: what a run must find."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from meter.export.contract import Absent, Exporter, Finding, Limits, Outcome, Retry, Uncertain
from meter.export.targets.square.sender import InvoiceSender, Standing
from meter.export.targets.stripe.sender import LineSender
from meter.export.targets.xero.exporter import XeroTarget
from meter.store.outbox import OutboxItem

_BROKEN = re.compile(r"\b500\b")
_attempts = count()


async def _nothing(*_given: object) -> None:
    return None


async def _none(*_given: object) -> list[Any]:
    return []


async def _no_standing(*_given: object) -> Standing:
    return Standing()


# By kind: where a target asks before it sends, and what says that there is nothing.
BLIND: Final[Mapping[str, tuple[type, str, object]]] = {
    "square": (InvoiceSender, "_standing", _no_standing),
    "stripe": (LineSender, "_held", _none),
    "xero": (XeroTarget, "_found", _nothing),
}


@dataclass(frozen=True)
class _Planted:
    exporter: Exporter

    @property
    def limits(self) -> Limits:
        return self.exporter.limits

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        return await self.exporter.send(items)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        return await self.exporter.look_up(items)

    async def check(self) -> None:
        await self.exporter.check()

    async def close(self) -> None:
        await self.exporter.close()


class NeverLooks(_Planted):
    """Whatever is asked for is said to be absent. Some ask before they send, too: `BLIND` has what takes that away."""

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        return [Absent()] * len(items)


class KeyOfTheAttempt(_Planted):
    """A retry goes under another key than the first attempt."""

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        return await self.exporter.send([replace(item, key=f"{item.key[:20]}{next(_attempts):08d}") for item in items])


class Believes500(_Planted):
    """Whatever was answered 500 counts as not taken."""

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        return [_believed(outcome) for outcome in await self.exporter.send(items)]


def _believed(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Uncertain) and _BROKEN.search(outcome.reason):
        return Retry(outcome.reason)
    return outcome
