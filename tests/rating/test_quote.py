"""What an ask would come to: the same as its event, and what limits and denying grants make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given as given_
from hypothesis import strategies as st

from meter.model.catalog import Meter, Plan, UsageLimit
from meter.model.charge import Line
from meter.model.event import UsageEvent
from meter.model.money import ZERO, is_currency
from meter.rating.fold import Folded, PlacedEvent, TooLate, fold
from meter.rating.measure import Contribution
from meter.rating.quote import Ask, Quote, limits_on, quote
from meter.rating.state import AccountState
from tests.rating.histories import Facts, History, facts, histories
from tests.rating.test_laws import final, laws
from tests.rating.world import (
    DAYS,
    PAGES,
    USE,
    Space,
    d,
    entered,
    given,
    graduated,
    per_unit,
    plan,
    plan_grant,
    priced,
    printed,
    space,
    t,
    taxed,
    use,
)

DENYING: dict[str, Any] = {"overage": "deny"}


def folded(where: Space, *events: UsageEvent, at: str) -> AccountState:
    return fold(where.facts, AccountState(), where.placed(events), until=t(at)).state


def wants(quantity: str | int, meter: str = "use", *, by: str = "ada", id: str = "ask", **more: Any) -> Ask:
    return Ask(id=id, member=by, site=more.pop("site", "berlin"), meter=meter, quantity=d(quantity), **more)


def asked(
    where: Space, ask: Ask, *events: UsageEvent, at: str = "11-10", reserved: Sequence[Ask] = (), **terms: Any
) -> Quote:
    """The answer at `at`, after `events`."""
    lines = where.lines(*events)
    used = {window: window.total(lines) for window in limits_on(where.facts, ask, t(at))}
    return quote(where.facts, folded(where, *events, at=at), ask, at=t(at), reserved=reserved, used=used, **terms)


# --- laws -------------------------------------------------------------------------------------------------------------


def plain_parts(after: Folded, last: UsageEvent) -> list[tuple[Line, Contribution]]:
    """The lines that `last` alone makes at its own place, with what was measured: what can be asked for."""
    found = []
    for line in after.lines:
        evidence = after.evidence_of(line.key)
        part = None if evidence is None else evidence.part
        if part is not None and line.key[:3] == last.position and not line.key.part:
            found.append((line, part))
    return found


def ask_of(line: Line, part: Contribution, n: int) -> Ask:
    """An ask for what a part counts, with what its event says: of a sale, the element that it was read from."""
    data = dict(part.event.data)
    if part.item is not None:
        data["lines"] = part.item
    quantity = line.quantity if not is_currency(line.unit) else part.quantity
    return Ask(
        id=f"ask-{n}",
        member=part.member or "",
        site=line.site,
        meter=line.meter,
        quantity=quantity,
        dimensions=part.dimensions,
        data=data,
    )


def told(line: Line) -> tuple[Any, ...]:
    """What an answer says of a line. The tax of a sale's element is the till's own, which no ask knows."""
    tax = None if line.event_type == "pos.sale" else line.tax
    return (
        *(line.member, line.site, line.meter, line.plan, line.period, line.quantity, line.unit, line.covered),
        *(line.billable, line.price, line.amount, line.currency, tax, line.draws, line.unpriced, line.shares),
    )


@laws
@given_(facts(), histories())
def test_a_quote_is_what_the_event_is_charged_next(known: Facts, history: History) -> None:
    """After n reservations, too: the elements of one event are asked for one after the other."""
    where = final(known)
    placed = where.placed(history.events, history.revisions)
    for cut, one in enumerate(placed):
        compare_next(where, placed[:cut], one)


def compare_next(where: Space, before: Sequence[PlacedEvent], one: PlacedEvent) -> None:
    at = one.event.time
    if before and before[-1].event.time == at:
        return  # stood before something at its own instant: an ask comes behind it
    now = at - timedelta(microseconds=1)
    base = fold(where.facts, AccountState(), before, until=now)
    try:
        after = fold(where.facts, base.state, [one], until=now, trace=True)
    except TooLate:
        return  # it changes what an open session was taken for: lines before it fall, not its own
    kept = base.state.to_json()
    reserved: list[Ask] = []
    for n, (line, part) in enumerate(plain_parts(after, one.event)):
        if part.quantity <= ZERO:
            return
        ask = ask_of(line, part, n)
        found = quote(where.facts, base.state, ask, at=at, reserved=reserved)
        assert found.line is not None
        assert told(found.line) == told(line)
        reserved.append(ask)
    assert base.state.to_json() == kept


@laws
@given_(facts(), histories(), st.lists(st.decimals("0.01", "9", places=2), min_size=1, max_size=5))
def test_a_quote_behind_reservations_is_one_behind_their_events(
    known: Facts, history: History, quantities: list[Decimal]
) -> None:
    where = final(known)
    placed = where.placed(history.events, history.revisions)
    base = fold(where.facts, AccountState(), placed, until=history.until).state
    at = history.until if base.position is None else max(history.until, base.position.time)
    at += timedelta(seconds=1)
    asks = [wants(str(quantity), id=f"r{n}", site="berlin") for n, quantity in enumerate(quantities)]
    happened = [replace(use("11-01", str(quantity), id=f"r{n}"), time=at) for n, quantity in enumerate(quantities)]
    if not all(where.placed([one]) for one in happened):
        return
    later = fold(where.facts, base, where.placed(happened), until=history.until).state
    last = wants("3.5")
    behind = quote(where.facts, base, last, at=at, reserved=asks)
    after = quote(where.facts, later, last, at=at)
    assert (behind.line is None) == (after.line is None)
    if behind.line is not None and after.line is not None:
        assert told(behind.line) == told(after.line)
    assert (behind.allowed, behind.allowance) == (after.allowed, after.allowance)


# --- stories ----------------------------------------------------------------------------------------------------------


def test_credit_price_and_tax_are_those_of_the_bill() -> None:
    where = space(
        plan(grants=[plan_grant("pool", USE, "10")], use=priced(graduated(("5", "2"), (None, "1")), tax="vat")),
        terms={"taxes": taxed("0.19")},
    )
    found = asked(where, wants(8), use("11-02", 6), use("11-03", 5))
    assert found.line is not None
    assert (found.line.covered, found.line.billable, found.line.amount) == (d(0), d(8), d(4 * 2 + 4 * 1))
    assert (found.tax, found.allowed) == (d("2.28"), True)
    assert (found.allowance.covered, found.allowance.price, found.allowance.sold_beyond) == (d(0), d(1), True)


def test_the_last_credit_is_one_askers() -> None:
    where = space(plan(grants=[plan_grant("pool", USE, "10", **DENYING)], use=per_unit("2")))
    first = asked(where, wants(4), use("11-02", 6))
    assert (first.allowed, first.left, first.allowance.covered) == (True, None, d(0))
    second = asked(where, wants(4, id="second"), use("11-02", 6), reserved=[wants(4)])
    assert (second.reasons, second.left) == (("no_credit",), d(0))
    more = asked(where, wants(5), use("11-02", 6))
    assert (more.reasons, more.left, more.allowance.covered) == (("no_credit",), d(4), d(4))


def test_money_credit_that_pays_for_all_is_credit() -> None:
    cash = given("cash", replace(USE, unit="EUR"), "6", **DENYING)
    where = space(plan(use=per_unit("2")), grants=[cash])
    assert asked(where, wants(3)).allowed
    assert asked(where, wants(4)).reasons == ("no_credit",)


def test_a_given_grant_denies_while_it_is_in_force_and_to_whom_it_is_for() -> None:
    pack = given("pack", USE, "2", member="ada", **DENYING)
    where = space(plan(use=per_unit("2")), grants=[pack])
    assert asked(where, wants(3)).reasons == ("no_credit",)
    assert asked(where, wants(3, by="bob")).allowed
    over = replace(pack, span=replace(pack.span, end=t("11-09")))
    assert asked(space(plan(use=per_unit("2")), grants=[over]), wants(3)).allowed


def test_what_nobody_could_bill_is_refused() -> None:
    where = space(plan(pages=per_unit("1", match={"color": True})), subscriptions=None)
    assert asked(where, wants(1)).reasons == ("unpriced",)
    assert asked(where, wants(1, "pages", dimensions={"color": False})).reasons == ("unpriced",)
    assert asked(where, wants(1, "pages", dimensions={"color": True})).allowed
    assert asked(space(plan(use=per_unit("1")), subscriptions=[]), wants(1)).reasons == ("no_plan",)


def test_what_credit_covers_goes_where_the_rest_has_no_price() -> None:
    where = space(plan(grants=[plan_grant("pool", USE, "10", **DENYING)]))
    assert asked(where, wants(10)).allowed
    refused = asked(where, wants(12), use("11-02", 3))
    assert (refused.reasons, refused.left) == (("unpriced", "no_credit"), d(7))


def test_a_day_that_counts_already_costs_nothing_and_is_always_allowed() -> None:
    where = space(plan(grants=[plan_grant("days", DAYS, "1", **DENYING)], days=per_unit("25")))
    door = wants(1, "days")
    assert asked(where, door, entered("11-10 08:00")).line is None
    assert asked(where, door, entered("11-10 08:00")).allowed
    assert asked(where, door, entered("11-09 08:00")).reasons == ("no_credit",)
    # A reservation makes the day count, and only once.
    assert asked(where, door, reserved=[wants(1, "days", id="first")]).allowed
    assert not asked(where, wants(1, "days", by="bob"), reserved=[wants(1, "days", id="first")]).allowed


def limited(**terms: Any) -> Plan:
    return replace(plan(use=per_unit("2"), pages=per_unit("1")), limits=(UsageLimit(meter="use", **terms),))


def test_beyond_soft_it_warns_and_beyond_hard_it_is_no() -> None:
    where = space(limited(soft=d(5), hard=d(10)))
    used = use("11-02", 4)
    assert [asked(where, wants(n), used).warned for n in (1, 2)] == [False, True]
    assert [asked(where, wants(n), used).allowed for n in (6, 7)] == [True, False]
    refused = asked(where, wants(7), used)
    assert (refused.reasons, refused.left, refused.allowance.left) == (("hard_limit",), d(6), d(6))
    assert asked(where, wants(5), used, reserved=[wants(3, id="other")]).left == d(3)
    assert asked(where, wants(1), used).allowance.left == d(5)
    assert asked(where, wants(50, "pages"), used).allowed


def test_a_limit_of_money_is_of_what_is_to_pay() -> None:
    where = space(
        replace(limited(hard=d(10), of="money"), grants=(plan_grant("pool", USE, "3"),)),
    )
    assert asked(where, wants(8)).allowed
    refused = asked(where, wants("8.5"))
    assert (refused.reasons, refused.left, refused.allowance.left_amount) == (("hard_limit",), None, d(10))


def test_a_members_limit_is_of_the_members_own_usage() -> None:
    where = space(limited(hard=d(5), per="member"))
    assert asked(where, wants(5), use("11-02", 5, by="bob")).allowed
    assert not asked(where, wants(1), use("11-02", 5)).allowed
    assert asked(where, wants(5), reserved=[wants(5, by="bob", id="bobs")]).allowed


def test_a_day_of_a_limit_is_the_sites_however_long_it_is() -> None:
    """On 25 October 2026 Berlin's day has 25 hours: from 22:00 UTC to 23:00 UTC of the next day."""
    where = space(limited(hard=d(5), every="day"))

    def left(at: str, *events: UsageEvent) -> Decimal | None:
        return asked(where, wants(1), *events, at=at).limits[0].left

    first = use("10-24 22:00", 2)
    assert left("10-25 22:59", first, use("10-25 12:00", 1)) == d(2)
    assert left("10-25 23:00", first, use("10-25 12:00", 1)) == d(5)
    assert left("10-25 22:59", use("10-24 21:59", 2)) == d(5)
    # On 29 March it has 23: from 23:00 UTC to 22:00 UTC.
    assert left("03-29 21:59", use("03-28 23:00", 2)) == d(3)
    assert left("03-29 22:00", use("03-28 23:00", 2)) == d(5)


