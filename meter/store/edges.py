"""What each on-site agent has had taken in: its marks, how far they make its site complete, its latest heartbeat.

    agent:  newest of its boots' marks           site:  slowest of its agents           no agent: no mark

An agent's heartbeat says up to when it has sent everything. That holds here once every lower sequence of its boot is
stored too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import Json
from meter.store.bulk import insert_many
from meter.store.engine import encode_json
from meter.store.marks import Marks, advance, joined, marks_of, told
from meter.store.tables import edges

# An agent's spool: site, edge, boot.
BootKey: TypeAlias = tuple[str, str, int]

# No boot is known of an agent that marks nothing but its name.
NO_BOOT: Final = 0


class Heartbeat(NamedTuple):
    """An agent's word that nothing older than `until` is still to come, under a sequence or none (counts at once)."""

    sequence: int | None
    until: datetime


class Said(NamedTuple):
    """What a heartbeat says of its agent, for people."""

    sequence: int | None
    data: Mapping[str, Json]

    @property
    def speaks(self) -> bool:
        """Tell whether it says anything; one without a number and without a word only asks what time it is."""
        return self.sequence is not None or bool(self.data)

    @property
    def rank(self) -> tuple[bool, int]:
        """Return by what the newest of several is found."""
        return self.speaks, self.sequence or 0


@dataclass(slots=True, kw_only=True)
class EdgeReport:
    """What one batch brought from one agent and boot: sequences, and what its heartbeats say, the newest in `said`."""

    site: str
    edge: str
    boot: int
    sequences: set[int] = field(default_factory=set)
    clock_offset_ms: int | None = None
    heartbeats: list[Heartbeat] = field(default_factory=list)
    said: Said | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what tells one agent's boot from another."""
        return self.site, self.edge, self.boot

    def hear(self, said: Said) -> None:
        """Take what a heartbeat says, unless a newer one of this batch has spoken, or it says nothing."""
        if self.said is None or said.rank >= self.said.rank:
            self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProgress:
    """What an agent may forget: every sequence up to `up_to`, and those in `also`.

    `unmarked` are those of the batch that it may not: they would have made more ranges than are kept.
    """

    site: str
    edge: str
    boot: int
    up_to: int
    also: tuple[int, ...]
    unmarked: frozenset[int] = frozenset()


def heed(up_to: int, heartbeats: Iterable[Heartbeat]) -> tuple[datetime | None, Heartbeat | None]:
    """Return up to when those that count make complete, and the newest of those that wait for something lower."""
    counted = [beat.until for beat in heartbeats if beat.sequence is None or beat.sequence <= up_to]
    waiting = [beat for beat in heartbeats if beat.sequence is not None and beat.sequence > up_to]
    return max(counted, default=None), max(waiting, default=None, key=lambda beat: (beat.sequence or 0, beat.until))


