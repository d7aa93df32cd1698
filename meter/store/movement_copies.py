"""What other tables hold of movements that came long ago: cleared, or said why it stays (decision 0026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.touch import Touch
from meter.model.errors import BadInput
from meter.model.event import MOVEMENTS, is_movement
from meter.model.strict_json import strict_json
from meter.store.catalogs import read_versions
from meter.store.directory_write import lock_facts, raise_facts_version, write_refolds
from meter.store.thinning import MARK, Kept

# Every table that is searched for people is cleared of old movements, or is here with the reason.
CLEARED: Final = frozenset({"checkpoints", "events", "rejections"})
STAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "authorizations": "asked at a door: removed after 100 days (`meter.booking.forgetting`)",
        "audit": "holds no values",
        "charges": "the bill: which event a line is of, and the dimensions that it is priced by",
        "deferrals": "the bill",
        "draws": "the bill",
        "entries": "the bill",
        "journal": "the bill",
        "invoices": "the bill",
        "outbox": "the bill, as it was sent",
        "export_buckets": "the bill, as it is about to be sent",
        "unread": "what a meter could not read of what it reads: the newest fold says it",
        "unresolved": "whose they are is still to be said, and then they are billed; names no more than the event",
        "doubtful_times": "ids of events, and what was said against their time",
        "wifi_readings": "by what a session hangs together; names no person and no access point",
        "revisions": "ids of events",
        "refunds": "of sales",
        "wifi_due": "gone once it is done",
        "fetches": "gone once it is done",
        "refolds": "gone once it is done",
    }
    | dict.fromkeys(("feeds", "lanes", "source_receipts", "export_billers"), "how far the machine is")
    | dict.fromkeys(
        (
            *("accounts", "drafts", "grants", "identities", "member_accounts", "member_keys", "members"),
            *("subscriptions", "closes", "catalogs"),
        ),
        "people and what they agreed to, not where they were",
    )
    | dict.fromkeys(
        ("api_key_uses", "api_keys", "edge_enrollments", "edge_retirements", "edge_revocations", "edges"),
        "keys and agents, not people",
    )
)
# Of one statement; each is read whole.
_REJECTIONS_MAX: Final = 500
_DECIDED: Final = text(
    """
    SELECT id, source, body, stands FROM rejections
     WHERE operator = :operator AND status <> 'open' AND last_at < :before AND id > :after
       AND (octet_length(body) > 0 OR octet_length(stands) > 0)
     ORDER BY id LIMIT :limit
    """
)
_EMPTY: Final = text(
    """
    UPDATE rejections SET body = '', stands = CASE WHEN stands IS NOT NULL THEN CAST('' AS bytea) END
     WHERE operator = :operator AND id = ANY(CAST(:ids AS bigint[])) AND status <> 'open'
    """
)
_SESSIONS: Final = text(
    """
    SELECT c.account, c.time, c.source, c.id, s.event ->> 'type' AS type, s.event ->> 'time' AS began,
           s.event ->> 'data' AS data
      FROM checkpoints AS c
     CROSS JOIN LATERAL jsonb_path_query(c.state, '$.memory.sessions[*].event') AS s (event)
      JOIN events AS e ON e.operator = c.operator AND e.time = CAST(s.event ->> 'time' AS timestamptz)
       AND e.source = s.event ->> 'source' AND e.id = s.event ->> 'id'
     WHERE c.operator = :operator AND jsonb_exists(e.attributes, :mark)
    """
)
_FORGET: Final = text(
    """
    DELETE FROM checkpoints AS c
     USING unnest(CAST(:accounts AS text[]), CAST(:times AS timestamptz[]), CAST(:sources AS text[]),
                  CAST(:ids AS text[])) AS g (account, time, source, id)
     WHERE c.operator = :operator
       AND (c.account, c.time, c.source, c.id) = (g.account, g.time, g.source, g.id)
    """
)
_REASON: Final = "movements were thinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """How many rejections have no bytes any more, and how many accounts fold again without them."""

    rejections: int
    accounts: int


async def clear_copies(connection: AsyncConnection, operator: str, *, before: datetime) -> Cleared:
    """Clear what is beside the log, once the log is thinned; as the owner, within the caller's transaction."""
    await lock_facts(connection, operator)
    rejections = await _clear_rejections(connection, operator, before)
    return Cleared(rejections=rejections, accounts=await _clear_checkpoints(connection, operator))


async def _clear_rejections(connection: AsyncConnection, operator: str, before: datetime) -> int:
    """Empty what people have decided on: it is not handed in again. What is open waits for somebody, whole."""
    after = cleared = 0
    while True:
        asked = {"operator": operator, "before": before, "after": after, "limit": _REJECTIONS_MAX}
        rows = (await connection.execute(_DECIDED, asked)).all()
        ids = [row.id for row in rows if _tells(row)]
        if ids:
            await connection.execute(_EMPTY, {"operator": operator, "ids": ids})
        cleared += len(ids)
        if len(rows) < _REJECTIONS_MAX:
            return cleared
        after = rows[-1].id


def _tells(row: Any) -> bool:
    """Tell whether it is of a movement: by its source, berlin/door/main, or by its type."""
    return (row.source or "").partition("/")[2].partition("/")[0] in MOVEMENTS or _of_movement(bytes(row.body))


def _of_movement(body: bytes) -> bool:
    try:
        said = strict_json(body)
    except BadInput:
        return False  # a vendor's own form: its source says what it is of
    several = said if isinstance(said, list) else [said]
    return any(isinstance(one, dict) and is_movement(str(one.get("type"))) for one in several)


async def _clear_checkpoints(connection: AsyncConnection, operator: str) -> int:
    """Remove states in which a session that is open since long ago holds what is gone; its account folds again."""
    kept = Kept(await read_versions(connection, operator))
    rows = [
        row
        for row in await connection.execute(_SESSIONS, {"operator": operator, "mark": MARK})
        if strict_json(row.data.encode()).keys() - kept.of(row.type)
    ]
    since: dict[str, datetime] = {}
    for row in rows:
        began = datetime.fromisoformat(row.began)
        since[row.account] = min(since.get(row.account, began), began)
    if not since:
        return 0
    await connection.execute(
        _FORGET,
        {
            "operator": operator,
            "accounts": [row.account for row in rows],
            "times": [row.time for row in rows],
            "sources": [row.source for row in rows],
            "ids": [row.id for row in rows],
        },
    )
    # Who rates it may have the state in memory, and would write it again.
    await raise_facts_version(connection, operator)
    await write_refolds(connection, operator, [Touch(account, at, _REASON) for account, at in sorted(since.items())])
    return len(since)
