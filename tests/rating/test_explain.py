from __future__ import annotations

import json
from dataclasses import replace

from meter.model.charge import Charge
from meter.model.directory import Claim
from meter.model.event import UsageEvent
from meter.rating.explain import Explanation, explain, resolution_of, short_text
from tests.rating.world import (
    PAGES,
    USE,
    Ledger,
    Space,
    catalog,
    event,
    given,
    graduated,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    span,
    taxed,
    use,
)

TIERS = priced(graduated(("50", "0.25"), (None, "0.20")), tax="vat")
PRINT = plan(pages=TIERS, grants=[plan_grant("pages", PAGES, "100")])
BADGE = "badge:04A2991B"
OFFICE = space(PRINT, terms={"taxes": taxed("0.19")}, claims=[Claim(identity=BADGE, member="ada", span=span("01-01"))])
BURST = [printed("11-02 09:00", 120, by=BADGE), printed("11-03 09:00", 60, by=BADGE)]


def explained(where: Space, ledger: Ledger, charge: Charge, *events: UsageEvent) -> Explanation:
    folded = where.fold(*events, trace=True)
    key = charge.line.key
    assert folded.evidence is not None
    (source,) = (each for each in events if each.id == key.id)
    return explain(
        charge,
        [each for each in ledger.charges if each.line.key == key],
        [source],
        recomputed=next((line for line in folded.lines if line.key == key), None),
        evidence=folded.evidence.get(key),
        resolution=resolution_of(source, charge.line, where.directory),
    )


def booked(where: Space, *events: UsageEvent) -> Ledger:
    ledger = Ledger.empty()
    ledger.make_good(where.lines(*events))
    return ledger


def test_the_text_tells_the_whole_way_from_the_event_to_the_cent() -> None:
    ledger = booked(OFFICE, *BURST)
    assert explained(OFFICE, ledger, ledger.charges[1], *BURST).text().splitlines() == [
        f"Charge {ledger.charges[1].id} (original): 60 page; price price: 13.5 EUR",
        f"Event: print.job {BURST[1].id} from berlin/device at 2026-11-03T09:00:00Z",
        f"Member: {BADGE} is ada since 2026-01-01T12:00:00Z, of account acme",
        "Meter: pages, 60 page, color = false",
        "Price: price of plan flex; in this period 20 page so far, then 80",
        "  30 page x 0.25 = 7.5 (above 0 up to 50)",
        "  30 page x 0.2 = 6 (above 50)",
        "  18.5 - 5 = 13.5 EUR",
        "Amount: 13.5 EUR, booked as 13.5, plus 2.57 vat (19 %)",
        "Computed again from the stored facts: the same.",
    ]


def test_each_grant_is_told_with_its_balance_before_and_after() -> None:
    where = space(PRINT, grants=[given("spare", PAGES, "10")])
    events = [printed("11-02", 95), printed("11-03", 20)]
    text = explained(where, ledger := booked(where, *events), ledger.charges[1], *events).text()
    assert "Credit: sub/pages/2026-11 had 5 of 100, covers 5, has 0 left" in text
    assert "Credit: spare had 10 of 10, covers 10, has 0 left" in text


def test_credit_given_back_is_told() -> None:
    where = space(plan(use=per_unit("1"), grants=[plan_grant("free", USE, "10")]))
    events = [use("11-02", 8), use("11-03", -3)]
    text = explained(where, ledger := booked(where, *events), ledger.charges[1], *events).text()
    assert "Credit: sub/free/2026-11 had 2 of 10, is given back 3, has 5 left" in text


def test_the_json_says_the_same_and_is_json() -> None:
    ledger = booked(OFFICE, *BURST)
    body = json.loads(json.dumps(explained(OFFICE, ledger, ledger.charges[0], *BURST).as_json()))
    assert body["grants"] == [
        {"grant": "sub/pages/2026-11", "granted": "100", "before": "100", "amount": "100", "after": "0"}
    ]
    assert body["price"]["steps"] == [
        {"above": "0", "up_to": "50", "units": "20", "unit_price": "0.25", "flat": "0", "amount": "5"}
    ]
    assert (body["quantity"], body["covered"], body["billable"], body["amount"]) == ("120", "100", "20", "5")
    assert body["tax"] == {"name": "vat", "rate": "0.19", "inclusive": False, "amount": "0.95"}
    assert body["recomputed"] == {"agrees": True, "amount": "5", "quantity": "120"}
    assert body["resolution"]["claim"] == {"member": "ada", "from": "2026-01-01T12:00:00Z", "to": None}
    assert body["events"][0]["data"]["impressions"] == 120


