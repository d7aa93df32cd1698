"""An explanation's JSON, computed again by somebody who has nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

from meter.model.money import EXACT, is_currency, round_amount, rounded_minor

TIME_UNITS = {"hour": 3600, "minute": 60, "second": 1}


def adds_up(told: Mapping[str, Any]) -> bool:
    """Each step leads to the next, from what was read to the amount; asserts on its way.

    `told` explains a charge that stands as it was booked.
    """
    with localcontext(EXACT):
        assert told["recomputed"]["agrees"]
        assert told["arithmetic_of"] == "charge"
        _measured(told)
        _grants(told)
        if told["till"] is not None:
            _till(told)
        elif told["refund"] is not None:
            _refund(told)
        else:
            _amount(told)
        _shares(told)
    return True


def _number(text: str | None) -> Decimal:
    return Decimal(text or 0)


def _total(rows: Any, name: str) -> Decimal:
    return sum((_number(row[name]) for row in rows), Decimal(0))


def _measured(told: Mapping[str, Any]) -> None:
    measured, quantity = told["measured"], _number(told["quantity"])
    if measured is None:
        return
    if measured["aggregate"] == "duration":
        scale = TIME_UNITS.get(told["unit"], 1)
        assert round_amount(_number(measured["billed_seconds"]) / scale) == quantity
        if measured["seconds"] is not None:
            length, billed = _number(measured["seconds"]), _number(measured["billed_seconds"])
            first, step = measured["increment_seconds"]
            assert billed >= max(length, measured["minimum_seconds"])
            assert billed in {0, first} or (billed - first) % step == 0
            assert billed < max(length + 1, measured["minimum_seconds"], 1) + max(first, step)
    elif "value" in measured:
        assert (_number(measured["value"]) - _number(measured["before"])) * _number(measured["scale"]) == quantity
        assert _number(measured["adds"]) == quantity
    else:
        assert quantity == 1


def _grants(told: Mapping[str, Any]) -> None:
    for row in told["grants"]:
        assert _number(row["before"]) - _number(row["amount"]) == _number(row["after"])
        assert 0 <= _number(row["before"]) <= _number(row["granted"])
        assert 0 <= _number(row["after"]) <= _number(row["granted"])
    if told["refund"] is None:
        covers = [row for row in told["grants"] if not is_currency(row["unit"])]
        assert _total(covers, "covered") == _number(told["covered"])
    assert _number(told["quantity"]) == _number(told["covered"]) + _number(told["billable"])


def _amount(told: Mapping[str, Any]) -> None:
    price, due = told["price"], told["due"]
    reached = _number(due["reached"]) if due else 0
    asked = _number(due["amount"]) - reached if due else Decimal(0)
    if due and due["what"] == "expiry":
        assert 0 < _number(told["quantity"]) <= _number(due["bought"])
    if due and due["days"]:
        share = _number(due["each"]) * _number(due["seats"]) * due["active_days"] / due["days"]
        assert round_amount(share) == _number(due["amount"])
    if price:
        assert _total(price["steps"], "amount") == _number(price["amount"])
        if price["before"]["amount"] is not None:
            before, after = _number(price["before"]["amount"]), _number(price["after"]["amount"])
            assert after - before == _number(price["amount"])
        asked += _number(price["amount"])
    reductions = told["reductions"]
    stations = [asked, *(_number(row["after"]) for row in reductions)]
    assert [_number(row["before"]) for row in reductions] == [before for before, _ in pairwise(stations)]
    money = _total((row for row in told["grants"] if is_currency(row["unit"])), "covered")
    assert stations[-1] - money == _number(told["amount"])


def _shares(told: Mapping[str, Any]) -> None:
    for row in told["shares"]:
        part = _number(row["revenue"]) * _number(row["share"])
        assert rounded_minor(part, told["currency"]) == _number(row["alone"])


def _till(told: Mapping[str, Any]) -> None:
    till = told["till"]
    assert _number(till["net"]) == _number(told["amount"])
    if till["total"] is not None:
        parts = [till["net"], till["tax"], till["tip"], till["gap"]]
        assert sum(map(_number, parts)) == _number(till["total"])


def _refund(told: Mapping[str, Any]) -> None:
    refund = told["refund"]
    assert 0 <= _number(refund["share_before"]) <= _number(refund["share_after"]) <= 1
    assert _number(refund["left"]) >= 0
    if refund["sale"]["settlement"] == "paid":
        assert _number(told["amount"]) == -_number(refund["net"])
    else:
        assert abs(_number(told["amount"])) <= abs(_number(refund["charged"]))
