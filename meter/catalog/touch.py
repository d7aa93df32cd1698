"""Which accounts a change of facts can touch, and since when (decision 0006). Pure.

      change of               touches                                            since
      a claim                 every account that anyone who ever claimed the     its start; where only its end moved,
                              identity ever belonged to; walk-in accounts of     the earlier end
                              sites where that identity paid at the till
      a link                  every account that the member ever belonged to     the same
      a subscription          its account; a member's own: the member's          its start; where only its end moved,
                                                                                 the earlier end
      a given grant           its account; nobody where only its `overage`       its start
                              differs, which no bill depends on
      an account's terms      the account                                        its first other period; before it was
                                                                                 ever charged: always
      a new walk-in account   the account                                        always

Every instant stands for the start of the billing period that holds it: credit and fees of a part of a period depend on
the days of the whole, and what a subscription without a start owes begins with the period of the account's first event
or purchase. Lines at that very instant may differ, too.

Fees, deposits, purchases, first flats and minimums are due without an event: what changes them (`timed`) is folded
again even where nothing was used since, so that the fold can tell when something will be due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from meter.catalog.changes import Change, DirectoryChanges, Stored
from meter.model.directory import FOR_EVER, SINCE_ALWAYS, Account, Span, Subscription
from meter.model.instant import EARLIEST
from meter.model.money import is_currency

_REASONS_SHOWN_MAX: Final = 3
# A month, and what a change of the clock adds to it.
_PERIOD_MAX: Final = timedelta(days=32)


@dataclass(frozen=True, slots=True)
class Touch:
    """From `since` on the account's lines may differ, because of `reason`; `timed`: even without an event."""

    account: str
    since: datetime
    reason: str
    timed: bool = False


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
    for touch in _of_the_rest(changes, around, belonged, claimants):
        yield replace(touch, since=_period_start(touch.since, accounts.get(touch.account)))


def _of_the_rest(
    changes: DirectoryChanges,
    around: Surroundings,
    belonged: Mapping[str, Collection[str]],
    claimants: Mapping[str, Collection[str]],
) -> Iterator[Touch]:
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
        for account in belonged[link.member]:
            # The reason stands in the account's charges; to which other one the member went is not its business.
            reason = f"link of {link.member}" + (f" to {account}" if account == link.account else "")
            yield Touch(account, since, reason, timed=True)
    for subscription in changes.subscriptions:
        since, reason = _subscription_since(subscription), f"subscription {subscription.after.id}"
        yield from (Touch(account, since, reason, timed=True) for account in _held_by(subscription, belonged))
    for grant in changes.grants:
        if grant.before is not None and replace(grant.before, overage=grant.after.overage) == grant.after:
            continue
        given = [one for one in (grant.before, grant.after) if one is not None]
        yield Touch(
            grant.after.account,
            min(one.span.start or SINCE_ALWAYS for one in given),
            f"grant {grant.after.id}",
            # Money lowers first flats, too, which are usage without an event.
            timed=any(one.bought is not None or is_currency(one.unit) for one in given),
        )


def joined(found: Iterable[Touch], *, until: datetime | None) -> tuple[Touch, ...]:
    """Return one touch an account, by account: the earliest instant and the reasons.

    Those that begin after `until`, the last event of all (None: there is none yet), touch nothing unless `timed`.
    """
    by_account: dict[str, list[Touch]] = {}
    for touch in found:
        if touch.timed or (until is not None and touch.since <= until):
            by_account.setdefault(touch.account, []).append(touch)
    return tuple(
        Touch(
            account,
            min(touch.since for touch in several),
            _reason(several),
            timed=any(touch.timed for touch in several),
        )
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
        elif (since := account.periods.differ_from(change.before.periods)) is not None:
            yield Touch(account.id, since, f"account {account.id}", timed=True)


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
    if replace(before, span=after.span) == after:
        return _since(before.span, after.span)
    return min(before.span.start or SINCE_ALWAYS, after.span.start or SINCE_ALWAYS)


def _held_by(change: Change[Subscription], belonged: Mapping[str, Collection[str]]) -> set[str]:
    """Return the accounts whose usage falls under the subscription, before or after."""
    found: set[str] = set()
    for subscription in (change.before, change.after):
        if subscription is not None and subscription.account is not None:
            found.add(subscription.account)
        elif subscription is not None and subscription.member is not None:
            found.update(belonged.get(subscription.member, ()))
    return found


def _period_start(instant: datetime, account: Account | None) -> datetime:
    """Return the start of the account's billing period that holds `instant`; of one not at hand, no later than that."""
    if instant <= EARLIEST + _PERIOD_MAX:
        return SINCE_ALWAYS
    if account is None:
        return instant - _PERIOD_MAX
    return account.periods.at(instant).start
