"""The directory as stored: read whole for rating, and in part where a change concerns only some."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.people import Known
from meter.model.directory import (
    FOR_EVER,
    SINCE_ALWAYS,
    Account,
    Claim,
    Directory,
    Discount,
    GivenGrant,
    Link,
    Member,
    Purchase,
    Span,
    Subscription,
)
from meter.model.event import Json
from meter.model.instant import instant_text, parse_instant
from meter.model.period import Replaced, Terms
from meter.store.tables import (
    accounts,
    catalogs,
    grants,
    identities,
    member_accounts,
    members,
    operators,
    subscriptions,
)

# Most claims and links have neither end: one record for all of them.
_ALWAYS: Final = Span()

# Said wherever somebody comes before the first catalog.
NO_CATALOG: Final = "no catalog has been applied yet: meter apply FILE, or PUT /v1/catalog"


async def facts_version(conn: AsyncConnection, operator: str) -> int:
    """Return the version of the operator's catalog and directory; 0 before the first."""
    found = await conn.execute(select(operators.c.facts_version).where(operators.c.operator == operator))
    return found.scalar_one_or_none() or 0


async def current_operator(conn: AsyncConnection) -> str | None:
    """Return the operator that this database serves: the one that the first catalog named. None before that."""
    found = await conn.execute(select(operators.c.operator).order_by(operators.c.created_at).limit(1))
    return found.scalar_one_or_none()


async def mqtt_nonce(conn: AsyncConnection, operator: str) -> str:
    """Return the part of the operator's MQTT client ids that nobody can guess."""
    found = await conn.execute(select(operators.c.mqtt_nonce).where(operators.c.operator == operator))
    nonce: str = found.scalar_one()
    return nonce


async def load_directory(conn: AsyncConnection, operator: str) -> Directory:
    """Return everything that is known of people.

    `first_events` holds what ranks claims: identities with several, one of them without a start.
    """
    claims: dict[str, list[Claim]] = {}
    for claim in await read_claims(conn, operator):
        claims.setdefault(claim.identity, []).append(claim)
    links: dict[str, list[Link]] = {}
    for link in await read_links(conn, operator):
        links.setdefault(link.member, []).append(link)
    held: dict[tuple[str, str], list[Subscription]] = {}
    for subscription in await read_subscriptions(conn, operator):
        held.setdefault(holder_of(subscription), []).append(subscription)
    given: dict[str, list[GivenGrant]] = {}
    for grant in await read_grants(conn, operator):
        given.setdefault(grant.account, []).append(grant)
    ranked = [i for i, several in claims.items() if len(several) > 1 and any(c.span.start is None for c in several)]
    return Directory(
        version=await facts_version(conn, operator),
        accounts={account.id: account for account in await read_accounts(conn, operator)},
        members={member.id: member for member in await read_members(conn, operator)},
        links={member: tuple(several) for member, several in links.items()},
        claims={identity: tuple(several) for identity, several in claims.items()},
        subscriptions={holder: tuple(several) for holder, several in held.items()},
        grants={account: tuple(several) for account, several in given.items()},
        first_events=await _first_events(conn, operator, ranked),
    )


def holder_of(subscription: Subscription) -> tuple[str, str]:
    """Return whose subscription it is: ("account" or "member", id)."""
    if subscription.member is not None:
        return ("member", subscription.member)
    return ("account", subscription.account or "")


async def read_known(conn: AsyncConnection, operator: str, among: Collection[str] | None = None) -> Known:
    """Return the ids that new entries may refer to: accounts, members, and the plans of every catalog version.

    `among`: only such accounts and members as are named there.
    """
    account_ids = select(accounts.c.account).where(accounts.c.operator == operator)
    member_ids = select(members.c.member).where(members.c.operator == operator)
    if among is not None:
        account_ids = account_ids.where(accounts.c.account == func.any(sorted(among)))
        member_ids = member_ids.where(members.c.member == func.any(sorted(among)))
    plan_keys = func.jsonb_object_keys(func.coalesce(catalogs.c.body["plans"], text("'{}'::jsonb")))
    return Known(
        accounts=frozenset((await conn.execute(account_ids)).scalars()),
        members=frozenset((await conn.execute(member_ids)).scalars()),
        plans=frozenset((await conn.execute(select(plan_keys).where(catalogs.c.operator == operator))).scalars()),
    )


