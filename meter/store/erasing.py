"""Takes a person out of every row, in the caller's transaction: a pseudonym stands for her from then on (0021).

    naming rows, some at a time ──▶ what each would say ──▶ form before ──▶ written ──▶ form after ──▶ a redaction in
                                                                                                    the sealed log

Every searched column is rewritten, a new one from its first day on, but for those of which `meter.store.kept` says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, LargeBinary, Table, delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.directory import Directory
from meter.model.errors import BadInput
from meter.rating.resolve import member_of
from meter.store.bulk import update_rows
from meter.store.called import Instead, Names, bytes_without, instead_of, json_without, value_without, words_of
from meter.store.kept import erased_columns
from meter.store.personal import Known, known_by, naming, traces
from meter.store.redactions import Form, event_form, forms, write_redactions
from meter.store.tables import (
    authorizations,
    catalogs,
    charges,
    checkpoints,
    draws,
    events,
    member_accounts,
    member_keys,
    members,
    metadata,
    outbox,
    wifi_due,
    wifi_readings,
)

_TIMES: Final = {"authorizations": "asked_at", "charges": "event_time", "events": "time", "unresolved": "time"}
# Rows of a table that are in memory at once, and written by one statement.
_ROWS: Final = 1_000
# What a target may have taken already under its key must reach it unchanged.
_UNDER_WAY: Final = ("sending", "uncertain")
# Tables that the forms of a stream are made of, beside events: of these the content alone is erased.
_SEALED: Final = {"charges": "charges", "draws": "charges", "entries": "entries"}
# A row as it stands, and its new values.
_Change: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was done. `rows` by table; `left` words that texts keep, since the catalog uses them, too."""

    member: str
    rows: Mapping[str, int]
    redacted: int
    accounts: tuple[str, ...]
    left: tuple[str, ...]
    erasing: _Erasing


async def accounts_of(connection: AsyncConnection, operator: str, known: Known) -> set[str]:
    """Return the accounts that what is known of a member is part of."""
    ids = [one.member for one in known.people]
    found: set[str] = set()
    for table in (member_accounts, charges, *(metadata.tables[name] for name in ("grants", "subscriptions"))):
        query = select(table.c.account).distinct().where(table.c.operator == operator, table.c.member.in_(ids))
        found |= {account for account in (await connection.execute(query)).scalars() if account is not None}
    return found


async def erase_member(connection: AsyncConnection, operator: str, member: str, directory: Directory) -> Erased:
    """Erase a member's person everywhere, as the owner of the tables, within the caller's transaction.

    `directory` is the present one: it says when an identity was hers.

    Raises BadInput: `unknown_member`; `merged_member`; `deliveries_under_way`, a target may hold what would be
    rewritten.
    """
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    known = await known_by(connection, operator, member)
    bodies = (await connection.execute(select(catalogs.c.body).where(catalogs.c.operator == operator))).scalars()
    erasing = _Erasing(
        connection=connection,
        operator=operator,
        name=next(one.pseudonym or one.member for one in known.people if one.member == member),
        known=known,
        instead=instead_of(known, frozenset(one for body in bodies for one in words_of(body))),
        directory=directory,
        accounts=await accounts_of(connection, operator, known),
    )
    # What is under way refuses all of it: it is looked for before anything is written.
    for table in sorted(metadata.sorted_tables, key=lambda table: table is not outbox):
        await erasing.rewrite(table)
    accounts = sorted(erasing.accounts)
    await connection.execute(
        delete(checkpoints).where(checkpoints.c.operator == operator, checkpoints.c.account.in_(accounts))
    )
    # Last: until here what the database records of the changes is hashed with the keys.
    await connection.execute(
        update(member_keys)
        .where(member_keys.c.operator == operator, member_keys.c.member.in_(erasing.ids))
        .values(member=member_keys.c.pseudonym, key=None)
    )
    await write_redactions(connection, operator, member=erasing.name, changed=(), summary=erasing.rows)
    return erasing.done()


async def erase_asked(connection: AsyncConnection, done: Erased) -> Erased:
    """Erase the member from what gateways were asked while she was erased, in a transaction after that one.

    Who asks waits for nobody, and by the facts of then she was there. Raises nothing of its own.
    """
    # Of those whom this waits for it sees the rows; whoever comes after it looks at the facts once more.
    await connection.execute(text("LOCK TABLE authorizations IN SHARE ROW EXCLUSIVE MODE"))
    done.erasing.connection = connection
    await done.erasing.rewrite(authorizations)
    return done.erasing.done()


