"""The gatherer of one target: reads what was booked, and makes the items that the target gets (decision 0014).

    tail ─▶ read a page ─▶ at once ─▶ items
                        └▶ sort ────▶ buckets ─▶ due? ─▶ items

Cursor, buckets and items move in one transaction, fenced by the lane's lease. So nothing that was booked is left out,
and nothing is gathered twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter import failpoints
from meter.clock import Clock
from meter.export.gather.begun import changed, ignored_start
from meter.export.gather.buckets import added, encoded, opened, sent
from meter.export.gather.shape import Booked, Draft, Known, Shape
from meter.export.gather.spans import GRACE, local_span
from meter.export.payload import frozen, operation_of, thawed
from meter.log import log
from meter.model.catalog import CatalogTimeline
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.errors import BadInput
from meter.model.instant import local_date
from meter.store.billers import biller_at, decide_billers
from meter.store.booking import share_facts_version
from meter.store.catalogs import load_catalogs
from meter.store.directory import facts_version, read_accounts
from meter.store.engine import Database
from meter.store.gathering import (
    Begun,
    Newest,
    StoredBucket,
    closed_buckets,
    due_buckets,
    first_export_cursor,
    read_buckets,
    read_export_cursor,
    supersede,
    write_buckets,
    write_export_cursor,
)
from meter.store.journal import entries_after
from meter.store.leases import Lease, fence
from meter.store.outbox import OutboxItem, add_items, item_key
from meter.store.readers import ChargeFilter, ChargePage, charges_after, first_booked
from meter.store.usage import Cursor

BUCKETS_MAX: Final = 200
# A cursor is moved where nothing was booked for the target, too, so that a restart does not read far and lag is seen;
# but not with each transaction.
CURSOR_INTERVAL: Final = timedelta(minutes=1)
# All closings are looked through now and then, not only the new ones: an older version that rates beside this one does
# not say when it has booked what a closing makes due.
CLOSINGS_INTERVAL: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What one step did: how many items it made, how many of them dead, and whether there may be more at once."""

    items: int
    more: bool
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What was read. `found`: there was something, wanted or not; `oldest`: when the first of it was booked."""

    booked: Booked
    found: bool
    next: Cursor
    more: bool
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """Buckets that may be sent. `looked`: when closings were last looked through from the first (None: not asked)."""

    buckets: Sequence[StoredBucket] = ()
    more: bool = False
    seen_xid: int | None = None
    looked: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    version: int
    catalogs: CatalogTimeline
    accounts: Mapping[str, Account]


class Gatherer:
    """Makes the items of one target. One at a time: whoever calls holds the lane's lease."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        target: str,
        shape: Shape,
        clock: Clock,
        kind: str = "",
        mode: str | None = None,
        company: str | None = None,
        past: bool = False,
        start: date | None = None,
        late_wait: timedelta = timedelta(0),
    ) -> None:
        """Prepare; `past` and `start` say where a target begins, `late_wait` for how long lateness is collected.

        `kind`, `mode` and `company` are the target's: it goes on only as what it began.
        """
        self._database = database
        self._operator = operator
        self._target = target
        self._shape = shape
        self._clock = clock
        self._began = Begun(kind=kind, mode=mode, reads=shape.reads, start=start, company=company)
        self._past = past
        self._start = start
        self._late_wait = late_wait
        self._facts: _Facts | None = None
        self._resting: tuple[datetime, datetime] | None = None
        self._moved = self._looked = clock()
        self._closings_seen: int | None = None
        self._start_said = False

    async def step(self, lease: Lease) -> Gathered:
        """Read a page and make the items that are due. Raises LeaseLost, Unavailable, BadInput (`target_changed`).

        Nothing is changed then.
        """
        # Not until its end alone: a clock that was far ahead and is set right would leave the target alone till then.
        if self._resting is not None and self._resting[0] <= self._clock() < self._resting[1]:
            return Gathered(items=0, more=False)
        gathered = await self._gather(lease)
        if self._shape.collects is not None and self._facts is not None and not gathered.more:
            before = self._clock() - GRACE
            timezone = self._facts.catalogs.at(before).timezone
            begin, end = local_span(before, self._shape.collects, timezone)
            self._resting = begin, end + GRACE
        return gathered

    async def _gather(self, lease: Lease) -> Gathered:
        async with self._database.begin() as conn:
            known = await self._known(conn)
            if known is None or self._facts is None:
                return Gathered(items=0, more=False)
            version = self._facts.version
            start = await self._read_so_far(conn)
            cursor = start or await first_export_cursor(conn, past=self._past or self._start is not None)
            page = await self._page(conn, cursor, known)
            moved = (
                start is None or page.found or (page.next > start and _passed(self._moved, known.now, CURSOR_INTERVAL))
            )
            due = _Due() if moved else await self._due(conn, page.next, known)
            if not moved and not due.buckets:
                self._looked_through(due)
                return Gathered(items=0, more=False)
            # What was read names members: nobody may have been erased since, nor be until it is written.
            if await share_facts_version(conn, self._operator) != version:
                return Gathered(items=0, more=True)
            await fence(conn, [lease])
            items = self._frozen(self._shape.at_once(page.booked, known), page.oldest)
            if moved:
                await self._sort(conn, page, known)
                # What this page brought is due among the rest; a page that is not the last would give half a sum.
                due = _Due() if page.more else await self._due(conn, page.next, known)
            items += await self._send_due(conn, due.buckets, known)
            await add_items(conn, items)
            if moved:
                await write_export_cursor(conn, self._operator, self._target, page.next, begun=self._began)
            failpoints.reach("before_gather_commit")
        failpoints.reach("after_gather_commit")
        self._looked_through(due)
        if moved:
            self._moved = known.now
        dead = sum(item.dead_because is not None for item in items)
        return Gathered(items=len(items), more=page.more or due.more, dead=dead)

    async def _read_so_far(self, conn: AsyncConnection) -> Cursor | None:
        """Return how far the target has read; None: it is new. Raises BadInput (`target_changed`)."""
        stored = await read_export_cursor(conn, self._operator, self._target)
        if stored is None:
            return None
        if (fault := changed(self._target, stored, self._began)) is not None:
            raise BadInput(fault, code="target_changed")
        if not self._start_said and (ignored := ignored_start(self._target, stored, self._began)) is not None:
            log.warning("start_ignored", target=self._target, detail=ignored)
        self._start_said = True
        return stored.read

    async def renew(self, conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        """Return the payload of an item with its references resolved by today's facts, and what is still unmet.

        Raises msgspec.MsgspecError where it cannot be read.
        """
        known = await self._known(conn)
        if known is None:
            return item.payload, None
        content, unmet = self._shape.renew(thawed(item.operation, item.payload), known)
        return frozen(content), unmet

    async def _known(self, conn: AsyncConnection) -> Known | None:
        """Return the facts of today; None before the first catalog."""
        version = await facts_version(conn, self._operator)
        if self._facts is None or self._facts.version != version:
            catalogs = await load_catalogs(conn, self._operator)
            if catalogs is None:
                return None
            accounts = {account.id: account for account in await read_accounts(conn, self._operator)}
            self._facts = _Facts(version=version, catalogs=catalogs, accounts=accounts)
        now = self._clock()
        facts = self._facts
        return Known(operator=self._operator, catalog=facts.catalogs.at(now), accounts=facts.accounts, now=now)

    async def _page(self, conn: AsyncConnection, cursor: Cursor, known: Known) -> _Page:
        if self._shape.reads == "entries":
            entries = await entries_after(conn, self._operator, cursor, entries_max=self._shape.page_max)
            made = [entry for entry, _ in entries.entries if self._start is None or entry.day >= self._start]
            return _Page(
                booked=Booked(entries=made),
                found=bool(entries.entries),
                next=entries.next,
                more=entries.more,
                oldest=await first_booked(conn, self._operator, [entry.id for entry in made]),
            )
        charges = await charges_after(conn, self._operator, cursor, ChargeFilter(), charges_max=self._shape.page_max)
        found = [charge for charge, _ in charges.charges]
        return _Page(
            booked=Booked(charges=[one for one in await self._mine(conn, charges, known) if self._begun(one, known)]),
            found=bool(found),
            next=charges.next,
            more=charges.more,
            oldest=min((charge.booked_at for charge in found), default=None),
        )

    async def _mine(self, conn: AsyncConnection, page: ChargePage, known: Known) -> list[Charge]:
        """Return the charges that are this target's to tell: all, unless it invoices."""
        customers = self._shape.customers
        if customers is None or not page.charges:
            return [charge for charge, _ in page.charges]
        accounts = {charge.line.account for charge, _ in page.charges} & known.accounts.keys()
        today = {account: customers.biller(known.accounts[account]) for account in accounts}
        billed = await decide_billers(conn, self._operator, today, targets=customers.billing)
        return [
            charge
            for charge, place in page.charges
            if biller_at(billed.get(charge.line.account, ()), place.xid) == self._target
        ]

    def _begun(self, charge: Charge, known: Known) -> bool:
        """Tell whether the invoice period of the charge, which begins in its account's zone, is one to be told."""
        if self._start is None:
            return True
        begin, account = charge.invoice_period.start, known.accounts.get(charge.line.account)
        timezone = known.catalog.timezone if account is None else account.periods.terms_at(begin).timezone
        return local_date(begin, timezone) >= self._start

    async def _sort(self, conn: AsyncConnection, page: _Page, known: Known) -> None:
        puts = list(self._shape.sort(page.booked, known))
        stored = await read_buckets(conn, self._operator, self._target, {put.bucket for put in puts})
        changed = added(
            stored,
            puts,
            batch_of=(self._operator, self._target),
            now=known.now,
            booked_at=page.oldest or known.now,
            late_wait=self._late_wait,
        )
        await write_buckets(conn, self._operator, self._target, [encoded(bucket) for bucket in changed.values()])

    async def _due(self, conn: AsyncConnection, read: Cursor, known: Known) -> _Due:
        """Return the buckets that may be sent: what is due, then what waited for a closing."""
        operator, target, most = self._operator, self._target, BUCKETS_MAX
        due = await due_buckets(conn, operator, target, replaces=self._shape.replaces, buckets_max=most)
        again = _passed(self._looked, known.now, CLOSINGS_INTERVAL)
        seen = None if again else self._closings_seen
        closed = await closed_buckets(conn, operator, target, read=read, seen_xid=seen, buckets_max=most)
        return _Due(
            buckets=[*due, *closed.buckets],
            more=most in {len(due), len(closed.buckets)},
            seen_xid=closed.seen_xid,
            looked=known.now if seen is None else self._looked,
        )

    def _looked_through(self, due: _Due) -> None:
        """Remember up to where the closings are done with: what became of their buckets is committed."""
        if due.looked is not None:
            self._closings_seen, self._looked = due.seen_xid, due.looked

    async def _send_due(self, conn: AsyncConnection, due: Sequence[StoredBucket], known: Known) -> list[OutboxItem]:
        """Return the items of buckets that are due, and write what is left of these."""
        replaces = self._shape.replaces
        drafts: list[tuple[StoredBucket, Draft | None]] = [
            (bucket, self._shape.draft(opened(bucket, replaces=replaces), known)) for bucket in due
        ]
        batches = [draft.batch for _, draft in drafts if draft is not None]
        newest = await supersede(conn, self._operator, self._target, batches) if replaces else {}
        items: list[OutboxItem] = []
        for bucket, draft in drafts:
            if draft is not None:
                before = newest.get(draft.batch, Newest(-1, None))
                # What was withdrawn is said by this one, and has waited since then.
                booked_at = min(filter(None, (bucket.booked_at, before.booked_at)), default=None)
                items += self._frozen([draft], booked_at, revision=before.revision + 1)
        left = [sent(bucket, replaces=replaces, made=draft is not None) for bucket, draft in drafts]
        await write_buckets(conn, self._operator, self._target, left)
        return items

    def _frozen(self, drafts: Iterable[Draft], booked_at: datetime | None, *, revision: int = 0) -> list[OutboxItem]:
        return items_from(drafts, operator=self._operator, target=self._target, booked_at=booked_at, revision=revision)


def _passed(since: datetime, now: datetime, interval: timedelta) -> bool:
    """Tell whether the interval is over; one that has not begun is of a clock that was set back since."""
    return not since <= now < since + interval


def items_from(
    drafts: Iterable[Draft], *, operator: str, target: str, booked_at: datetime | None = None, revision: int = 0
) -> list[OutboxItem]:
    """Return the items of drafts, frozen: those that lack something are dead, and say what."""
    items = []
    for draft in drafts:
        operation = operation_of(draft.content)
        key = item_key(operator=operator, target=target, operation=operation, batch=draft.batch, revision=revision)
        item = OutboxItem(
            operator=operator,
            target=target,
            operation=operation,
            batch=draft.batch,
            revision=revision,
            key=key,
            payload=frozen(draft.content),
            stream=draft.stream,
            booked_at=booked_at,
            dead_because=draft.unmet,
        )
        items.append(item)
    return items
