"""Takes a person out of every row, in the caller's transaction: a pseudonym stands for her from then on (0021).

    naming rows ──▶ what each would say ──▶ forms before ──▶ written ──▶ forms after ──▶ redactions, in the sealed log

Every searched column is rewritten, but for those that `KEPT` says why not: a new column is, from its first day on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Column, LargeBinary, Table, and_, bindparam, delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.directory import Directory
from meter.model.errors import BadInput
from meter.rating.resolve import member_of
from meter.store.called import Instead, Names, bytes_without, instead_of, json_without, value_without, words_of
from meter.store.personal import NOBODY, known_by, naming, searched, traces
from meter.store.redactions import event_form, forms, write_redactions
from meter.store.tables import (
    catalogs,
    charges,
    checkpoints,
    events,
    member_accounts,
    member_keys,
    members,
    metadata,
    outbox,
    wifi_readings,
)

# Tables of which no row is rewritten, and why.
WHOLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "audit": "holds no values; members and identities stand by pseudonyms and keyed hashes",
        "checkpoints": "removed: folds make them again",
        "closes": "periods of accounts, and why they were closed",
        "edge_enrollments": "agents, and who of the operator's people let them in",
        "edge_retirements": "agents, and who of the operator's people said so",
        "edge_revocations": "agents, and who of the operator's people said so",
        "journal": "sums of accounts",
        "member_keys": "the key is destroyed last",
        "refunds": "keys of events",
        "revisions": "keys of events",
    }
)
# Columns that are kept, of each table or of one: what rows are known by, and words of the catalog or of ours. An
# account is whom invoices are written to, and an event's id is what a repetition is known by.
EVERYWHERE: Final = frozenset(
    """
    account site meter plan kind role unit currency status state code channel edge vendor type source target stream
    content_type event_id event_type api_key key
    """.split()
)
KEPT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        table: frozenset(columns.split())
        for table, columns in {
            "accounts": "replaced",  # earlier currencies, zones and days
            "api_keys": "id client",
            "authorizations": "id settled_source settled_id",
            "catalogs": "body",
            "charges": "id corrects part events price tax_name settlement shares",
            "deferrals": "charge chain debit credit",
            "doubtful_times": "id flag",
            "drafts": "name",  # of the connection
            "draws": "charge",
            "entries": "id",
            "events": "id",
            "export_buckets": "name closing_account",
            "feeds": "name feed",
            "fetches": "name",
            "grants": "grant bought_tax overage",
            "invoices": "remote_id invoice",
            "outbox": "operation batch remote_id",
            "subscriptions": "subscription",
            "unread": "id behind_source behind_id",
            "unresolved": "id",
            "wifi_due": "name",
            "wifi_readings": "id nas",
        }.items()
    }
)
_TIMES: Final = {"authorizations": "asked_at", "events": "time", "unresolved": "time"}
# Of one statement, which takes two parameters for each.
_KEYS_MAX: Final = 5_000
# What a target may have taken already under its key must reach it unchanged.
_UNDER_WAY: Final = ("sending", "uncertain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was done. `rows` by table; `left` words that texts keep, since the catalog uses them, too."""

    member: str
    rows: Mapping[str, int]
    redacted: int
    accounts: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    """What rows are going to say: (table, its row, the new values)."""

    changes: list[tuple[Table, Mapping[str, Any], dict[str, Any]]] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)
    charges: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)


