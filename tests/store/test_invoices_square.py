"""What Square says of an invoice is applied to the account and to the delivery that made it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from meter.sources.pos.square import read
from meter.store.engine import Database
from tests.sources.case import delivery
from tests.sources.square_objects import UNFETCHED
from tests.sources.test_square_invoice import unpaid, webhook
from tests.store.test_invoices import deliver, shown, states, tell

ID = "inv:0-ChCHu2mZEabLeeHahQnXDjZQECY"


STORY = (
    webhook("invoice.created", status="DRAFT", updated_at="2026-03-02T09:00:00Z", payment_requests=unpaid()),
    webhook("invoice.published", status="UNPAID", updated_at="2026-03-02T09:00:01Z", payment_requests=unpaid()),
    webhook("invoice.payment_made", updated_at="2026-03-02T09:00:02Z"),
)


@pytest.mark.parametrize("order", list(permutations(range(len(STORY)))))
async def test_the_latest_state_counts_and_verifies_the_delivery(database: Database, order: tuple[int, ...]) -> None:
    await deliver(database, "square", sold=ID, other="inv:0-other")
    for place in order:
        body = STORY[place].replace(b"891e3589", b"891e358%d" % place)
        await tell(database, *read(UNFETCHED, delivery(body)).items)
    [invoice] = await shown(database)
    assert (invoice.remote_id, invoice.status, str(invoice.amount_paid)) == (ID, "paid", "11.90")
    assert invoice.changed_at == datetime(2026, 3, 2, 9, 0, 2, tzinfo=UTC)
    assert {batch: state for batch, (state, _) in (await states(database)).items()} == {
        "sold": "verified",
        "other": "delivered",
    }
