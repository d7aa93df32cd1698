"""Entries of somebody who knows only a part: a vendor's draft, a row of a table. What is stored beside stays.

And nothing is decided that has no date: who belongs to another account, whose identity is claimed for somebody else and
which subscription is to another plan are faults, for put without a date they would hold since always.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.directory import Account, Claim, Link, Member, Subscription
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.hashing import PLAIN, IdentityHasher
from meter.model.identity import normalise_identity
from meter.model.instant import instant_text
from meter.store.directory import (
    discount_body,
    read_accounts,
    read_claims,
    read_links,
    read_members,
    read_subscriptions,
)
from meter.store.hashing import hasher_of

# Records a fault of a field of the body.
Fault: TypeAlias = Callable[[str, str], None]
Body: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is stored of the entries that are named, by id; links by member, claims by identity."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)
    claims: Mapping[str, Sequence[Claim]] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    hasher: IdentityHasher = PLAIN

    def account(self, id: str, body: Mapping[str, Json]) -> Body:
        """Return an account's body over what is stored: currency, zone, anchor day, ids at other systems."""
        stored = self.accounts.get(id)
        if stored is None:
            return dict(body)
        before = {
            "name": stored.name,
            "currency": stored.currency,
            "timezone": stored.timezone,
            "anchor_day": stored.anchor_day,
        }
        return {**before, **stored.external, **body}

    def member(self, id: str, body: Mapping[str, Json], *, at: datetime, fault: Fault) -> Body:
        """Return a member's body over what is stored, without links and claims that are there already."""
        made = dict(body)
        if (stored := self.members.get(id)) is not None:
            made = {"name": stored.name, "email": stored.email, **made}
        links, account = self.links.get(id, ()), made.get("account")
        if any(link.account == account for link in links):
            del made["account"]
        elif account is not None:
            others = sorted({link.account for link in links if link.span.covers(at)})
            if others:
                fault("account", f"is {account!r:.60}, but {id} belongs to {', '.join(others)}; say since when")
        if isinstance(made.get("identities"), list):
            given = enumerate(made["identities"])
            made["identities"] = [
                one for index, one in given if self._is_new(one, id, f"identities[{index}]", at=at, fault=fault)
            ]
        return made

    def _is_new(self, given: Json, member: str, name: str, *, at: datetime, fault: Fault) -> bool:
        if isinstance(given, dict):
            return self.claim(given.get("id"), member, given.get("from"), name=name, at=at, fault=fault)
        return self.claim(given, member, None, name=name, at=at, fault=fault)

    def claim(self, identity: Json, member: str, start: Json, *, name: str, at: datetime, fault: Fault) -> bool:
        """Tell whether the member has not claimed the identity yet; somebody else's without a date is a fault."""
        try:
            named = normalise_identity(str(identity))
            stored = self.claims.get(self.hasher.stored(named), ())
        except BadInput:
            return True  # the reader of the entry says what is wrong with it
        if start is not None:
            return True
        others = sorted({c.member for c in stored if c.member != member and (c.span.end is None or c.span.end > at)})
        mine = any(claim.member == member for claim in stored)
        if others and not mine:
            message = f"{named} is claimed for {', '.join(others)}; claim it from a date on, or leave it"
            fault(name, message)
        return not mine

    def subscription(self, id: str, body: Mapping[str, Json], *, fault: Fault) -> Body:
        """Return a subscription's body over what is stored; another plan or holder has to begin at a date."""
        held = self.subscriptions.get(id)
        if held is None:
            return dict(body)
        for name, was in (("plan", held.plan), ("account", held.account), ("member", held.member)):
            if was != body.get(name):
                fault(name, f"was {was} and is {body.get(name)!r:.60}; end {id} and put another from then on")
        ends = {"from": held.span.start, "to": held.span.end}
        before = {name: instant_text(end) for name, end in ends.items() if end is not None}
        discounts = [discount_body(discount) for discount in held.discounts]
        return {**before, "seats": held.seats, "discounts": discounts, "deposit": held.deposit, **body}


async def read_beside(
    conn: AsyncConnection,
    operator: str,
    *,
    accounts: Collection[str] = (),
    members: Collection[str] = (),
    identities: Collection[str] = (),
    subscriptions: Collection[str] = (),
) -> Beside:
    """Return what is stored of entries with these ids; identities may be written in any way."""
    hasher = hasher_of(conn)
    links: dict[str, list[Link]] = {}
    for link in await read_links(conn, operator, set(members)):
        links.setdefault(link.member, []).append(link)
    claims: dict[str, list[Claim]] = {}
    for claim in await read_claims(conn, operator, of_identities=_stored(identities, hasher)):
        claims.setdefault(claim.identity, []).append(claim)
    return Beside(
        accounts={account.id: account for account in await read_accounts(conn, operator, set(accounts))},
        members={member.id: member for member in await read_members(conn, operator, set(members))},
        links=links,
        claims=claims,
        subscriptions={
            held.id: held for held in await read_subscriptions(conn, operator, (set(subscriptions), (), ()))
        },
        hasher=hasher,
    )


def _stored(identities: Collection[str], hasher: IdentityHasher) -> set[str]:
    found = set()
    for identity in identities:
        try:
            found.add(hasher.stored(normalise_identity(identity)))
        except BadInput:
            continue  # no identity, so nobody has it
    return found