def erased_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that are rewritten."""
    if table.name in NOBODY or table.name in WHOLE:
        return []
    kept = EVERYWHERE | KEPT.get(table.name, frozenset())
    return [column for column in searched(table) if column.name not in kept]


async def accounts_of(connection: AsyncConnection, operator: str, member: str) -> set[str]:
    """Return the accounts that what is known of a member is part of. Raises BadInput (`unknown_member`)."""
    known = await known_by(connection, operator, member)
    ids = [one.member for one in known.people]
    found: set[str] = set()
    for table in (member_accounts, charges, *(metadata.tables[name] for name in ("grants", "subscriptions"))):
        query = select(table.c.account).distinct().where(table.c.operator == operator, table.c.member.in_(ids))
        found |= {account for account in (await connection.execute(query)).scalars() if account is not None}
    return found


async def erase_member(connection: AsyncConnection, operator: str, member: str, directory: Directory) -> Erased:
    """Erase a member's person everywhere, as the owner of the tables, within the caller's transaction.

    `directory` is the present one: it says when an identity was hers.

    Raises BadInput: `unknown_member`; `deliveries_under_way`, a target may hold what would be rewritten.
    """
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    known = await known_by(connection, operator, member)
    bodies = (await connection.execute(select(catalogs.c.body).where(catalogs.c.operator == operator))).scalars()
    instead = instead_of(known, frozenset(one for body in bodies for one in words_of(body)))
    ids = frozenset(one.member for one in known.people)
    plan = _Plan(accounts=await accounts_of(connection, operator, member))
    for table in metadata.sorted_tables:
        if columns := erased_columns(table):
            query = select(table).where(naming(table, operator, traces(known))).order_by(*table.primary_key.columns)
            if table is outbox:
                query = query.with_for_update()
            for row in map(dict, (await connection.execute(query)).mappings()):
                _add(plan, table, row, columns, _names(instead, table, row, directory, ids))
    await _add_what_follows(connection, operator, plan, instead)
    before = {name: await forms(connection, operator, name, sorted(ids)) for name, ids in _sealed(plan)}
    for table, old, values in plan.changes:
        await _write(connection, table, old, values)
    redacted = [("events", event_form(row), event_form({**row, **new})) for t, row, new in plan.changes if t is events]
    for name, ids_of in _sealed(plan):
        after = await forms(connection, operator, name, sorted(ids_of))
        redacted += [(name, form, after[id]) for id, form in before[name].items()]
    redacted = [(stream, old, new) for stream, old, new in redacted if old.hash != new.hash]
    await connection.execute(
        delete(checkpoints).where(checkpoints.c.operator == operator, checkpoints.c.account.in_(plan.accounts))
    )
    counts: dict[str, int] = {}
    for table, _, _ in plan.changes:
        counts[table.name] = counts.get(table.name, 0) + 1
    name = next(one.pseudonym or one.member for one in known.people if one.member == member)
    # Last: until here what the database records of the changes is hashed with the keys.
    await connection.execute(
        update(member_keys)
        .where(member_keys.c.operator == operator, member_keys.c.member.in_(ids))
        .values(member=member_keys.c.pseudonym, key=None)
    )
    await write_redactions(connection, operator, member=name, changed=redacted, summary=counts)
    return Erased(
        member=name, rows=counts, redacted=len(redacted), accounts=tuple(sorted(plan.accounts)), left=instead.left
    )


def _sealed(plan: _Plan) -> list[tuple[str, set[str]]]:
    return [("charges", plan.charges), ("entries", plan.entries)]


def _names(
    instead: Instead, table: Table, row: Mapping[str, Any], directory: Directory, ids: frozenset[str]
) -> list[Names]:
    """Return what counts in a row: of what carries its own time, the identities that meant her then."""
    at = _TIMES.get(table.name)
    if at is None or row.get("member") in ids:
        return instead.names()
    return instead.names(lambda identity: member_of(identity, row[at], directory) in ids)


def _add(plan: _Plan, table: Table, row: Mapping[str, Any], columns: list[Column[Any]], names: list[Names]) -> None:
    new = {column.name: _without(column, row[column.name], names) for column in columns if row[column.name] is not None}
    if table is members:
        new["name"] = new["member"]  # however short it was
    if table is charges and row["source"] == "":
        # No event's: the id of a minimum of one member's own.
        new["event_id"] = value_without(names, row["event_id"])
    changed = {name: value for name, value in new.items() if value != row[name]}
    if not changed:
        return
    if table is outbox and (row["state"] in _UNDER_WAY or (row["state"] == "pending" and row["first_sent_at"])):
        message = (
            f"delivery {row['id']} to {row['target']} is under way and may be there already; nothing is erased. Wait "
            "until it is delivered or dead (`meter deliveries`), and erase again"
        )
        raise BadInput(message, code="deliveries_under_way")
    plan.changes.append((table, row, changed))
    for name, where in (("charges", plan.charges), ("entries", plan.entries)):
        if table.name == name:
            where.add(row["id"])
    if table.name == "draws":
        plan.charges.add(row["charge"])
    if isinstance(account := row.get("account"), str):
        plan.accounts.add(account)


def _without(column: Column[Any], value: Any, names: list[Names]) -> Any:
    if isinstance(column.type, JSONB):
        return json_without(names, value)
    if isinstance(column.type, LargeBinary):
        return bytes_without(names, value)
    return value_without(names, value)


async def _add_what_follows(connection: AsyncConnection, operator: str, plan: _Plan, instead: Instead) -> None:
    """Add whose accounts her events are in, and what Wi-Fi sessions are called by: as her events call them now."""
    keys = [(row["source"], row["id"]) for table, row, _ in plan.changes if table is events]
    done = {(row["source"], row["id"]) for table, row, _ in plan.changes if table is wifi_readings}
    for start in range(0, len(keys), _KEYS_MAX):
        some = keys[start : start + _KEYS_MAX]
        sessions = select(wifi_readings).where(
            wifi_readings.c.operator == operator, tuple_(wifi_readings.c.source, wifi_readings.c.id).in_(some)
        )
        for row in map(dict, (await connection.execute(sessions)).mappings()):
            if (row["source"], row["id"]) not in done:
                _add(plan, wifi_readings, row, erased_columns(wifi_readings), instead.names())
        billed = select(charges.c.account).where(
            charges.c.operator == operator, tuple_(charges.c.source, charges.c.event_id).in_(some)
        )
        plan.accounts |= set((await connection.execute(billed.distinct())).scalars())


async def _write(connection: AsyncConnection, table: Table, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    key = and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key.columns))
    old = {f"old_{column.name}": row[column.name] for column in table.primary_key.columns}
    await connection.execute(update(table).where(key).values(dict(values)), old)
