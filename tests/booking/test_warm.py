"""What an account keeps in memory, so that what comes late costs little."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from meter.booking import warm
from meter.booking.step import Change
from meter.booking.warm import WarmAccount
from meter.model.event import UsageEvent
from meter.rating.fold import Folded, fold
from meter.rating.state import AccountState
from tests.rating.world import per_unit, plan, space, t, use

WHERE = space(plan(use=per_unit("1")))
CLOCK = t("11-30 12:00")


def taken(account: WarmAccount, *events: UsageEvent, until: datetime = CLOCK) -> int:
    """Fold events in and return how many lines were made for it."""
    placed = WHERE.placed(events)
    change = Change(added={one.event.key: one for one in placed})
    return len(account.take(WHERE.facts, change, until=until).folded.lines)


def test_a_backlog_behind_what_is_new_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of today is folded again with each part of last week that comes; what came before that part is not."""
    folded = []

    def counted(*arguments: Any, **more: Any) -> Folded:
        folded.append(len(arguments[2]))
        return fold(*arguments, **more)

    monkeypatch.setattr(warm, "fold", counted)
    account = WarmAccount(account="acme", ladder=[AccountState()])
    taken(account, use("11-30 11:00", 1))
    for minute in range(0, 60, 3):
        part = [use(f"11-20 10:{minute + n:02}", 1) for n in range(3)]
        assert taken(account, *part) == 4
    assert folded == [1] + [4] * 20


def test_half_of_what_is_kept_is_forgotten_though_its_states_are_thin() -> None:
    account = WarmAccount(account="acme", ladder=[AccountState()])
    for hour in range(500):
        taken(account, replace(use("11-02 00:00", 1), id=f"u{hour}", time=t("11-02") + timedelta(hours=hour)))
        account.booked([])
    assert len(account.recent) == 500
    assert account.forget_half() >= 125
    assert len(account.ladder) > 1
    assert account.reaches(account.recent[0].event.position)
