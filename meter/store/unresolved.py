"""Identities that nobody has claimed, with what waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.draft import ClaimDraft, DirectoryDraft
from meter.catalog.issues import Place
from meter.model.errors import BadInput
from meter.model.identity import normalise_identity
from meter.store.apply import Outcome, apply_directory
from meter.store.directory import read_members


@dataclass(frozen=True, slots=True, kw_only=True)
class UnresolvedIdentity:
    """An identity and its parked events: how many, from when to when, where, of which types.

    `identity` "" gathers the sales on account that name nobody.
    """

    identity: str
    events: int
    first: datetime
    last: datetime
    sites: tuple[str, ...]
    types: tuple[str, ...]


# By identity and not by number or time: a page stays where it is while events come and go.
_PAGE: Final = text(
    """
    SELECT identity, count(*) AS events, min(time) AS first, max(time) AS last,
           array_agg(DISTINCT site ORDER BY site) AS sites, array_agg(DISTINCT type ORDER BY type) AS types
      FROM unresolved
     WHERE operator = :operator
       AND (CAST(:after AS text) IS NULL OR identity > :after)
       AND (CAST(:site AS text) IS NULL OR site = :site)
     GROUP BY identity
     ORDER BY identity
     LIMIT :identities_max
    """
)


async def unresolved_identities(
    conn: AsyncConnection, operator: str, *, after: str | None = None, site: str | None = None, identities_max: int
) -> list[UnresolvedIdentity]:
    """Return identities in code point order behind `after`; of one site only where it is given."""
    rows = await conn.execute(
        _PAGE, {"operator": operator, "after": after, "site": site, "identities_max": identities_max}
    )
    return [
        UnresolvedIdentity(
            identity=row.identity,
            events=row.events,
            first=row.first,
            last=row.last,
            sites=tuple(row.sites),
            types=tuple(row.types),
        )
        for row in rows
    ]


async def claim_identity(
    conn: AsyncConnection,
    operator: str,
    identity: str,
    *,
    member: str,
    start: date | datetime | None,
    end: date | datetime | None,
    now: datetime,
) -> Outcome:
    """Put the claim of an identity by a member; its parked events are rated at their own times.

    Dates mean midnight in the zone of the member's account. Raises BadInput (`bad_identity`; `invalid`: there is no
    such member, or the claim ends before it begins).
    """
    if not await read_members(conn, operator, [member]):
        message = f"there is no member {member[:60]!r}; put the member first: PUT /v1/members/ID, or meter apply FILE"
        raise BadInput(message, code="invalid")
    claim = ClaimDraft(
        identity=normalise_identity(identity), member=member, start=start, end=end, place=Place("claim", None, "")
    )
    return await apply_directory(conn, operator, DirectoryDraft(claims=(claim,)), now=now)