async def _first_events(conn: AsyncConnection, operator: str, ranked: Collection[str]) -> dict[str, datetime]:
    if not ranked:
        return {}
    query = text(
        "SELECT ranked.identity, (SELECT min(e.time) FROM events AS e"
        " WHERE e.operator = :operator AND e.subject = ranked.identity) AS first"
        " FROM unnest(CAST(:ranked AS text[])) AS ranked (identity)"
    )
    rows = await conn.execute(query, {"operator": operator, "ranked": sorted(ranked)})
    return {row.identity: row.first or FOR_EVER for row in rows}


# --- rows to records --------------------------------------------------------------------------------------------------
# Each reads all of an operator's, or those with the keys given.


async def read_accounts(conn: AsyncConnection, operator: str, ids: Collection[str] | None = None) -> list[Account]:
    """Return accounts."""
    table = accounts.c
    query = select(
        table.account, table.name, table.currency, table.timezone, table.anchor_day, table.external, table.replaced
    ).where(table.operator == operator)
    if ids is not None:
        query = query.where(table.account == func.any(list(ids)))
    return [
        Account(
            id=row.account,
            name=row.name,
            currency=row.currency,
            timezone=row.timezone,
            anchor_day=row.anchor_day,
            external=row.external,
            replaced=tuple(_replaced(body) for body in row.replaced),
        )
        for row in await conn.execute(query)
    ]


def replaced_body(replaced: Replaced) -> Json:
    """Return replaced terms as stored."""
    return {**replaced.terms._asdict(), "until": replaced.until}


def _replaced(body: Json) -> Replaced:
    return Replaced(Terms(body["currency"], body["timezone"], body["anchor_day"]), body["until"])


async def read_members(conn: AsyncConnection, operator: str, ids: Collection[str] | None = None) -> list[Member]:
    """Return members."""
    table = members.c
    query = select(table.member, table.name, table.email, table.merged_into).where(table.operator == operator)
    if ids is not None:
        query = query.where(table.member == func.any(list(ids)))
    rows = (await conn.execute(query)).all()
    return [Member(id=id, name=name, email=email, merged_into=into) for id, name, email, into in rows]


async def read_merged(conn: AsyncConnection, operator: str, among: Collection[str]) -> dict[str, str]:
    """Return those of the members that were merged, with whom each means now."""
    query = text(
        "WITH RECURSIVE chain AS ("
        " SELECT member AS name, merged_into AS meant FROM members"
        " WHERE operator = :operator AND member = ANY(CAST(:among AS text[])) AND merged_into IS NOT NULL"
        " UNION SELECT chain.name, further.merged_into FROM chain JOIN members AS further"
        " ON further.operator = :operator AND further.member = chain.meant AND further.merged_into IS NOT NULL)"
        " SELECT chain.name, chain.meant FROM chain JOIN members AS last"
        " ON last.operator = :operator AND last.member = chain.meant AND last.merged_into IS NULL"
    )
    rows = await conn.execute(query, {"operator": operator, "among": sorted(among)})
    return {row.name: row.meant for row in rows}


async def read_links(conn: AsyncConnection, operator: str, of_members: Collection[str] | None = None) -> list[Link]:
    """Return links by member, start and account."""
    table = member_accounts.c
    query = select(table.member, table.account, table.start, table.end).where(table.operator == operator)
    if of_members is not None:
        query = query.where(table.member == func.any(list(of_members)))
    rows = (await conn.execute(query.order_by(table.member, table.start, table.account))).all()
    return [Link(member=member, account=account, span=_span(start, end)) for member, account, start, end in rows]


