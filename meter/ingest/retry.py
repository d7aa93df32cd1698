"""Handing a rejection in again: after a setting, the catalog or the gateway has changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from urllib.parse import parse_qsl

from meter.clock import now
from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.ingest.setups import Sources
from meter.model.errors import BadInput
from meter.model.wire import Parsed, read_message
from meter.sources.hooks import hook_of
from meter.sources.spec import Delivery, Message
from meter.store.catalogs import load_catalogs
from meter.store.engine import Database
from meter.store.rejections import ListedRejection, find_rejection, mark_rejection
from meter.transport.reading import guarded
from meter.transport.topics import Topics

_HOOK: Final = re.compile(r"POST /hooks/([^/]+)/([^/?]+)(?:\?(.*))?")


async def retry_rejection(
    database: Database, acceptor: Acceptor, operator: str, number: int, *, sources: Sources
) -> Sequence[Receipt]:
    """Return what became of a rejection's bytes this time; once nothing of them is refused, it is marked `retried`.

    Read as it would be today, a vendor's body by its vendor's reader; a missing time is still that of the first
    receipt. Raises BadInput (`not_found`, `conflict`, or what keeps the body from being read).
    """
    async with database.begin() as connection:
        rejection = await find_rejection(connection, operator, number)
        catalogs = await load_catalogs(connection, operator)
    if rejection is None:
        raise BadInput(f"there is no rejection {number}; meter rejections list shows them", code="not_found")
    if rejection.status != "open" or rejection.code in {"bad_signature", "stale"}:
        reason = f"it is {rejection.status}" if rejection.status != "open" else "its sender is not known"
        raise BadInput(f"rejection {number} cannot be handed in again: {reason}", code="conflict")
    maps = () if catalogs is None else catalogs.at(now()).topics
    read, site = _read(rejection, sources, Topics((), maps))
    arrivals = [
        Arrival(
            parsed=parsed,
            channel=cast("Channel", rejection.channel),
            origin=rejection.origin,
            received_at=rejection.first_at,
            content_type=rejection.content_type,
            site=site,
            by_hand=True,
        )
        for parsed in read
    ]
    receipts = (await acceptor.accept(arrivals)).receipts
    if all(receipt.status != "rejected" for receipt in receipts):
        async with database.begin() as connection:
            await mark_rejection(connection, operator, number, "retried")
    return receipts


def _read(rejection: ListedRejection, sources: Sources, topics: Topics) -> tuple[Sequence[Parsed], str | None]:
    """Return what the bytes hold, and for which site they speak.

    What a source had made of them already, an event, is read as one; not so what came on a topic that was nobody's,
    nor what its vendor's reader refused: on a vendor's channel the vendor is believed. An agent on site says itself
    where its bytes came from, so they speak for its site only.
    """
    read, site = _reading(rejection, sources, topics)
    return read, rejection.site if rejection.channel == "edge" else site


def _reading(rejection: ListedRejection, sources: Sources, topics: Topics) -> tuple[Sequence[Parsed], str | None]:
    unread = (rejection.channel == "mqtt" and rejection.site is None) or (
        rejection.channel == "webhook" and rejection.source is None
    )
    if b'"specversion"' in rejection.body and not unread:
        return read_message(rejection.body), rejection.site
    if rejection.channel in {"fetch", "poll"}:
        message = f"{rejection.origin} is asked for again by itself; meter sources shows when"
        raise BadInput(message, code="conflict")
    hooked = _HOOK.fullmatch(rejection.origin)
    if hooked is not None:
        source = sources.get(hooked[1], hooked[2])
        if source is None or source.faults:
            message = f"{hooked[1]}/{hooked[2]} is not configured here; see METER_WEBHOOKS in the settings"
            raise BadInput(message, code="conflict")
        delivery = Delivery(
            method="POST",
            path=f"/hooks/{hooked[1]}/{hooked[2]}",
            query=dict(parse_qsl(hooked[3] or "")),
            body=rejection.body,
            received_at=rejection.first_at,
        )
        read = partial(hook_of(source.vendor).read, source.setup, delivery)
        return guarded(read, vendor=hooked[1], source=hooked[2]).items, source.setup.site
    reading = topics.reading(rejection.origin) if rejection.channel in {"mqtt", "edge"} else None
    if reading is None:
        return read_message(rejection.body), rejection.site
    told = Message(topic=rejection.origin, payload=rejection.body, received_at=rejection.first_at)
    decode = partial(reading.decode, reading.setup, told)
    return guarded(decode, vendor=reading.setup.vendor, source=reading.setup.name).items, reading.setup.site
