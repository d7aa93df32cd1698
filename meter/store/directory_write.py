"""Changes of the directory: what a draft changes, whom that touches, and writing both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.changes import DirectoryChanges, Stored
from meter.catalog.draft import DirectoryDraft
from meter.catalog.touch import Surroundings, Touch
from meter.model.directory import SINCE_ALWAYS, Span
from meter.model.event import SALE
from meter.store.bulk import columns_of, insert_many, insert_rows
from meter.store.directory import (
    discount_body,
    read_accounts,
    read_claims,
    read_grants,
    read_links,
    read_members,
    read_merged,
    read_subscriptions,
    replaced_body,
)
from meter.store.hints import ACCEPTED, tell_at_commit
from meter.store.tables import accounts, events, grants, identities, member_accounts, members, refolds
from meter.store.tables import subscriptions as subscriptions_table

# Held by whoever brings in the very first catalog, when there is no row to lock yet.
FIRST_CATALOG_LOCK: Final = 0x6D657465725F3031


async def read_stored(conn: AsyncConnection, operator: str, draft: DirectoryDraft) -> Stored:
    """Return what is stored of all that `draft` concerns."""
    claims = await read_claims(conn, operator, of_identities={put.identity for put in draft.claims})
    named = {put.id for put in draft.members} | {put.member for put in draft.links}
    named |= {put.member for put in draft.claims} | {
        put.member for put in draft.subscriptions if put.member is not None
    }
    links = await read_links(conn, operator, named | {claim.member for claim in claims})
    held = {put.account for put in draft.subscriptions if put.account is not None}
    put_accounts = {put.id for put in draft.accounts} | {put.account for put in draft.links}
    put_accounts |= {put.account for put in draft.grants} | held
    subscriptions = await read_subscriptions(
        conn,
        operator,
        (
            {put.id for put in draft.subscriptions},
            held,
            {put.member for put in draft.subscriptions if put.member is not None},
        ),
    )
    # A subscription that changes hands touches its old holder too.
    earlier = {subscription.member for subscription in subscriptions if subscription.member is not None} - named
    links += await read_links(conn, operator, earlier) if earlier else []
    put_accounts |= {subscription.account for subscription in subscriptions if subscription.account is not None}
    linked = {link.account for link in links}
    return Stored(
        accounts={a.id: a for a in await read_accounts(conn, operator, put_accounts | linked)},
        members={m.id: m for m in await read_members(conn, operator, {put.id for put in draft.members})},
        links=links,
        claims=claims,
        subscriptions=subscriptions,
        grants={g.id: g for g in await read_grants(conn, operator, {put.id for put in draft.grants})},
        charged=await _charged(conn, operator, {put.id for put in draft.accounts}),
        merged=await read_merged(
            conn, operator, named | {put.member for put in draft.grants if put.member is not None}
        ),
    )


async def read_surroundings(
    conn: AsyncConnection,
    operator: str,
    changes: DirectoryChanges,
    stored: Stored,
    walk_ins: Mapping[str, Collection[str]],
) -> Surroundings:
    """Return what decides whom the changes touch."""
    identities_changed = {change.after.identity for change in changes.claims}
    identities_changed |= {f"member:{change.after.id}" for change in changes.members if change.before is None}
    sites: dict[str, set[str]] = {}
    if identities_changed:
        query = (
            select(events.c.subject, events.c.site)
            .where(
                events.c.operator == operator,
                events.c.type == SALE,
                events.c.subject == func.any(sorted(identities_changed)),
            )
            .distinct()
        )
        for identity, site in await conn.execute(query):
            if identity is not None:
                sites.setdefault(identity, set()).add(site)
    return Surroundings(stored=stored, sale_sites=sites, walk_ins=walk_ins)


async def last_event_time(conn: AsyncConnection, operator: str) -> datetime | None:
    """Return the time of the operator's latest event."""
    found = await conn.execute(select(func.max(events.c.time)).where(events.c.operator == operator))
    last: datetime | None = found.scalar_one_or_none()
    return last


async def _charged(conn: AsyncConnection, operator: str, among: Collection[str]) -> set[str]:
    """Return those of the accounts that something was booked for."""
    query = text(
        "SELECT given.account FROM unnest(CAST(:accounts AS text[])) AS given (account) WHERE EXISTS"
        " (SELECT FROM charges WHERE operator = :operator AND account = given.account)"
    )
    return set((await conn.execute(query, {"operator": operator, "accounts": sorted(among)})).scalars())


