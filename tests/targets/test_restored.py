"""A database that was restored from a backup: what targets were sent after it was made reaches none of them twice."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from meter.export.targets.spec import Means
from meter.store.safekeeping import mark_restored
from tests.owning import as_owner
from tests.targets.case import TargetCase
from tests.targets.cases import files, quickbooks, spaces, square, stripe, xero
from tests.targets.driving import driven

CASES = [
    pytest.param(quickbooks.CASE, id="quickbooks journals"),
    pytest.param(quickbooks.INVOICES, id="quickbooks invoices"),
    pytest.param(xero.CASE, id="xero journals"),
    pytest.param(xero.INVOICES, id="xero invoices"),
    pytest.param(square.DRAFTS, id="square"),
    pytest.param(stripe.CASE, id="stripe"),
    pytest.param(files.CASE, id="files"),
    pytest.param(spaces.COBOT_CASE, id="cobot"),
]
# As a backup holds them that was made before anything was sent.
_AS_BACKED_UP = text(
    "UPDATE outbox SET state = 'pending', attempts = 0, first_sent_at = NULL, delivered_at = NULL, remote_id = NULL,"
    " fault = NULL, burned = false"
)
_NOT_MADE_YET = text("DELETE FROM outbox")
# Longer than any vendor keeps keys.
_DAYS = 31


async def _twice(means: Means, case: TargetCase, *, made_again: bool, marked: bool) -> bool:
    """Deliver, go back to before that, deliver again; return whether the vendor still has what it had."""
    made = case.items(14, 3)
    async with case.fake() as vendor:
        given = case.setup(vendor.url)
        async with driven(means.database, case.open(given, means), given.name) as lane:
            await lane.add(made)
            await lane.drain()
        before = case.books(vendor)
        assert before == case.wanted(made)
        vendor.advance(days=_DAYS)
        async with as_owner(means.database) as connection:
            await connection.execute(_NOT_MADE_YET if made_again else _AS_BACKED_UP)
            if marked:
                asked = await mark_restored(connection, backup="meter-20260302T000000000000Z")
                assert asked == (0 if made_again else len(made))
        async with driven(means.database, case.open(given, means), given.name) as lane:
            if made_again:
                await lane.add(made)
            await lane.drain()
            assert {one.state for one in await lane.deliveries()} == {"delivered"}
        return bool(case.books(vendor) == before)


@pytest.mark.parametrize("made_again", [False, True], ids=["pending", "made again"])
@pytest.mark.parametrize("case", CASES)
async def test_what_was_sent_after_the_backup_is_not_sent_again(
    means: Means, case: TargetCase, *, made_again: bool
) -> None:
    assert await _twice(means, case, made_again=made_again, marked=True)


@pytest.mark.parametrize("made_again", [False, True], ids=["pending", "made again"])
async def test_without_the_mark_it_would_be(means: Means, *, made_again: bool) -> None:
    assert not await _twice(means, spaces.COBOT_CASE, made_again=made_again, marked=False)
