"""How each configured source is doing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.ingest.setups import Sources
from meter.sources.setups import ConfiguredSource
from meter.store.fetching import Backlog, FeedRow, SourceState, backlogs, feed_rows, last_receipts


async def source_states(conn: AsyncConnection, operator: str, sources: Sources) -> list[SourceState]:
    """Return every configured source, by vendor and name: its last receipt, what it still has to fetch, its polls.

    What is to be fetched for a source that is configured no more is listed too, for it waits.
    """
    waiting = {(row.vendor, row.name): row for row in await backlogs(conn, operator)}
    polls: dict[tuple[str, str], list[FeedRow]] = {}
    for row in await feed_rows(conn, operator):
        polls.setdefault((row.vendor, row.name), []).append(row)
    received = await last_receipts(conn, operator)
    configured = {(source.setup.vendor, source.setup.name): source for source in sources.all}
    return [
        _state(key, configured.get(key), received.get(key), waiting.get(key), polls.get(key, []))
        for key in sorted(configured.keys() | waiting.keys())
    ]


def _state(
    key: tuple[str, str],
    source: ConfiguredSource | None,
    received_at: datetime | None,
    waiting: Backlog | None,
    polls: list[FeedRow],
) -> SourceState:
    gone = (f"{key[0]} {key[1]} is not in the settings any more; what it still has to fetch waits",)
    return SourceState(
        vendor=key[0],
        name=key[1],
        site=None if source is None else source.setup.site or None,
        faults=gone if source is None else source.faults,
        received_at=received_at,
        waiting=waiting,
        polls=tuple(polls),
    )
