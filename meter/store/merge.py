"""Merging two members that turn out to be one: what the one had becomes the other's, with its dates.

claims, links, own subscriptions, grants of `member` ──▶ `into`        `member` stays as a name: it means `into` now
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.touch import Touch
from meter.model.directory import SINCE_ALWAYS, Claim, GivenGrant, Link, Span, Subscription
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.directory import read_claims, read_grants, read_links, read_members, read_merged, read_subscriptions
from meter.store.directory_write import lock_facts, raise_facts_version, write_refolds

_CONFLICTS_SHOWN_MAX: Final = 10

# The same claim or link of both, from the same start on, holds for as long as either did.
_MOVE: Final = (
    """
    INSERT INTO identities (operator, identity, member, start, "end")
    SELECT operator, identity, :into, start, "end" FROM identities WHERE operator = :operator AND member = :member
        ON CONFLICT (operator, identity, member, start) DO UPDATE SET "end" =
           CASE WHEN identities."end" IS NULL OR excluded."end" IS NULL THEN NULL
                ELSE greatest(identities."end", excluded."end") END
    """,
    "DELETE FROM identities WHERE operator = :operator AND member = :member",
    """
    INSERT INTO member_accounts (operator, member, account, start, "end")
    SELECT operator, :into, account, start, "end" FROM member_accounts WHERE operator = :operator AND member = :member
        ON CONFLICT (operator, member, account, start) DO UPDATE SET "end" =
           CASE WHEN member_accounts."end" IS NULL OR excluded."end" IS NULL THEN NULL
                ELSE greatest(member_accounts."end", excluded."end") END
    """,
    "DELETE FROM member_accounts WHERE operator = :operator AND member = :member",
    "UPDATE subscriptions SET member = :into WHERE operator = :operator AND member = :member",
    "UPDATE grants SET member = :into WHERE operator = :operator AND member = :member",
    "UPDATE members SET merged_into = :into WHERE operator = :operator AND member = :member",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What merging does, or would: how much becomes the other's, and the accounts that are folded again.

    Nothing, where the two were merged before.
    """

    operator: str
    member: str
    into: str
    claims: int = 0
    links: int = 0
    subscriptions: int = 0
    grants: int = 0
    touches: tuple[Touch, ...] = ()
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What a member has."""

    claims: Sequence[Claim]
    links: Sequence[Link]
    subscriptions: Sequence[Subscription]
    grants: Sequence[GivenGrant]


async def merge_members(conn: AsyncConnection, operator: str, member: str, *, into: str) -> Merge:
    """Make `member` another name of `into`, within the caller's transaction; done again, it does nothing.

    Raises BadInput: `not_found`; `invalid`, both are one; `conflict`, one of them was merged into somebody else, or
    both belong to different accounts or have subscriptions of their own at the same time.
    """
    await lock_facts(conn, operator)
    names = {one.id for one in await read_members(conn, operator, [member, into])}
    if not _check_members(names, await read_merged(conn, operator, [member, into]), member, into):
        return Merge(operator=operator, member=member, into=into)
    held, other = await _held(conn, operator, member), await _held(conn, operator, into)
    conflicts = _conflicts(held, other)
    if conflicts:
        more = len(conflicts) - _CONFLICTS_SHOWN_MAX
        shown = "; ".join(conflicts[:_CONFLICTS_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
        message = f"{member} and {into} cannot be one as they stand: {shown}. End one of each where the other begins"
        raise BadInput(message, code="conflict")
    touches = await _touches(conn, operator, member, into, (held, other))
    for statement in _MOVE:
        await conn.execute(text(statement), {"operator": operator, "member": member, "into": into})
    await raise_facts_version(conn, operator)
    await write_refolds(conn, operator, touches)
    return Merge(
        operator=operator,
        member=member,
        into=into,
        claims=sum(not claim.is_withdrawn for claim in held.claims),
        links=len(held.links),
        subscriptions=len(held.subscriptions),
        grants=len(held.grants),
        touches=touches,
        changed=True,
    )


def _check_members(names: Collection[str], merged: Mapping[str, str], member: str, into: str) -> bool:
    """Tell whether there is something to do. `merged`: those of the two that were merged, with whom each means."""
    for name in (member, into):
        if name not in names:
            raise BadInput(f"there is no member {name[:60]!r}", code="not_found")
    if member == into:
        raise BadInput(f"{member} is one member; name two that are one", code="invalid")
    if into in merged:
        message = f"{into} was merged into {merged[into]}; merge {member} into {merged[into]}"
        raise BadInput(message, code="conflict")
    before = merged.get(member, into)
    if before != into:
        message = f"{member} was merged into {before} before; merge {before} if that is {into}, too"
        raise BadInput(message, code="conflict")
    return member not in merged


async def _held(conn: AsyncConnection, operator: str, member: str) -> _Held:
    return _Held(
        claims=await read_claims(conn, operator, of_members=[member]),
        links=await read_links(conn, operator, [member]),
        subscriptions=await read_subscriptions(conn, operator, ((), (), [member])),
        grants=[grant for grant in await read_grants(conn, operator) if grant.member == member],
    )


def _conflicts(one: _Held, other: _Held) -> list[str]:
    found = [
        f"{link.member} belongs to {link.account} {_text(link.span)}, {beside.member} to {beside.account}"
        f" {_text(beside.span)}"
        for link in one.links
        for beside in other.links
        if link.account != beside.account and link.span.overlaps(beside.span)
    ]
    found += [
        f"{own.member} has the subscription {own.id} {_text(own.span)}, {beside.member} has {beside.id}"
        f" {_text(beside.span)}"
        for own in one.subscriptions
        for beside in other.subscriptions
        if own.span.overlaps(beside.span)
    ]
    return found


def _text(span: Span) -> str:
    start = "always" if span.start is None else f"since {instant_text(span.start)}"
    return start if span.end is None else f"{start} until {instant_text(span.end)}"


async def _touches(
    conn: AsyncConnection, operator: str, member: str, into: str, both: tuple[_Held, _Held]
) -> tuple[Touch, ...]:
    """Return every account whose lines may differ: of both, of their grants, of whoever claims what one of them does.

    Since always, for what a member did counts together from the first day on.
    """
    identities = {claim.identity for held in both for claim in held.claims}
    claimants = {claim.member for claim in await read_claims(conn, operator, of_identities=identities)}
    links = await read_links(conn, operator, claimants | {member, into})
    accounts = {link.account for link in links} | {grant.account for held in both for grant in held.grants}
    reason = f"merge of {member} into {into}"
    return tuple(Touch(account, SINCE_ALWAYS, reason, timed=True) for account in sorted(accounts))
