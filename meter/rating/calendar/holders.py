"""Who holds what within a period: subscriptions, the parts in which the account pays, members under its plan."""

from __future__ import annotations

from meter.model.catalog import Catalog
from meter.model.charge import LineTax
from meter.model.directory import Span, Subscription
from meter.model.period import Period
from meter.rating.facts import AccountFacts
from meter.rating.grants import member_spans, overlap


def subscriptions_of(facts: AccountFacts) -> list[Subscription]:
    """Return the subscriptions of the account and of everybody who was ever a member of it."""
    directory, account = facts.directory, facts.account.id
    holders = [("account", account), *(("member", member) for member in directory.members_of(account))]
    return [subscription for holder in holders for subscription in directory.subscriptions.get(holder, ())]


def parts_of(facts: AccountFacts, subscription: Subscription, within: Period) -> list[Period]:
    """Return the parts of `within` in which the account has the subscription, or the member who has it."""
    part = overlap(within, subscription.span)
    if part is None:
        return []
    return [part] if subscription.member is None else member_spans(facts, subscription.member, part)


def under(facts: AccountFacts, member: str, part: Period) -> list[Period]:
    """Return when in the part the member's usage falls under the account's plan: not while there is an own one."""
    spans = member_spans(facts, member, part)
    for own in facts.directory.subscriptions.get(("member", member), ()):
        start, end = own.span.start, own.span.end
        before = [] if start is None else [overlap(span, Span(end=start)) for span in spans]
        after = [] if end is None else [overlap(span, Span(start=end)) for span in spans]
        spans = [span for span in [*before, *after] if span is not None]
    return spans


def only_site(catalog: Catalog) -> str:
    """Return the site of what happens at none: the catalog's only one, else ""."""
    return next(iter(catalog.sites)) if len(catalog.sites) == 1 else ""


def tax_of(catalog: Catalog, name: str | None) -> LineTax | None:
    """Return the tax by name, else that of the catalog's only site."""
    name = name or catalog.site(only_site(catalog)).tax
    tax = None if name is None else catalog.taxes.get(name)
    return None if tax is None else LineTax(name=tax.name, rate=tax.rate, inclusive=tax.inclusive)