# A heartbeat that comes again says nothing new, and is no sign of life either: a broker may have kept it.
_NEWER: Final = "excluded.heartbeat_at IS NOT NULL AND coalesce(excluded.said_sequence > edges.said_sequence, true)"
_TOUCH: Final = insert_many(
    edges,
    ("operator", "site", "edge", "boot", "clock_offset_ms", "last_at", "said", "said_sequence", "heartbeat_at"),
    f"""ON CONFLICT (operator, site, edge, boot) DO UPDATE
          SET last_at = greatest(edges.last_at, excluded.last_at),
              clock_offset_ms = coalesce(excluded.clock_offset_ms, edges.clock_offset_ms),
              said = CASE WHEN {_NEWER} THEN coalesce(excluded.said, edges.said) ELSE edges.said END,
              said_sequence = greatest(edges.said_sequence, excluded.said_sequence),
              heartbeat_at = CASE WHEN {_NEWER} THEN excluded.heartbeat_at ELSE edges.heartbeat_at END
       RETURNING site, edge, boot, up_to, also, beyond, complete_until, heartbeat_sequence, heartbeat_until""",  # noqa: S608 -- SQL of ours
)
_ADVANCE: Final = text(
    """
    UPDATE edges SET up_to = g.up_to, also = '{}', beyond = CAST(g.beyond AS bigint[]),
                     complete_until = g.complete_until,
                     heartbeat_sequence = g.heartbeat_sequence, heartbeat_until = g.heartbeat_until
      FROM unnest(CAST(:sites AS text[]), CAST(:edges AS text[]), CAST(:boots AS bigint[]), CAST(:up_tos AS bigint[]),
                  CAST(:beyonds AS text[]), CAST(:complete_untils AS timestamptz[]),
                  CAST(:heartbeat_sequences AS bigint[]), CAST(:heartbeat_untils AS timestamptz[]))
           AS g (site, edge, boot, up_to, beyond, complete_until, heartbeat_sequence, heartbeat_until)
     WHERE edges.operator = :operator AND edges.site = g.site AND edges.edge = g.edge AND edges.boot = g.boot
    """
)
# Of each agent whichever boot has come furthest: a fresh spool begins where the lost one ended, or before. An agent
# that was retired counts again with the first thing that is heard of it, one that was revoked once it is
# enrolled again.
_AGENTS: Final = """
    SELECT e.site, e.edge, max(e.complete_until) AS complete_until
      FROM edges AS e
      LEFT JOIN edge_retirements AS r ON (r.operator, r.site, r.edge) = (e.operator, e.site, e.edge)
     WHERE e.operator = :operator
     GROUP BY e.site, e.edge
    HAVING coalesce(max(e.last_at) > max(r.heard_at), true)
       AND NOT EXISTS (SELECT 1 FROM edge_revocations AS v
                        WHERE (v.operator, v.site, v.edge) = (:operator, e.site, e.edge) AND v.lifted_at IS NULL)
"""
_SITES: Final = text(
    f"""
    SELECT site, CASE WHEN bool_and(complete_until IS NOT NULL) THEN min(complete_until) END AS complete_until
      FROM ({_AGENTS}) AS agents
     GROUP BY site
     ORDER BY site
    """  # noqa: S608 -- SQL of ours
)
_EDGES: Final = text(
    f"SELECT * FROM ({_AGENTS}) AS agents WHERE site = ANY(CAST(:sites AS text[])) ORDER BY site, edge"  # noqa: S608 -- SQL of ours
)

_STORED: Final = text(
    """
    SELECT site, edge, boot, up_to, also, beyond
      FROM edges
      JOIN unnest(CAST(:sites AS text[]), CAST(:edges AS text[]), CAST(:boots AS bigint[])) AS asked (site, edge, boot)
           USING (site, edge, boot)
     WHERE operator = :operator
    """
)


async def record_progress(
    connection: AsyncConnection, operator: str, reports: Iterable[EdgeReport], *, at: datetime
) -> list[EdgeProgress]:
    """Advance the agents' progress and return what each may be told once this commits.

    The rows stay locked until then: two batches of one agent add up. Reports have different keys.
    """
    ordered = sorted(reports, key=lambda report: report.key)
    if not ordered:
        return []
    before = await _touched(connection, operator, ordered, at=at)
    progress, changed = [], []
    for report in ordered:
        row = before[report.key]
        known = joined(marks_of(row.up_to, row.beyond), row.also)
        marks = advance(known, report.sequences)
        after = _progressed(row, report, marks)
        stood = _Progress(
            marks_of(row.up_to, row.beyond), row.complete_until, row.heartbeat_sequence, row.heartbeat_until
        )
        if row.also or after != stood:
            changed.append((report, after))
        if report.sequences:
            progress.append(
                EdgeProgress(
                    site=report.site,
                    edge=report.edge,
                    boot=report.boot,
                    up_to=marks.up_to,
                    also=told(marks, report.sequences),
                    unmarked=frozenset(sequence for sequence in report.sequences if sequence not in marks),
                )
            )
    if changed:
        await connection.execute(
            _ADVANCE,
            {
                "operator": operator,
                "sites": [report.site for report, _ in changed],
                "edges": [report.edge for report, _ in changed],
                "boots": [report.boot for report, _ in changed],
                "up_tos": [after.marks.up_to for _, after in changed],
                "beyonds": ["{" + ",".join(map(str, after.marks.bounds)) + "}" for _, after in changed],
                "complete_untils": [after.complete_until for _, after in changed],
                "heartbeat_sequences": [after.heartbeat_sequence for _, after in changed],
                "heartbeat_untils": [after.heartbeat_until for _, after in changed],
            },
        )
    return progress


