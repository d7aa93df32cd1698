"""Lines at Stripe: what is held of a batch, and how it becomes what is wanted (see this package's docstring)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meter.export.contract import Absent, Delivered, Finding, Outcome, Refused
from meter.export.http import Ends
from meter.export.payload import LineItem
from meter.export.targets.reading import word_of
from meter.export.targets.stripe.api import Api, NotTaken, Object
from meter.export.targets.stripe.drafts import Draft, Drafts, created_since
from meter.export.targets.stripe.held import (
    Place,
    Thing,
    invoice_of,
    is_of,
    place_in,
    place_of_things,
    standing_of,
    thing_of_item,
    thing_of_note,
    total,
)
from meter.export.targets.stripe.rates import Rates
from meter.export.targets.stripe.wanted import (
    START,
    Part,
    Wanted,
    changed_params,
    item_params,
    note_params,
    parts_of,
    wanted_of,
)
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.outbox import OutboxItem

# What we find may change while we act on it: somebody finalises, the customer pays. More often than this it does not.
TURNS_MAX: Final = 4
NOTHING: Final = Part(kind="tax", amount=0, gross=0, tax=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Invoice:
    """A final invoice that can be credited: what is left of it, and how much of that is not paid yet."""

    id: str
    left: int
    unpaid: int


class LineSender:
    """Sends and finds the lines of one account at Stripe."""

    def __init__(self, api: Api, drafts: Drafts, rates: Rates, options: Mapping[str, Any]) -> None:
        """Keep what it works with."""
        self._api = api
        self._drafts = drafts
        self._rates = rates
        self._options = options

    async def send(self, item: OutboxItem, content: LineItem) -> Outcome:
        """Bring what is held of the item's batch to its content. Raises Ends."""
        wanted = await self._wanted(item, content)
        outcome: Outcome | None = None
        try:
            outcome = await self._sent(item, wanted)
        finally:
            # A part of it may have landed: the next attempt lists first, for keys may be forgotten by then.
            if not isinstance(outcome, Delivered):
                self._drafts.forget(content.invoice)
        return outcome

    async def _sent(self, item: OutboxItem, wanted: Wanted) -> Outcome:
        try:
            quick = await self._quick(item, wanted)
        except NotTaken:  # it is not as we knew it
            return await self._slow(item, wanted, turn=1)
        return quick if quick is not None else await self._slow(item, wanted, turn=0)

    async def look_up(self, item: OutboxItem, content: LineItem) -> Finding:
        """Tell whether Stripe holds all of the item. Raises Ends."""
        self._drafts.forget(content.invoice)
        wanted = await self._wanted(item, content)
        things = await self._held(wanted, place_in(item.known_id))
        if not holds(things, wanted):
            return Absent()
        place = place_of_things(things)
        return Delivered(None if place is None else place.text)

    async def _wanted(self, item: OutboxItem, content: LineItem) -> Wanted:
        try:
            rate = await self._rates.of_line(content.line)
            return wanted_of(item.batch, item.payload, content, rate)
        except BadInput as error:
            raise Ends(Refused(error.detail)) from error

    async def _quick(self, item: OutboxItem, wanted: Wanted) -> Outcome | None:
        """Create or replace where it is known what Stripe holds; None: it is not. Raises NotTaken, Ends."""
        parts = parts_of(wanted, wanted.gross, wanted.tax)
        known = place_in(item.known_id)
        if known is not None and known.whole:
            return await self._replaced(item.key, wanted, known, parts)
        draft = self._drafts.remembered(wanted.item.invoice)
        corrects = wanted.item.line.adjusts is not None and wanted.gross < 0
        if item.revision or item.known_id is not None or draft is None or corrects:
            return None
        return await self._created(item.key, wanted, draft, parts, whole=True)

    async def _created(
        self, key: str, wanted: Wanted, draft: Draft, parts: Sequence[Part], *, whole: bool
    ) -> Delivered:
        """Create the items of `parts` on a draft. Under one key only ever on one draft."""
        ids: dict[str, str] = {}
        for part in parts:
            params = item_params(wanted, part, invoice=draft.id)
            made = await self._api.write("/v1/invoiceitems", params, key=f"{key}-{part.kind}")
            ids[part.kind] = word_of(made, "id")
            draft.lines += 1
        return Delivered(Place(invoice=draft.id, item=ids["item"], tax=ids.get("tax"), whole=whole).text)

    async def _replaced(self, key: str, wanted: Wanted, place: Place, parts: Sequence[Part]) -> Delivered:
        """Make the items at `place` what `parts` say. Raises NotTaken where one no longer changes.

        What is new comes last: a revision that is given up half-way leaves nothing that the next would not know of.
        """
        by_kind = {part.kind: part for part in parts}
        tax = place.tax
        item = changed_params(wanted, by_kind["item"])
        await self._api.write(f"/v1/invoiceitems/{place.item}", item, key=f"{key}-item")
        if tax is not None:
            odd = changed_params(wanted, by_kind.get("tax") or NOTHING)
            await self._api.write(f"/v1/invoiceitems/{tax}", odd, key=f"{key}-tax")
        elif "tax" in by_kind:
            params = item_params(wanted, by_kind["tax"], invoice=place.invoice)
            tax = word_of(await self._api.write("/v1/invoiceitems", params, key=f"{key}-tax"), "id")
        return Delivered(Place(invoice=place.invoice, item=place.item, tax=tax, whole=place.whole).text)

    # --- what is not known beforehand ---------------------------------------------------------------------------------

    async def _slow(self, item: OutboxItem, wanted: Wanted, *, turn: int) -> Outcome:
        """Ask what is held, and send what is missing; again where it changed under our hands.

        The first turn has the quick way's key: whichever of the two an attempt took whose answer was lost, the next one
        writes under the key of that, or is told that it is another's.
        """
        refusal = ""
        for number in range(turn, TURNS_MAX):
            try:
                key = f"{item.key}-{number + 1}" if number else item.key
                return await self._converged(key, wanted, place_in(item.known_id))
            except NotTaken as error:
                refusal = error.reason
                self._drafts.forget(wanted.item.invoice)
        return Refused(refusal)

    async def _converged(self, key: str, wanted: Wanted, known: Place | None) -> Outcome:
        """Bring what is held to what is wanted. Raises NotTaken where it is no longer as it was found, Ends."""
        things = await self._held(wanted, known)
        fixed = [thing for thing in things if not thing.changeable]
        gross, tax = (want - have for want, have in zip((wanted.gross, wanted.tax), total(fixed), strict=True))
        if holds(things, wanted) or not (things or gross or tax):
            place = place_of_things(things)
            return Delivered(None if place is None else place.text)
        if any(thing.changeable for thing in things):
            return await self._adjusted(key, wanted, things, parts_of(wanted, gross, tax))
        if gross < 0:
            note = await self._credited(key, wanted, things, gross=-gross, tax=-tax)
            if note is not None:
                return note
            if any(thing.standing == "void" for thing in fixed):
                return Refused(_by_hand(wanted, "its invoice was voided, so there is nothing to give back on"))
        draft = await self._drafts.current(wanted.item, key=f"{key}-invoice")
        return await self._created(key, wanted, draft, parts_of(wanted, gross, tax), whole=not fixed)

    async def _adjusted(self, key: str, wanted: Wanted, things: Sequence[Thing], parts: Sequence[Part]) -> Delivered:
        """Make one item (and one of tax) that can still change what `parts` say, and nothing of any other."""
        changeable = sorted((thing for thing in things if thing.changeable), key=lambda thing: thing.kind)
        main, others = changeable[0], changeable[1:]
        tax = next((thing for thing in others if thing.kind == "tax" and thing.invoice == main.invoice), None)
        for thing in others:
            if thing is not tax:
                nothing = changed_params(wanted, NOTHING)
                await self._api.write(f"/v1/invoiceitems/{thing.id}", nothing, key=f"{key}-{thing.id}")
        place = Place(
            invoice=main.invoice,
            item=main.id,
            tax=None if tax is None else tax.id,
            whole=len(things) == 1 + (tax is not None),
        )
        return await self._replaced(key, wanted, place, parts)

    async def _held(self, wanted: Wanted, known: Place | None) -> list[Thing]:
        """Return what bears the batch's name, the newest first of items and then of credit notes. Raises Ends."""
        since = created_since(min(wanted.item.line.start, wanted.item.line.first))
        customers = await self._customers(wanted, known)
        items = [
            one
            for customer in customers
            async for one in self._api.listed("/v1/invoiceitems", customer=customer, created=since)
            if is_of(one, wanted.batch)
        ]
        invoices = {invoice for one in items if (invoice := invoice_of(one))}
        statuses = {id: str((await self._api.read(f"/v1/invoices/{id}"))["status"]) for id in sorted(invoices)}
        # Only what is final is credited; a correction may have been credited on another period's invoice.
        notes = []
        if wanted.item.line.adjusts or any(standing_of(status) != "draft" for status in statuses.values()):
            notes = [
                thing_of_note(one)
                for customer in customers
                async for one in self._api.listed("/v1/credit_notes", customer=customer, created=since)
                if is_of(one, wanted.batch)
            ]
        return [thing_of_item(one, statuses) for one in items] + notes

    async def _customers(self, wanted: Wanted, known: Place | None) -> list[str]:
        """Return whose objects to look at: the account's customer, and the one that it had before. Raises Ends."""
        before = None
        if known is not None:
            kind = "credit_notes" if known.item.startswith("cn_") else "invoiceitems"
            thing = await self._api.find(f"/v1/{kind}/{known.item}")
            before = None if thing is None else str(thing["customer"])
        return sorted({wanted.item.customer} | ({before} if before else set()))

    async def _credited(
        self, key: str, wanted: Wanted, things: Sequence[Thing], *, gross: int, tax: int
    ) -> Outcome | None:
        """Give back on the invoice that was charged; None where there is none of which enough is left."""
        if not 0 <= tax < gross:
            return None
        for invoice in await self._creditable(wanted, things):
            if gross > invoice.left:
                continue
            after = gross - min(gross, invoice.unpaid)
            paid = {self._options["credits"]: after} if after else {}
            params = note_params(wanted, invoice.id, gross, tax, paid=paid)
            note = await self._api.write("/v1/credit_notes", params, key=f"{key}-note")
            return Delivered(Place(invoice=invoice.id, item=word_of(note, "id"), whole=False).text)
        return None

    async def _creditable(self, wanted: Wanted, things: Sequence[Thing]) -> list[_Invoice]:
        """Return the final invoices on which the batch was charged, or whose period it corrects."""
        adjusts, item = wanted.item.line.adjusts, wanted.item
        ids = {thing.invoice for thing in things if thing.kind != "note" and thing.invoice}
        found = [await self._api.read(f"/v1/invoices/{id}") for id in sorted(ids)]
        if adjusts is not None:
            begun = instant_text(adjusts)
            found += [
                one
                async for one in self._api.listed(
                    "/v1/invoices", customer=item.customer, created=created_since(adjusts)
                )
                if (one.get("metadata") or {}).get(START) == begun
                and one["metadata"].get("account") == item.account
                and one["currency"].upper() == item.currency
            ]
        return [_creditable(one) for one in found if standing_of(one["status"]) == "final"]


def holds(things: Sequence[Thing], wanted: Wanted) -> bool:
    """Tell whether these are all that is wanted: the sums, and the content where it can still change."""
    stale = any(thing.changeable and thing.content != wanted.content for thing in things)
    return bool(things) and not stale and total(things) == (wanted.gross, wanted.tax)


def _creditable(invoice: Object) -> _Invoice:
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    unpaid = 0 if invoice["status"] == "paid" else invoice["amount_remaining"]
    return _Invoice(id=str(invoice["id"]), left=invoice["total"] - credited, unpaid=unpaid)


def _by_hand(wanted: Wanted, fault: str) -> str:
    return (
        f"batch {wanted.batch} cannot be brought to {wanted.gross} minor units at Stripe: {fault}; "
        "settle the difference there by hand"
    )
