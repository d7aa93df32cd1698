"""Entries that rows make, put into the directory as a catalog's files are: all in one transaction, or none.

What a row does not say stays as it is stored (`meter.store.beside`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.entry import Entry as CatalogEntry
from meter.catalog.issues import CatalogError, Faults, Issue, Place
from meter.catalog.people import PeopleReader
from meter.ingest.importing.rows import Entry, node_of
from meter.model.event import Json
from meter.store.apply import Outcome, apply_directory, open_reader
from meter.store.beside import Beside, read_beside
from meter.store.directory_write import lock_facts

# Each round leaves out what the one before found to be wrong; a table in which that goes on is of another kind.
_ROUNDS_MAX = 20
# In which entries may refer to each other.
_ORDER = ("accounts", "members", "identities", "subscriptions", "grants")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Entries or events of a kind, by how they differ from what is stored."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What putting entries did: `outcome` None where nothing is mapped to the directory. `faults` left entries out."""

    outcome: Outcome | None = None
    counts: Mapping[str, Counts] = field(default_factory=dict)
    faults: tuple[Issue, ...] = ()
    left_out: int = 0


async def put_entries(
    conn: AsyncConnection, operator: str, entries: Sequence[Entry], *, now: datetime, skip_faults: bool
) -> Put:
    """Put entries within the caller's transaction.

    `skip_faults`: those with faults are left out, with all of the row's other entries. Raises CatalogError otherwise;
    BadInput (`no_catalog`).
    """
    await lock_facts(conn, operator)
    kept, faults = list(entries), list[Issue]()
    for _ in range(_ROUNDS_MAX):
        try:
            async with conn.begin_nested():
                outcome = await _put(conn, operator, kept, now=now)
        except CatalogError as error:
            rows = {(issue.file, issue.line) for issue in error.issues}
            left = [entry for entry in kept if (entry.place.file, entry.place.line) not in rows]
            if not skip_faults or len(left) == len(kept):
                raise
            kept, faults = left, [*faults, *error.issues]
        else:
            left_out = len(entries) - len(kept)
            return Put(outcome=outcome, counts=_counts(kept, outcome), faults=tuple(faults), left_out=left_out)
    raise CatalogError(faults)


async def _put(conn: AsyncConnection, operator: str, entries: Sequence[Entry], *, now: datetime) -> Outcome:
    faults = Faults()
    beside = await _beside(conn, operator, entries)
    bodies = [(entry, _completed(beside, entry, now, faults)) for entry in entries]
    reader = await open_reader(conn, operator, now=now, naming=_names(bodies))
    ids = {section: {entry.id for entry in entries if entry.section == section} for section in _ORDER}
    reader.accounts = {*reader.accounts, *ids["accounts"]}
    reader.members = {*reader.members, *ids["members"]}
    for section in _ORDER:
        for entry, body in bodies:
            if entry.section == section and body is not None:
                _read(reader, entry, CatalogEntry(node_of(entry, body), entry.place, faults))
    faults.settle()
    return await apply_directory(conn, operator, reader.draft(), now=now)


def _read(reader: PeopleReader, entry: Entry, given: CatalogEntry) -> None:
    if entry.section in {"accounts", "members", "subscriptions"}:
        given.check_id(entry.id, entry.place)
    match entry.section:
        case "accounts":
            reader.account(entry.id, given)
        case "members":
            reader.member(entry.id, given)
        case "identities":
            reader.identity(entry.id, given)
        case "subscriptions":
            reader.subscription(entry.id, given)
        case _:
            reader.grant(given)


async def _beside(conn: AsyncConnection, operator: str, entries: Sequence[Entry]) -> Beside:
    """Return what is stored of all that is named."""
    identities: set[str] = set()
    for entry in entries:
        if entry.section == "identities":
            identities.add(entry.id)
        identities |= {str(identity) for identity in entry.body.get("identities", ())}
    return await read_beside(
        conn,
        operator,
        accounts={entry.id for entry in entries if entry.section == "accounts"},
        members={entry.id for entry in entries if entry.section == "members"},
        identities=identities,
        subscriptions={entry.id for entry in entries if entry.section == "subscriptions"},
    )


def _completed(beside: Beside, entry: Entry, now: datetime, faults: Faults) -> Mapping[str, Json] | None:
    """Return an entry's body over what is stored; None: there is nothing to put."""

    def fault(name: str, message: str) -> None:
        faults.add(Place(entry.place.file, entry.place.line, entry.labels.get(name) or name), message)

    match entry.section:
        case "accounts":
            return beside.account(entry.id, entry.body)
        case "members":
            return beside.member(entry.id, entry.body, at=now, fault=fault)
        case "identities":
            member, start = str(entry.body["member"]), entry.body.get("from")
            dated = start is not None or "to" in entry.body
            new = beside.claim(entry.id, member, start, name="id", at=now, fault=fault)
            return entry.body if new or dated else None
        case "subscriptions":
            return beside.subscription(entry.id, entry.body, fault=fault)
        case _:
            return entry.body


def _names(bodies: Sequence[tuple[Entry, Mapping[str, Json] | None]]) -> Collection[str]:
    """Return every name that the entries may refer to."""
    found: set[str] = set()
    for entry, body in bodies:
        found.add(entry.id)
        for name in ("account", "member"):
            found.add(str((body or {}).get(name)))
        found |= {str(link.get("id")) for link in (body or {}).get("accounts", ())}
    return found


def _counts(entries: Sequence[Entry], outcome: Outcome) -> dict[str, Counts]:
    """Return how entries differ from what was stored; links and identities are counted as the members say them."""
    given = dict.fromkeys((*_ORDER, "links"), 0)
    for entry in entries:
        given[entry.section] += 1
        given["identities"] += len(entry.body.get("identities", ()))
        given["links"] += entry.section == "members" and ("account" in entry.body or "accounts" in entry.body)
    counts = {}
    for kind, changes in outcome.changes.by_kind().items():
        new = sum(change.before is None for change in changes)
        if given.get(kind) or changes:
            unchanged = max(0, given.get(kind, 0) - len(changes))
            counts[kind] = Counts(new=new, changed=len(changes) - new, unchanged=unchanged)
    return counts