async def read_claims(
    conn: AsyncConnection,
    operator: str,
    *,
    of_identities: Collection[str] | None = None,
    of_members: Collection[str] | None = None,
) -> list[Claim]:
    """Return claims by identity, start and member."""
    table = identities.c
    query = select(table.identity, table.member, table.start, table.end).where(table.operator == operator)
    if of_identities is not None:
        query = query.where(table.identity == func.any(list(of_identities)))
    if of_members is not None:
        query = query.where(table.member == func.any(list(of_members)))
    rows = (await conn.execute(query.order_by(table.identity, table.start, table.member))).all()
    return [Claim(identity=identity, member=member, span=_span(start, end)) for identity, member, start, end in rows]


async def read_subscriptions(
    conn: AsyncConnection, operator: str, of: tuple[Collection[str], Collection[str], Collection[str]] | None = None
) -> list[Subscription]:
    """Return subscriptions by start and id; `of`: those with such ids, or held by such accounts or members."""
    table = subscriptions.c
    query = select(subscriptions).where(table.operator == operator)
    if of is not None:
        ids, of_accounts, of_members = of
        query = query.where(
            (table.subscription == func.any(list(ids)))
            | (table.account == func.any(list(of_accounts)))
            | (table.member == func.any(list(of_members)))
        )
    rows = (await conn.execute(query.order_by(table.start.nulls_first(), table.subscription))).all()
    return [_subscription(row) for row in rows]


def _subscription(row: Row[Any]) -> Subscription:
    return Subscription(
        id=row.subscription,
        plan=row.plan,
        account=row.account,
        member=row.member,
        span=_span(row.start, row.end),
        seats=row.seats,
        discounts=tuple(_discount(body) for body in row.discounts),
        deposit=row.deposit,
    )


def _discount(body: Mapping[str, Json]) -> Discount:
    start, end = body.get("from"), body.get("to")
    return Discount(
        id=body["id"],
        rate=_decimal(body.get("rate")),
        amount=_decimal(body.get("amount")),
        on=tuple(body.get("on", ())),
        span=_span(None if start is None else parse_instant(start), None if end is None else parse_instant(end)),
    )


def _decimal(number: Json) -> Decimal | None:
    """Return a number of a JSON body, which gives whole ones as int."""
    return None if number is None else Decimal(number)


def discount_body(discount: Discount) -> dict[str, Json]:
    """Return a discount as it is stored; what is not set is left out."""
    body: dict[str, Json] = {"id": discount.id, "rate": discount.rate, "amount": discount.amount, "on": discount.on}
    ends = {"from": discount.span.start, "to": discount.span.end}
    body |= {key: instant_text(end) for key, end in ends.items() if end is not None}
    return {key: value for key, value in body.items() if value not in (None, ())}


async def read_grants(conn: AsyncConnection, operator: str, ids: Collection[str] | None = None) -> list[GivenGrant]:
    """Return given grants by id, those that this version does not draw included."""
    query = select(grants).where(grants.c.operator == operator)
    if ids is not None:
        query = query.where(grants.c.grant == func.any(list(ids)))
    return [_grant(row) for row in await conn.execute(query.order_by(grants.c.grant))]


def _grant(row: Row[Any]) -> GivenGrant:
    return GivenGrant(
        id=row.grant,
        account=row.account,
        member=row.member,
        unit=row.unit,
        amount=row.amount,
        meters=None if row.meters is None else tuple(row.meters),
        span=_span(row.start, row.end),
        priority=row.priority,
        bought=None if row.bought_price is None else Purchase(price=row.bought_price, tax=row.bought_tax),
        overage="deny" if row.overage == "deny" else "bill",
    )


def _span(start: datetime | None, end: datetime | None) -> Span:
    """Return the span; the driver gives '-infinity' as an instant without a zone."""
    if start is not None and start.tzinfo is None:
        start = None
    if end is not None and end.tzinfo is None:
        end = SINCE_ALWAYS
    return _ALWAYS if start is None and end is None else Span(start=start, end=end)
