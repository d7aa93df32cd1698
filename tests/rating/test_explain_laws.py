"""Every line that any history brings explains itself: its JSON computes the amount again (Hypothesis)."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import HealthCheck, given, settings

from meter.rating.explain import explain, resolution_of
from meter.rating.fold import fold
from meter.rating.state import AccountState
from tests.rating.arithmetic import adds_up
from tests.rating.histories import Facts, History, facts, histories
from tests.rating.world import Ledger


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(facts(), histories())
def test_every_line_adds_up(known: Facts, history: History) -> None:
    where = known.at(len(known.late))
    placed = where.placed(history.events, history.revisions)
    folded = fold(where.facts, AccountState(), placed, until=history.until, trace=True)
    ledger = Ledger.empty()
    ledger.make_good(folded.lines)
    assert folded.evidence is not None
    of = {one.event.key: one.event for one in placed}
    for charge in ledger.charges:
        line = charge.line
        events = [of[key] for key in line.events]
        found = explain(
            charge,
            [charge],
            events,
            recomputed=line,
            evidence=folded.evidence.get(line.key),
            resolution=resolution_of(events, line, where.directory),
            facts=where.facts,
        )
        told = json.loads(json.dumps(found.as_json(), default=lambda number: str(Decimal(number))))
        assert adds_up(told)
        assert told["text"] == found.text()