async def _touched(
    connection: AsyncConnection, operator: str, ordered: Collection[EdgeReport], *, at: datetime
) -> dict[tuple[str, str, int], Row[Any]]:
    """Return each report's row, made where there was none, locked, with what the report says at once."""
    said = [report.said for report in ordered]
    touched = await connection.execute(
        _TOUCH,
        {
            "operator": [operator] * len(ordered),
            "site": [report.site for report in ordered],
            "edge": [report.edge for report in ordered],
            "boot": [report.boot for report in ordered],
            "clock_offset_ms": [report.clock_offset_ms for report in ordered],
            "last_at": [at] * len(ordered),
            "said": [None if one is None or not one.speaks else encode_json(one.data) for one in said],
            "said_sequence": [None if one is None else one.sequence for one in said],
            "heartbeat_at": [None if one is None else at for one in said],
        },
    )
    return {(row.site, row.edge, row.boot): row for row in touched}


class _Progress(NamedTuple):
    """What a row says of progress."""

    marks: Marks
    complete_until: datetime | None
    heartbeat_sequence: int | None
    heartbeat_until: datetime | None


def _progressed(row: Row[Any], report: EdgeReport, marks: Marks) -> _Progress:
    heartbeats = list(report.heartbeats)
    if row.heartbeat_until is not None:
        heartbeats.append(Heartbeat(row.heartbeat_sequence, row.heartbeat_until))
    counted, waiting = heed(marks.up_to, heartbeats)
    known = [until for until in (row.complete_until, counted) if until is not None]
    return _Progress(
        marks,
        max(known, default=None),
        None if waiting is None else waiting.sequence,
        None if waiting is None else waiting.until,
    )


async def stored_marks(connection: AsyncConnection, operator: str, boots: Collection[BootKey]) -> dict[BootKey, Marks]:
    """Return which sequences of these boots are stored; of one never heard of none."""
    if not boots:
        return {}
    sites, names, numbers = zip(*sorted(boots), strict=True)
    rows = await connection.execute(
        _STORED, {"operator": operator, "sites": [*sites], "edges": [*names], "boots": [*numbers]}
    )
    found = {(row.site, row.edge, row.boot): joined(marks_of(row.up_to, row.beyond), row.also) for row in rows}
    return {key: found.get(key, Marks()) for key in boots}


async def site_marks(connection: AsyncConnection, operator: str) -> dict[str, datetime | None]:
    """Return up to when each site that has an agent is complete; None where one of them has not said so yet."""
    rows = await connection.execute(_SITES, {"operator": operator})
    return {row.site: row.complete_until for row in rows}


async def edge_marks(
    connection: AsyncConnection, operator: str, sites: Collection[str]
) -> Mapping[str, dict[str, datetime | None]]:
    """Return up to when each agent of these sites has sent everything, by site."""
    rows = await connection.execute(_EDGES, {"operator": operator, "sites": sorted(sites)})
    found: dict[str, dict[str, datetime | None]] = {}
    for row in rows:
        found.setdefault(row.site, {})[row.edge] = row.complete_until
    return found
