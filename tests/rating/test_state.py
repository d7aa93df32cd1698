"""What a fold carries on: written down and read again, copied, and dropped when its period is over."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from typing import Any

import pytest

from meter.model.errors import Broken
from meter.model.event import EventKey, Position, UsageEvent
from meter.model.period import Period
from meter.rating.placed import PlacedEvent
from meter.rating.price import Tally
from meter.rating.refund import sold
from meter.rating.state import (
    AccountState,
    Drawn,
    DrawStep,
    Returned,
    SaleKey,
    SessionKey,
    Settled,
    SoldPart,
    TotalKey,
    give_back,
    remember,
)
from tests.rating.world import d, event, t

NOVEMBER, DECEMBER = Period(t("10-31 23:00"), t("11-30 23:00")), Period(t("11-30 23:00"), t("12-31 23:00"))
EACH, HERS = TotalKey("flex", "each", "c0ffee", "", ""), TotalKey("flex", "each", "c0ffee", "", "ada")


def refund(order: str) -> UsageEvent:
    told = {"refund": f"r{order}", "sale": {"source": "berlin/device", "order": order}, "status": "completed"}
    return event(f"r{order}", "pos.refund", "11-05", {**told, "currency": "EUR", "amount": d("1.50")}, by=None)


def sale(order: str) -> UsageEvent:
    return event(f"s{order}", "pos.sale", "11-06", {"order": order, "currency": "EUR", "lines": [], "total": d(3)})


def drawn(instance: str) -> Drawn:
    first = Drawn(instance, "credit", d("0.5"), d(2), d(10), None)
    return Drawn(instance, "unit", d(3), d(3), d(20), first, SoldPart(SaleKey("berlin/device", "1"), 2))


def full() -> AccountState:
    """A state with two of everything, in no order."""
    waiting = [PlacedEvent(event=refund(n), member=None, sale=sale(n).position) for n in ("2", "1")]
    return AccountState(
        position=Position(t("11-10"), "berlin/device", "e"),
        period=NOVEMBER,
        settled={
            SessionKey("presence", "berlin/door", n): Settled(
                d(60), n == "1", (EventKey("berlin/door", n), EventKey("x", "y"))
            )
            for n in ("2", "1")
        },
        tallies={HERS: Tally(d(2), True), EACH: Tally(d("1.50"), True, 3, d(4), d(5))},
        day_sums={(key, date(2026, 11, day)): d(day) for key in (HERS, EACH) for day in (28, 27)},
        capped={("flex", "each", "ada"): d(2), ("flex", "each", ""): d(1)},
        discounted={"sub/b": d(2), "sub/a": d(1)},
        used={"over": d(4), "gift": d("0.25")},
        lasts={"over": DECEMBER.start, "gift": t("12-15")},
        drawn={"use": drawn("gift"), "days": drawn("over")},
        money={"use": drawn("purse"), "cafe": drawn("purse")},
        paid={"use": d(2), "cafe": d(1)},
        sold={SaleKey("berlin/device", n): sold(sale(n), [], member="ada", currency="EUR") for n in ("2", "1")},
        returned={
            "gift/returned/s/2": Returned("gift", t("11-05"), DECEMBER.start, d(2)),
            "gift/returned/s/1": Returned("gift", t("11-05"), DECEMBER.end, d(1)),
        },
        waiting={placed.event.key: placed for placed in waiting},
    )


def parts(state: AccountState) -> dict[str, Any]:
    return {each.name: getattr(state, each.name) for each in fields(AccountState)}


def test_a_state_survives_json() -> None:
    state = full()
    assert all(parts(state)[name] for name in parts(state) if name != "memory")
    again = AccountState.from_json(json.loads(json.dumps(state.to_json())))
    assert parts(again) == parts(state)


def test_equal_states_are_written_alike() -> None:
    state, turned = full(), full()
    for name, part in parts(state).items():
        if isinstance(part, dict):
            setattr(turned, name, dict(reversed(part.items())))
    assert json.dumps(turned.to_json()) == json.dumps(state.to_json())


def test_a_copy_is_equal_and_of_its_own() -> None:
    state = full()
    copy = state.copy()
    assert parts(copy) == parts(state)
    shared = [name for name, part in parts(copy).items() if isinstance(part, dict) and part is parts(state)[name]]
    assert shared == []


def test_a_checkpoint_that_lists_a_meter_without_draws_is_none_of_ours() -> None:
    body = full().to_json()
    body["drawn"]["use"] = []
    with pytest.raises(Broken, match="checkpoint") as fault:
        AccountState.from_json(body)
    assert fault.value.code == "bad_checkpoint"


def test_a_period_begins_without_what_belonged_to_the_one_before() -> None:
    state = full()
    state.enter(DECEMBER)
    assert state.period == DECEMBER
    assert (state.tallies, state.capped, state.discounted) == ({}, {}, {})
    assert (state.drawn, state.money, state.paid) == ({}, {}, {})
    # A date lasts longer at other sites, and so does its cap.
    assert state.day_sums == {(key, date(2026, 11, 28)): 28 for key in (EACH, HERS)}
    assert (state.used, state.lasts) == ({"gift": d("0.25")}, {"gift": t("12-15")})
    assert list(state.returned) == ["gift/returned/s/1"]
    assert parts(state).items() >= {name: parts(full())[name] for name in ("settled", "sold", "waiting")}.items()


def step(instance: str, amount: str, covered: str, *, granted: str = "10") -> DrawStep:
    return DrawStep(instance, "unit", d(amount), d(covered), d(granted), d(granted))


def test_neighbouring_draws_of_an_instance_are_one_where_what_is_drawn_is_what_is_covered() -> None:
    kept: dict[str, Drawn] = {}
    for each in (
        step("a", "1", "1"),
        step("a", "2", "2"),
        step("b", "3", "3"),
        step("c", "1", "2"),
        step("c", "2", "4"),
    ):
        remember(kept, "use", each)
    remember(kept, "use", step("c", "5", "5"))
    remember(kept, "use", step("c", "1", "3"))
    found: list[tuple[str, int, int]] = []
    top: Drawn | None = kept["use"]
    while top is not None:
        found.append((top.instance, int(top.amount), int(top.covered)))
        top = top.earlier
    assert found == [("c", 1, 3), ("c", 5, 5), ("c", 2, 4), ("c", 1, 2), ("b", 3, 3), ("a", 3, 3)]


def test_credits_go_back_in_proportion_and_with_the_last_part_whole() -> None:
    state = AccountState(used={"pack": d(5), "old": d(2)})
    remember(state.drawn, "use", step("old", "2", "2"))
    remember(state.drawn, "use", step("pack", "1", "3"))
    first = give_back(state, state.drawn, "use", d(1))
    assert [(one.instance, one.amount, one.covered) for one in first] == [("pack", d("-0.333333333333"), d(-1))]
    assert [first[0].balance, first[0].granted] == [5, 10]
    rest = give_back(state, state.drawn, "use", d(3))
    assert [(one.instance, one.amount, one.covered) for one in rest] == [
        ("pack", d("-0.666666666667"), d(-2)),
        ("old", d(-1), d(-1)),
    ]
    assert state.used == {"pack": 4, "old": 1}
    assert [one.amount for one in give_back(state, state.drawn, "use", d(1))] == [-1]
    assert state.drawn == {}
    assert give_back(state, state.drawn, "use", d(1)) == []
