"""The example catalog and the simulated days fit: what happens is understood, and every kind of it is billed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import pytest

from meter.examples import example_catalog
from meter.model.catalog import CatalogTimeline
from meter.model.charge import Line
from meter.model.directory import Directory
from meter.model.event import UsageEvent
from meter.model.wire import WireEvent, read_event, read_message
from meter.rating.effective import effective
from meter.rating.facts import AccountFacts
from meter.rating.fold import PlacedEvent, fold
from meter.rating.resolve import Placed, Unresolved, place
from meter.rating.state import AccountState
from meter.simulate import Faults, TrueEvent, deliver, simulate
from tests.rating.stories.telling import Story

WEEK = date(2026, 11, 16)


def accepted(events: Iterable[TrueEvent]) -> list[UsageEvent]:
    """The events as the gateway's door reads them; a refusal fails the test."""
    found = []
    for event in events:
        read = read_event(event.body)
        assert isinstance(read, WireEvent), read
        assert read.time == event.time
        found.append(
            UsageEvent(
                source=read.source,
                id=read.id,
                type=read.type,
                site=read.site,
                time=event.time,
                subject=read.subject,
                thing=read.thing,
                data=read.data,
            )
        )
    return found


@pytest.fixture(scope="module")
def known() -> tuple[Directory, CatalogTimeline]:
    """The example catalog's people and prices."""
    example = Story(example_catalog())
    return example.directory, example.catalogs


def bill(events: Iterable[UsageEvent], known: tuple[Directory, CatalogTimeline]) -> list[Line]:
    directory, catalogs = known
    by_account: dict[str, list[PlacedEvent]] = defaultdict(list)
    for event in effective(events, ()):
        placement = place(event, directory=directory, catalogs=catalogs)
        if isinstance(placement, Placed):
            by_account[placement.account].append(PlacedEvent(event=event, member=placement.member))
    lines: list[Line] = []
    for account, placed in by_account.items():
        facts = AccountFacts(account=directory.accounts[account], directory=directory, catalogs=catalogs)
        folded = fold(facts, AccountState(), placed)
        assert folded.unread == ()
        lines += folded.lines
    return lines


def test_the_door_takes_every_event_of_every_site() -> None:
    assert len(accepted(simulate(start_day=WEEK, sites=12, members=15, days=2))) > 1000


def test_the_door_takes_every_message_on_bad_lines() -> None:
    events = simulate(start_day=WEEK, sites=2, members=15, days=2)
    for delivery in deliver(events, seed=4, faults=Faults(repeated=20, device_offline=60, site_offline=30)):
        read = read_message(delivery.payload)
        assert [event.id for event in read] == [event.id for event in delivery.events]


@pytest.mark.parametrize("weekday", range(5))
def test_a_single_working_day_is_billed_for_every_kind(weekday: int, known: tuple[Directory, CatalogTimeline]) -> None:
    lines = bill(accepted(simulate(start_day=date(2026, 11, 16 + weekday))), known)
    used = {"day-passes", "presence", "print-pages", "wifi-data", "room-hours", "cafe"}
    assert {line.meter for line in lines} >= used | {"membership"}
    assert {"presence", "print-pages", "wifi-data", "cafe"} <= {line.meter for line in lines if line.amount > 0}
    assert any(line.draws for line in lines)
    assert not any(line.unpriced for line in lines)
    assert any(line.account == "walk-in-berlin" and line.amount > 0 for line in lines)


def test_pools_run_dry_within_a_month(known: tuple[Directory, CatalogTimeline]) -> None:
    lines = bill(accepted(simulate(start_day=date(2026, 11, 2), days=28)), known)
    drawn = {line.meter for line in lines if line.draws}
    assert drawn == {"day-passes", "presence", "print-pages", "room-hours"}
    short = {line.meter for line in lines if line.draws and line.billable > 0}
    assert {"presence", "print-pages"} <= short, "no line is split between credit and price"
    assert sum((line.amount for line in lines), Decimal(0)) > 1000


def test_some_are_unknown_and_wait(known: tuple[Directory, CatalogTimeline]) -> None:
    directory, catalogs = known
    events = accepted(simulate(start_day=WEEK, days=5))
    waiting = [e for e in events if isinstance(place(e, directory=directory, catalogs=catalogs), Unresolved)]
    assert {event.type for event in waiting} == {"door.access", "wifi.session"}
    assert len(waiting) < len(events) / 10
