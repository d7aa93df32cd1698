"""Finds every row that names a member: every column of every table is searched, but for those that say why not."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, array
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.errors import BadInput
from meter.store.tables import (
    accounts,
    charges,
    deferrals,
    draws,
    entries,
    identities,
    journal,
    member_accounts,
    member_keys,
    members,
    metadata,
)

# Tables in which nobody can be named, and why; a table that is not here is searched.
NOBODY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "backups": "names of copies of the whole",
        "edge_authorities": "certificates of this gateway",
        "edge_certificates": "serial numbers of agents",
        "event_keys": "ids and hashes; the event itself is told",
        "export_cursors": "how far a target is",
        "held_events": "ids; the event itself is told",
        "leases": "names of processes",
        "oauth_tokens": "the gateway's own secrets",
        "openings": "how far an account is",
        "operators": "the operator",
        "rating_cursors": "how far rating is",
        "restorations": "names of copies of the whole",
        "seals": "hashes",
        "wakes": "when an account is looked at",
    }
)
# Columns that are neither searched nor told, and why.
UNTOLD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "api_keys.secret_hash": "a secret",
        "authorizations.digest": "a hash",
        "catalogs.digest": "a hash",
        "edge_enrollments.code_hash": "a secret",
        "edge_enrollments.public_key": "of an agent",
        "member_keys.key": "a secret",
        "rejections.digest": "a hash",
    }
)
# Whose an identity is changes: what is dated is the member's only while the claim held.
_DATED: Final[Mapping[str, str]] = MappingProxyType(
    {"authorizations": "asked_at", "events": "time", "unresolved": "time"}
)
# Shorter ones are found in everything: they count as whole values only.
VALUE_CHARS_MIN: Final = 4
NAME_CHARS_MIN: Final = 3
_BETWEEN: Final = "[:. -]?"
# What a word goes on with: `ada` is not in `ada-2`, nor in `ada@example.org`.
BEFORE: Final = "(^|[^[:alnum:]_.@-])"
AFTER: Final = r"($|[^[:alnum:]_.@-]|\.($|[^[:alnum:]]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What somebody is known by: whole `values` of ids, `words` in texts, from `start` until `end`; None: always."""

    values: tuple[str, ...]
    words: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of a table, without what is untold; `by` the columns that name the member: none where it goes along."""

    table: str
    by: tuple[str, ...]
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One of a member's ids, with what it is called beside: `email` and `pseudonym` None where there is none."""

    member: str
    pseudonym: str | None
    name: str
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Whom a member's ids are, before a merge too, and what identities are or were claimed: (identity, start, end)."""

    people: tuple[Called, ...]
    claims: tuple[tuple[str, datetime, datetime | None], ...]


async def known_by(connection: AsyncConnection, operator: str, member: str) -> Known:
    """Return what a member is called. Raises BadInput: `unknown_member`; `merged_member`, she is another one now."""
    person = (
        select(members.c.member).where(members.c.operator == operator, members.c.member == member).cte(recursive=True)
    )
    merged = select(members.c.member).where(members.c.operator == operator, members.c.merged_into == person.c.member)
    rows = (
        await connection.execute(
            select(members, member_keys.c.pseudonym)
            .join(
                member_keys,
                and_(member_keys.c.operator == members.c.operator, member_keys.c.member == members.c.member),
                isouter=True,
            )
            .where(members.c.operator == operator, members.c.member.in_(select(person.union(merged).c.member)))
        )
    ).all()
    asked = next((row for row in rows if row.member == member), None)
    if asked is None:
        raise BadInput(f"no member {member!r}; `meter identities` lists whose identities are", code="unknown_member")
    if asked.merged_into is not None:
        message = f"{member} was merged into {asked.merged_into}: they are one person; name {asked.merged_into}"
        raise BadInput(message, code="merged_member")
    people = tuple(
        Called(member=row.member, pseudonym=row.pseudonym, name=row.name, email=row.email or None) for row in rows
    )
    claims = await connection.execute(
        select(identities)
        .where(identities.c.operator == operator, identities.c.member.in_(_ids(people)))
        .order_by(*identities.primary_key.columns)
    )
    return Known(people=people, claims=tuple((row.identity, row.start, row.end) for row in claims))


async def traces_of(connection: AsyncConnection, operator: str, member: str) -> list[Trace]:
    """Return what a member is known by, and was before a merge. Raises what `known_by` does."""
    return traces(await known_by(connection, operator, member))


def traces(known: Known) -> list[Trace]:
    """Return what to look for: the person first, then each claim."""
    ids = _ids(known.people)
    mails = [one.email for one in known.people if one.email]
    names = [one.name for one in known.people if len(one.name) >= NAME_CHARS_MIN]
    person = Trace(
        values=(*ids, *(f"member:{one}" for one in ids), *mails, *(f"email:{one}" for one in mails)),
        words=tuple(word(one) for one in (*ids, *mails, *names)),
    )
    return [person, *(_claimed(*claim) for claim in known.claims)]


def _ids(people: tuple[Called, ...]) -> list[str]:
    return [value for one in people for value in (one.member, one.pseudonym) if value is not None]


