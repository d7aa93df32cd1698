"""Who pays for an event: identity to member to account to plan, as of the event's time (rating.md, sections 1 and 2).

subject ──claim──▶ member ──link──▶ account        paid sale of an unknown guest ──▶ the site's walk-in account
                                                   refund ──▶ where its sale is
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Final, TypeAlias

from meter.model.catalog import CatalogTimeline
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, Claim, Directory, Link, Span, Subscription
from meter.model.event import AMENDED, HEARTBEAT, REFUND, SALE, VOIDED, UsageEvent
from meter.rating.sale import is_paid

_NOT_BY_SUBJECT: Final = frozenset({VOIDED, AMENDED, HEARTBEAT, REFUND})
_MEMBER: Final = "member:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The event is folded with `account`; `member` is None for a paid sale of an unknown guest."""

    account: str
    member: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """Nobody answers for the event yet; `identity` is None for a sale on account without a subject."""

    identity: str | None


@dataclass(frozen=True, slots=True)
class Operational:
    """The event is stored and in no bill."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The refund's sale is not known, does not count, or is nobody's yet: it counts once that changes."""


Placement: TypeAlias = Placed | Unresolved | Operational
_OPERATIONAL: Final = Operational()
_WAITING: Final = Waiting()


def place(event: UsageEvent, *, directory: Directory, catalogs: CatalogTimeline) -> Placement:
    """Return with which account the event is folded, or why with none. Of refunds only `place_refund` can tell."""
    if event.type in _NOT_BY_SUBJECT:
        return _OPERATIONAL
    identity = event.subject
    if identity is not None:
        member = member_of(identity, event.time, directory)
        if member is not None:
            link = link_at(member, event.time, directory)
            return Unresolved(identity=identity) if link is None else Placed(account=link.account, member=member)
    if event.type == SALE:
        walk_in = catalogs.at(event.time).site(event.site).walk_in if is_paid(event.data) else None
        if walk_in is not None and walk_in in directory.accounts:
            return Placed(account=walk_in, member=None)
        return Unresolved(identity=identity)
    return _OPERATIONAL if identity is None else Unresolved(identity=identity)


def place_refund(sale: UsageEvent | None, *, directory: Directory, catalogs: CatalogTimeline) -> Placed | Waiting:
    """Return with which account a refund is folded: with its sale's, for the member who bought.

    `sale` is the event that counts of the sale, None while there is none.
    """
    placement = None if sale is None else place(sale, directory=directory, catalogs=catalogs)
    return placement if isinstance(placement, Placed) else _WAITING


def member_of(identity: str, instant: datetime, directory: Directory) -> str | None:
    """Return the member that `identity` means at `instant`; `member:ID` means that member without a claim.

    One that was merged means the member that it turned out to be, at any instant.
    """
    if identity.startswith(_MEMBER):
        return directory.member_called(identity.removeprefix(_MEMBER))
    claim = claim_at(identity, instant, directory)
    return None if claim is None else claim.member


def claim_at(identity: str, instant: datetime, directory: Directory) -> Claim | None:
    """Return the claim that counts: of those that cover `instant` the latest start, then the greatest member id.

    A claim without a start begins at the identity's earliest event. One that comes in earlier still is that event.
    """
    best: Claim | None = None
    best_start = SINCE_ALWAYS
    for claim in directory.claims.get(identity, ()):
        end, start = claim.span.end, claim.span.start
        if end is not None and end <= instant:
            continue
        if start is None:
            start = min(instant, directory.first_events.get(identity, instant))
        elif start > instant:
            continue
        if best is None or (start, claim.member) > (best_start, best.member):
            best, best_start = claim, start
    return best


def link_at(member: str, instant: datetime, directory: Directory) -> Link | None:
    """Return the link that counts: of those that cover `instant` the latest start, then the greatest account id."""
    best: Link | None = None
    for link in directory.links.get(member, ()):
        if link.span.covers(instant) and (best is None or _link_rank(link) > _link_rank(best)):
            best = link
    return best


def _link_rank(link: Link) -> tuple[datetime, str]:
    return (link.span.start or SINCE_ALWAYS, link.account)


def membership(member: str, account: str, directory: Directory) -> tuple[Span, ...]:
    """Return the disjoint spans, in order, in which the member's usage is the account's."""
    links = directory.links.get(member, ())
    if len(links) == 1:
        return (links[0].span,) if links[0].account == account else ()
    starts = {link.span.start or SINCE_ALWAYS for link in links}
    edges = sorted(starts | {link.span.end for link in links if link.span.end is not None})
    spans: list[Span] = []
    for edge, following in zip_longest(edges, edges[1:]):
        link = link_at(member, edge, directory)
        if link is None or link.account != account:
            continue
        start = None if edge == SINCE_ALWAYS else edge
        if spans and spans[-1].end == start and start is not None:
            start = spans.pop().start
        spans.append(Span(start=start, end=following))
    return tuple(spans)


def subscription_span(
    *, account: str, member: str | None, instant: datetime, directory: Directory
) -> tuple[Subscription | None, datetime, datetime]:
    """Return the subscription under which usage at `instant` falls, and the span around it in which that is so."""
    found = subscription_at(account=account, member=member, instant=instant, directory=directory)
    start, end = SINCE_ALWAYS, FOR_EVER
    for holder in (("member", member or ""), ("account", account)):
        for subscription in directory.subscriptions.get(holder, ()):
            for edge in (subscription.span.start, subscription.span.end):
                if edge is None:
                    continue
                if edge <= instant:
                    start = max(start, edge)
                else:
                    end = min(end, edge)
    return found, start, end


def subscription_at(
    *, account: str, member: str | None, instant: datetime, directory: Directory
) -> Subscription | None:
    """Return the subscription under which usage at `instant` falls: the member's own, else the account's."""
    subscriptions = directory.subscriptions
    if member is not None:
        for subscription in subscriptions.get(("member", member), ()):
            if subscription.span.covers(instant):
                return subscription
    for subscription in subscriptions.get(("account", account), ()):
        if subscription.span.covers(instant):
            return subscription
    return None
