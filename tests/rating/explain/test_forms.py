"""The same explanation as JSON, and in a line."""

from __future__ import annotations

from dataclasses import replace

from meter.model.catalog import Fee
from meter.model.directory import GivenGrant, Purchase
from meter.rating.explain import short_text
from tests.rating.arithmetic import adds_up
from tests.rating.explain.scene import BURST, COFFEE, NOVEMBER, OFFICE, booked, door, hours, refund, sale
from tests.rating.world import USE, d, passed, per_unit, plan, plan_grant, space, span, subscription, use


def test_the_json_says_the_same_and_is_json() -> None:
    body = booked(OFFICE, *BURST).json(0)
    assert adds_up(body)
    assert body["grants"] == [
        {
            "grant": "sub/pages/2026-11",
            "origin": "plan",
            "unit": "page",
            "granted": "100",
            "before": "100",
            "amount": "100",
            "after": "0",
            "covered": "100",
            "rate": None,
        }
    ]
    assert body["price"] == {
        "id": "price",
        "model": "graduated",
        "note": None,
        "per": "account",
        "window": None,
        "before": {"quantity": "0", "amount": "0"},
        "after": {"quantity": "20", "amount": "5"},
        "events": None,
        "steps": [
            {
                "label": "tier",
                "above": "0",
                "up_to": "50",
                "units": "20",
                "unit_price": "0.25",
                "flat": "0",
                "size": None,
                "amount": "5",
            }
        ],
        "amount": "5",
    }
    assert (body["quantity"], body["covered"], body["billable"], body["amount"]) == ("120", "100", "20", "5")
    assert body["tax"] == {"name": "vat", "rate": "0.19", "inclusive": False, "amount": "0.95", "alone": "0.95"}
    assert body["recomputed"] == {"agrees": True, "amount": "5", "quantity": "120"}
    assert body["resolution"]["claim"] == {"member": "ada", "from": "2026-01-01T12:00:00Z", "to": None}
    assert body["events"][0]["data"]["impressions"] == 120
    assert body["measured"] == {
        "aggregate": "sum",
        "path": "impressions",
        "element": None,
        "value": "120",
        "before": None,
        "scale": "1",
        "adds": "120",
    }


def test_the_json_of_a_session_has_its_instants_with_the_offset_of_the_site() -> None:
    body = booked(hours(), door("11-02 13:00", "in"), until="11-03").json()
    assert body["measured"] == {
        "aggregate": "duration",
        "start": "2026-11-02T14:00:00+01:00",
        "end": "2026-11-02T22:00:00+01:00",
        "zone": "Europe/Berlin",
        "seconds": "28800",
        "billed_seconds": "28800",
        "minimum_seconds": 0,
        "increment_seconds": [900, 900],
        "missing_end": "close_at",
        "ended_by": "closing",
    }
    assert body["estimated"] is True


def test_the_short_text_of_each_kind_of_charge() -> None:
    where = space(plan(use=per_unit("0.5"), grants=[plan_grant("free", USE, "10")]))
    ledger = booked(where, use("11-02", 8), use("11-03", 4)).ledger
    ledger.make_good([])
    ledger.make_good(space(plan(), subscriptions=[]).lines(use("11-04", 1)))
    assert [short_text(charge) for charge in ledger.charges] == [
        "8 unit, 8 from sub/free/2026-11, leaves 0; covered by credit",
        "4 unit, 2 from sub/free/2026-11, leaves 2; price each: 1 EUR",
        f"takes back 8 unit, 0 EUR ({ledger.charges[0].id})",
        f"takes back 4 unit, 1 EUR ({ledger.charges[1].id})",
        "1 unit; no price applies yet",
    ]


def test_the_short_text_of_what_falls_due_and_of_sales() -> None:
    flex = replace(plan(cafe=passed(period_minimum=d(99))), fee=Fee(amount=d(30)))
    pack = GivenGrant(
        id="pack", account="acme", unit="unit", amount=d(5), span=span("11-04"), bought=Purchase(price=d(9))
    )
    held = [subscription(span=span(NOVEMBER), deposit=d(50))]
    where = space(flex, subscriptions=held, grants=[pack], closed=[NOVEMBER])
    events = [sale("account", [{"amount": "5"}], tip="1", total="6"), refund("11-05", amount="6")]
    ledger = booked(where, *events, until="11-30 22:59").ledger
    assert [short_text(charge) for charge in ledger.charges] == [
        "deposit: 50 EUR",
        "1 month of plan flex: 30 EUR",
        "5 EUR; price passed: 5 EUR",
        "tip: 1 EUR",
        "5 unit bought in advance: 9 EUR",
        "gives back 5 EUR",
        "gives back tip 1 EUR",
    ]
    ledger = booked(where, until="11-30 23:00").ledger
    assert "missing to the minimum of price passed: 99 EUR" in [short_text(charge) for charge in ledger.charges]
    paid = booked(space(plan()), sale("paid", COFFEE, tip="1", total="12.90"), refund("11-05", amount="12.90"))
    assert [short_text(charge) for charge in paid.ledger.charges] == [
        "paid at the till: 10 EUR net, plus 1.9 vat, tip 1",
        "gives back 10 EUR net",
    ]