async def rows_of(connection: AsyncConnection, operator: str, traces: list[Trace]) -> AsyncIterator[Found]:
    """Yield every row that one of `traces` is in, and what belongs to those rows, table by table."""
    for table in metadata.sorted_tables:
        if table.name in NOBODY:
            continue
        named = {column.name: _names(table, column, traces) for column in searched(table)}
        by = array([case((said, name)) for name, said in named.items()])
        statement = (
            select(cast(func.to_jsonb(literal_column(f'"{table.name}"')), String), func.array_remove(by, null()))
            .select_from(table)
            .where(naming(table, operator, traces))
            .order_by(*table.primary_key.columns)
        )
        async for row, columns in await connection.stream(statement):
            yield Found(table=table.name, by=tuple(columns), row=_told(table, row))


def naming(table: Table, operator: str, traces: list[Trace], *, others: bool = False) -> ColumnElement[bool]:
    """Return which rows of a table one of `traces` is in, or belong to rows of the member.

    `others`: and those that say that they are another member's.
    """
    named = or_(*(_names(table, column, traces) for column in searched(table)))
    goes = _goes_along(table, operator, traces)
    whose = true() if others else _nobody_elses(table, traces)
    return and_(table.c.operator == operator, or_(goes, and_(whose, named)))


def searched(table: Table) -> list[Column[Any]]:
    """Return the columns in which somebody may be named."""
    return [
        column
        for column in table.columns
        if column.name != "operator"
        and f"{table.name}.{column.name}" not in UNTOLD
        and isinstance(column.type, (Text, JSONB, LargeBinary))
    ]


def _names(table: Table, column: Column[Any], traces: list[Trace]) -> ColumnElement[bool]:
    at = _DATED.get(table.name)
    return or_(*(and_(_holds(column, trace), _during(table.c[at], trace) if at else true()) for trace in traces))


def _holds(column: Column[Any], trace: Trace) -> ColumnElement[bool]:
    if isinstance(column.type, LargeBinary):
        # Bytes beyond ASCII and backslashes stand escaped; so do they in what is looked for.
        return func.encode(column, "escape").op("~*")("|".join(_escaped(word) for word in trace.words))
    if isinstance(column.type, Text) and column.type.collation is not None:
        return column.in_(trace.values)
    return cast(column, Text).op("~*")("|".join(trace.words))


def _during(at: Column[Any], trace: Trace) -> ColumnElement[bool]:
    since = true() if trace.start is None else at >= trace.start
    return and_(since, true() if trace.end is None else at < trace.end)


def _nobody_elses(table: Table, traces: list[Trace]) -> ColumnElement[bool]:
    """Leave out rows that say whose they are and name another, as of a badge that has changed hands."""
    if "member" not in table.c or table is members:
        return true()
    return or_(table.c.member.is_(None), table.c.member.in_(traces[0].values))


def _goes_along(table: Table, operator: str, traces: list[Trace]) -> ColumnElement[bool]:
    """Tell what belongs to rows of the member and names nobody itself."""
    ids = traces[0].values
    if table is accounts:
        return table.c.account.in_(_of(member_accounts.c.account, member_accounts, operator, ids))
    if table in (draws, deferrals):
        return table.c.charge.in_(_of(charges.c.id, charges, operator, ids))
    if table is journal:
        return table.c.entry.in_(_of(entries.c.id, entries, operator, ids))
    return false()


def _of(column: Column[Any], table: Table, operator: str, ids: tuple[str, ...]) -> Select[Any]:
    return select(column).where(table.c.operator == operator, table.c.member.in_(ids))


def _claimed(identity: str, start: datetime, end: datetime | None) -> Trace:
    value = identity.partition(":")[2]
    bare = [spelled(value)] if len(value) >= VALUE_CHARS_MIN else []
    return Trace(
        values=(identity,),
        words=(word(identity), *bare),
        start=None if start.year == 1 else start,  # -infinity
        end=end,
    )


def spelled(value: str) -> str:
    """Return PostgreSQL's expression of a badge or an address, however its digits are parted."""
    return BEFORE + _BETWEEN.join(re.escape(one) for one in re.sub("[:. -]", "", value)) + AFTER


def word(told: str) -> str:
    """Return PostgreSQL's expression of a word as it stands in a text, and in JSON that was kept as sent."""
    ways = dict.fromkeys((told, json.dumps(told, ensure_ascii=False)[1:-1], json.dumps(told)[1:-1]))
    return BEFORE + "(" + "|".join(re.escape(one) for one in ways) + ")" + AFTER


def _escaped(word: str) -> str:
    """Return the expression for what `encode(..., 'escape')` makes of it: backslashes doubled, other bytes octal."""
    doubled = word.replace(r"\\", r"\\\\")
    return "".join(one if one.isascii() else "".join(rf"\\{byte:03o}" for byte in one.encode()) for one in doubled)


def _told(table: Table, row: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(row, parse_float=Decimal)
    for column in table.columns:
        if f"{table.name}.{column.name}" in UNTOLD:
            del told[column.name]
        elif isinstance(column.type, LargeBinary) and told[column.name] is not None:
            told[column.name] = _text(bytes.fromhex(told[column.name].removeprefix("\\x")))
    return told


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(body).decode()
