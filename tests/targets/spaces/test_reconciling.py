"""What booking systems hold compared with what they were sent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from structlog.testing import capture_logs

from meter.export.contract import Delivered
from meter.export.reconcile import Expected, reconcile
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import COBOT_CASE, OFFICERND_CASE, PRODUCT, content, item, line
from tests.targets.driving import one
from tests.targets.spaces.given import Make, by_kind


async def test_two_charges_of_one_batch_are_told_and_counted(make: Make) -> None:
    _, target = await make(COBOT_CASE)
    made = item(content(line()))
    await target.send([made])
    await target.send([made])  # as nothing here would
    with capture_logs() as logs:
        assert isinstance(await one(target.look_up([made])), Delivered)
    assert [one["charges"] for one in logs if one["event"] == "charged_twice"]
    expected = [Expected(delivery=1, item=made, figures=target.figures(made))]
    found = await reconcile(target, expected, frozenset({made.batch}), since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert [one.fault for one in found.discrepancies] == ["changed"]


@by_kind
async def test_what_a_person_changes_shows_when_reconciling(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = [item(content(line(item=PRODUCT), number=number), f"batch-{number}") for number in range(4)]
    await target.send(made)
    ids = [one.id for one in vendor.books()]
    field = {"cobot": "amount", "officernd": "price", "nexudus": "TotalAmount"}[case.kind]
    vendor.by_hand(ids[1], {field: Decimal("11.00") if field != "amount" else "11.00"})
    vendor.by_hand(ids[2], None)
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(made)]
    known = frozenset(one.batch for one in made[:3])
    found = await reconcile(target, expected[:3], known, since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert {(one.fault, one.delivery) for one in found.discrepancies} == {
        ("changed", 1),
        ("missing", 2),
        ("extra", None),
    }
    elsewhen = await reconcile(target, [], known, since=date(2026, 12, 1), until=date(2027, 1, 1))
    assert elsewhen.discrepancies == ()


async def test_a_fee_that_was_waived_counts_no_more(make: Make) -> None:
    vendor, target = await make(OFFICERND_CASE)
    await target.send([item(content(line()))])
    [held] = vendor.books()
    vendor.by_hand(held.id, {"invoice": {"status": "waived"}})
    [shown] = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    assert shown.void
