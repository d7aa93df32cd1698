"""What is stored, held against what else is stored: each tie is one statement, and names the damage that it finds.

    events ── keys            charges ── events        draws ── charges
    entries ── postings       books ── charges         outbox ── charges, entries
    places in a tail ── transactions that there were

Rating has no part in it, so it holds at any moment, whatever waits. Reads only; each statement sees one moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.engine import Database, reason_of, sqlstate

_UNBOUNDED: Final = text("SET LOCAL statement_timeout = 0")
_REDELIVER: Final = "restore the newest backup (docs/backups.md); agents send again what it misses"
_BY_AUDIT: Final = "`meter audit verify` names the rows that were changed; restore the newest backup (docs/backups.md)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """A comparison. `statement` gives a row for each difference, its only column, `what`, for people."""

    name: str
    differs: str
    remedy: str
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """What a tie found: how many differences, and the first of them by name."""

    count: int
    first: str


# Each begins with the rows that must have a partner; `IS DISTINCT FROM` finds those without one, too.
_KEYS: Final = """
    SELECT 'event ' || coalesce(e.source || ' ' || e.id, k.source || ' ' || k.id)
           || CASE WHEN k.id IS NULL THEN ' has no key' WHEN e.id IS NULL THEN ' is gone, its key is there'
                   ELSE ' has another time than its key' END AS what
      FROM (SELECT source, id, time FROM events WHERE operator = :operator) AS e
      FULL JOIN (SELECT source, id, time FROM event_keys WHERE operator = :operator) AS k
             ON k.source = e.source AND k.id = e.id
     WHERE k.time IS DISTINCT FROM e.time
"""
_SOURCES: Final = """
    SELECT t.what || ' is of event ' || t.source || ' ' || t.id || ', which is not stored' AS what
      FROM (SELECT 'charge ' || id AS what, source, event_id AS id FROM charges
             WHERE operator = :operator AND source <> ''
            UNION ALL
            SELECT 'charge ' || c.id, one ->> 0, one ->> 1 FROM charges AS c, jsonb_array_elements(c.events) AS one
             WHERE c.operator = :operator AND jsonb_typeof(c.events) = 'array'
            UNION ALL
            SELECT 'what waits for a claim', source, id FROM unresolved WHERE operator = :operator
            UNION ALL
            SELECT 'what waits for its time', source, id FROM held_events WHERE operator = :operator) AS t
      LEFT JOIN (SELECT source, id FROM event_keys WHERE operator = :operator) AS k USING (source, id)
     WHERE k.id IS NULL
"""
# A reversal gives back what the charge took that it corrects, of each instance.
_DRAWS: Final = """
    SELECT 'draw ' || d.n || ' of charge ' || d.charge || ' is of no charge of ' || d.account AS what
      FROM draws AS d
      LEFT JOIN charges AS c ON c.operator = d.operator AND c.id = d.charge AND c.account = d.account
     WHERE d.operator = :operator AND c.id IS NULL
    UNION ALL
    SELECT 'charge ' || id || ' gives back ' || trim_scale(-sum(back)) || ' of ' || "grant" || ', charge ' || corrects
           || ' took ' || trim_scale(sum(took))
      FROM (SELECT c.id, c.corrects, d."grant", d.amount AS back, 0 AS took
              FROM charges AS c JOIN draws AS d ON d.operator = c.operator AND d.charge = c.id
             WHERE c.operator = :operator AND c.role = 'reversal'
            UNION ALL
            SELECT c.id, c.corrects, d."grant", 0, d.amount
              FROM charges AS c JOIN draws AS d ON d.operator = c.operator AND d.charge = c.corrects
             WHERE c.operator = :operator AND c.role = 'reversal') AS two
     GROUP BY id, corrects, "grant" HAVING sum(back) + sum(took) <> 0
"""
_ENTRIES: Final = """
    SELECT 'entry ' || coalesce(e.id, j.entry)
           || CASE WHEN e.id IS NULL THEN ' is gone, its postings are there'
                   WHEN j.entry IS NULL THEN ' has no postings'
                   WHEN j.amount <> 0 THEN ' does not balance by ' || trim_scale(j.amount)
                   ELSE ' and its postings name different days or currencies' END AS what
      FROM (SELECT id, day, currency FROM entries WHERE operator = :operator) AS e
      FULL JOIN (SELECT entry, sum(amount) AS amount, min(day) AS first_day, max(day) AS last_day,
                        min(currency) AS first_currency, max(currency) AS last_currency
                   FROM journal WHERE operator = :operator GROUP BY entry) AS j ON j.entry = e.id
     WHERE e.id IS NULL OR j.entry IS NULL OR j.amount <> 0
        OR (j.first_day, j.last_day, j.first_currency, j.last_currency) IS DISTINCT FROM
           (e.day, e.day, e.currency, e.currency)
