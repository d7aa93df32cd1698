"""Charges as they are, in items for webhooks and files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace as with_

from meter.export.charge_json import charge_json
from meter.export.gather.charges import Charges
from meter.export.gather.gatherer import items_from
from meter.export.gather.shape import Booked, Draft
from meter.export.payload import ChargeBatch, day_of, frozen, thawed
from meter.model.charge import Charge
from tests.booked import a_charge, a_line
from tests.export.gathering import known


def charge(n: int, *, time: datetime | None = None, **changes: Any) -> Charge:
    line = a_line(n, **changes)
    line = line if time is None else with_(line, key=line.key._replace(time=time))
    return a_charge(line, id=f"ch_{n}")


def drafts(shape: Charges, *charges: Charge) -> list[Draft]:
    return list(shape.at_once(Booked(charges=charges), known()))


def ids(made: Sequence[Draft]) -> list[list[str]]:
    found = []
    for draft in made:
        assert isinstance(draft.content, ChargeBatch)
        found.append([msgspec.json.decode(one)["id"] for one in draft.content.charges])
    return found


def test_accounts_are_streams_of_their_own_and_keep_their_order() -> None:
    booked = [charge(n, account="acme" if n % 3 else "zeta") for n in range(7)]
    made = drafts(Charges(apart="account", charges_max=2), *booked)
    assert [draft.stream for draft in made] == ["zeta", "zeta", "acme", "acme"]
    assert ids(made) == [["ch_0", "ch_3"], ["ch_6"], ["ch_1", "ch_2"], ["ch_4", "ch_5"]]


def test_days_are_the_operators_and_share_one_order() -> None:
    # In Berlin the second of March begins at 23:00Z.
    before, after = datetime(2026, 3, 1, 22, 59, tzinfo=UTC), datetime(2026, 3, 1, 23, tzinfo=UTC)
    made = drafts(Charges(apart="day", charges_max=100), charge(1, time=after), charge(2, time=before))
    assert [(draft.stream, day_of(draft.content)) for draft in made] == [
        ("", date(2026, 3, 2)),
        ("", date(2026, 3, 1)),
    ]


def test_a_charge_comes_back_from_the_outbox_byte_for_byte_as_the_api_gives_it() -> None:
    one = charge(1, amount=Decimal("1E+3"), dimensions={"weight": Decimal("0.10"), "note": '=1+"x"'})
    [draft] = drafts(Charges(apart="day", charges_max=10), one)
    content = thawed("charges", frozen(draft.content))
    assert isinstance(content, ChargeBatch)
    [told] = content.charges
    assert bytes(told) == msgspec.json.encode(charge_json(one))
    assert b'"weight":0.10' in bytes(told)
    assert content.booked_at == one.booked_at


def test_the_same_charges_make_the_same_items_and_another_target_others() -> None:
    shape = Charges(apart="day", charges_max=10)
    made = drafts(shape, charge(1), charge(2))
    again = drafts(shape, charge(1), charge(2))
    first, second = (items_from(one, operator="northside", target="lake") for one in (made, again))
    assert first == second
    [other] = items_from(made, operator="northside", target="other")
    assert (other.batch, other.key == first[0].key) == (first[0].batch, False)
