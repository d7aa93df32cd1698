"""The fold against the second rater, over random spaces: the same lines to the last place, without a database."""

from __future__ import annotations

import os

import pytest

from tests.reference.adapter import differences, folded, of_fold, of_reference
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
