"""Whose an unclaimed identity may be, with the reason and how far it carries. Nothing is ever claimed by itself.

    the identity, what its events hint at ──▶ members and claims that agree ──▶ members with reasons, strongest first

Every look is bounded; an operator with more claimed cards than are compared gets fewer suggestions, never wrong ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from unicodedata import normalize

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.credential import related_badges
from meter.model.directory import Claim
from meter.model.errors import BadInput
from meter.model.identity import is_hashed, normalise_identity
from meter.model.instant import instant_text
from meter.store.directory import read_claims, read_members, read_merged
from meter.store.hashing import hasher_of, stored_identity

SUGGESTIONS_MAX: Final = 10
# What an identity's newest events hint at is what all of them do.
_EVENTS_MAX: Final = 200
# A large operator's cards; comparing one takes some 20 microseconds.
_CARDS_MAX: Final = 20_000
_MEMBERS_MAX: Final = 20_000
_MATCHES_MAX: Final = 50
# Kinds whose values people choose to be known by, so that equal values mean more than equal numbers do.
_NAMES: Final = frozenset({"user", "papercut", "cups", "ezeep", "ipp", "email"})


class Strength(IntEnum):
    """How far a reason carries."""

    weak = 1
    likely = 2
    strong = 3


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """Why a member may be meant; `code` for machines, `text` for people."""

    strength: Strength
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A member whose the identity may be; `reasons` from the strongest to the weakest, at least one."""

    member: str
    name: str
    reasons: tuple[Reason, ...]

    @property
    def strength(self) -> Strength:
        """Return that of the strongest reason."""
        return self.reasons[0].strength


_HINTS: Final = text(
    """
    SELECT DISTINCT data->'hint'->>'email' AS email, data->'hint'->>'name' AS name
      FROM (SELECT e.data FROM unresolved AS u
              JOIN events AS e ON e.operator = u.operator AND e.time = u.time AND e.source = u.source AND e.id = u.id
             WHERE u.operator = :operator AND u.identity = :identity
             ORDER BY u.time DESC LIMIT :events_max) AS newest
     WHERE data ? 'hint'
     LIMIT :matches_max
    """
)
_BY_TEXT: Final = text(
    """
    SELECT member, lower(email) = ANY(CAST(:emails AS text[])) AS by_email,
           lower(split_part(email, '@', 1)) = ANY(CAST(:users AS text[])) AS by_user,
           lower(name) = ANY(CAST(:names AS text[])) AS by_name, name, email
      FROM members
     WHERE operator = :operator
       AND (lower(email) = ANY(CAST(:emails AS text[]))
            OR lower(split_part(email, '@', 1)) = ANY(CAST(:users AS text[]))
            OR lower(name) = ANY(CAST(:names AS text[])))
     ORDER BY member LIMIT :matches_max
    """
)
_ADDRESSES: Final = text(
    "SELECT member, email FROM members WHERE operator = :operator AND email IS NOT NULL ORDER BY member LIMIT :limit"
)
_SAME_VALUE: Final = text(
    """
    SELECT DISTINCT identity FROM identities
     WHERE operator = :operator AND identity <> :identity
       AND lower(substr(identity, strpos(identity, ':') + 1)) = :value
     ORDER BY identity LIMIT :matches_max
    """
)
_CARDS: Final = text(
    """
    SELECT DISTINCT identity FROM identities
     WHERE operator = :operator AND identity >= 'badge:' AND identity < 'badge;' AND identity NOT LIKE 'badge:~%'
     ORDER BY identity LIMIT :limit
    """
)
_SITES: Final = text(
    """
    SELECT DISTINCT site FROM (
        SELECT site FROM events WHERE operator = :operator AND subject = :identity ORDER BY time DESC LIMIT :events_max
    ) AS newest ORDER BY site
    """
)


async def suggestions_for(conn: AsyncConnection, operator: str, given: str) -> list[Suggestion]:
    """Return whose an identity may be, the strongest first, at most ten. Raises BadInput as `stored_identity`."""
    identity = await stored_identity(conn, operator, given)
    kind, _, value = identity.partition(":")
    emails, names = await _hinted(conn, operator, identity)
    users: set[str] = set()
    if kind == "email" or (kind in _NAMES and "@" in value):
        emails.add(value)
    elif kind in _NAMES:
        users.add(_bare(value).lower())
    found: dict[str, set[Reason]] = {}

    def note(member: str, strength: Strength, code: str, why: str) -> None:
        found.setdefault(member, set()).add(Reason(strength, code, why))

    for member, reason in await _by_text(conn, operator, emails=emails, users=users, names=names):
        note(member, reason.strength, reason.code, reason.text)
    for claim in await _same_person(conn, operator, identity, emails=emails, users=users):
        strength, code = (Strength.strong, "same_email") if claim.identity.startswith("email:") else _named(claim)
        note(claim.member, strength, code, f"claims {claim.identity}")
    if kind == "badge" and not is_hashed(value):
        for claim, sites in await _same_card(conn, operator, value):
            seen = f", seen at {', '.join(sites)}" if sites else ""
            note(claim.member, Strength.likely, "same_card", f"claims {claim.identity}, another spelling{seen}")
    for claim in await read_claims(conn, operator, of_identities=[identity]):
        if not claim.is_withdrawn:
            note(claim.member, Strength.weak, "held_otherwise", f"claims it {_span(claim)}")
    return await _suggested(conn, operator, found)


