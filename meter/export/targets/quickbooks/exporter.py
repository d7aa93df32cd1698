"""Sending journals and invoices to QuickBooks Online, each once.

send ──▶ names of classes ──▶ POST with requestid ──▶ made: Delivered
                                    │ number taken (6140): look, and compare
                                    └ no answer: Uncertain ──two minutes──▶ look_up by DocNumber
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from meter.export.authorised import Authorised
from meter.export.contract import (
    Absent,
    Delivered,
    Figures,
    Finding,
    Held,
    Limits,
    Outcome,
    Refused,
    Retry,
    Uncertain,
)
from meter.export.http import Answer, Ends, outcome_of_error, outcome_of_question
from meter.export.http import Fault as HttpFault
from meter.export.payload import DayJournal, Invoice, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.books import Document, batch_in, figures_of, mark_of
from meter.export.targets.quickbooks.api import Api, quoted
from meter.export.targets.quickbooks.entities import (
    DOC_NUMBER_CHARS_MAX,
    ENTITIES,
    Json,
    body_of,
    entity_of,
    trackings_of,
)
from meter.export.targets.quickbooks.figures import held_of, is_void, total_of
from meter.export.targets.quickbooks.replies import (
    DUPLICATE_NUMBER,
    THROTTLED_S,
    content_of,
    fault_of,
    outcome_of_answer,
)
from meter.export.targets.quickbooks.rules import Reference, Rules
from meter.export.targets.reading import listing, number_of, word_of
from meter.log import log
from meter.model.catalog import Catalog
from meter.model.errors import BadInput, Broken, Unavailable
from meter.store.outbox import OutboxItem

# Four fifths of 500 a minute; no second has more than its 10 with the burst, which makes up for what is not asked while
# the answers of a call are awaited and recorded.
RATE_PER_S: Final = 6.5
# A journal of hundreds of lines takes QuickBooks many seconds.
TIMEOUT_S: Final = 45.0
# Whatever takes QuickBooks longer is given up there (limits and throttles, 2026-11): then nothing is at work any more.
SETTLES_S: Final = 120.0
LIMITS: Final = Limits(items_max=50, in_flight=4, rate_per_s=RATE_PER_S, burst=3, settles_s=SETTLES_S)


class QuickBooksTarget:
    """One company's books: journals, or invoices and credit memos."""

    def __init__(
        self,
        asking: Authorised,
        *,
        realm: str,
        rules: Rules,
        create_tracking: bool,
        limits: Limits,
        references: Mapping[Reference, Collection[str]],
    ) -> None:
        """Ask nothing yet. `references` are the ids that the settings name, for `check`."""
        self._api = Api(asking, realm)
        self._limiter = asking.channel.limiter
        self._rules = rules
        self._create_tracking = create_tracking
        self._limits = limits
        self._references = references

    @property
    def limits(self) -> Limits:
        """Return what QuickBooks bears. It keeps `requestid`s for nobody knows how long."""
        return self._limits

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()

    async def check(self) -> None:
        """Return where the company can be read, and has what the settings name. Raises MeterError."""
        await self._api.authorise()
        try:
            await self._api.company()
            gone = [f"{kind} {id}" for kind, ids in self._references.items() for id in await self._api.gone(kind, ids)]
        except HttpFault as error:
            raise Unavailable(f"QuickBooks does not answer: {error}", code="target_silent") from error
        except Ends as end:
            raise end.as_error("check company and base_url") from end
        if gone:
            message = f"QuickBooks has no active {', '.join(gone)}; mend the options that name them"
            raise BadInput(message, code="unknown_reference")

    async def mismatches(self, catalog: Catalog) -> Sequence[str]:
        """Return which classes of sites are not there, where none is made. Raises MeterError."""
        kind, found = self._rules.tracking, []
        if kind is None or self._create_tracking:
            return ()
        for name in sorted({site.ledger_class for site in catalog.sites.values() if site.ledger_class}):
            try:
                await self._api.tracked(kind, name, create=False)
            except HttpFault as error:
                raise Unavailable(f"QuickBooks does not answer: {error}", code="target_silent") from error
            except Ends as end:
                if not isinstance(end.outcome, Refused):
                    raise end.as_error() from end
                found.append(end.outcome.reason)
        return found

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Create the items' documents, streams side by side."""
        return await one_by_one(items, self._send, self._limits)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Ask for each item's number."""
        return await ask_each(items, self._look_up, self._limits)

    def figures(self, item: OutboxItem) -> Figures:
        """Return what QuickBooks must hold of an item. Raises Broken where it is none of this target's."""
        content = _document(item)
        if content is None:
            raise Broken(f"QuickBooks takes no {item.operation}", code="foreign_item")
        return figures_of(content)

    async def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give everything that bears a batch's name and is dated in [since, until). Raises MeterError."""
        last = until - timedelta(days=1)
        where = f"TxnDate >= {quoted(since.isoformat())} and TxnDate <= {quoted(last.isoformat())}"
        with listing("QuickBooks"):
            for entity in ENTITIES:
                async for one in self._api.every(entity, where):
                    held = held_of(entity, one, home_currency=self._rules.home_currency)
                    if held is not None:
                        yield held

    async def _send(self, item: OutboxItem) -> Outcome:
        content = _document(item)
        if content is None:
            return Refused(f"QuickBooks takes journals and invoices, not {item.operation}; check the target's mode")
        if len(content.number) > DOC_NUMBER_CHARS_MAX:
            return Refused(f"{content.number} has more than the {DOC_NUMBER_CHARS_MAX} characters of a DocNumber")
        try:
            tracked = await self._tracked(content)
            body = body_of(content, item.batch, self._rules, tracked)
        except Ends as end:
            return outcome_of_question(self._heard(end.outcome))
        except BadInput as error:
            return Refused(error.detail)
        except HttpFault as error:
            return outcome_of_question(outcome_of_error(error))
        entity = entity_of(content)
        answer = await self._api.create(entity, body, key=item.key)
        made = content_of(answer).get(entity)
        if answer.status == 200 and isinstance(made, dict) and "Id" in made:
            return self._delivered(item, content, made)
        return await self._not_made(item, content, answer)

    async def _tracked(self, content: Document) -> dict[str, str]:
        kind = self._rules.tracking
        if kind is None:
            return {}
        names = sorted(trackings_of(content))
        return {name: await self._api.tracked(kind, name, create=self._create_tracking) for name in names}

    def _delivered(self, item: OutboxItem, content: Document, made: Json) -> Delivered:
        id = word_of(made, "Id")
        total, wanted = number_of(made, "TotalAmt"), total_of(content)
        if total != wanted:  # its own tax, most likely; what is there is there, and reconciling shows it
            log.warning("quickbooks_total_differs", target=item.target, sent=str(wanted), held=str(total))
        return Delivered(id)

    async def _not_made(self, item: OutboxItem, content: Document, answer: Answer) -> Outcome:
        fault = fault_of(answer)
        if fault is not None and fault.code == DUPLICATE_NUMBER:
            return await self._under_its_number(item, content)
        outcome = self._heard(outcome_of_answer(answer))
        if isinstance(outcome, Refused):
            self._api.forget()  # what it refers to may have been deleted
        return outcome

    async def _under_its_number(self, item: OutboxItem, content: Document) -> Outcome:
        """Return what the document that has the number already makes of the item: it may be this very one."""
        try:
            held = await self._held(content)
        except Ends as end:
            return Uncertain(f"its number is taken, and QuickBooks does not say by what: {end}")
        ours = [one for one in held if batch_in(one.get("PrivateNote")) == item.batch and not is_void(one)]
        if ours:
            return _delivered_as(ours[0])
        return Refused(f"{_of_others(content, held)}; change that one's number, then retry the delivery")

    async def _look_up(self, item: OutboxItem) -> Finding:
        content = _document(item)
        if content is None:
            return Absent()
        held = await self._held(content)
        if len(held) > 1:
            log.error("quickbooks_number_twice", target=item.target, number=content.number, documents=len(held))
        ours = [one for one in held if batch_in(one.get("PrivateNote")) == item.batch]
        if ours:
            return _delivered_as(ours[0])
        if not held:
            return Absent()
        mark = mark_of(item.batch)
        return Uncertain(
            f"{_of_others(content, held)}; if it is this delivery, write {mark} into its private note, else change its "
            "number"
        )

    async def _held(self, content: Document) -> list[Json]:
        """Return what has the content's number. Raises Ends."""
        try:
            return await self._api.found(entity_of(content), f"DocNumber = {quoted(content.number)}")
        except Ends as end:
            self._heard(end.outcome)
            raise

    def _heard(self, outcome: Outcome) -> Outcome:
        """Return the outcome; where QuickBooks asks for time, everything waits: it does not say so in a header."""
        if isinstance(outcome, Retry) and outcome.throttled:
            self._limiter.throttled(THROTTLED_S)
        return outcome


def _delivered_as(held: Json) -> Delivered:
    return Delivered(word_of(held, "Id"))


def _of_others(content: Document, held: Sequence[Json]) -> str:
    """Return which documents have the number, and not our mark: a person's, or another program's."""
    ids = ", ".join(str(one.get("Id")) for one in held) or "that it does not show"
    return f"QuickBooks has another {entity_of(content)} ({ids}) under the number {content.number}, without our mark"


def _document(item: OutboxItem) -> Document | None:
    content = thawed(item.operation, item.payload)
    return content if isinstance(content, DayJournal | Invoice) else None