async def owing_accounts(conn: AsyncConnection, operator: str) -> set[str]:
    """Return the accounts that may owe something without usage: subscribers, and those who bought credit."""
    query = text(
        "SELECT account FROM subscriptions WHERE operator = :operator AND account IS NOT NULL"
        " UNION SELECT link.account FROM subscriptions AS held JOIN member_accounts AS link USING (operator, member)"
        " WHERE held.operator = :operator"
        " UNION SELECT account FROM grants WHERE operator = :operator AND bought_price IS NOT NULL"
    )
    return set((await conn.execute(query, {"operator": operator})).scalars())


async def write_changes(conn: AsyncConnection, operator: str, changes: DirectoryChanges) -> None:
    """Write every changed entry; within the transaction that holds the operator's row."""
    for table, rows in _rows(operator, changes):
        if rows:
            await _upsert(conn, table, rows)
    for change in changes.grants:
        # Row by row: `meters` is an array, which a bulk insert would flatten. Packs are few beside people.
        grant = change.after
        row = {
            "operator": operator,
            "grant": grant.id,
            "account": grant.account,
            "member": grant.member,
            "unit": grant.unit,
            "amount": grant.amount,
            "meters": None if grant.meters is None else list(grant.meters),
            "start": grant.span.start,
            "end": grant.span.end,
            "priority": grant.priority,
            "bought_price": None if grant.bought is None else grant.bought.price,
            "bought_tax": None if grant.bought is None else grant.bought.tax,
            "overage": grant.overage,
        }
        statement = insert(grants).values(row)
        await conn.execute(statement.on_conflict_do_update(constraint=grants.primary_key, set_=row))


def _rows(operator: str, changes: DirectoryChanges) -> Iterable[tuple[Table, list[dict[str, Any]]]]:
    yield (
        accounts,
        [
            {
                "operator": operator,
                "account": account.id,
                "name": account.name,
                "currency": account.currency,
                "timezone": account.timezone,
                "anchor_day": account.anchor_day,
                "external": dict(account.external),
                "replaced": [replaced_body(one) for one in account.replaced],
            }
            for account in (change.after for change in changes.accounts)
        ],
    )
    yield (
        members,
        [
            {"operator": operator, "member": member.id, "name": member.name, "email": member.email}
            for member in (change.after for change in changes.members)
        ],
    )
    yield (
        member_accounts,
        [
            {"operator": operator, "member": link.member, "account": link.account, **_key_span(link.span)}
            for link in (change.after for change in changes.links)
        ],
    )
    yield (
        identities,
        [
            {"operator": operator, "identity": claim.identity, "member": claim.member, **_key_span(claim.span)}
            for claim in (change.after for change in changes.claims)
        ],
    )
    yield (
        subscriptions_table,
        [
            {
                "operator": operator,
                "subscription": subscription.id,
                "plan": subscription.plan,
                "account": subscription.account,
                "member": subscription.member,
                "start": subscription.span.start,
                "end": subscription.span.end,
                "seats": subscription.seats,
                "discounts": [discount_body(discount) for discount in subscription.discounts],
                "deposit": subscription.deposit,
            }
            for subscription in (change.after for change in changes.subscriptions)
        ],
    )


def _key_span(span: Span) -> dict[str, datetime | None]:
    """Return the span of a row whose key holds the start: the driver writes the first instant as '-infinity'."""
    return {"start": span.start or SINCE_ALWAYS, "end": span.end}


async def _upsert(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    key = [column.name for column in table.primary_key.columns]
    rest = ", ".join(f'"{name}" = excluded."{name}"' for name in rows[0] if name not in key)
    names = ", ".join(f'"{name}"' for name in key)
    columns = columns_of(table, rows)
    await conn.execute(insert_many(table, tuple(columns), f"ON CONFLICT ({names}) DO UPDATE SET {rest}"), columns)


async def write_refolds(conn: AsyncConnection, operator: str, found: Sequence[Touch]) -> None:
    """Ask that each account touched is folded again."""
    rows = [
        {"operator": operator, "account": touch.account, "since": touch.since, "reason": touch.reason}
        for touch in found
    ]
    await insert_rows(conn, refolds, rows)


async def lock_facts(conn: AsyncConnection, operator: str) -> int | None:
    """Return the version of the facts, held: rating and other changes wait. None: there is no catalog yet."""
    query = text("SELECT facts_version FROM operators WHERE operator = :operator FOR UPDATE")
    found: int | None = (await conn.execute(query, {"operator": operator})).scalar_one_or_none()
    return found


async def raise_facts_version(conn: AsyncConnection, operator: str) -> int:
    """Return the next version of the facts, which every fold after this commit uses, and have gateways told of it."""
    query = text(
        "UPDATE operators SET facts_version = facts_version + 1 WHERE operator = :operator RETURNING facts_version"
    )
    version: int = (await conn.execute(query, {"operator": operator})).scalar_one()
    await tell_at_commit(conn, ACCEPTED)
    return version