def test_a_period_of_a_limit_is_the_accounts() -> None:
    where = space(limited(hard=d(5)))
    assert asked(where, wants(5), use("10-31 22:59", 5), at="10-31 23:00").allowed
    assert not asked(where, wants(5), use("10-31 22:59", 5), at="10-31 22:59").allowed


def test_an_agent_hears_what_it_may_go_on_with() -> None:
    where = space(
        plan(grants=[plan_grant("pool", PAGES, "10")], pages=priced(graduated(("2", "0.5"), (None, "0.25")))),
        grants=[given("cash", replace(USE, unit="EUR"), "1")],
    )
    found = asked(where, wants(3, "pages"), printed("11-02", 4)).allowance
    assert (found.covered, found.price, found.currency) == (d(3), d("0.5"), "EUR")
    assert (found.left, found.left_amount, found.sold_beyond) == (None, None, True)


def test_a_device_whose_clock_is_ahead_does_not_stop_the_answer() -> None:
    where = space(plan(use=per_unit("2")))
    ahead = t("11-10 12:04")
    found = asked(where, wants(3), use("11-10 12:04", 1), at="11-10 12:00")
    assert found.line is not None
    assert (found.line.key.time, found.line.amount) == (ahead, d(6))


def test_hours_are_asked_for_in_hours_of_credit_and_price() -> None:
    room = Meter(id="room", event="room.booking", aggregate="sum", value=("hours",), unit="hour")
    hours = plan_grant("hours", room, "1.5")
    where = space(plan(grants=[hours], room=per_unit("8")), terms={"meters": {"room": room}})
    found = asked(where, wants("2.25", "room"))
    assert found.line is not None
    assert (found.line.quantity, found.line.covered, found.line.amount) == (d("2.25"), d("1.5"), d(6))
    assert (found.allowance.covered, found.allowance.price) == (d(0), d(8))
    assert asked(where, wants(1, "room")).allowance.covered == d("0.5")
