"""Who did what: the records that triggers write (`meter.store.audited`), and those of who read of persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.engine import encode_json

_LIST: Final = text(
    """
    SELECT seq, at, actor, action, kind, object, member, detail FROM audit
     WHERE operator = :operator AND seq < :before
       AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
       AND (CAST(:actor AS text) IS NULL OR actor = :actor)
       AND (CAST(:kind AS text) IS NULL OR kind = :kind)
       AND (CAST(:object AS text) IS NULL OR object = :object)
       AND (CAST(:member AS text) IS NULL OR member IN (
               :member, (SELECT k.pseudonym FROM member_keys AS k WHERE k.operator = :operator AND k.member = :member)))
     ORDER BY seq DESC LIMIT :limit
    """
)
_READ: Final = text(
    """
    INSERT INTO audit (operator, actor, action, kind, object, member, detail)
    SELECT :operator, r.actor, r.action, r.kind, r.object,
           CASE WHEN r.member IS NOT NULL THEN coalesce(k.pseudonym, 'unknown') END, CAST(r.detail AS jsonb)
      FROM unnest(CAST(:actors AS text[]), CAST(:actions AS text[]), CAST(:kinds AS text[]), CAST(:objects AS text[]),
                  CAST(:members AS text[]), CAST(:details AS text[])) AS r (actor, action, kind, object, member, detail)
      LEFT JOIN member_keys AS k ON k.operator = :operator AND r.member IN (k.member, k.pseudonym)
    """
)
_STARTED: Final = text(
    """
    INSERT INTO audit (operator, actor, action, kind, object, detail)
    VALUES (:operator, 'system', 'started', 'gateway', :object, CAST(:detail AS jsonb))
    """
)
_SEQ_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was done, by whom, to what. `detail` names fields and digests, never a value."""

    seq: int
    at: datetime
    actor: str
    action: str
    kind: str
    object: str
    member: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records: each field that is set must fit. `member` is an id or a pseudonym."""

    since: datetime | None = None
    actor: str | None = None
    kind: str | None = None
    object: str | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """That somebody read what is kept of persons. `filters` names what it was narrowed by, without the values."""

    actor: str
    kind: str
    object: str = ""
    member: str | None = None
    filters: tuple[str, ...] = ()
    action: str = "read"


async def list_records(
    connection: AsyncConnection, operator: str, wanted: RecordFilter, *, before: int | None, limit: int
) -> list[Record]:
    """Return the records that fit, the newest first, below the number `before`."""
    rows = await connection.execute(
        _LIST,
        {
            "operator": operator,
            "before": _SEQ_MAX if before is None else before,
            "limit": limit,
            "since": wanted.since,
            "actor": wanted.actor,
            "kind": wanted.kind,
            "object": wanted.object,
            "member": wanted.member,
        },
    )
    return [Record(**row._mapping) for row in rows]  # noqa: SLF001 -- public


async def record_readings(connection: AsyncConnection, operator: str, readings: Sequence[tuple[Reading, int]]) -> None:
    """Record each reading with how often it was done."""
    ones = [reading for reading, _ in readings]
    await connection.execute(
        _READ,
        {
            "operator": operator,
            "actors": [one.actor for one in ones],
            "actions": [one.action for one in ones],
            "kinds": [one.kind for one in ones],
            "objects": [one.object for one in ones],
            "members": [one.member for one in ones],
            "details": [encode_json({"times": times, "filters": list(one.filters)}) for one, times in readings],
        },
    )


async def record_start(
    connection: AsyncConnection, operator: str, *, host: str, version: str, digest: str, fields: Sequence[str]
) -> None:
    """Record that a gateway started on `host`: the digest of what it was set to, and the names of what was set."""
    detail = encode_json({"version": version, "digest": digest, "fields": list(fields)})
    await connection.execute(_STARTED, {"operator": operator, "object": host, "detail": detail})
