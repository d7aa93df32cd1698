"""What a target was sent, for comparing it with what the target holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.outbox import OutboxItem
from meter.store.tables import outbox

_PAGE_MAX: Final = 1000
_NEWEST: Final = text(
    """
    SELECT DISTINCT ON (batch) batch, id, operator, target, operation, revision, key, payload, stream, remote_id
      FROM outbox
     WHERE operator = :operator AND target = :target AND state IN ('delivered', 'verified') AND batch > :after
     ORDER BY batch, revision DESC, id DESC
     LIMIT :page_max
    """
)


async def sent_items(conn: AsyncConnection, operator: str, target: str) -> AsyncIterator[tuple[int, OutboxItem]]:
    """Give the newest delivered item of each batch with its number; `known_id` is what the target called it."""
    after = ""
    while True:
        given = {"operator": operator, "target": target, "after": after, "page_max": _PAGE_MAX}
        rows = (await conn.execute(_NEWEST, given)).all()
        for row in rows:
            item = OutboxItem(
                operator=row.operator,
                target=row.target,
                operation=row.operation,
                batch=row.batch,
                revision=row.revision,
                key=row.key,
                payload=row.payload,
                stream=row.stream,
                known_id=row.remote_id,
            )
            yield row.id, item
        if len(rows) < _PAGE_MAX:
            return
        after = rows[-1].batch


async def sent_batches(conn: AsyncConnection, operator: str, target: str) -> frozenset[str]:
    """Return every batch that the target holds, or may hold."""
    held = ("delivered", "verified", "sending", "uncertain")
    query = (
        select(outbox.c.batch)
        .distinct()
        .where(outbox.c.operator == operator, outbox.c.target == target, outbox.c.state.in_(held))
    )
    return frozenset((await conn.execute(query)).scalars())
