"""The explanation that section 10 shows: a job of colour pages that credit covers in part and two tiers price."""

from __future__ import annotations

from meter.model.directory import Claim, Span
from meter.rating.explain import explain, resolution_of
from tests.rating.shown.words import bill, house, on, print_job, terms

BADGE = "badge:04A2991B"


def explanation() -> str:
    """The text of the second job's charge."""
    catalog = terms(
        """
        meters: {print-pages: {event: print.job, aggregate: sum, value: impressions, unit: page, group_by: [color]}}
        plans:
          flex:
            grants: [{id: pages, unit: page, amount: 100}]
            prices:
              print-pages:
                - {id: colour, model: graduated, tiers: [{up_to: 50, unit_price: "0.25"}, {unit_price: "0.20"}]}
        """,
        sites="sites: {berlin: {tax: vat19}}",
    )
    claim = Claim(identity=BADGE, member="ada", span=Span(start=on("01-01 00:00")))
    where = house(catalog, claims=[claim])
    jobs = [print_job("11-02 09:00", 80, color=True, by=BADGE), print_job("11-03 15:30", 80, color=True, by=BADGE)]
    folded = where.fold(*jobs, trace=True)
    charge, line = bill(where, folded.lines)[-1], folded.lines[-1]
    return explain(
        charge,
        [charge],
        jobs[1:],
        recomputed=line,
        evidence=(folded.evidence or {})[line.key],
        resolution=resolution_of(jobs[1:], line, where.directory),
        facts=where.facts,
    ).text()