"""
# What is owed or was paid is what was earned, taxed and taken for others: entries balance. Closing a period moves it
# within `owed`. Books that an earlier version has kept are told by the account's first fold.
_BOOKS: Final = """
    SELECT t.account || ': the books have ' || trim_scale(sum(t.owed)) || ' ' || t.currency || ' owed or paid and '
           || trim_scale(sum(t.taxed)) || ' of tax, its charges come to ' || trim_scale(sum(t.charged)) || ' and '
           || trim_scale(sum(t.tax)) AS what
      FROM (SELECT account, currency, 0 AS charged, 0 AS tax,
                   CASE WHEN ledger_account = ANY(CAST(:owed AS text[])) THEN amount ELSE 0 END AS owed,
                   CASE WHEN ledger_account = ANY(CAST(:taxed AS text[])) THEN -amount ELSE 0 END AS taxed
              FROM journal
             WHERE operator = :operator
               AND ledger_account = ANY(CAST(:owed AS text[]) || CAST(:taxed AS text[]))
            UNION ALL
            SELECT account, currency,
                   CASE WHEN settlement = 'paid' THEN coalesce(total, rounded + tax_amount + coalesce(tip, 0))
                        WHEN tax_inclusive THEN rounded ELSE rounded + tax_amount END, tax_amount, 0, 0
              FROM charges WHERE operator = :operator) AS t
     WHERE t.account NOT IN (SELECT account FROM openings WHERE operator = :operator)
     GROUP BY t.account, t.currency
    HAVING (sum(t.owed), sum(t.taxed)) <> (sum(t.charged), sum(t.tax))
"""
_PLACES: Final = """
    SELECT t.what || ' stands at ' || t.xid::text || '-' || t.seq || ', the next transaction is '
           || pg_snapshot_xmax(pg_current_snapshot())::text AS what
      FROM (SELECT 'rating of shard ' || shard AS what, xid, seq FROM rating_cursors WHERE operator = :operator
            UNION ALL
            SELECT 'target ' || target, xid, seq FROM export_cursors WHERE operator = :operator
            UNION ALL
            SELECT 'the seals of ' || stream, max(to_xid), 0 FROM seals WHERE operator = :operator GROUP BY stream
           ) AS t
     WHERE t.xid > pg_snapshot_xmax(pg_current_snapshot())
"""
# Payloads of what is sent as it was booked: a charge or an entry in each. Sums are held by `meter reconcile`.
_CHARGES_TOLD: Final = """
    SELECT o.target, o.batch, one ->> 'id' AS id, (one ->> 'rounded')::numeric AS amount
      FROM outbox AS o, jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb -> 'charges') AS one
     WHERE o.operator = :operator AND o.operation = 'charges' AND o.state <> 'superseded'
"""
_ENTRIES_TOLD: Final = """
    SELECT o.target, o.batch, one ->> 'id' AS id,
           (SELECT coalesce(sum(abs((leg ->> 'amount')::numeric)), 0)
              FROM jsonb_array_elements(one -> 'postings') AS leg) AS amount
      FROM outbox AS o, jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb -> 'entries') AS one
     WHERE o.operator = :operator AND o.operation = 'journal' AND o.state <> 'superseded'
"""
_CHARGES_STORED: Final = "SELECT id, xid, seq, rounded AS amount FROM charges WHERE operator = :operator"
_ENTRIES_STORED: Final = """
    SELECT e.id, e.xid, e.seq, j.amount
      FROM entries AS e
      JOIN (SELECT entry, sum(abs(amount)) AS amount FROM journal WHERE operator = :operator GROUP BY entry) AS j
        ON j.entry = e.id
     WHERE e.operator = :operator
"""
# A target is told everything from its first item up to its cursor, where no `start` leaves out days.
_OUTBOX: Final = """
    WITH told AS MATERIALIZED (
        SELECT target, id, min(amount) AS least, max(amount) AS most, count(DISTINCT batch) AS batches
          FROM ({told}) AS t GROUP BY target, id
    ), stored AS MATERIALIZED ({stored}
    ), spans AS (
        SELECT c.target, c.xid, c.seq, f.xid AS first_xid, f.seq AS first_seq
          FROM export_cursors AS c
          CROSS JOIN LATERAL (SELECT s.xid, s.seq FROM told AS t JOIN stored AS s ON s.id = t.id
                               WHERE t.target = c.target ORDER BY s.xid, s.seq LIMIT 1) AS f
         WHERE c.operator = :operator AND c.start IS NULL
    )
    SELECT t.target || CASE WHEN s.id IS NULL THEN ' is told of ' || t.id || ', which is not booked'
                            WHEN t.batches > 1 THEN ' is told of ' || t.id || ' in ' || t.batches || ' batches'
                            ELSE ' is told ' || trim_scale(t.most) || ' of ' || t.id || ', booked are '
                                 || trim_scale(s.amount) END AS what
      FROM told AS t LEFT JOIN stored AS s ON s.id = t.id
     WHERE s.id IS NULL OR t.batches > 1 OR t.least <> s.amount OR t.most <> s.amount
    UNION ALL
    SELECT p.target || ' has read ' || s.id || ' and is not told of it'
      FROM spans AS p
      JOIN stored AS s ON (s.xid, s.seq) >= (p.first_xid, p.first_seq) AND (s.xid, s.seq) <= (p.xid, p.seq)
      LEFT JOIN told AS t ON t.target = p.target AND t.id = s.id
     WHERE t.id IS NULL
