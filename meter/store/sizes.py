"""How much of the log an account's fold has to read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.event import SALE

# Counted along the indexes that the events are read by, and no further than asked for.
_SIZES: Final = text(
    f"""
    WITH base AS (
        SELECT w.account, coalesce(known.time, '-infinity') AS time
          FROM unnest(CAST(:accounts AS text[]), CAST(:since AS timestamptz[])) AS w (account, since)
          LEFT JOIN LATERAL (
               SELECT c.time FROM checkpoints AS c
                WHERE c.operator = :operator AND c.account = w.account AND c.time < w.since AND c.format = :format
                ORDER BY c.time DESC LIMIT 1) AS known ON true
    ), counted AS (
        SELECT base.account, found.events
          FROM unnest(CAST(:owners AS text[]), CAST(:subjects AS text[])) AS s (account, subject)
          JOIN base USING (account)
         CROSS JOIN LATERAL (
               SELECT count(*) AS events
                 FROM (SELECT 1 FROM events AS e
                        WHERE e.operator = :operator AND e.subject = s.subject AND e.time >= base.time
                        LIMIT :events_max) AS seen) AS found
        UNION ALL
        SELECT base.account, found.events
          FROM unnest(CAST(:hosts AS text[]), CAST(:sites AS text[])) AS s (account, site)
          JOIN base USING (account)
         CROSS JOIN LATERAL (
               SELECT count(*) AS events
                 FROM (SELECT 1 FROM events AS e
                        WHERE e.operator = :operator AND e.type = '{SALE}' AND e.site = s.site AND e.time >= base.time
                        LIMIT :events_max) AS seen) AS found
    )
    SELECT account, CAST(sum(events) AS bigint) AS events FROM counted GROUP BY account
    """  # noqa: S608 -- constants of this module
)


async def history_sizes(
    connection: AsyncConnection,
    operator: str,
    since: Mapping[str, datetime],
    *,
    subjects: Mapping[str, Collection[str]],
    sites: Mapping[str, Collection[str]],
    state_format: int,
    events_max: int,
) -> dict[str, int]:
    """Return how many events lie after each account's newest checkpoint before its instant; who has none is left out.

    `subjects` are the identities whose events may be the account's, `sites` those whose sales may be. Of each at most
    `events_max` are counted.
    """
    owned = [(account, subject) for account in since for subject in sorted(subjects.get(account, ()))]
    hosted = [(account, site) for account in since for site in sorted(sites.get(account, ()))]
    rows = await connection.execute(
        _SIZES,
        {
            "operator": operator,
            "accounts": list(since),
            "since": list(since.values()),
            "owners": [account for account, _ in owned],
            "subjects": [subject for _, subject in owned],
            "hosts": [account for account, _ in hosted],
            "sites": [site for _, site in hosted],
            "format": state_format,
            "events_max": events_max,
        },
    )
    return {row.account: row.events for row in rows}
