"""The fold against the second rater, over random spaces: the same lines to the last place, without a database."""

from __future__ import annotations

import json
import os

import pytest

from meter.rating.fold import TooLate, fold
from meter.rating.state import AccountState
from tests.reference.adapter import differences, folded, inputs, of_fold, of_reference
from tests.reference.rater import Facts, Rater
from tests.reference.scenario import Maker

# METER_DIFFERENTIAL_FOLD=FIRST:COUNT:EVENTS runs as many seeds as wanted; some twenty spaces a second.
FIRST, COUNT, EVENTS = map(int, os.environ.get("METER_DIFFERENTIAL_FOLD", "1:40:40").split(":"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_the_fold_says_the_lines_of_a_second_rater(seed: int) -> None:
    scenario = Maker(seed, events=EVENTS).make()
    facts = Facts(scenario.versions, scenario.puts, scenario.events, now=scenario.now, closes=scenario.closes)
    bill = Rater(facts, scenario.events).bill
    found = differences(of_reference(bill.lines), of_fold(folded(scenario, facts)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_the_fold_goes_on_from_any_of_its_states(seed: int) -> None:
    """From a state on the way, and from the end of a fold that knew less; or it says that it cannot."""
    scenario = Maker(seed, events=EVENTS).make()
    facts = Facts(scenario.versions, scenario.puts, scenario.events, now=scenario.now, closes=scenario.closes)
    for given, events in inputs(scenario, facts):
        whole = fold(given, AccountState(), events, until=scenario.now, stride=5)
        states = list(whole.rungs)
        for n in {len(events) // 3, 2 * len(events) // 3} - {0}:
            states += [
                fold(given, AccountState(), events[:n], until=until).state for until in (None, events[n].event.time)
            ]
        for state in states:
            assert state.position is not None
            kept = AccountState.from_json(json.loads(json.dumps(state.to_json(), default=str)))
            rest = [one for one in events if one.event.position > state.position]
            try:
                lines = fold(given, kept, rest, until=scenario.now).lines
            except TooLate:
                continue
            found = differences(
                of_fold(line for line in whole.lines if tuple(line.key[:3]) > tuple(state.position)), of_fold(lines)
            )
            assert not found, "\n".join(found)
