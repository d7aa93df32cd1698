"""That booking systems hold each charge once, and how a lost answer is found on their lists."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from meter.export.contract import Absent, Delivered, Finding, Refused, Uncertain, Untried
from meter.export.targets.spaces import target as spaces_target
from meter.export.targets.spec import Means
from meter.model.errors import Unavailable
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import CASES, COBOT_CASE, OFFICERND_CASE, content, customer, item, line
from tests.targets.driving import delivered_through_faults, one
from tests.targets.fakes.http import Answer as FakeAnswer
from tests.targets.fakes.http import Call
from tests.targets.fakes.spaces import FakeOfficeRnD
from tests.targets.spaces.given import Make, by_kind


@pytest.mark.parametrize("name", CASES)
async def test_a_charge_is_held_as_it_was_sent(make: Make, means: Means, name: str) -> None:
    case = CASES[name]
    made = case.items(30, 3)
    async with case.fake() as vendor:
        target = case.open(case.setup(vendor.url), means)
        outcomes = await target.send(made)
        held = {one.id: one for one in vendor.books()}
        assert [held[one.remote_id or ""].customer for one in outcomes if isinstance(one, Delivered)] == [
            customer(int(one.stream.removeprefix("account-"))) for one in made
        ]
        assert case.books(vendor) == case.wanted(made)
        assert list(await target.look_up(made)) == list(outcomes)
        await target.close()


@by_kind
async def test_a_lost_answer_is_found_on_the_list(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(3, 1)
    assert [type(one) for one in await target.look_up(made)] == [Absent] * 3
    vendor.fail_next(500, committed=True, path="/")
    assert isinstance(await one(target.send(made[:1])), Uncertain)
    [held] = vendor.books()
    found: list[Finding] = [*await target.look_up(made)]
    assert found == [Delivered(held.id), Absent(), Absent()]


@by_kind
async def test_what_was_billed_meanwhile_is_found_all_the_same(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(1, 1)
    await target.send(made)
    vendor.invoice_all()
    assert isinstance(await one(target.look_up(made)), Delivered)


@by_kind
async def test_a_list_that_does_not_answer_says_nothing(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(1, 1)
    await target.check()
    vendor.fail_next(503, committed=False, path="/")
    assert isinstance(await one(target.look_up(made)), Uncertain)
    vendor.fail_next(429, committed=False, path="/")
    assert isinstance(await one(target.look_up(made)), Untried)


async def test_a_member_that_is_gone_is_looked_for_on_the_spaces_list(make: Make) -> None:
    vendor, target = await make(COBOT_CASE)
    made = item(content(line()))
    await target.send([made])
    vendor.members.clear()
    assert isinstance(await one(target.look_up([made])), Delivered)
    outcome = await one(target.send([item(content(line()), "other")]))
    assert isinstance(outcome, Refused)
    assert "membership is not there" in outcome.reason


class Deaf(FakeOfficeRnD):
    """Its list knows a member and a company by other names: who asks by these gets nothing."""

    def _list(self, call: Call) -> FakeAnswer:
        return FakeAnswer(content={"results": []}) if "company" in dict(call.query) else super()._list(call)


async def test_an_empty_answer_to_a_filter_is_no_answer(make: Make) -> None:
    async with Deaf() as fake:
        fake.members.add(customer(0))
        _, target = await make(OFFICERND_CASE, OFFICERND_CASE.fake(), url=fake.url)
        made = item(content(line()))
        await target.send([made])
        assert isinstance(await one(target.look_up([made])), Delivered)


async def test_lists_are_read_page_by_page(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, target = await make(OFFICERND_CASE)
    made = [item(content(line(day=date(2026, 11, 3))), f"batch-{number}") for number in range(120)]
    await target.send(made)
    assert isinstance(await one(target.look_up(made[-1:])), Delivered)
    held = [one.batch async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    assert sorted(held) == sorted(one.batch for one in made)
    assert len(vendor.calls("GET", "/fees")) == 6
    monkeypatch.setattr(spaces_target, "PAGES_MAX", 2)
    finding = await one(target.look_up([item(content(line(day=date(2026, 11, 3))), "not there")]))
    assert isinstance(finding, Uncertain)
    assert "more than 2 pages" in finding.reason
    with pytest.raises(Unavailable, match="more than 2 pages"):
        _ = [one async for one in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]


@pytest.mark.parametrize("name", CASES)
async def test_through_a_network_that_fails_each_is_held_once(means: Means, name: str) -> None:
    def later(vendor: Any) -> None:
        vendor.invoice_all()
        vendor.advance(days=8)  # tokens end

    async with delivered_through_faults(CASES[name], means, seed=1, later=later) as (vendor, made):
        assert len(vendor.books()) == len(made)
