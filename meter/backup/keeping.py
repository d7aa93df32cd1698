"""Where exports of the evidence stand, and the one that the gateway makes each week."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meter.backup.make import draft_in
from meter.backup.manifest import MANIFEST
from meter.backup.places import TIMEOUT_S, moved, place_fault, store_access
from meter.clock import Clock
from meter.config import StoreSettings
from meter.export.targets.files.places import Bucket, Directory, PlaceFault, place_at
from meter.log import log
from meter.model.errors import BadInput, MeterError
from meter.store.engine import Database
from meter.store.leases import LeaseKeeper
from meter.telemetry import Telemetry

if TYPE_CHECKING:
    from meter.backup.evidence import Evidence

NAMED: Final = re.compile(r"evidence-(\d{8}T\d{12})Z")
# How often it is asked whether one is due.
_LOOK_S: Final = 900.0


class Evidences:
    """A directory or a store with exports, each whole or not there."""

    def __init__(self, url: str, store: StoreSettings, *, staging: Path) -> None:
        """Connect to nothing yet; what goes to a store is made in `staging`. Raises BadInput."""
        place = place_at(url, store_access(store), timeout_s=TIMEOUT_S)
        if place is None:
            message = f"{url} is no place; write a directory or s3://bucket/prefix"
            raise BadInput(message, code="bad_evidence_place")
        self._url = url
        self._place = place
        self._staging = place.root.absolute() if isinstance(place, Directory) else staging

    async def export(self, database: Database, operator: str, *, at: datetime) -> Evidence:
        """Make an export and return its manifest. Raises BadInput, Unavailable; nothing counts as one then."""
        # Not where every command and gateway pays for it: pyarrow takes a fifth of a second and some 60 MB.
        from meter.backup.evidence import write_evidence  # noqa: PLC0415

        name = f"evidence-{at:%Y%m%dT%H%M%S%f}Z"
        with draft_in(self._staging, name, what="evidence") as draft:
            made = await write_evidence(database, operator, draft, name=name)
            if isinstance(self._place, Directory):
                await asyncio.to_thread(moved, draft, self._staging / name)
            else:
                await self._send(self._place, draft, made)
        return made

    async def _send(self, bucket: Bucket, draft: Path, made: Evidence) -> None:
        try:
            for file in made.files:
                await bucket.upload(f"{made.name}/{file.name}", draft / file.name)
            await bucket.write(f"{made.name}/{MANIFEST}", (draft / MANIFEST).read_bytes())
        except PlaceFault as error:
            raise place_fault(self._url, error) from error

    async def newest(self) -> datetime | None:
        """Return when the newest whole export was made; None: there is none. Raises Unavailable."""
        try:
            if isinstance(self._place, Directory):
                found = await asyncio.to_thread(_folders, self._place.root)
            else:
                found = await self._place.folders()
            for name in sorted(found, reverse=True):
                if (named := NAMED.fullmatch(name)) and await self._place.holds(f"{name}/{MANIFEST}"):
                    return datetime.strptime(named[1], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        except (PlaceFault, OSError) as error:
            raise place_fault(self._url, error) from error
        return None


def _folders(root: Path) -> list[str]:
    try:
        return [path.name for path in root.iterdir()]
    except FileNotFoundError:
        return []


class EvidenceKeeper:
    """Makes an export whenever the newest is `every` old. One process at a time, under a lease."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        leases: LeaseKeeper,
        evidences: Callable[[], Evidences],
        every: timedelta,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        """Prepare; the lease is asked for by `run`."""
        self._database = database
        self._operator = operator
        self._leases = leases
        self._evidences = evidences
        self._every = every
        self._telemetry = telemetry
        telemetry.evidence_wanted(every_s=every.total_seconds())
        self._clock = clock
        self._gained = asyncio.Event()
        self.lease_name = f"evidence {operator}"

    async def run(self) -> None:
        """Export until cancelled; what fails is tried again at the next look."""
        self._leases.want([self.lease_name], gained=self._gained.set)
        while True:
            try:
                await self.step()
            except (MeterError, OSError) as error:
                detail = error.detail if isinstance(error, MeterError) else str(error)
                log.error("evidence_failed", detail=f"{detail}; tried again in {_LOOK_S / 60:.0f} minutes")
            except Exception:  # noqa: BLE001 -- what is accepted and rated goes on
                log.exception("evidence_failed")
            self._gained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._gained.wait()

    async def step(self) -> bool:
        """Make an export where one is due and this process is the one to make it; return whether it did.

        Overtaken on the way it makes one too many: each is whole, and named by its moment. Raises MeterError, OSError.
        """
        with self._leases.holding([self.lease_name]) as held:
            if not held:
                return False
            evidences, at = self._evidences(), self._clock()
            last = await evidences.newest()
            if last is not None:
                self._telemetry.evidence_known(last.timestamp())
                if at - last < self._every:
                    return False
            made = await evidences.export(self._database, self._operator, at=at)
        self._telemetry.evidence_known(at.timestamp())
        log.info("evidence_exported", name=made.name, rows=sum(file.rows for file in made.files))
        return True