def test_a_chain_of_corrections_is_told() -> None:
    ledger = booked(OFFICE, BURST[1])
    ledger.make_good(OFFICE.lines(*BURST))
    found = explained(OFFICE, ledger, ledger.charges[0], *BURST)
    assert found.agrees
    assert [each["role"] for each in found.as_json()["chain"]] == ["original", "reversal", "replacement"]
    assert f"{ledger.charges[2].id} reversal 0 -> " in found.text()
    assert "The line as the facts give it now: 60 page, 13.5 EUR" in found.text()
    assert found.as_json()["arithmetic_of"] == "recomputed"
    standing = explained(OFFICE, ledger, ledger.charges[3], *BURST)
    assert "as the facts give it now" not in standing.text()
    assert standing.as_json()["arithmetic_of"] == "charge"


def test_it_says_so_where_the_facts_would_book_something_else_now() -> None:
    ledger = booked(OFFICE, *BURST)
    dearer = space(
        catalogs=[catalog(plan(pages=per_unit("1")))], subscriptions=OFFICE.directory.subscriptions["account", "acme"]
    )
    events = [replace(each, subject="member:ada") for each in BURST]
    found = explained(dearer, ledger, ledger.charges[1], *events)
    assert not found.agrees
    assert "DIFFERS: 60 EUR; what stands booked is 13.5 EUR." in found.text()
    assert found.as_json()["recomputed"]["agrees"] is False


def test_a_line_that_nothing_books_any_more_differs_until_it_is_reversed() -> None:
    ledger = booked(OFFICE, BURST[0])
    charge = ledger.charges[0]
    before = explain(charge, ledger.charges, [BURST[0]], recomputed=None)
    assert "DIFFERS: nothing; what stands booked is 5 EUR." in before.text()
    ledger.make_good([])
    after = explain(charge, ledger.charges, [BURST[0]], recomputed=None)
    assert after.agrees


def test_a_guest_of_the_walk_in_account_is_told() -> None:
    where = space(plan(), account="walk-in")
    data = {"order": "o", "currency": "EUR", "lines": [{"amount": "3", "tax": "0.5"}], "settlement": "paid", "tip": "1"}
    sold = event("s", "pos.sale", "11-02", data, by=None)
    ledger = booked(where, sold)
    text = explained(where, ledger, ledger.charges[0], sold).text()
    assert "Account: walk-in, the site's account for guests without a known identity" in text
    assert "paid at the till: 3 EUR net, plus 0.5 sale, tip 1" in text


def test_why_nothing_priced_it_is_told() -> None:
    where = space(plan(), subscriptions=[])
    ledger = booked(where, one := use("11-02", 5))
    assert "Not priced: the account has no plan at this time" in explained(where, ledger, ledger.charges[0], one).text()


def test_the_short_text_of_each_kind_of_charge() -> None:
    where = space(plan(use=per_unit("0.5"), grants=[plan_grant("free", USE, "10")]))
    ledger = booked(where, use("11-02", 8), use("11-03", 4))
    ledger.make_good([])
    ledger.make_good(space(plan(), subscriptions=[]).lines(use("11-04", 1)))
    assert [short_text(charge) for charge in ledger.charges] == [
        "8 unit, 8 from sub/free/2026-11, leaves 0; covered by credit",
        "4 unit, 2 from sub/free/2026-11, leaves 2; price each: 1 EUR",
        f"takes back 8 unit, 0 EUR ({ledger.charges[0].id})",
        f"takes back 4 unit, 1 EUR ({ledger.charges[1].id})",
        "1 unit; no price applies yet",
    ]
