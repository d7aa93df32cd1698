"""Rows whose form was changed on purpose, by erasing a member: each is a record in the sealed log (decision 0021).

    sealed form ──before── redaction ──after── the row as it stands         more than one: each begins where one ends

A row counts as what it was sealed as only where sealed records lead from there to what stands now. So neither an edit
without a record nor a record that is not of this row passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.wire import content_hash
from meter.store.engine import encode_json
from meter.store.seals import STREAMS, prepare

# Action, kind, object, detail.
Record: TypeAlias = "tuple[str, str, str, dict[str, Any]]"

ACTION: Final = "redacted"
_ROWS: Final = {
    name: text(
        f"SELECT t.id, t.xid::text || '-' || t.seq AS place, sha256(convert_to({stream.canonical}, 'UTF8')) AS form"  # noqa: S608 -- our tables
        f" FROM {stream.rows} WHERE t.operator = :operator AND t.id = ANY(CAST(:ids AS text[])) ORDER BY t.xid, t.seq"
    )
    for name, stream in STREAMS.items()
    if name in {"charges", "entries"}
}
_WRITE: Final = text(
    """
    INSERT INTO audit (operator, actor, action, kind, object, member, detail)
    SELECT :operator, coalesce(nullif(current_setting('meter.actor', true), ''), 'system'), r.action, r.kind, r.object,
           :member, CAST(r.detail AS jsonb)
      FROM unnest(CAST(:actions AS text[]), CAST(:kinds AS text[]), CAST(:objects AS text[]), CAST(:details AS text[]))
           WITH ORDINALITY AS r (action, kind, object, detail, n)
     ORDER BY r.n
    """
)
# Of the rows of a block, oldest first. What is not sealed yet proves nothing: whoever edits could have written it.
_OF_BLOCK: Final = """
    SELECT a.object, a.seq, a.detail ->> 'before' AS before, a.detail ->> 'after' AS after, a.xid::text AS erasure,
           (a.xid, a.seq) <= (SELECT s.to_xid, s.to_seq FROM seals AS s
                               WHERE s.operator = :operator AND s.stream = 'audit' ORDER BY s.n DESC LIMIT 1) AS sealed
      FROM {0} AS t
      JOIN audit AS a ON a.operator = t.operator AND a.kind = '{0}' AND a.object = t.xid::text || '-' || t.seq
     WHERE t.operator = :operator AND a.action = 'redacted'
       AND (t.xid, t.seq) > (CAST(CAST(:from_xid AS text) AS xid8), :from_seq)
       AND (t.xid, t.seq) <= (CAST(CAST(:to_xid AS text) AS xid8), :to_seq)
     ORDER BY a.seq
"""
_ANY: Final = text(
    "SELECT EXISTS (SELECT FROM audit WHERE operator = :operator AND kind = :kind AND action = 'redacted')"
)


@dataclass(frozen=True, slots=True)
class Form:
    """Where a row of a stream stands (`XID-SEQ`), and the hash of its form, or of an event's content."""

    place: str
    hash: str


@dataclass(frozen=True, slots=True)
class Step:
    """One redaction: hashes in hexadecimal; `erasure`: its transaction; `sealed`: whether the record itself is.

    `seq`: the record's place in the log, drawn while the facts were held: of two changes of a row the later is greater.
    """

    before: str
    after: str
    erasure: int
    sealed: bool
    seq: int


async def forms(connection: AsyncConnection, operator: str, stream: str, ids: Sequence[str]) -> dict[str, Form]:
    """Return the forms of charges or entries by id, as they would be sealed now."""
    await prepare(connection)
    rows = await connection.execute(_ROWS[stream], {"operator": operator, "ids": list(ids)})
    return {row.id: Form(row.place, bytes(row.form).hex()) for row in rows}


def event_form(row: Mapping[str, Any]) -> Form:
    """Return the place of an event and the hash of its content."""
    content = content_hash(row["type"], row["subject"], sent(row), row["data"])
    return Form(f"{row['xid']}-{row['seq']}", content.hex())


def sent(row: Mapping[str, Any]) -> datetime | None:
    """Return the time that the sender wrote, before it was corrected: what the hash was made of."""
    found: datetime = row["time"] + timedelta(milliseconds=row["offset_ms"] or 0)
    return found if row["timed"] else None


async def write_redactions(
    connection: AsyncConnection,
    operator: str,
    *,
    member: str,
    changed: Sequence[tuple[str, Form, Form]],
    summary: Mapping[str, int] | None = None,
) -> None:
    """Record each changed form, (stream, before, after); with a `summary`, that the member (a pseudonym) was erased."""
    records: list[Record] = [
        (ACTION, stream, before.place, {"before": before.hash, "after": after.hash})
        for stream, before, after in changed
    ]
    if summary is not None:
        records.append(("erased", "privacy", member, {"rows": dict(summary)}))
    await write_records(connection, operator, records, member=member)


async def write_records(
    connection: AsyncConnection, operator: str, records: Sequence[Record], *, member: str | None = None
) -> None:
    """Write records of what was changed on purpose to the log that is sealed, in order."""
    await connection.execute(
        _WRITE,
        {
            "operator": operator,
            "member": member,
            "actions": [action for action, *_ in records],
            "kinds": [kind for _, kind, *_ in records],
            "objects": [place for _, _, place, _ in records],
            "details": [encode_json(detail) for *_, detail in records],
        },
    )


async def steps_of(
    connection: AsyncConnection, operator: str, stream: str, bounds: Mapping[str, Any]
) -> dict[str, list[Step]]:
    """Return the redactions of a block's rows by place, oldest first; of most blocks there are none."""
    if stream == "audit" or not await connection.scalar(_ANY, {"operator": operator, "kind": stream}):
        return {}
    found: dict[str, list[Step]] = {}
    for row in await connection.execute(text(_OF_BLOCK.format(stream)), dict(bounds)):
        found.setdefault(row.object, []).append(
            Step(row.before, row.after, int(row.erasure), bool(row.sealed), row.seq)
        )
    return found


def sealed_as(now: str, steps: Sequence[Step], *, since: int = 0) -> str:
    """Return the hash that a row had before the erasures from `since` on: as far as sealed records lead back."""
    for step in reversed(steps):
        if not step.sealed or step.after != now or step.erasure < since:
            break
        now = step.before
    return now


def redacted_from(was: str, steps: Sequence[Step]) -> str:
    """Return the hash that a row has after erasures of it: as far as records lead on from `was`."""
    for step in steps:
        if step.before != was:
            break
        was = step.after
    return was
