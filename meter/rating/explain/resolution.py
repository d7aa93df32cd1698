"""How an event came to its account: identity, claim, link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meter.model.charge import Line
from meter.model.directory import Claim, Directory, Link, Span
from meter.model.event import REFUND, SALE, UsageEvent
from meter.model.instant import instant_text
from meter.rating.resolve import claim_at, link_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How an event came to its account; without `claim` by `member:` itself or as a guest of the walk-in account."""

    identity: str | None
    member: str | None
    account: str
    claim: Claim | None
    link: Link | None

    def text(self) -> str:
        """Return it as a line of text."""
        if self.member is None:
            return f"Account: {self.account}, the site's account for guests without a known identity"
        named = f"{self.identity} is " if self.identity not in {None, f"member:{self.member}"} else ""
        since = "" if self.claim is None else _span_text(self.claim.span)
        linked = "" if self.link is None else _span_text(self.link.span)
        return f"Member: {named}{self.member}{since}, of account {self.account}{linked}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        claim, link = self.claim, self.link
        return {
            "identity": self.identity,
            "member": self.member,
            "account": self.account,
            "claim": claim and {"member": claim.member, "from": _when(claim.span.start), "to": _when(claim.span.end)},
            "link": link and {"account": link.account, "from": _when(link.span.start), "to": _when(link.span.end)},
        }


def resolution_of(events: Sequence[UsageEvent], line: Line, directory: Directory) -> Resolution | None:
    """Return how `line` came to its account, with the directory as it is now; None for a line without an event.

    `events` are the line's: its first one tells, but of a refund its sale.
    """
    own = next(iter(events), None)
    if own is not None and own.type == REFUND:
        own = next((event for event in events if event.type == SALE), own)
    if own is None:
        return None
    claim = None if own.subject is None else claim_at(own.subject, own.time, directory)
    if claim is not None and claim.member != line.member:
        claim = None  # it has changed hands since the line was booked
    link = None if line.member is None else link_at(line.member, own.time, directory)
    if link is not None and link.account != line.account:
        link = None  # the member was moved since: where to is not for whom the line was booked to
    return Resolution(identity=own.subject, member=line.member, account=line.account, claim=claim, link=link)


def _span_text(span: Span) -> str:
    start = "" if span.start is None else f" since {instant_text(span.start)}"
    return start + ("" if span.end is None else f" until {instant_text(span.end)}")


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)
