"""Sends items as files: each its own object, named after its batch, so that writing it twice is writing it once."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import date, timedelta
from importlib import import_module
from typing import Any, Final, Protocol, cast
from uuid import uuid4

import msgspec

from meter.export.contract import Absent, Barred, Delivered, Figures, Finding, Held, Limits, Outcome, Refused, Uncertain
from meter.export.csv_text import Column
from meter.export.payload import thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.files.datasets import DATASETS, Row, day_of, rows_of
from meter.export.targets.files.places import Place, PlaceFault, place_of
from meter.export.targets.spec import Setup
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.store.outbox import OutboxItem

# An object is replaced by the same bytes under the same name: it may be sent again at any time.
LIMITS: Final = Limits(items_max=64, keys_kept_s=math.inf)
FORMATS: Final = ("csv", "parquet")
_PART: Final = re.compile(r".*/part-([a-z2-7]{32})\.(\w+)")


class Format(Protocol):
    """How rows become bytes; see csv_format and parquet_format."""

    encoded: Callable[[Sequence[Column], Iterable[Row]], bytes]
    decoded: Callable[[bytes, Sequence[Column], Iterable[str]], list[dict[str, Any]]]


class FilesTarget:
    """Files below one place: `DATASET/date=2026-11-22/part-BATCH.SUFFIX`."""

    limits = LIMITS

    def __init__(self, setup: Setup, place: Place | None = None) -> None:
        """Write nothing yet. Raises BadInput where the setup names no place."""
        self._target = setup.name
        self._place = place or place_of(setup)
        self._dataset = DATASETS[str(setup.options["dataset"])]
        self._suffix = str(setup.options["format"])
        # Not where every command and gateway pays for it: pyarrow takes a fifth of a second and some 60 MB.
        self._format = cast("Format", import_module(f"meter.export.targets.files.{self._suffix}_format"))

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Write each item's object."""
        return await one_by_one(items, self._send_one, LIMITS)

    async def _send_one(self, item: OutboxItem) -> Outcome:
        try:
            name, content = await asyncio.to_thread(self._object, item)
        except (msgspec.MsgspecError, BadInput) as error:
            return Refused(f"cannot be written as {self._suffix}: {error}")
        try:
            await self._place.write(name, content)
        except PlaceFault as error:
            return error.outcome
        return Delivered(name)

    def _object(self, item: OutboxItem) -> tuple[str, bytes]:
        content = thawed(item.operation, item.payload)
        return self._name(item), self._format.encoded(self._dataset.columns, rows_of(content))

    def _name(self, item: OutboxItem) -> str:
        day = day_of(thawed(item.operation, item.payload))
        return f"{self._folder(day)}/part-{item.batch}.{self._suffix}"

    def _folder(self, day: date) -> str:
        return f"{self._dataset.name}/date={day}"

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Look whether each item's object is there."""
        return await ask_each(items, self._look_up_one, LIMITS)

    async def _look_up_one(self, item: OutboxItem) -> Finding:
        try:
            name = self._name(item)
            return Delivered(name) if await self._place.holds(name) else Absent()
        except (msgspec.MsgspecError, BadInput):
            return Absent()  # what cannot be read was never written; sending it says why
        except PlaceFault as error:
            return error.outcome if isinstance(error.outcome, Barred) else Uncertain(str(error))

    async def check(self) -> None:
        """Return where an object could be written and removed again. Raises Unavailable (`files_unwritable`)."""
        probe = f"meter-check-{uuid4().hex[:8]}"
        try:
            await self._place.write(probe, b"written by meter check, and removed again\n")
            await self._place.delete(probe)
        except PlaceFault as error:
            message = f"nothing can be written: {error}; check base_url, the key and who may write there"
            raise Unavailable(message, code="files_unwritable") from error

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    def figures(self, item: OutboxItem) -> Figures:
        """Return what the item's object must hold."""
        return self._dataset.figures(rows_of(thawed(item.operation, item.payload)))

    async def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give what each object in the folders of days in [since, until) holds. Raises Unavailable.

        One that cannot be read as what it was written as holds no lines.
        """
        try:
            for days in range((until - since).days):
                async for name in self._place.names(self._folder(since + timedelta(days=days))):
                    part = _PART.fullmatch(name)
                    if part is not None and part[2] == self._suffix:
                        content = await self._place.read(name)
                        yield Held(batch=part[1], remote_id=name, figures=await asyncio.to_thread(self._held, content))
        except PlaceFault as error:
            raise Unavailable(f"the files cannot be read: {error}", code="files_unreadable") from error

    def _held(self, content: bytes) -> Figures:
        dataset = self._dataset
        try:
            return dataset.figures(self._format.decoded(content, dataset.columns, dataset.looks_at))
        except Exception as error:  # noqa: BLE001 -- two libraries' errors, of bytes that anybody may have written
            log.warning("file_unreadable", target=self._target, reason=f"{type(error).__name__}: {error}"[:200])
            return Figures()
