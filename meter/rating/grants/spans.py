"""In which part of a time something holds."""

from __future__ import annotations

from datetime import datetime

from meter.model.directory import FOR_EVER, SINCE_ALWAYS, Span
from meter.rating.facts import AccountFacts
from meter.rating.resolve import link_at, membership


def overlap(first: Span, second: Span) -> Span | None:
    """Return the span in which both hold, its ends always set; None where there is none."""
    start = max(first.start or SINCE_ALWAYS, second.start or SINCE_ALWAYS)
    end = min(first.end or FOR_EVER, second.end or FOR_EVER)
    return Span(start=start, end=end) if start < end else None


def member_spans(facts: AccountFacts, member: str, part: Span) -> list[Span]:
    """Return the spans within `part` in which the member's usage is the account's."""
    spans = (overlap(part, span) for span in membership(member, facts.account.id, facts.directory))
    return [span for span in spans if span is not None]


def belongs(facts: AccountFacts, member: str, at: datetime) -> bool:
    """Tell whether the member is the account's at `at`."""
    link = link_at(member, at, facts.directory)
    return link is not None and link.account == facts.account.id
