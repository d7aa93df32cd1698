"""The accounts kept warm by one worker, and the choice of where each is folded from."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts
from meter.booking.history import load_history
from meter.booking.step import TURN, Change, Intake
from meter.booking.warm import Taken, WarmAccount
from meter.model.directory import FOR_EVER
from meter.model.event import EventKey, Position
from meter.rating.corrections import Difference
from meter.rating.fold import AccountFacts, Folded, PlacedEvent, TooLate
from meter.rating.state import STATE_FORMAT
from meter.store import booking as store
from meter.store.closes import Closes, closes_of
from meter.store.engine import IDLE_TRANSACTION_TIMEOUT_S
from meter.store.readers import last_of_each_line
from meter.store.unread import UnreadChange, unread_after
from meter.store.usage import ORIGIN

# Accounts whose history is read from the log in one go.
LOAD_ACCOUNTS_MAX: Final = 100
# Most accounts have few events, so both bound the memory: an event with its lines is about 2 kB.
WARM_ACCOUNTS_MAX: Final = 5000
WARM_EVENTS_MAX: Final = 200_000
# What is beyond this is forgotten of everybody's past before a step, which adds a few thousand: who is dropped whole
# has to be read again, and where all have news at once, each just after it was dropped.
WARM_EVENTS_KEPT: Final = 180_000
# Nothing is asked of the database while a history is folded. The server would end the transaction of a very long one,
# and of each attempt after it, so that the account would never be rated: it may take 25 times what folding takes.
LONG_HISTORY_EVENTS: Final = 5_000
FOLDED_PER_S: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFold:
    """An account folded within a step: what differs from its books, and why it was folded.

    `stale_since`: its stored checkpoints from here on are wrong. `fault`: the fold failed, nothing is to be booked.
    """

    warm: WarmAccount
    facts: AccountFacts
    since: datetime
    folded: Folded | None = None
    differences: Sequence[Difference] = ()
    unread: UnreadChange | None = None
    reason: str | None = None
    stale_since: datetime | None = None
    fault: Exception | None = None


class Accounts:
    """A bounded cache of warm accounts over one connection's transaction."""

    def __init__(self, operator: str, *, closing: Mapping[str, frozenset[datetime]] | None = None) -> None:
        """Start with none. `closing`: periods by account that are taken for closed beside those that are."""
        self._operator = operator
        self._closing = closing or {}
        self._warm: OrderedDict[str, WarmAccount] = OrderedDict()
        self._facts: dict[str, AccountFacts] = {}
        self._facts_version = -1
        self._closes: dict[str, Closes] = {}
        self._until = FOR_EVER

    def forget(self) -> None:
        """Drop everything: it may say more than was committed."""
        self._warm.clear()
        self._closes.clear()

    def drop(self, account: str) -> None:
        """Drop one account."""
        self._warm.pop(account, None)

    def make_room(self) -> None:
        """Forget what is oldest of the accounts that had news longest ago, while all of them have too many events.

        Before a step: what was folded is booked then.
        """
        events = self._events()
        for warm in self._warm.values():
            if events <= WARM_EVENTS_KEPT:
                return
            events -= warm.forget_half()

    def _events(self) -> int:
        return sum(len(warm.recent) for warm in self._warm.values())

    def cold(self, intake: Intake, xid_of: Mapping[EventKey, int]) -> list[str]:
        """Return the accounts of which `intake` brings news that need their history from the log, by arrival."""
        asked = dict.fromkeys([*intake.fold_on, *intake.changed, *sorted(intake.woken)])
        return [
            account for account in asked if account not in intake.fold_again and self._is_cold(account, intake, xid_of)
        ]

    def _is_cold(self, account: str, intake: Intake, xid_of: Mapping[EventKey, int]) -> bool:
        warm = self._warm.get(account)
        if warm is None:
            return True
        work = _work(warm, intake, xid_of)
        return bool(work) and not warm.reaches(work.start)

    async def fold(
        self,
        connection: AsyncConnection,
        facts: Facts,
        intake: Intake,
        xid_of: Mapping[EventKey, int],
        *,
        until: datetime,
    ) -> list[AccountFold]:
        """Fold what the step took in, up to the clock `until`.

        `xid_of` tells the transaction that wrote each of the step's events.
        """
        if facts.version != self._facts_version:
            self._facts.clear()
            self._facts_version = facts.version
        self._until = until
        results: list[AccountFold] = []
        # From before the first new event in any case: it may be earlier than what else is asked for.
        load = {account: intake.since(account) for account in intake.fold_again}
        for account in (intake.fold_on.keys() | intake.changed.keys() | intake.woken) - load.keys():
            warm = self._warm.get(account)
            if warm is None:
                load[account] = intake.since(account, otherwise=until)
                continue
            work = _work(warm, intake, xid_of)
            if not work and account not in intake.woken:
                continue
            if work and not warm.reaches(work.start):
                load[account] = work.start.time
                continue
            self._warm.move_to_end(account)
            try:
                results.append(self._take(facts, warm, work))
            except TooLate as error:
                load[account] = error.position.time
        results += await self._load(connection, facts, intake, load)
        events = self._events()
        while len(self._warm) > WARM_ACCOUNTS_MAX or (events > WARM_EVENTS_MAX and len(self._warm) > 1):
            _, coldest = self._warm.popitem(last=False)
            events -= len(coldest.recent)
        return results

    def _take(self, facts: Facts, warm: WarmAccount, work: Change) -> AccountFold:
        account_facts = self._account_facts(facts, warm.account)
        since = work.start.time if work else self._until
        try:
            taken = warm.take(account_facts, work, until=self._until)
        except TooLate:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever one account's fold does, its neighbours go on
            self.drop(warm.account)
            return AccountFold(warm=warm, facts=account_facts, since=since, fault=error)
        back = [place.time for place in (taken.late, taken.earlier) if place is not None]
        stale = min(back, default=None)
        return AccountFold(
            warm=warm,
            facts=account_facts,
            since=since,
            folded=taken.folded,
            differences=taken.differences,
            unread=taken.unread,
            reason=_reason(work, taken),
            stale_since=stale if stale is not None and warm.checkpoint.time >= stale else None,
        )

    async def _load(
        self, connection: AsyncConnection, facts: Facts, intake: Intake, load: Mapping[str, datetime]
    ) -> list[AccountFold]:
        if not load:
            return []
        # Taken before anything is read: what older transactions wrote is in every read that follows.
        includes_xid = await store.oldest_running(connection)
        known = {account: since for account, since in load.items() if account in facts.directory.accounts}
        results: list[AccountFold] = []
        while known:
            known = await self._load_from(connection, facts, intake, known, includes_xid, results)
        return results

    async def _load_from(  # noqa: PLR0917 -- one loop's body
        self,
        connection: AsyncConnection,
        facts: Facts,
        intake: Intake,
        known: Mapping[str, datetime],
        includes_xid: int,
        results: list[AccountFold],
    ) -> dict[str, datetime]:
        """Fold accounts from their newest checkpoints before the instants; return those that need earlier ones."""
        checkpoints = await store.checkpoints_before(connection, self._operator, known, state_format=STATE_FORMAT)
        closes = await closes_of(connection, self._operator, known)
        earlier: dict[str, datetime] = {}
        groups: dict[Position, list[str]] = {}
        for account in sorted(known):
            base = checkpoints[account].position if account in checkpoints else ORIGIN
            groups.setdefault(base, []).append(account)
        for base, accounts in groups.items():
            for chunk in _chunks(accounts, LOAD_ACCOUNTS_MAX):
                history = await load_history(connection, self._operator, chunk, facts, after=base)
                events = sum(len(placed) for placed in history.placed.values())
                if events > LONG_HISTORY_EVENTS:
                    await store.allow_pause(connection, IDLE_TRANSACTION_TIMEOUT_S + events // FOLDED_PER_S)
                intake.park += history.unresolved
                asked = intake.fold_again.keys() | intake.changed.keys()
                intake.unpark |= history.keys_of([account for account in chunk if account in asked])
                last = await last_of_each_line(connection, self._operator, chunk, after=base)
                listed = await unread_after(connection, self._operator, chunk, after=base)
                for account in chunk:
                    state = history.state_of(account, checkpoints[account].state if base != ORIGIN else None)
                    warm = WarmAccount(
                        account=account,
                        ladder=[state],
                        last={charge.line.key: charge for charge in last if charge.line.account == account},
                        unread=listed.get(account, set()),
                        includes_xid=includes_xid,
                        includes_after=base,
                        checkpoint=base,
                    )
                    placed = history.placed[account]
                    reason = intake.reasons.get(account) or ("late" if _is_late(intake, account, placed) else None)
                    known_closes = closes.get(account, Closes())
                    self._closes[account] = known_closes.with_more(self._closing.get(account, frozenset()))
                    try:
                        results.append(self._rebuild(facts, warm, placed, since=known[account], reason=reason))
                    except TooLate as error:
                        earlier[account] = error.position.time
                    await asyncio.sleep(0)  # a long history takes its time: others on the loop have theirs between
        return earlier

    def _rebuild(
        self, facts: Facts, warm: WarmAccount, events: Sequence[PlacedEvent], *, since: datetime, reason: str | None
    ) -> AccountFold:
        account_facts = self._account_facts(facts, warm.account)
        try:
            taken = warm.rebuild(account_facts, events, until=self._until)
        except TooLate:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever one account's fold does, its neighbours go on
            return AccountFold(warm=warm, facts=account_facts, since=since, fault=error)
        self._warm[warm.account] = warm
        if reason == TURN:  # its new events are not told from the others any more, but what they make fall is
            reason = "late" if any(one.standing is not None for one in taken.differences) else None
        return AccountFold(
            warm=warm,
            facts=account_facts,
            since=since,
            folded=taken.folded,
            differences=taken.differences,
            unread=taken.unread,
            reason=reason,
            stale_since=since,
        )

    def _account_facts(self, facts: Facts, account: str) -> AccountFacts:
        found = self._facts.get(account)
        closed = self._closes.get(account, Closes()).all
        if found is None or found.closed != closed:
            found = self._facts[account] = AccountFacts(
                account=facts.directory.accounts[account],
                directory=facts.directory,
                catalogs=facts.catalogs.of_account(account),
                closed=closed,
            )
        return found

    def closes_booked(self, accounts: Iterable[str]) -> None:
        """Remember that what closing their periods makes due is in the books."""
        for account in accounts:
            closes = self._closes[account]
            self._closes[account] = Closes(closes.all, closes.all)

    def closes(self, account: str) -> Closes:
        """Return the closed periods of an account that was folded."""
        return self._closes.get(account, Closes())


def _reason(work: Change, taken: Taken) -> str | None:
    """Return why lines that stood fall."""
    if taken.late is not None:
        return "revised" if work.withdrawn else "late"
    return None if taken.earlier is None else "known later"


def _is_late(intake: Intake, account: str, placed: Sequence[PlacedEvent]) -> bool:
    """Tell whether events were folded before that come after the first new one."""
    new = {one.event.key for one in intake.fold_on.get(account, ())}
    since = intake.since(account)
    return any(one.event.time > since and one.event.key not in new for one in placed)


def _work(warm: WarmAccount, intake: Intake, xid_of: Mapping[EventKey, int]) -> Change:
    """Return what the step brings the account beyond what it was loaded with."""
    change = intake.changed.get(warm.account) or Change()
    if change and max(xid_of.values(), default=0) < warm.includes_xid and change.start > warm.includes_after:
        change = Change()
    work = Change(withdrawn=change.withdrawn, added=dict(change.added))
    for placed in intake.fold_on.get(warm.account, ()):
        key, position = placed.event.key, placed.event.position
        included = xid_of[key] < warm.includes_xid and position > warm.includes_after
        if not included and key not in warm.recent_keys:
            work.added[key] = placed
    return work


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