@dataclass(slots=True, kw_only=True)
class _Erasing:
    """One member's erasing, table by table; what has been done so far is counted."""

    connection: AsyncConnection
    operator: str
    name: str
    known: Known
    instead: Instead
    directory: Directory
    accounts: set[str]
    rows: Counter[str] = field(default_factory=Counter)
    redacted: int = 0

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(one.member for one in self.known.people)

    def done(self) -> Erased:
        return Erased(
            member=self.name,
            rows=dict(self.rows),
            redacted=self.redacted,
            accounts=tuple(sorted(self.accounts)),
            left=self.instead.left,
            erasing=self,
        )

    async def rewrite(self, table: Table) -> None:
        """Rewrite the rows of a table, some at a time: they are read as they stood when the reading began."""
        if not erased_columns(table):
            return
        query = select(table).where(naming(table, self.operator, traces(self.known), others=True))
        found = await self.connection.stream(query, execution_options={"yield_per": _ROWS})
        async for rows in found.mappings().partitions():
            changes = self._changes(table, rows)
            if table is events:
                await self._redact(_event_forms(changes))
                await self._follow(changes)
            elif table.name in _SEALED:
                await self._write_sealed(table, changes)
                continue
            await self._write(table, changes)

    def _changes(self, table: Table, rows: Iterable[Mapping[Any, Any]]) -> list[_Change]:
        """Return what of the rows has to change."""
        columns = erased_columns(table)
        changes = ((dict(row), self._new(table, row, columns)) for row in rows)
        return [(row, new) for row, new in changes if new]

    def _new(self, table: Table, row: Mapping[Any, Any], columns: list[Column[Any]]) -> dict[str, Any]:
        if table is wifi_due and row["kind"] != "session":
            return {}  # an event's id
        names = self._names(table, row)
        new = {
            column.name: _without(column, row[column.name], names) for column in columns if row[column.name] is not None
        }
        if table is members:
            new["name"] = new["member"]  # however short it was
        if table is charges and row["source"] == "":
            # No event's: the id of a minimum of one member's own.
            new["event_id"] = value_without(names, row["event_id"])
        new = {name: value for name, value in new.items() if value != row[name]}
        if new and table is outbox:
            _refuse_under_way(row)
        return new

    def _names(self, table: Table, row: Mapping[Any, Any]) -> list[Names]:
        """Return what counts in a row: of what carries its own time, the identities that meant her then.

        In rows of another, who may have them by now, of what does not none.
        """
        at, whose = _TIMES.get(table.name), row.get("member")
        if whose in self.ids or (at is None and (whose is None or table is members)):
            return self.instead.names()
        if at is None:
            return self.instead.names(lambda _: False)
        return self.instead.names(lambda identity: member_of(identity, row[at], self.directory) in self.ids)

    async def _follow(self, changes: Sequence[_Change]) -> None:
        """Add whose accounts her events are in; what Wi-Fi sessions are called by goes as her events call them now.

        Those of whoever it was, too, where nothing is booked yet: a fold may hold the event, and book with it later.
        """
        keys = [(row["source"], row["id"]) for row, _ in changes]
        if not keys:
            return
        for subject in {row["subject"] or "" for row, _ in changes}:
            members = {claim.member for claim in self.directory.claims.get(subject, ())}
            members.add(self.directory.member_called(subject.removeprefix("member:")) or "")
            self.accounts |= {link.account for one in members for link in self.directory.links.get(one, ())}
        query = select(wifi_readings).where(
            wifi_readings.c.operator == self.operator, tuple_(wifi_readings.c.source, wifi_readings.c.id).in_(keys)
        )
        sessions = (await self.connection.execute(query)).mappings()
        await self._write(wifi_readings, self._changes(wifi_readings, sessions))
        called = [(row["source"], str(row["data"]["session"])) for row, _ in changes if "session" in row["data"]]
        query = select(wifi_due).where(
            wifi_due.c.operator == self.operator, tuple_(wifi_due.c.source, wifi_due.c.name).in_(called)
        )
        looked_at = (await self.connection.execute(query)).mappings() if called else ()
        await self._write(wifi_due, self._changes(wifi_due, looked_at))
        billed = select(charges.c.account).where(
            charges.c.operator == self.operator, tuple_(charges.c.source, charges.c.event_id).in_(keys)
        )
        self.accounts |= set((await self.connection.execute(billed.distinct())).scalars())

    async def _write_sealed(self, table: Table, changes: Sequence[_Change]) -> None:
        """Write what is sealed, a charge together with its draws, and record what each form was and is."""
        stream = _SEALED[table.name]
        ids = sorted({row["charge" if table is draws else "id"] for row, _ in changes})
        if not ids:
            return
        before = await forms(self.connection, self.operator, stream, ids)
        await self._write(table, changes)
        if table is charges:
            query = select(draws).where(draws.c.operator == self.operator, draws.c.charge.in_(ids))
            await self._write(draws, self._changes(draws, (await self.connection.execute(query)).mappings()))
        after = await forms(self.connection, self.operator, stream, ids)
        await self._redact([(stream, old, after[id]) for id, old in before.items()])

    async def _redact(self, changed: Iterable[tuple[str, Form, Form]]) -> None:
        differing = [one for one in changed if one[1].hash != one[2].hash]
        self.redacted += len(differing)
        await write_redactions(self.connection, self.operator, member=self.name, changed=differing)

    async def _write(self, table: Table, changes: Sequence[_Change]) -> None:
        """Write rows: those whose same columns change, by one statement."""
        groups: dict[tuple[str, ...], list[_Change]] = {}
        for row, new in changes:
            groups.setdefault(tuple(new), []).append((row, new))
            if isinstance(account := row.get("account"), str):
                self.accounts.add(account)
        for columns, group in groups.items():
            await update_rows(self.connection, table, columns, group)
        if changes:
            self.rows[table.name] += len(changes)


def _refuse_under_way(row: Mapping[Any, Any]) -> None:
    if row["state"] in _UNDER_WAY or (row["state"] == "pending" and row["first_sent_at"]):
        message = (
            f"delivery {row['id']} to {row['target']} is under way and may be there already; nothing is erased. Wait "
            "until it is delivered or dead (`meter deliveries`), and erase again"
        )
        raise BadInput(message, code="deliveries_under_way")


def _event_forms(changes: Iterable[_Change]) -> list[tuple[str, Form, Form]]:
    return [("events", event_form(row), event_form({**row, **new})) for row, new in changes]


def _without(column: Column[Any], value: Any, names: list[Names]) -> Any:
    if isinstance(column.type, JSONB):
        return json_without(names, value)
    if isinstance(column.type, LargeBinary):
        return bytes_without(names, value)
    return value_without(names, value)
