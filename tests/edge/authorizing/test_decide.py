"""May somebody have something offline: every reason, every bound from both sides, and what weighs how long."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.authorizing.decide import Risk, Taken, Yes, decide, taken_since
from tests.edge.authorizing.making import word

PLENTY = Risk(account_max=Decimal(1000), site_max=Decimal(1000))
NOTHING = Taken()


def taken(quantity: str, dearest: str = "1") -> Taken:
    return Taken(quantity=Decimal(quantity), dearest=Decimal(dearest))


@pytest.mark.parametrize(
    ("changes", "before", "quantity", "reasons", "left"),
    [
        ({}, NOTHING, "3", (), None),
        ({"price": None}, NOTHING, "3", ("unpriced",), None),
        ({"price": None, "covered": Decimal(9)}, NOTHING, "3", ("unpriced",), None),
        ({"sold_beyond": False, "covered": Decimal(5)}, NOTHING, "5", (), None),
        ({"sold_beyond": False, "covered": Decimal(5)}, taken("2"), "3", (), None),
        ({"sold_beyond": False, "covered": Decimal(5)}, taken("2"), "4", ("no_credit",), "3"),
        ({"sold_beyond": False, "covered": Decimal(5)}, taken("6"), "1", ("no_credit",), "0"),
        ({"left": Decimal(5)}, taken("2"), "3", (), None),
        ({"left": Decimal(5)}, taken("2"), "3.5", ("hard_limit",), "3"),
        ({"left_amount": Decimal(5)}, NOTHING, "5", (), None),
        ({"left_amount": Decimal(5)}, NOTHING, "6", ("hard_limit",), None),
        ({"left_amount": Decimal(5), "covered": Decimal(3)}, taken("2"), "6", (), None),
        ({"left_amount": Decimal(5), "covered": Decimal(3)}, taken("3"), "6", ("hard_limit",), None),
        # Colour was allowed before at five times the price: what lies beyond credit may be that.
        ({"left_amount": Decimal(5), "covered": Decimal(3)}, taken("3", "5"), "1", (), None),
        ({"left_amount": Decimal(5), "covered": Decimal(3)}, taken("3", "5"), "2", ("hard_limit",), None),
        ({"left": Decimal(5), "sold_beyond": False, "covered": Decimal(2)}, NOTHING, "6", ("no_credit", "hard_limit"), "2"),  # noqa: E501
        ({"left": Decimal(5), "left_amount": Decimal(1)}, NOTHING, "6", ("hard_limit",), None),
    ],
)  # fmt: skip
def test_credit_and_limits(
    changes: dict[str, Any], before: Taken, quantity: str, reasons: tuple[str, ...], left: str | None
) -> None:
    found = decide(Decimal(quantity), word(**changes), before, PLENTY)
    assert found.reasons == reasons
    assert found.left == (None if left is None else Decimal(left))
    assert found.value == (Decimal(quantity) if found.allowed else 0)


@pytest.mark.parametrize(
    ("risk", "quantity", "allowed", "left"),
    [
        (Risk(account_max=Decimal(10), site_max=Decimal(15)), "20", True, None),
        (Risk(account_max=Decimal(10), site_max=Decimal(15)), "20.01", False, "20"),
        (Risk(account_max=Decimal(10), site_max=Decimal(15), account=Decimal(4)), "12", True, None),
        (Risk(account_max=Decimal(10), site_max=Decimal(15), account=Decimal(4)), "13", False, "12"),
        (Risk(account_max=Decimal(10), site_max=Decimal(15), site=Decimal(14)), "2", True, None),
        (Risk(account_max=Decimal(10), site_max=Decimal(15), site=Decimal(14)), "3", False, "2"),
        # After a limit was lowered: what is at risk stays, and nothing more is.
        (Risk(account_max=Decimal(0), site_max=Decimal(0), account=Decimal(4)), "0.01", False, "0"),
    ],
)
def test_the_risk(risk: Risk, quantity: str, allowed: bool, left: str | None) -> None:  # noqa: FBT001
    """Covered or not: credit that is drawn elsewhere meanwhile is not there any more."""
    for covered in (Decimal(0), Decimal(100)):
        found = decide(Decimal(quantity), word(price="0.5", covered=covered), NOTHING, risk)
        assert (found.allowed, found.reasons) == (allowed, () if allowed else ("risk_limit",))
        assert found.left == (None if left is None else Decimal(left))


def test_what_costs_nothing_is_at_no_risk() -> None:
    nothing = Risk(account_max=Decimal(0), site_max=Decimal(0))
    assert decide(Decimal(10**9), word(price="0"), NOTHING, nothing).allowed
    assert decide(Decimal(1), word(price="0.01"), NOTHING, nothing).reasons == ("risk_limit",)


def test_of_whom_nothing_was_heard_the_answer_is_no() -> None:
    assert decide(Decimal(1), None, NOTHING, PLENTY).reasons == ("unknown_offline",)


def yes(**changes: Any) -> Yes:
    one = Yes(
        id="a",
        quantity=Decimal(2),
        value=Decimal(6),
        currency="EUR",
        offline=True,
        known=None,
        released=False,
        expired=False,
        came="nothing",
    )
    return replace(one, **changes)


@pytest.mark.parametrize(
    ("changes", "at_risk"),
    [
        ({}, True),
        ({"expired": True}, True),  # its event may be in a printer that is cut off, too
        ({"released": True}, False),
        ({"released": True, "came": "waiting"}, True),  # it came all the same
        ({"came": "waiting"}, True),
        ({"came": "there"}, True),  # the gateway has the event, and was not told that it was allowed
        ({"known": 3}, True),  # told, and its event may still come
        ({"known": 3, "expired": True}, False),
        ({"known": 3, "expired": True, "came": "waiting"}, True),
        ({"known": 3, "came": "waiting"}, True),
        ({"known": 3, "came": "there"}, False),
        ({"known": 3, "released": True}, False),
        ({"known": 3, "released": True, "came": "there"}, False),
        ({"offline": False, "known": 3}, False),
        ({"offline": False, "known": 3, "came": "waiting"}, False),
    ],
)
def test_what_an_answer_risks_and_how_long(changes: dict[str, Any], at_risk: bool) -> None:  # noqa: FBT001
    assert yes(**changes).at_risk is at_risk


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"known": 4, "came": "there"}, False),  # the word was heard when the gateway had it
        ({"known": 6, "came": "there"}, True),
        ({"known": 6, "expired": True}, False),
        ({"known": 4}, True),  # told, open: twice at the worst, never not at all
        ({"released": True}, False),
        ({"offline": False, "known": 6}, True),
        ({"offline": False, "known": 4}, False),
        ({"offline": False, "known": 6, "expired": True}, False),
        ({"offline": False, "known": 6, "expired": True, "came": "waiting"}, True),
    ],
)
def test_what_a_word_does_not_count(changes: dict[str, Any], counts: bool) -> None:  # noqa: FBT001
    found = taken_since([yes(**changes)], 5)
    assert found == (Taken(quantity=Decimal(2), dearest=Decimal(3)) if counts else Taken())


MONEY = st.decimals(min_value=0, max_value=100, places=2)


@given(
    quantity=st.decimals(min_value="0.001", max_value=50, places=3),
    price=MONEY,
    account=MONEY,
    site=MONEY,
    maxima=st.tuples(MONEY, MONEY),
)
def test_a_yes_never_takes_the_risk_beyond_its_limits(
    quantity: Decimal, price: Decimal, account: Decimal, site: Decimal, maxima: tuple[Decimal, Decimal]
) -> None:
    risk = Risk(account_max=maxima[0], site_max=maxima[1], account=account, site=site)
    found = decide(quantity, word(price=str(price)), NOTHING, risk)
    assert found.allowed == (
        price == 0 or (account + quantity * price <= maxima[0] and site + quantity * price <= maxima[1])
    )
    if found.left:
        # As much as it says would go does go.
        assert decide(found.left, word(price=str(price)), NOTHING, risk).allowed