"""

TIES: Final[tuple[Tie, ...]] = (
    Tie(
        name="events and their keys",
        differs="an event without its key is taken twice, a key without its event keeps it out",
        remedy=_REDELIVER,
        statement=_KEYS,
    ),
    Tie(
        name="charges and their events",
        differs="a charge, or what waits, stands for nothing that came in",
        remedy=_REDELIVER,
        statement=_SOURCES,
    ),
    Tie(
        name="draws and charges",
        differs="credit was drawn by no charge, or came back otherwise than it was drawn",
        remedy=_BY_AUDIT,
        statement=_DRAWS,
    ),
    Tie(
        name="entries and postings",
        differs="an entry of the journal does not balance, or is not whole",
        remedy=_BY_AUDIT,
        statement=_ENTRIES,
    ),
    Tie(
        name="books and charges",
        differs="income and tax in the journal are not what the charges come to",
        remedy=_BY_AUDIT,
        statement=_BOOKS,
    ),
    Tie(
        name="places in the tail",
        differs="a reader stands ahead of all that there is, and passes over what comes next",
        remedy="the database was not restored by `meter restore`: follow docs/backups.md, a PostgreSQL of your own",
        statement=_PLACES,
    ),
    Tie(
        name="deliveries of charges",
        differs="a target is told otherwise than it is booked",
        remedy="`meter reconcile TARGET` tells what the target holds; `meter audit verify` what was changed here",
        statement=_OUTBOX.format(told=_CHARGES_TOLD, stored=_CHARGES_STORED),
    ),
    Tie(
        name="deliveries of entries",
        differs="a target is told otherwise than it is booked",
        remedy="`meter reconcile TARGET` tells what the target holds; `meter audit verify` what was changed here",
        statement=_OUTBOX.format(told=_ENTRIES_TOLD, stored=_ENTRIES_STORED),
    ),
)
# SQLSTATE: a number, a text or JSON that is none.
_UNREADABLE: Final = "22"
_COUNTED: Final = "SELECT count(*) AS found, min(f.what) AS first FROM ({0}) AS f"
_DRAWN: Final = text(
    """
    SELECT d.account, d."grant", sum(d.amount) AS drawn, sum(d.amount) FILTER (WHERE c.kind <> 'refund') AS used
      FROM draws AS d JOIN charges AS c ON c.operator = d.operator AND c.id = d.charge
     WHERE d.operator = :operator
       AND d.account NOT IN (SELECT account FROM refolds WHERE operator = :operator)
     GROUP BY d.account, d."grant" ORDER BY d.account, d."grant"
    """
)
_NOT_LISTED: Final = text(
    """
    SELECT w.source, w.id FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS w (source, id)
     WHERE NOT EXISTS (SELECT FROM unresolved AS u
                        WHERE u.operator = :operator AND u.source = w.source AND u.id = w.id)
    """
)


async def broken(
    database: Database, operator: str, tie: Tie, *, owed: Collection[str], taxed: Collection[str]
) -> Broken | None:
    """Return what differs; None where nothing does.

    `owed` are the ledger accounts of what is owed or was paid, by any version of the chart; `taxed` those of taxes.
    """
    async with database.begin() as connection:
        await connection.execute(_UNBOUNDED)
        given: dict[str, Any] = {"operator": operator}
        if ":owed" in tie.statement:
            given |= {"owed": sorted(owed), "taxed": sorted(taxed)}
        try:
            async with connection.begin_nested():
                row = (await connection.execute(text(_COUNTED.format(tie.statement)), given)).one()
        except DBAPIError as error:
            if not (sqlstate(error) or "").startswith(_UNREADABLE):
                raise
            return Broken(count=1, first=f"what is stored cannot be read: {reason_of(error)}")
    return Broken(count=row.found, first=row.first) if row.found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What was drawn of an instance of a grant: in all, and by what is no refund."""

    account: str
    grant: str
    drawn: Any
    used: Any


async def drawn_of_all(connection: AsyncConnection, operator: str) -> list[Drawn]:
    """Return what was drawn of every instance of every account that waits for no fold, by account."""
    await connection.execute(_UNBOUNDED)
    rows = await connection.execute(_DRAWN, {"operator": operator})
    return [Drawn(**row._mapping) for row in rows]  # noqa: SLF001 -- public in spite of its name


async def not_listed(
    connection: AsyncConnection, operator: str, keys: Mapping[tuple[str, str], Any]
) -> set[tuple[str, str]]:
    """Return those of the events, by source and id, that do not stand among the unresolved."""
    given = {"operator": operator, "sources": [one for one, _ in keys], "ids": [one for _, one in keys]}
    return {(row.source, row.id) for row in await connection.execute(_NOT_LISTED, given)}
