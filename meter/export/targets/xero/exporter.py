"""Xero as a target: journals, or invoices and credit notes with what they are taken off.

Nothing but the key keeps a journal from being there twice, and Xero forgets keys within minutes. So it is asked for
right before it is sent: an earlier request, however late it lands, has landed by then and is found, or it lands after
that, and then its key is still known. An invoice's number is taken but once.

A credit note is delivered once what it can be taken off its invoice is allocated. Until then it counts as absent, and
the next attempt goes on where the last one stopped: it asks for the note before it makes one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from meter.export.contract import (
    Absent,
    Barred,
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
from meter.export.http import Ends, Fault
from meter.export.payload import DayJournal, Invoice, thawed
from meter.export.streams import ask_each, one_by_one
from meter.export.targets.books import Document, batch_in, figures_of, mark_of
from meter.export.targets.reading import listing, number_of, objects_of, word_of
from meter.export.targets.spec import Mode
from meter.export.targets.xero.allocations import Allocations
from meter.export.targets.xero.api import Api
from meter.export.targets.xero.documents import (
    ENTITIES_OF,
    ID_OF,
    NUMBER_OF,
    body_of,
    entity_of,
    trackings_of,
)
from meter.export.targets.xero.replies import Json, held_of, is_taken, made, where_days
from meter.export.targets.xero.rules import Rules
from meter.export.targets.xero.tracking import Tracking
from meter.model.catalog import Catalog
from meter.model.errors import BadInput, Unavailable
from meter.store.outbox import OutboxItem

# 60 requests a minute and 5 at a time for each tenant (guide "API limits", 2026-11); 5,000 a day are read from answers.
# Keys are kept for some minutes only, and an item may wait for longer: it is always looked up. What is sent again in
# those minutes has its key, should the first request still be at work after so long.
LIMITS: Final = Limits(items_max=20, in_flight=4, rate_per_s=0.8, burst=4, settles_s=30.0)


class XeroTarget:
    """One organisation's books."""

    def __init__(self, api: Api, *, mode: Mode, rules: Rules, create_tracking: bool, limits: Limits = LIMITS) -> None:
        """Ask nothing yet."""
        self.limits = limits
        self._api = api
        self._mode = mode
        self._rules = rules
        self._create_tracking = create_tracking
        self._tracking = Tracking(api, rules.tracking, creates=create_tracking)
        self._allocations = Allocations(api, allocates=rules.status == "approved")
        self._currency: str | None = None

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Create a document for each item."""
        return await one_by_one(items, self._send_one, self.limits)

    async def _send_one(self, item: OutboxItem) -> Outcome:
        try:
            content = document_of(item)
            body = body_of(content, item.batch, self._rules)
        except (msgspec.MsgspecError, BadInput) as error:
            return Refused(str(error))
        try:
            await self._prepare(content)
            if isinstance(content, Invoice) and entity_of(content) == "CreditNotes":
                return await self._credit(item, content, body)
            held = await self._found(content, item.batch) if isinstance(content, DayJournal) else None
            if held is not None:
                return Delivered(word_of(held, "ManualJournalID"))
            return await self._create(item, content, body)
        except Ends as end:
            return end.outcome

    async def _prepare(self, content: Document) -> None:
        """Return where Xero has what the document refers to. Raises Ends."""
        if isinstance(content, DayJournal):
            currency = await self._base_currency()
            if content.currency != currency:
                reason = (
                    f"a journal in {content.currency}, and Xero takes manual journals in the organisation's {currency} "
                    'alone; set mode = "invoices", whose documents have their own currency, or book it by hand'
                )
                raise Ends(Refused(reason))
        names = trackings_of(content, self._rules)
        if names:
            await self._tracking.have(names)

    async def _base_currency(self) -> str:
        if self._currency is None:
            self._currency = word_of(await self._organisation(), "BaseCurrency")
        return self._currency

    async def _organisation(self) -> Json:
        found = (await self._api.read("/Organisation")).get("Organisations")
        one = found[0] if isinstance(found, list) and found else None
        if not isinstance(one, dict):
            raise Ends(Retry("Xero says nothing of the organisation"))
        return one

    async def _create(self, item: OutboxItem, content: Document, body: Json) -> Outcome:
        entity = entity_of(content)
        precise: dict[str, str | int] = {} if entity == "ManualJournals" else {"unitdp": 4}
        answer = await self._api.write(f"/{entity}", {entity: [body]}, key=item.key, summarizeErrors="false", **precise)
        one = made(answer, entity)
        if isinstance(one, Mapping):
            return Delivered(word_of(one, ID_OF[entity]))
        if is_taken(one) and isinstance(content, Invoice):
            held = await self._found(content, item.batch)
            if held is not None and _is_ours(content, held, item):
                return Delivered(word_of(held, ID_OF[entity]))
            if held is not None:
                return Refused(f"{_of_others(content, held)}; change that one's number, then retry the delivery")
        return one

    async def _credit(self, item: OutboxItem, note: Invoice, body: Json) -> Outcome:
        """Create the credit note unless it is there, and take it off the invoice that it is about."""
        held = await self._found(note, item.batch)
        if held is None:
            created = await self._create(item, note, body)
            if not isinstance(created, Delivered):
                return created
            id, left = str(created.remote_id), -(note.net + note.tax_amount)
        elif not _is_ours(note, held, item):
            return Refused(f"{_of_others(note, held)}; change that one's number, then retry the delivery")
        else:
            id, left = word_of(held, "CreditNoteID"), number_of(held, "RemainingCredit")
        return await self._allocations.settle(item, note, id, left)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Ask for each document: journals by the batch in their narration, the others by their number."""
        return await ask_each(items, self._look_up_one, self.limits)

    async def _look_up_one(self, item: OutboxItem) -> Finding:
        try:
            content = document_of(item)
        except (msgspec.MsgspecError, BadInput):
            return Absent()  # never sent: send refuses it
        held = await self._found(content, item.batch)
        if held is not None and not _is_ours(content, held, item):
            mark = mark_of(item.batch)
            return Uncertain(
                f"{_of_others(content, held)}; if it is this delivery, write {mark} into its reference, "
                "else change its number"
            )
        if held is None or await self._allocations.is_wanting(content, held):
            return Absent()
        return Delivered(word_of(held, ID_OF[entity_of(content)]))

    async def _found(self, content: Document, batch: str) -> Json | None:
        """Return the document that Xero holds of a batch. Raises Ends."""
        entity = entity_of(content)
        if isinstance(content, DayJournal):
            day = where_days(content.day, content.day + timedelta(days=1))
            async for one in self._api.listed(entity, f'{day} AND Narration.Contains("{batch}")'):
                if batch_in(one.get("Narration")) == batch:
                    return one
            return None
        number = NUMBER_OF[entity]
        asked = (
            {"InvoiceNumbers": content.number}
            if entity == "Invoices"
            else {"where": f'CreditNoteNumber=="{content.number}"', "page": "1"}
        )
        found = objects_of(await self._api.read(f"/{entity}", **asked), entity, required=True)
        return next((one for one in found if one.get(number) == content.number), None)

    async def mismatches(self, catalog: Catalog) -> Sequence[str]:
        """Return which options of the tracking category are not there, where none is made. Raises MeterError."""
        wanted = frozenset(site.ledger_class for site in catalog.sites.values() if site.ledger_class)
        if not self._rules.tracking or self._create_tracking or not wanted:
            return ()
        try:
            await self._tracking.have(wanted)
        except Fault as error:
            raise Unavailable(f"Xero does not answer: {error}", code="target_silent") from error
        except Ends as end:
            if not isinstance(end.outcome, Refused):
                raise end.as_error() from end
            return [end.outcome.reason]
        return ()

    async def check(self) -> None:
        """Return where the tenant answers. Raises MeterError."""
        await self._api.authorise()
        try:
            await self._organisation()
        except Ends as end:
            if not isinstance(end.outcome, Refused | Barred):
                raise end.as_error() from end
            try:
                known = ", ".join(await self._api.tenants()) or "none"
            except Fault as error:
                raise Unavailable(f"Xero does not answer: {error}", code="target_silent") from error
            raise end.as_error(f"the app is connected to these tenants: {known}") from end

    def figures(self, item: OutboxItem) -> Figures:
        """Return what Xero must hold for a delivered item."""
        return figures_of(document_of(item))

    async def holdings(self, since: date, until: date) -> AsyncIterator[Held]:
        """Give what Xero holds of ours of days in [since, until), void and deleted too. Raises MeterError."""
        where = where_days(since, until)
        with listing("Xero"):
            currency = await self._base_currency() if self._mode == "journals" else ""
            for entity in ENTITIES_OF[self._mode]:
                async for one in self._api.listed(entity, where):
                    held = held_of(entity, one, base_currency=currency)
                    if held is not None:
                        yield held

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()


def _is_ours(content: Document, held: Json, item: OutboxItem) -> bool:
    """Tell whether a document is the item's: a number may be anybody's, the batch's name is not."""
    return batch_in(held.get("Narration" if isinstance(content, DayJournal) else "Reference")) == item.batch


def _of_others(content: Document, held: Json) -> str:
    entity = entity_of(content)
    return f"Xero has another of its {entity} ({held.get(ID_OF[entity])}) under the number {content.number}, not ours"


def document_of(item: OutboxItem) -> Document:
    """Return the document that an item says. Raises msgspec.MsgspecError, BadInput (`bad_operation`)."""
    content = thawed(item.operation, item.payload)
    if isinstance(content, DayJournal | Invoice):
        return content
    raise BadInput(f"Xero takes days and invoices, not {item.operation}", code="bad_operation")
