"""What Stripe holds of ours, by batch, for `meter reconcile`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime, time
from typing import Final

from meter.export.contract import Figures, Held
from meter.export.payload import LineItem, thawed
from meter.export.targets.reading import listing, object_of, word_of
from meter.export.targets.stripe.amounts import major
from meter.export.targets.stripe.api import Api
from meter.export.targets.stripe.drafts import MADE_BEFORE
from meter.export.targets.stripe.held import (
    Thing,
    invoice_of,
    place_of_things,
    thing_of_item,
    thing_of_note,
    total,
)
from meter.export.targets.stripe.wanted import BATCH
from meter.model.money import ZERO
from meter.store.outbox import OutboxItem

# A status that nobody said: the invoice was deleted while we asked.
_GONE: Final = "deleted"


def figures_of(item: OutboxItem) -> Figures:
    """Return what Stripe must hold of a delivered item: a line that came to nothing is no line."""
    content = thawed(item.operation, item.payload)
    if not isinstance(content, LineItem):
        return Figures()
    net, tax = content.line.net, content.line.tax_amount
    if not net and not tax:
        return Figures(currency=content.currency)
    return Figures(lines=1, net=net, tax=tax, currency=content.currency)


async def holdings(api: Api, since: date, until: date) -> AsyncIterator[Held]:
    """Give what Stripe holds of the days in [since, until), a batch each. Raises MeterError."""
    batches: dict[str, list[Thing]] = {}
    with listing("Stripe"):
        for thing in await _things(api, since):
            if since.isoformat() <= thing.day < until.isoformat():
                batches.setdefault(thing.batch, []).append(thing)
    for batch, things in batches.items():
        yield _held(batch, things)


def _held(batch: str, things: Iterable[Thing]) -> Held:
    everything = list(things)
    counted = [thing for thing in everything if thing.standing != "void"]
    gross, tax = total(counted)
    currency = everything[0].currency
    place = place_of_things(everything)
    return Held(
        batch=batch,
        remote_id="" if place is None else place.text,
        figures=Figures(
            lines=int(bool(gross or tax)),
            net=major(gross - tax, currency) if gross - tax else ZERO,
            tax=major(tax, currency) if tax else ZERO,
            currency=currency,
        ),
        void=not counted,
    )


async def _things(api: Api, since: date) -> list[Thing]:
    made = {"gte": int((datetime.combine(since, time(), UTC) - MADE_BEFORE).timestamp())}
    items = [one async for one in api.listed("/v1/invoiceitems", created=made) if BATCH in object_of(one, "metadata")]
    wanted = {invoice for one in items if (invoice := invoice_of(one))}
    statuses = {word_of(one, "id"): word_of(one, "status") async for one in api.listed("/v1/invoices", created=made)}
    for missing in sorted(wanted - statuses.keys()):  # older than the days that were asked for
        found = await api.find(f"/v1/invoices/{missing}")
        statuses[missing] = _GONE if found is None else word_of(found, "status")
    notes = [
        thing_of_note(one)
        async for one in api.listed("/v1/credit_notes", created=made)
        if BATCH in object_of(one, "metadata")
    ]
    return [thing_of_item(one, statuses) for one in items] + notes
