"""Which accounts a change of facts can touch, and since when (decision 0006). Pure.

      change of               touches                                            since
      a claim                 every account that anyone who ever claimed the     its start; where only its end moved,
                              identity ever belonged to; walk-in accounts of     the earlier end
                              sites where that identity paid at the till
      a link                  every account that the member ever belonged to     the same, from the period's start
      a subscription          its account; a member's own: the member's          the same, from the period's start
      a given grant           its account                                        its start
      an account's terms      the account                                        always
      a new walk-in account   the account                                        always

Credit of a part of a period depends on the days of the whole period, hence "from the period's start".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from meter.catalog.changes import Change, DirectoryChanges, Stored
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, Account, Span, Subscription
from meter.model.instant import EARLIEST
from meter.model.period import period_at

_REASONS_SHOWN_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Touch:
    """From `since` on the account's lines may differ, because of `reason`."""

    account: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What decides who is touched beside the changes themselves.

    `sale_sites`: where an identity has bought anything. `walk_ins`: the walk-in accounts that a site ever had.
    """

    stored: Stored
    sale_sites: Mapping[str, Collection[str]]
    walk_ins: Mapping[str, Collection[str]]


def touches(changes: DirectoryChanges, around: Surroundings) -> Iterator[Touch]:
    """Give what the changes touch; an account may come several times."""
    stored = around.stored
    accounts = dict(stored.accounts) | {change.after.id: change.after for change in changes.accounts}
    belonged: dict[str, set[str]] = {}
    for link in [*stored.links, *(change.after for change in changes.links)]:
        belonged.setdefault(link.member, set()).add(link.account)
    claimants: dict[str, set[str]] = {}
    for claim in [*stored.claims, *(change.after for change in changes.claims)]:
        claimants.setdefault(claim.identity, set()).add(claim.member)

    yield from _of_accounts(changes, around)
    for member in changes.members:
        if member.before is None:
            identity = f"member:{member.after.id}"
            yield from _walk_ins(around, identity, SINCE_ALWAYS, f"member {member.after.id}")
    for claim_change in changes.claims:
        claim = claim_change.after
        since = _since(None if claim_change.before is None else claim_change.before.span, claim.span)
        reason = f"claim of {claim.identity}"
        for member_id in claimants[claim.identity]:
            yield from (Touch(account, since, reason) for account in belonged.get(member_id, ()))
        yield from _walk_ins(around, claim.identity, since, reason)
    for link_change in changes.links:
        link = link_change.after
        since = _since(None if link_change.before is None else link_change.before.span, link.span)
        yield from _from_period(belonged[link.member], accounts, since, f"link of {link.member} to {link.account}")
    for subscription in changes.subscriptions:
        since = _subscription_since(subscription)
        held = _held_by(subscription, belonged)
        yield from _from_period(held, accounts, since, f"subscription {subscription.after.id}")
    for grant in changes.grants:
        starts = [given.span.start or SINCE_ALWAYS for given in (grant.before, grant.after) if given is not None]
        yield Touch(grant.after.account, min(starts), f"grant {grant.after.id}")


def joined(found: Iterable[Touch], *, until: datetime | None) -> tuple[Touch, ...]:
    """Return one touch an account, by account: the earliest instant and the reasons.

    Those that begin after `until`, the last event of all, touch nothing; None: there is no event yet.
    """
    if until is None:
        return ()
    by_account: dict[str, list[Touch]] = {}
    for touch in found:
        if touch.since <= until:
            by_account.setdefault(touch.account, []).append(touch)
    return tuple(
        Touch(account, min(touch.since for touch in several), _reason(several))
        for account, several in sorted(by_account.items())
    )


def _reason(several: Iterable[Touch]) -> str:
    reasons = sorted({touch.reason for touch in several})
    more = len(reasons) - _REASONS_SHOWN_MAX
    return ", ".join(reasons[:_REASONS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _of_accounts(changes: DirectoryChanges, around: Surroundings) -> Iterator[Touch]:
    walk_ins = {account for accounts in around.walk_ins.values() for account in accounts}
    for change in changes.accounts:
        account = change.after
        if change.before is None:
            if account.id in walk_ins:
                yield Touch(account.id, SINCE_ALWAYS, f"account {account.id}")
        elif terms_changed(change):
            yield Touch(account.id, SINCE_ALWAYS, f"account {account.id}")


def terms_changed(change: Change[Account]) -> bool:
    """Tell whether an account's currency, zone or anchor day differs from before: what its periods hang on."""
    before, after = change.before, change.after
    return before is not None and (before.currency, before.timezone, before.anchor_day) != (
        after.currency,
        after.timezone,
        after.anchor_day,
    )


def _walk_ins(around: Surroundings, identity: str, since: datetime, reason: str) -> Iterator[Touch]:
    for site in around.sale_sites.get(identity, ()):
        yield from (Touch(account, since, reason) for account in around.walk_ins.get(site, ()))


def _since(before: Span | None, after: Span) -> datetime:
    """Return the first instant at which it matters that `before` became `after`."""
    if before is None:
        return after.start or SINCE_ALWAYS
    if before.start != after.start:
        return min(before.start or SINCE_ALWAYS, after.start or SINCE_ALWAYS)
    return min(before.end or FOR_EVER, after.end or FOR_EVER)


def _subscription_since(change: Change[Subscription]) -> datetime:
    before, after = change.before, change.after
    if before is None:
        return after.span.start or SINCE_ALWAYS
    same_terms = (before.plan, before.account, before.member, before.seats) == (
        after.plan,
        after.account,
        after.member,
        after.seats,
    )
    if same_terms:
        return _since(before.span, after.span)
    return min(before.span.start or SINCE_ALWAYS, after.span.start or SINCE_ALWAYS)


def _held_by(change: Change[Subscription], belonged: Mapping[str, set[str]]) -> set[str]:
    """Return the accounts whose usage falls under the subscription, before or after."""
    found: set[str] = set()
    for subscription in (change.before, change.after):
        if subscription is not None and subscription.account is not None:
            found.add(subscription.account)
        elif subscription is not None and subscription.member is not None:
            found |= belonged.get(subscription.member, set())
    return found


def _from_period(
    touched: Iterable[str], accounts: Mapping[str, Account], since: datetime, reason: str
) -> Iterator[Touch]:
    """Give a touch of each account from the start of the billing period that holds `since`."""
    for name in touched:
        account = accounts.get(name)
        start = since
        if account is not None and since > EARLIEST:
            start = period_at(since, zone_name=account.timezone, anchor_day=account.anchor_day).start
        yield Touch(name, start, reason)
