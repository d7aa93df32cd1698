"""In which part of a time something holds."""

from __future__ import annotations

from datetime import datetime

from meter.model.directory import Span
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.resolve import link_at, membership


def overlap(part: Period, span: Span) -> Period | None:
    """Return the part of `part` in which `span` holds; None where there is none."""
    start = part.start if span.start is None else max(part.start, span.start)
    end = part.end if span.end is None else min(part.end, span.end)
    return Period(start, end) if start < end else None


def member_spans(facts: AccountFacts, member: str, part: Period) -> list[Period]:
    """Return the parts of `part` in which the member's usage is the account's."""
    spans = (overlap(part, span) for span in membership(member, facts.account.id, facts.directory))
    return [span for span in spans if span is not None]


def belongs(facts: AccountFacts, member: str, at: datetime) -> bool:
    """Tell whether the member is the account's at `at`."""
    link = link_at(member, at, facts.directory)
    return link is not None and link.account == facts.account.id
