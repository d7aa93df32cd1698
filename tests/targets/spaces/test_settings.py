"""What targets of booking systems may be set to, what they make of what was booked, and what checking asks."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.export.contract import Delivered
from meter.export.gather.gatherer import items_from
from meter.export.gather.lines import Lines
from meter.model.errors import BadInput, Unavailable
from tests.booked import OPERATOR, a_charge, a_line
from tests.export.gathering import Desk, account, customers, known
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import COBOT_CASE, KINDS, customer, setup_of
from tests.targets.spaces.given import Make, by_kind


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    [
        ("cobot", {"currency": ""}, "options.currency"),
        ("cobot", {"items": {"print-pages": 8400}}, "options.items"),
        ("officernd", {"locations": {}}, "options.locations"),
        ("nexudus", {"businesses": {}}, "options.businesses"),
        ("nexudus", {"businesses": {"*": "b1"}}, "digits only"),
        ("nexudus", {"entity": "products", "items": {}}, "options.items"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named(kind: str, changes: dict[str, Any], fault: str) -> None:
    assert KINDS[kind].faults(setup_of(kind, None)) == []
    [told] = KINDS[kind].faults(setup_of(kind, None, **changes))
    assert fault in told


def test_a_company_is_a_name_in_an_address() -> None:
    assert "company" in KINDS["cobot"].faults(replace(setup_of("cobot", None), company="evil.example/"))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_added_to_and_never_replaced(kind: str) -> None:
    shape = KINDS[kind].shape(setup_of(kind, None))
    assert isinstance(shape, Lines)
    assert not shape.replaces
    assert KINDS[kind].invoices(setup_of(kind, None))
    assert KINDS[kind].grains[0] == "day"


async def test_what_was_booked_is_charged_a_day_at_a_time_and_what_is_late_beside_it(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    given = replace(setup_of("cobot", None), customers=customers("space", "cobot"))
    desk, facts = Desk(KINDS["cobot"].shape(given)), known(account(cobot=customer(0)))
    charges = [a_charge(a_line(number), rounded=Decimal("0.50")) for number in range(3)]
    desk.put(charges[:2], facts)
    early = desk.due(facts)
    desk.put(charges[2:], facts)
    late = desk.due(facts)
    made = items_from([*early, *late], operator=OPERATOR, target="space")
    assert [one.unmet for one in [*early, *late]] == [None, None]
    assert len({one.batch for one in made}) == 2
    assert [type(one) for one in await target.send(made)] == [Delivered, Delivered]
    assert [one.amount for one in vendor.books()] == [Decimal("1.00"), Decimal("0.50")]


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_shows_its_secret(kind: str) -> None:
    assert "'secret'" not in repr(setup_of(kind, None))
    assert "'key'" not in repr(setup_of(kind, None))


@by_kind
async def test_checking_reads_a_list(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    await target.check()
    assert not [one for one in vendor.requests if one.call.method == "POST" and "token" not in one.call.path]
    vendor.fail_next(403, committed=False, path="/")
    with pytest.raises(BadInput, match=r"check (api_key|client_id)"):
        await target.check()
    vendor.fail_next(503, committed=False, path="/")
    with pytest.raises(Unavailable):
        await target.check()
