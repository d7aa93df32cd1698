"""Taking in a catalog or entries of the directory: one transaction, or a preview that writes nothing.

lock the facts ─▶ compare with what is stored ─▶ write what differs ─▶ raise the version ─▶ ask for re-folds
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.catalog.build import read_body
from meter.catalog.changes import Change, DirectoryChanges, directory_changes, foreign_grants, later_terms
from meter.catalog.compare import SectionChange, billed_part, section_changes
from meter.catalog.draft import ClaimDraft, DirectoryDraft
from meter.catalog.issues import CatalogError, Issue
from meter.catalog.load import LoadedCatalog
from meter.catalog.people import Known, PeopleReader
from meter.catalog.terms import OperatorTerms
from meter.catalog.touch import Touch, joined, touches
from meter.model.directory import SINCE_ALWAYS, Claim
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import instant_text
from meter.model.period import Terms
from meter.store.acting import say_operator
from meter.store.catalogs import StoredVersion, body_digest, in_force, read_versions, timeline, write_version
from meter.store.directory import NO_CATALOG, current_operator, read_known
from meter.store.directory_write import (
    FIRST_CATALOG_LOCK,
    last_event_time,
    lock_facts,
    owing_accounts,
    raise_facts_version,
    read_stored,
    read_surroundings,
    write_changes,
    write_refolds,
)
from meter.store.hashing import stored_draft
from meter.store.tables import accounts, operators, subscriptions
from meter.store.thinning import require_readable

REASON_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a change does, or would do.

    `version` is None where the catalog says nothing new; `sections` compares it with the version that is in force when
    it takes effect. `needs_reason`: it takes effect in the past, so usage is rated again. `touches`: the accounts that
    are folded again, and since when. `warnings`: subscriptions to plans that the catalog does not have, grants in a
    currency that their account does not pay in, terms of accounts that begin later.
    """

    operator: str
    version: int | None = None
    effective: datetime | None = None
    needs_reason: bool = False
    sections: tuple[SectionChange, ...] = ()
    changes: DirectoryChanges
    touches: tuple[Touch, ...] = ()
    warnings: tuple[Issue, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything changes."""
        return self.version is not None or bool(self.changes)


async def apply_catalog(
    conn: AsyncConnection, loaded: LoadedCatalog, *, now: datetime, reason: str | None = None
) -> Outcome:
    """Take in a catalog and its directory entries within the caller's transaction; applied again, it does nothing.

    Raises CatalogError (references, overlaps, a version effective in the past without `reason`) and BadInput
    (`conflict`) where the database serves another operator, (`movements_thinned`) where what it reads is gone.
    """
    operator = loaded.catalog.operator
    if await lock_facts(conn, operator) is None:
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": FIRST_CATALOG_LOCK})
        await _check_operator(conn, operator)
        await say_operator(conn, operator)
        await conn.execute(insert(operators).values(operator=operator).on_conflict_do_nothing())
        await lock_facts(conn, operator)
    outcome, version = await _outcome(conn, loaded, now=now, reason=reason)
    if outcome.needs_reason and not reason:
        message = (
            f"{instant_text(outcome.effective or now)} lies in the past, so usage since then is rated again;"
            " give a reason (--reason, or ?reason=), or a date to come"
        )
        raise CatalogError([Issue("", None, "effective", message)])
    if version is not None:
        await write_version(conn, operator, version, reason=reason)
    await _write(conn, outcome)
    return outcome


async def preview_catalog(conn: AsyncConnection, loaded: LoadedCatalog, *, now: datetime) -> Outcome:
    """Return what `apply_catalog` would do; reads only."""
    await _check_operator(conn, loaded.catalog.operator)
    outcome, _ = await _outcome(conn, loaded, now=now, reason=None)
    return outcome


async def read_known_to(conn: AsyncConnection) -> Known:
    """Return what a catalog's entries may refer to in this database, whosever it is."""
    operator = await current_operator(conn)
    return Known() if operator is None else await read_known(conn, operator)


async def apply_directory(conn: AsyncConnection, operator: str, draft: DirectoryDraft, *, now: datetime) -> Outcome:
    """Put entries of the directory within the caller's transaction. Raises CatalogError; BadInput (`no_catalog`)."""
    locked = await lock_facts(conn, operator)
    versions = await read_versions(conn, operator)
    catalogs = timeline(versions)
    if locked is None or catalogs is None:
        raise BadInput(NO_CATALOG, code="no_catalog")

    def terms(instant: datetime) -> Terms:
        catalog = catalogs.at(instant)
        return Terms(catalog.currency, catalog.timezone)

    bodies = [version.body for version in versions]
    changes, found, warnings = await _directory(conn, operator, draft, terms=terms, at=now, bodies=bodies)
    until = await last_event_time(conn, operator)
    outcome = Outcome(operator=operator, changes=changes, touches=joined(found, until=until), warnings=warnings)
    await _write(conn, outcome)
    return outcome


async def apply_claims(conn: AsyncConnection, operator: str, changed: Sequence[Change[Claim]]) -> Outcome:
    """Write claims whose spans changed, within the transaction that holds the facts."""
    drafts = tuple(
        ClaimDraft(identity=change.after.identity, member=change.after.member, start=None, end=None, place=change.place)
        for change in changed
    )
    stored = await read_stored(conn, operator, DirectoryDraft(claims=drafts))
    changes = DirectoryChanges(claims=tuple(changed))
    bodies = [version.body for version in await read_versions(conn, operator)]
    around = await read_surroundings(conn, operator, changes, stored, _walk_ins(bodies))
    until = await last_event_time(conn, operator)
    outcome = Outcome(operator=operator, changes=changes, touches=joined(touches(changes, around), until=until))
    await _write(conn, outcome)
    return outcome


async def open_reader(conn: AsyncConnection, operator: str, *, now: datetime, naming: Collection[str]) -> PeopleReader:
    """Return a reader of single entries against what is stored; `naming` holds every name that they may refer to.

    Raises BadInput (`no_catalog`).
    """
    current = in_force(await read_versions(conn, operator), now)
    if current is None:
        raise BadInput(NO_CATALOG, code="no_catalog")
    read = read_body(current.body, version=current.version, effective=current.effective)
    known = await read_known(conn, operator, among=naming)
    return PeopleReader(
        plans=read.catalog.plans,
        earlier_plans=known.plans,
        credit=read.context,
        accounts=known.accounts,
        members=known.members,
    )


async def _check_operator(conn: AsyncConnection, operator: str) -> None:
    serving = await current_operator(conn)
    if serving is not None and serving != operator:
        message = f"this database serves the operator {serving}, the catalog is {operator}'s; use a database of its own"
        raise BadInput(message, code="conflict")


async def _outcome(
    conn: AsyncConnection, loaded: LoadedCatalog, *, now: datetime, reason: str | None
) -> tuple[Outcome, StoredVersion | None]:
    catalog = loaded.catalog
    versions = await read_versions(conn, catalog.operator)
    effective = (loaded.effective or now) if versions else None
    before = in_force(versions, effective or now)
    digest = body_digest(loaded.body)
    version = None
    if before is None or before.digest != digest:
        number = versions[-1].version + 1 if versions else 1
        version = StoredVersion(version=number, effective=effective, body=loaded.body, digest=digest)
    changes, found, warnings = await _directory(
        conn,
        catalog.operator,
        loaded.directory,
        terms=lambda _: Terms(catalog.currency, catalog.timezone),
        at=max(now, effective or now),
        bodies=[*(v.body for v in versions), loaded.body],
    )
    if version is not None:
        await require_readable(conn, catalog.operator, version, versions)
        found += await _billed_by(conn, version, versions, changes, operator=catalog.operator, reason=reason)
    until = await last_event_time(conn, catalog.operator)
    outcome = Outcome(
        operator=catalog.operator,
        version=None if version is None else version.version,
        effective=None if version is None else version.effective,
        needs_reason=version is not None and version.effective is not None and version.effective < now,
        sections=() if version is None else section_changes({} if before is None else before.body, loaded.body),
        changes=changes,
        touches=joined(found, until=until),
        warnings=(*await _orphans(conn, loaded, changes, at=effective or now), *warnings),
    )
    return outcome, version


async def _orphans(
    conn: AsyncConnection, loaded: LoadedCatalog, changes: DirectoryChanges, *, at: datetime
) -> tuple[Issue, ...]:
    """Return a warning for each plan that is subscribed to from `at` on and not in the catalog."""
    table = subscriptions.c
    query = select(table.plan, table.subscription).where(
        table.operator == loaded.catalog.operator, (table.end.is_(None)) | (table.end > at)
    )
    put = {change.after.id: change.after for change in changes.subscriptions}
    held = [(plan, id) for plan, id in (await conn.execute(query)).all() if id not in put]
    held += [(s.plan, s.id) for s in put.values() if s.span.end is None or s.span.end > at]
    missing: dict[str, list[str]] = {}
    for plan, id in held:
        if plan not in loaded.catalog.plans:
            missing.setdefault(plan, []).append(id)
    return tuple(
        Issue("", None, f"plans.{plan}", f"is not there, but {len(ids)} subscribe, like {min(ids)}: usage is unpriced")
        for plan, ids in sorted(missing.items())
    )


async def _directory(
    conn: AsyncConnection,
    operator: str,
    draft: DirectoryDraft,
    *,
    terms: OperatorTerms,
    at: datetime,
    bodies: Sequence[Mapping[str, Json]],
) -> tuple[DirectoryChanges, list[Touch], tuple[Issue, ...]]:
    """Return what the draft changes, whom that touches, and warnings. Raises CatalogError; as `stored_draft`."""
    draft = await stored_draft(conn, operator, draft)
    stored = await read_stored(conn, operator, draft)
    changes = directory_changes(draft, stored, operator=terms, at=at)
    around = await read_surroundings(conn, operator, changes, stored, _walk_ins(bodies))
    warnings = (*foreign_grants(changes, stored), *later_terms(changes))
    return changes, list(touches(changes, around)), warnings


def _walk_ins(bodies: Sequence[Mapping[str, Json]]) -> dict[str, set[str]]:
    """Return the walk-in accounts that each site has had in any version."""
    found: dict[str, set[str]] = {}
    for body in bodies:
        for site, entry in body.get("sites", {}).items():
            if "walk_in" in entry:
                found.setdefault(site, set()).add(str(entry["walk_in"]))
    return found


async def _billed_by(
    conn: AsyncConnection,
    version: StoredVersion,
    versions: Sequence[StoredVersion],
    changes: DirectoryChanges,
    *,
    operator: str,
    reason: str | None,
) -> list[Touch]:
    """Return a touch of every account from the instant at which the version takes effect.

    It matters without an event where something is due by itself: to those who subscribe or bought credit. It matters to
    nobody for whom it says what the version that it follows says, but for what no bill depends on.
    """
    names = set((await conn.execute(select(accounts.c.account).where(accounts.c.operator == operator))).scalars())
    names |= {change.after.id for change in changes.accounts}
    since = version.effective or SINCE_ALWAYS
    part = body_digest(billed_part(version.body))
    alone = {one.account for one in versions} - {None}

    @cache
    def differs(account: str | None) -> bool:
        before = in_force(versions, since, account=account)
        return before is None or body_digest(billed_part(before.body)) != part

    owing = await owing_accounts(conn, operator)
    why = f"catalog version {version.version}" + (f": {reason}" if reason else "")
    return [Touch(n, since, why, timed=n in owing) for n in names if differs(n if n in alone else None)]


async def _write(conn: AsyncConnection, outcome: Outcome) -> None:
    if not outcome:
        return
    await write_changes(conn, outcome.operator, outcome.changes)
    await raise_facts_version(conn, outcome.operator)
    await write_refolds(conn, outcome.operator, outcome.touches)
