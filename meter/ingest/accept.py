"""One transaction for each batch: what is accepted and what is refused are written together (decision 0007)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter import failpoints
from meter.clock import Clock, monotonic_s, now
from meter.ingest.agents import beside_their_topics, of_themselves, questions_of, reports_of, told_again
from meter.ingest.arrival import Arrival, Channel, Outcome, Receipt
from meter.ingest.card_numbers import without_card_numbers
from meter.ingest.judge import Judgement, unstorable
from meter.ingest.shut_out import ShutOut, agents_of
from meter.model.doubt import FUTURE, OTHER, REASONS, time_flag
from meter.model.errors import BadInput, Unavailable
from meter.model.wire import WireEvent
from meter.store.accept import claim_keys, standing_bodies, standing_hashes, write_events
from meter.store.authorizations import settle
from meter.store.directory import NO_CATALOG
from meter.store.edge_revocations import count as count_refused
from meter.store.edge_revocations import revocations
from meter.store.edges import record_progress, stored_marks
from meter.store.engine import Database, sqlstate
from meter.store.enrolment import enrolled_agents
from meter.store.fetching import record_receipts
from meter.store.hashing import check_key
from meter.store.rejections import record_rejections
from meter.telemetry import Telemetry

# A deadlock or a lost connection is over at once or not soon; then the caller waits and asks again.
ATTEMPTS_MAX: Final = 3
_RETRY_S: Final = 0.05
# When a source last told something is for people to see: a row that all of its batches wait for, seldom written.
_TOLD_STEP: Final = timedelta(seconds=10)
# 40001 serialization failure, 40P01 deadlock (PostgreSQL, appendix A).
_TRANSIENT: Final = frozenset(("40001", "40P01"))
# Data exception, integrity violation, program limit: the fault of a row, not of the server.
_ROW_FAULTS: Final = ("22", "23", "54")


class Acceptor:
    """Writes batches of arrivals for the operator that `operator` names."""

    def __init__(
        self,
        db: Database,
        *,
        operator: Callable[[], Awaitable[str | None]],
        telemetry: Telemetry,
        max_age_days: int,
        clock: Clock = now,
    ) -> None:
        """Write nothing yet. `max_age_days`: older events are refused as `too_old`."""
        self._db = db
        self._operator = operator
        self._telemetry = telemetry
        self._max_age = timedelta(days=max_age_days)
        self._clock = clock
        self._key_checked = False
        # When each source last told something, as far as it is stored.
        self._told: dict[tuple[str, str], datetime] = {}

    async def accept(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Return the receipts of `arrivals`, in order, after their commit.

        Safe to repeat: what is stored already comes back as a duplicate. A row that PostgreSQL refuses is found by
        halving and quarantined. Raises Unavailable: nothing may be said to anyone, the caller repeats.
        """
        operator = await self._operator()
        if operator is None:
            raise Unavailable(NO_CATALOG, code="no_catalog")
        if not self._key_checked:
            await self._check_key(operator)
        arrivals = await without_card_numbers(arrivals)
        started = monotonic_s()
        outcome = await self._halved(operator, arrivals)
        self._telemetry.ingest_committed(monotonic_s() - started)
        self._telemetry.authorizations_settled(outcome.settled, late=outcome.settled_late)
        self._told |= self._news(arrivals)
        self._observe(arrivals, outcome.receipts)
        return outcome

    async def _check_key(self, operator: str) -> None:
        """Raise Unavailable where identities would be hashed with another key than this database's are."""
        try:
            async with self._db.begin() as connection:
                await check_key(connection, operator)
        except BadInput as error:
            raise Unavailable(error.detail, code=error.code) from error
        self._key_checked = True

    async def _halved(self, operator: str, arrivals: Sequence[Arrival]) -> Outcome:
        try:
            return await self._repeated(operator, arrivals)
        except (DBAPIError, ValueError, OverflowError) as error:
            if isinstance(error, DBAPIError) and not (sqlstate(error) or "22").startswith(_ROW_FAULTS):
                raise
            if len(arrivals) == 1:
                return await self._repeated(operator, [unstorable(arrivals[0], str(error).partition("\n")[0])])
        middle = len(arrivals) // 2
        left = await self._halved(operator, arrivals[:middle])
        right = await self._halved(operator, arrivals[middle:])
        return Outcome(
            receipts=[*left.receipts, *right.receipts],
            progress=[*left.progress, *right.progress],
            questions=[*left.questions, *right.questions],
            stored={**left.stored, **right.stored},
            channels=left.channels | right.channels,
            settled=left.settled + right.settled,
            settled_late=left.settled_late + right.settled_late,
        )

    async def _repeated(self, operator: str, arrivals: Sequence[Arrival]) -> Outcome:
        """Return the outcome of one transaction, tried again after a deadlock or a lost connection."""
        attempt = 1
        while True:
            try:
                async with self._db.begin() as connection:
                    outcome = await self._write(connection, operator, arrivals)
                    failpoints.reach("before_ingest_commit")
            except Unavailable:
                if attempt == ATTEMPTS_MAX:
                    raise
            except DBAPIError as error:
                if sqlstate(error) not in _TRANSIENT:
                    raise
                if attempt == ATTEMPTS_MAX:
                    message = f"a batch met {attempt} deadlocks in a row; it is tried again"
                    raise Unavailable(message, code="database_contended") from error
            else:
                failpoints.reach("after_commit_before_ack")
                return outcome  # committed: the block above has been left
            await asyncio.sleep(random.uniform(0, _RETRY_S * 2**attempt))  # noqa: S311 -- spreads retries
            attempt += 1

    async def _write(self, connection: AsyncConnection, operator: str, arrivals: Sequence[Arrival]) -> Outcome:
        agents = agents_of(arrivals)
        revoked = await revocations(connection, operator, agents, lock=True) if agents else {}
        shut_out = ShutOut.of(arrivals, revoked)
        judgement = Judgement(
            arrivals=arrivals,
            now=self._clock(),
            max_age=self._max_age,
            as_stored=self._db.hasher.event,
            shut_out=shut_out,
        )
        judgement.sort_out()
        new = await claim_keys(connection, operator, judgement.candidates())
        judgement.settle(new, await standing_hashes(connection, operator, judgement.keys - new))
        judgement.close(await standing_bodies(connection, operator, judgement.contested - new))
        entries = judgement.new_entries(new)
        await write_events(connection, operator, entries)
        settled = await settle(connection, operator, entries, at=judgement.now)
        rejections = await record_rejections(connection, operator, judgement.refused)
        if shut_out.refused:
            kept = shut_out.newly_kept(rejections)
            await count_refused(connection, operator, shut_out.refused, kept, at=judgement.now)
        heard = shut_out.heard(arrivals)
        if beside := beside_their_topics(heard):
            heard = of_themselves(heard, await enrolled_agents(connection, operator, beside))
        # Last, because these rows are the ones that batches side by side share.
        await record_receipts(connection, operator, self._news(arrivals))
        progress = await record_progress(connection, operator, reports_of(heard), at=judgement.now)
        questions = questions_of(heard)
        stored = await stored_marks(connection, operator, {boot for asked in questions for boot in asked.spools})
        return Outcome(
            receipts=told_again(arrivals, judgement.receipts, progress),
            progress=progress,
            questions=questions,
            stored=stored,
            channels=frozenset(arrival.channel for arrival in arrivals),
            settled=settled.total,
            settled_late=settled.late,
        )

    def _news(self, arrivals: Sequence[Arrival]) -> dict[tuple[str, str], datetime]:
        """Return when sources told something, of those of which it is to be stored again."""
        last: dict[tuple[str, str], datetime] = {}
        for arrival in arrivals:
            if arrival.told_by is not None:
                last[arrival.told_by] = max(arrival.received_at, last.get(arrival.told_by, arrival.received_at))
        return {
            source: at
            for source, at in last.items()
            if source not in self._told or at >= self._told[source] + _TOLD_STEP
        }

    def _observe(self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt]) -> None:
        outcomes: dict[tuple[Channel, str], int] = {}
        refused: dict[str, list[Arrival]] = {}
        for arrival, receipt in zip(arrivals, receipts, strict=True):
            outcome = "held" if receipt.status == "accepted" and receipt.code is not None else str(receipt.status)
            outcomes[arrival.channel, outcome] = outcomes.get((arrival.channel, outcome), 0) + 1
            if receipt.status == "accepted":
                self._doubt(arrival, receipt)
            if receipt.status == "rejected":
                refused.setdefault(receipt.code or "", []).append(arrival)
            elif receipt.status == "accepted" and isinstance(arrival.parsed, WireEvent) and arrival.parsed.time:
                self._telemetry.event_aged((arrival.received_at - arrival.parsed.time).total_seconds())
        for code, some in refused.items():
            self._telemetry.rejected(code=code, channel=some[0].channel, origin=some[0].origin, count=len(some))
        for (channel, outcome), count in outcomes.items():
            self._telemetry.events_received(channel=channel, outcome=outcome, count=count)

    def _doubt(self, arrival: Arrival, receipt: Receipt) -> None:
        flag = time_flag(arrival.parsed.attributes) if isinstance(arrival.parsed, WireEvent) else None
        for said in (flag, receipt.code if receipt.code == FUTURE else None):
            if said is not None:
                self._telemetry.time_doubted(said if said in REASONS else OTHER)
