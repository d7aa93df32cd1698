"""Handing a rejection in again: after a setting, the catalog or the gateway has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from meter.ingest.accept import Acceptor
from meter.ingest.arrival import Arrival, Channel, Receipt
from meter.model.errors import BadInput
from meter.model.wire import read_message
from meter.store.engine import Database
from meter.store.rejections import find_rejection, mark_rejection


async def retry_rejection(database: Database, acceptor: Acceptor, operator: str, number: int) -> Sequence[Receipt]:
    """Return what became of a rejection's bytes this time; once nothing of them is refused, it is marked `retried`.

    Judged by today's rules; a missing time is still that of the first receipt. Raises BadInput (`not_found`,
    `conflict`).
    """
    async with database.begin() as connection:
        rejection = await find_rejection(connection, operator, number)
    if rejection is None:
        raise BadInput(f"there is no rejection {number}; meter rejections list shows them", code="not_found")
    if rejection.status != "open" or rejection.code == "bad_signature":
        reason = "its sender is not known" if rejection.code == "bad_signature" else f"it is {rejection.status}"
        raise BadInput(f"rejection {number} cannot be handed in again: {reason}", code="conflict")
    arrivals = [
        Arrival(
            parsed=parsed,
            channel=cast("Channel", rejection.channel),
            origin=rejection.origin,
            received_at=rejection.first_at,
            content_type=rejection.content_type,
            site=rejection.site,
        )
        for parsed in read_message(rejection.body)
    ]
    receipts = (await acceptor.accept(arrivals)).receipts
    if all(receipt.status != "rejected" for receipt in receipts):
        async with database.begin() as connection:
            await mark_rejection(connection, operator, number, "retried")
    return receipts
