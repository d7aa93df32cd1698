"""Drafts of the directory: what vendors say of accounts, members and subscriptions, until it is applied or dismissed.

    open ─apply─▶ applied      open ─dismiss─▶ dismissed      any ─the vendor says something else─▶ open
      └─apply, and it does not hold─▶ open, with the fault

A draft is put as `PUT /v1/accounts|members|subscriptions` puts an entry, but for what its vendor does not know
(`beside`): that stays as it is stored, and what would need a date is a fault for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import Row, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.entry import Entry
from meter.catalog.issues import CatalogError, Faults, Issue, Place
from meter.catalog.nodes import read_json, texts_in
from meter.catalog.people import PeopleReader
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.store.apply import Outcome, apply_directory, open_reader
from meter.store.beside import read_beside
from meter.store.directory import facts_version, read_merged
from meter.store.directory_write import lock_facts
from meter.store.engine import encode_json
from meter.store.source_work import VENDOR_CHANNELS
from meter.store.tables import drafts

DraftState: TypeAlias = Literal["open", "applied", "dismissed"]
DraftKind: TypeAlias = Literal["account", "member", "subscription"]

FAULT_CHARS_MAX: Final = 2_000
# Each holds up rating for some milliseconds while it is compared; a call of this many is over in a second or two.
APPLIED_MAX: Final = 200


class DraftKey(NamedTuple):
    """What names a draft. In this order they are applied: kinds sort as they refer to each other."""

    kind: str
    id: str
    vendor: str
    name: str

    @property
    def text(self) -> str:
        """Return it as it is typed and shown."""
        return f"{self.vendor}/{self.name}/{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft as it stands. `time`: when the vendor changed the object; `channel`: by which it came."""

    key: DraftKey
    body: Mapping[str, Json]
    note: str | None
    time: datetime
    channel: str
    state: DraftState
    fault: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of a draft: what it changed, or why it could not be applied."""

    draft: Draft
    outcome: Outcome | None = None
    error: BadInput | None = None


_READERS: Final[Mapping[str, Callable[[PeopleReader, str, Entry], None]]] = {
    "account": PeopleReader.account,
    "member": PeopleReader.member,
    "subscription": PeopleReader.subscription,
}
_KEY: Final = tuple_(drafts.c.kind, drafts.c.id, drafts.c.vendor, drafts.c.name)


async def list_drafts(
    conn: AsyncConnection,
    operator: str,
    *,
    state: DraftState | None = "open",
    kind: DraftKind | None = None,
    after: DraftKey | None = None,
    limit: int = 100,
) -> list[Draft]:
    """Return drafts behind `after`, in the order in which they would be applied."""
    query = select(drafts).where(drafts.c.operator == operator)
    if state is not None:
        query = query.where(drafts.c.state == state)
    if kind is not None:
        query = query.where(drafts.c.kind == kind)
    if after is not None:
        query = query.where(tuple_(*after) < _KEY)
    query = query.order_by(drafts.c.kind, drafts.c.id, drafts.c.vendor, drafts.c.name).limit(limit)
    return [_draft(row) for row in await conn.execute(query)]


async def find_draft(conn: AsyncConnection, operator: str, key: DraftKey) -> Draft:
    """Return a draft. Raises BadInput (`not_found`)."""
    found = await _locked(conn, operator, [key], lock=False)
    if not found:
        raise BadInput(f"there is no draft {key.text!r:.200}; meter drafts list shows them", code="not_found")
    return found[0]


async def dismiss_draft(conn: AsyncConnection, operator: str, key: DraftKey, *, now: datetime) -> Draft:
    """Put a draft aside until its vendor says something else. Raises BadInput (`not_found`)."""
    await find_draft(conn, operator, key)
    await _mark(conn, operator, key, state="dismissed", fault=None, fault_facts=None, decided_at=now)
    return await find_draft(conn, operator, key)


async def apply_drafts(
    conn: AsyncConnection, operator: str, keys: Collection[DraftKey], *, now: datetime
) -> list[Decided]:
    """Apply drafts within the caller's transaction, accounts first, each by itself: what fails keeps its fault.

    Raises BadInput (`not_found`) where one does not exist, and then none is applied; (`no_catalog`).
    """
    found = await _locked(conn, operator, keys, lock=True)
    missing = sorted(set(keys) - {draft.key for draft in found})
    if missing:
        raise BadInput(f"there is no draft {missing[0].text!r:.200}; meter drafts list shows them", code="not_found")
    return [await _apply(conn, operator, draft, now=now) for draft in sorted(found, key=lambda draft: draft.key)]


async def preview_drafts(
    conn: AsyncConnection, operator: str, keys: Collection[DraftKey], *, now: datetime
) -> list[Decided]:
    """Return what `apply_drafts` would do, one after the other; it is taken back."""
    savepoint = await conn.begin_nested()
    try:
        return await apply_drafts(conn, operator, keys, now=now)
    finally:
        await savepoint.rollback()


async def apply_open(
    conn: AsyncConnection, operator: str, sources: Collection[tuple[str, str]], *, now: datetime
) -> list[Decided]:
    """Apply open drafts of these sources, each a vendor and a name, at most `APPLIED_MAX`.

    Only what the vendor itself said, by a webhook or asked. What could not be applied is tried again once the facts
    have changed, for then it may hold.
    """
    if not sources:
        return []
    table = drafts.c
    query = (
        select(table.kind, table.id, table.vendor, table.name)
        .where(
            table.operator == operator,
            table.state == "open",
            table.channel.in_(sorted(VENDOR_CHANNELS)),
            tuple_(table.vendor, table.name).in_(sorted(sources)),
            or_(table.fault_facts.is_(None), table.fault_facts < await facts_version(conn, operator)),
        )
        .order_by(table.fault_facts.nulls_first(), table.kind, table.id, table.vendor, table.name)
        .limit(APPLIED_MAX)
    )
    keys = [DraftKey(*row) for row in await conn.execute(query)]
    return await apply_drafts(conn, operator, keys, now=now) if keys else []


# --- one draft --------------------------------------------------------------------------------------------------------


async def _apply(conn: AsyncConnection, operator: str, draft: Draft, *, now: datetime) -> Decided:
    try:
        async with conn.begin_nested():
            outcome = await _put(conn, operator, draft, now=now)
    except BadInput as error:
        if error.code == "no_catalog":
            raise
        version = await facts_version(conn, operator)
        fault = "; ".join(_said(issue) for issue in error.issues) if isinstance(error, CatalogError) else error.detail
        await _mark(conn, operator, draft.key, fault=fault[:FAULT_CHARS_MAX], fault_facts=version)
        return Decided(draft=draft, error=error)
    await _mark(conn, operator, draft.key, state="applied", fault=None, fault_facts=None, decided_at=now)
    return Decided(draft=draft, outcome=outcome)


def _said(issue: Issue) -> str:
    return f"{issue.path}: {issue.message}" if issue.path else issue.message


async def _put(conn: AsyncConnection, operator: str, draft: Draft, *, now: datetime) -> Outcome:
    """Put the draft as an entry. Raises CatalogError; BadInput (`no_catalog`)."""
    place = Place(draft.key.text, None, "")
    faults = Faults()
    await lock_facts(conn, operator)  # what is stored beside must not change before it is put
    kind, id = draft.key.kind, draft.key.id
    merged = await read_merged(conn, operator, {id, str(draft.body.get("member"))})
    if kind == "member":
        id = merged.get(id, id)
    body = await _completed(conn, operator, draft, id, merged=merged, now=now, faults=faults)
    root = read_json(encode_json(body), file=place.file, faults=faults)
    faults.settle()
    reader = await open_reader(conn, operator, now=now, naming={id, *texts_in(root)})
    entry = Entry(root, place, faults)
    entry.check_id(id, place)
    _READERS[kind](reader, id, entry)
    faults.settle()
    return await apply_directory(conn, operator, reader.draft(), now=now)


async def _completed(
    conn: AsyncConnection,
    operator: str,
    draft: Draft,
    id: str,
    *,
    merged: Mapping[str, str],
    now: datetime,
    faults: Faults,
) -> Json:
    """Return the body over what is stored beside `id`. Who was merged is known by the other's name and e-mail."""
    kind, body = draft.key.kind, dict(draft.body)

    def fault(name: str, message: str) -> None:
        faults.add(Place(draft.key.text, None, name), message)

    if kind == "account":
        return (await read_beside(conn, operator, accounts={id})).account(id, body)
    if kind == "subscription":
        meant = merged.get(str(body.get("member")))
        body = body if meant is None else {**body, "member": meant}
        return (await read_beside(conn, operator, subscriptions={id})).subscription(id, body, fault=fault)
    if id != draft.key.id:
        body = {name: value for name, value in body.items() if name not in {"name", "email"}}
    given = body.get("identities")
    named = given if isinstance(given, list) else []
    identities = {str(one.get("id") if isinstance(one, dict) else one) for one in named}
    found = await read_beside(conn, operator, members={id}, identities=identities)
    return found.member(id, body, at=now, fault=fault)


# --- rows -------------------------------------------------------------------------------------------------------------


async def _locked(conn: AsyncConnection, operator: str, keys: Collection[DraftKey], *, lock: bool) -> list[Draft]:
    """Return drafts; locked in the order in which events write them, so that neither waits for the other in a ring."""
    table = drafts.c
    query = select(drafts).where(table.operator == operator, _KEY.in_([tuple(key) for key in keys]))
    query = query.order_by(table.vendor, table.name, table.kind, table.id)
    return [_draft(row) for row in await conn.execute(query.with_for_update() if lock else query)]


async def _mark(conn: AsyncConnection, operator: str, key: DraftKey, **values: Any) -> None:
    await conn.execute(update(drafts).where(drafts.c.operator == operator, tuple_(*key) == _KEY).values(**values))


def _draft(row: Row[Any]) -> Draft:
    return Draft(
        key=DraftKey(row.kind, row.id, row.vendor, row.name),
        body=row.body,
        note=row.note,
        time=row.time,
        channel=row.channel,
        state=row.state,
        fault=row.fault,
        decided_at=row.decided_at,
    )
