"""Buckets: sums that grow until they are sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from meter.export.gather.shape import Bucket, Put, Tally
from meter.model.money import ZERO
from meter.store.gathering import StoredBucket
from meter.store.outbox import name_of

_BATCH: Final = "batch"
# What is due at once is due by any clock that is less than this behind ours.
LEEWAY: Final = timedelta(days=2)


def added(
    stored: Mapping[str, StoredBucket],
    puts: Iterable[Put],
    *,
    batch_of: tuple[str, str],
    now: datetime,
    booked_at: datetime,
    late_wait: timedelta,
) -> dict[str, StoredBucket]:
    """Return the buckets that `puts` change, with what they add.

    `batch_of` (operator, target) is what a bucket's batch is named after besides itself. A bucket that has been sent
    collects for `late_wait` what comes late.
    """
    changed: dict[str, StoredBucket] = {}
    sums: dict[str, dict[str, Any]] = {}
    for put in puts:
        bucket = changed.get(put.bucket) or stored.get(put.bucket) or _new(put, batch_of)
        tallies = sums.setdefault(put.bucket, dict(bucket.tallies))
        tallies[put.key] = _added(tallies.get(put.key), put)
        due = bucket.due_at
        if put.closing is None and not bucket.dirty:
            # Not the clock: the server's, which decides what is due, may be behind, or be set back before it is sent.
            due = put.due or min(put.time, now) - LEEWAY
            if bucket.part and put.due is not None:
                due = max(due, now + late_wait)
        changed[put.bucket] = replace(
            bucket,
            tallies=tallies,
            dirty=True,
            due_at=due,
            booked_at=bucket.booked_at or booked_at,
            closing_account=None if put.closing is None else put.closing.account,
            closing_start=None if put.closing is None else put.closing.start,
        )
    return changed


def _new(put: Put, batch_of: tuple[str, str]) -> StoredBucket:
    head = {**put.head, _BATCH: name_of(*batch_of, put.bucket)}
    return StoredBucket(name=put.bucket, stream=put.stream, head=head, tallies={})


def _added(tally: Any, put: Put) -> Tally:
    if tally is None:
        return Tally(of=dict(put.of), figures=dict(put.figures), count=1, first=put.time, last=put.time)
    if not isinstance(tally, Tally):
        tally = msgspec.convert(tally, Tally, strict=False)
    return Tally(
        of=tally.of,
        figures={name: tally.figures.get(name, ZERO) + figure for name, figure in put.figures.items()},
        count=tally.count + 1,
        first=min(tally.first, put.time),
        last=max(tally.last, put.time),
    )


def encoded(bucket: StoredBucket) -> StoredBucket:
    """Return the bucket with its tallies as JSON; amounts are strings."""
    tallies = {
        key: {**msgspec.to_builtins(tally), "figures": {name: format(f, "f") for name, f in tally.figures.items()}}
        if isinstance(tally, Tally)
        else tally
        for key, tally in bucket.tallies.items()
    }
    return replace(bucket, tallies=tallies)


def opened(bucket: StoredBucket, *, replaces: bool) -> Bucket:
    """Return a stored bucket as its shape sees it when it is due."""
    head = {name: value for name, value in bucket.head.items() if name != _BATCH}
    batch, part = str(bucket.head[_BATCH]), bucket.part + 1
    return Bucket(
        name=bucket.name,
        batch=batch if replaces or part == 1 else name_of(batch, part),
        part=part,
        begun=replaces and bucket.part > 0,
        head=head,
        tallies={key: msgspec.convert(tally, Tally, strict=False) for key, tally in bucket.tallies.items()},
    )


def sent(bucket: StoredBucket, *, replaces: bool, made: bool) -> StoredBucket:
    """Return the bucket behind its item: emptied, unless its content is replaced. `made`: there was one to make."""
    return replace(
        bucket,
        tallies=bucket.tallies if replaces else {},
        part=bucket.part + int(made),
        dirty=False,
        booked_at=None,
    )