async def _suggested(conn: AsyncConnection, operator: str, found: dict[str, set[Reason]]) -> list[Suggestion]:
    """Return the members found as they are called now, with their reasons."""
    merged = await read_merged(conn, operator, found)
    reasons: dict[str, set[Reason]] = {}
    for member, several in found.items():
        reasons.setdefault(merged.get(member, member), set()).update(several)
    names = {member.id: member.name for member in await read_members(conn, operator, list(reasons))}
    suggestions = [
        Suggestion(member=member, name=names[member], reasons=tuple(sorted(several, reverse=True)))
        for member, several in reasons.items()
        if member in names
    ]
    suggestions.sort(key=lambda one: (-one.strength, -len(one.reasons), one.member))
    return suggestions[:SUGGESTIONS_MAX]


async def _hinted(conn: AsyncConnection, operator: str, identity: str) -> tuple[set[str], set[str]]:
    """Return the addresses and names that the vendor gave with what waits, in lower case."""
    parameters = {"operator": operator, "identity": identity, "events_max": _EVENTS_MAX, "matches_max": _MATCHES_MAX}
    rows = (await conn.execute(_HINTS, parameters)).all()
    emails = {address for row in rows if (address := _address(row.email)) is not None}
    return emails, {_folded(row.name) for row in rows if row.name is not None and row.name.strip()}


def _address(given: str | None) -> str | None:
    try:
        return None if given is None else normalise_identity(f"email:{given}").partition(":")[2]
    except BadInput:
        return None


async def _by_text(
    conn: AsyncConnection, operator: str, *, emails: Collection[str], users: Collection[str], names: Collection[str]
) -> list[tuple[str, Reason]]:
    """Return the members whose own address or name agrees."""
    found: list[tuple[str, Reason]] = []
    plain = [email for email in emails if not is_hashed(email)]
    if plain or users or names:
        parameters = {"emails": plain, "users": list(users), "names": list(names), "matches_max": _MATCHES_MAX}
        for row in await conn.execute(_BY_TEXT, {"operator": operator, **parameters}):
            if row.by_email:
                found.append((row.member, Reason(Strength.strong, "same_email", f"has the address {row.email}")))
            elif row.by_user:
                found.append((row.member, Reason(Strength.weak, "name_in_email", f"has the address {row.email}")))
            if row.by_name:
                found.append((row.member, Reason(Strength.weak, "same_name", f"is called {row.name}")))
    hashed = {email for email in emails if is_hashed(email)}
    if hashed:
        # What members have as their address is kept as it is; only what stands for an identity is hashed.
        hasher = hasher_of(conn)
        for row in await conn.execute(_ADDRESSES, {"operator": operator, "limit": _MEMBERS_MAX}):
            address = _address(row.email)
            if address is not None and hasher.stored(f"email:{address}").partition(":")[2] in hashed:
                found.append((row.member, Reason(Strength.strong, "same_email", f"has the address {row.email}")))
    return found


async def _same_person(
    conn: AsyncConnection, operator: str, identity: str, *, emails: Iterable[str], users: Iterable[str]
) -> list[Claim]:
    """Return claims of the same address, or of the same name under another kind."""
    hasher = hasher_of(conn)
    named = {hasher.stored(f"email:{email}") for email in emails}
    for user in users:
        parameters = {"operator": operator, "identity": identity, "value": user, "matches_max": _MATCHES_MAX}
        # Bare numbers are equal by chance.
        if not user.isdecimal():
            named.update((await conn.execute(_SAME_VALUE, parameters)).scalars())
    claims = await read_claims(conn, operator, of_identities=named - {identity})
    return [claim for claim in claims if not claim.is_withdrawn]


async def _same_card(conn: AsyncConnection, operator: str, value: str) -> list[tuple[Claim, list[str]]]:
    """Return claims of cards that readers are known to report as `value`, or that are reported so, and where."""
    claimed = list((await conn.execute(_CARDS, {"operator": operator, "limit": _CARDS_MAX})).scalars())
    # Comparing many takes a while, in which others want the loop.
    named = await asyncio.to_thread(_alike, value, claimed)
    found = []
    for claim in await read_claims(conn, operator, of_identities=named[:_MATCHES_MAX]):
        parameters = {"operator": operator, "identity": claim.identity, "events_max": _EVENTS_MAX}
        if not claim.is_withdrawn:
            found.append((claim, list((await conn.execute(_SITES, parameters)).scalars())))
    return found


def _alike(value: str, claimed: Iterable[str]) -> list[str]:
    """Return those of the claimed badges of which one is a spelling of the other."""
    mine = related_badges(value)
    cards = ((identity, identity.removeprefix("badge:")) for identity in claimed)
    return [identity for identity, card in cards if card != value and (card in mine or value in related_badges(card))]


def _named(claim: Claim) -> tuple[Strength, str]:
    known = claim.identity.partition(":")[0] in _NAMES
    return (Strength.likely if known else Strength.weak), "same_user"


def _bare(user: str) -> str:
    """Return a user name without the domain of a directory."""
    return user.rpartition("\\")[2]


def _folded(name: str) -> str:
    return normalize("NFC", " ".join(name.split())).lower()


def _span(claim: Claim) -> str:
    start = "since its first event" if claim.span.start is None else f"since {instant_text(claim.span.start)}"
    return start if claim.span.end is None else f"{start} until {instant_text(claim.span.end)}"
