"""Whose an identity is, and was: claims listed, ended, and withdrawn where they were wrong from the start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from typing import Final, Literal, TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.changes import Change
from meter.catalog.issues import Place
from meter.model.directory import SINCE_ALWAYS, Claim, Span
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.period import Periods, Terms
from meter.store.apply import Outcome, apply_claims
from meter.store.catalogs import load_catalogs
from meter.store.directory import NO_CATALOG, read_accounts, read_claims, read_links
from meter.store.directory_write import lock_facts
from meter.store.hashing import check_key, hasher_of, stored_identity

ALWAYS: Final = "always"
# Which of a member's claims of an identity: the one that begins then, at that midnight, or always; None: the only one.
Since: TypeAlias = date | datetime | Literal["always"] | None

_SHOWN_MAX: Final = 5
# By identity: a page stays where it is while claims come and go.
_PAGE: Final = text(
    """
    SELECT DISTINCT identity
      FROM identities
     WHERE operator = :operator
       AND (CAST(:after AS text) IS NULL OR identity > :after)
       AND (CAST(:member AS text) IS NULL OR member = :member)
       AND ("end" IS NULL OR "end" > start)
     ORDER BY identity
     LIMIT :identities_max
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedIdentity:
    """An identity with its claims by start and member; those withdrawn are left out."""

    identity: str
    claims: tuple[Claim, ...]


async def claimed_identities(
    conn: AsyncConnection,
    operator: str,
    *,
    identity: str | None = None,
    member: str | None = None,
    after: str | None = None,
    identities_max: int,
) -> list[ClaimedIdentity]:
    """Return claimed identities in code point order behind `after`.

    `member`: those that the member ever claimed, with everyone who did. `identity`: this one. Raises BadInput as
    `stored_identity`.
    """
    if identity is not None:
        names = [await stored_identity(conn, operator, identity)]
    else:
        parameters = {"operator": operator, "after": after, "member": member, "identities_max": identities_max}
        names = list((await conn.execute(_PAGE, parameters)).scalars())
    claims = [claim for claim in await read_claims(conn, operator, of_identities=names) if not claim.is_withdrawn]
    found = [
        ClaimedIdentity(identity=name, claims=tuple(several))
        for name, several in groupby(claims, key=lambda claim: claim.identity)
    ]
    return [one for one in found if member is None or any(claim.member == member for claim in one.claims)]


async def end_claim(
    conn: AsyncConnection, operator: str, identity: str, *, member: str, since: Since, end: date | datetime
) -> Outcome:
    """End a member's claim; what the identity did from then on is somebody else's, or unresolved.

    Raises BadInput: `not_found`; `invalid` where several claims are meant or it would end before it begins.
    """
    claim, periods = await _claim_meant(conn, operator, identity, member=member, since=since)
    until = _instant(end, periods)
    if until <= (claim.span.start or SINCE_ALWAYS):
        message = f"the claim begins at {_start_text(claim)}; end it later, or withdraw it if it never held"
        raise BadInput(message, code="invalid")
    return await _put(conn, operator, claim, Span(start=claim.span.start, end=until))


async def withdraw_claim(conn: AsyncConnection, operator: str, identity: str, *, member: str, since: Since) -> Outcome:
    """Take a claim back as if it had never been put; what was rated for it is booked back.

    Raises BadInput: `not_found`; `invalid` where several claims are meant.
    """
    claim, _ = await _claim_meant(conn, operator, identity, member=member, since=since)
    return await _put(conn, operator, claim, Span(start=claim.span.start, end=claim.span.start or SINCE_ALWAYS))


async def hash_claims(conn: AsyncConnection, operator: str) -> Outcome:
    """Put each claim that stands as written, though its kind is hashed now, under its hash, too.

    The one as written stays: for events that were stored so. Raises BadInput as `stored_identity`.
    """
    await lock_facts(conn, operator)
    await check_key(conn, operator)
    hasher = hasher_of(conn)
    claims = await read_claims(conn, operator)
    written = {(claim.identity, claim.member, claim.span.start) for claim in claims}
    missing = [
        Change(before=None, after=hashed, place=Place("claim", None, ""))
        for claim in claims
        if hasher.concerns(claim.identity) and not claim.is_withdrawn
        for hashed in [replace(claim, identity=hasher.stored(claim.identity))]
        if (hashed.identity, hashed.member, hashed.span.start) not in written
    ]
    return await apply_claims(conn, operator, missing)


async def _put(conn: AsyncConnection, operator: str, claim: Claim, span: Span) -> Outcome:
    after = replace(claim, span=span)
    changed = [] if after == claim else [Change(before=claim, after=after, place=Place("claim", None, ""))]
    return await apply_claims(conn, operator, changed)


async def _claim_meant(
    conn: AsyncConnection, operator: str, identity: str, *, member: str, since: Since
) -> tuple[Claim, Periods]:
    """Return the claim, the facts held, and what dates mean for its member."""
    name = await stored_identity(conn, operator, identity)
    await lock_facts(conn, operator)
    catalogs = await load_catalogs(conn, operator)
    if catalogs is None:
        raise BadInput(NO_CATALOG, code="no_catalog")
    newest = catalogs.versions[-1]
    periods = await _periods_of(conn, operator, member, otherwise=Terms(newest.currency, newest.timezone))
    held = [c for c in await read_claims(conn, operator, of_identities=[name]) if not c.is_withdrawn]
    mine = [claim for claim in held if claim.member == member]
    if since is not None:
        start = None if since == ALWAYS else _instant(since, periods)
        mine = [claim for claim in mine if claim.span.start == start]
    if not mine:
        others = ", ".join(f"{claim.member} since {_start_text(claim)}" for claim in held[:_SHOWN_MAX])
        message = f"{member[:60]} has no such claim of {name}; claimed by: {others or 'nobody'}"
        raise BadInput(message, code="not_found")
    if len(mine) > 1:
        starts = ", ".join(_start_text(claim) for claim in mine[:_SHOWN_MAX])
        message = f"{member} claims {name} {len(mine)} times, from {starts}; say which by its `from`"
        raise BadInput(message, code="invalid")
    return mine[0], periods


async def _periods_of(conn: AsyncConnection, operator: str, member: str, *, otherwise: Terms) -> Periods:
    """Return the periods of the member's first account, by which its dates count; the operator's without one."""
    links = await read_links(conn, operator, [member])
    if not links:
        return Periods(otherwise)
    first = min(links, key=lambda link: (link.span.start or SINCE_ALWAYS, link.account))
    accounts = await read_accounts(conn, operator, [first.account])
    return accounts[0].periods if accounts else Periods(otherwise)


def _instant(when: date | datetime, periods: Periods) -> datetime:
    return when if isinstance(when, datetime) else periods.midnight(when)


def _start_text(claim: Claim) -> str:
    return ALWAYS if claim.span.start is None else instant_text(claim.span.start)
