"""A story: a catalog as it is written, what happens, and the bill as text.

Events are told one a line, in the time of their site: `2026-11-03 09:00 ada door.access {granted: true}`, with
`@site` behind the name where it is not the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml

from meter.catalog.draft import DirectoryDraft
from meter.catalog.entry import When
from meter.catalog.load import LoadedCatalog, instant_of, read_catalog_text
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.directory import Account, Claim, Directory, Discount, GivenGrant, Link, Member, Span, Subscription
from meter.model.event import THING_FIELDS, Revision, UsageEvent
from meter.model.instant import zone
from meter.model.money import ZERO, plain
from meter.model.period import Replaced
from meter.rating.grants import balances
from meter.rating.statement import Statement, StatementLine
from tests.rating.summed import statement_of
from tests.rating.world import Ledger, Space


class Story:
    """A space as a catalog's text has it. `versions`: later versions, each with its `effective`.

    `replaced`: the account's terms before those in the text.
    """

    def __init__(self, text: str, *versions: str, account: str = "acme", replaced: Iterable[Replaced] = ()) -> None:
        loaded = [read_catalog_text([("story.yaml", one)]) for one in (text, *versions)]
        self.directory = _directory(loaded[0].directory, loaded[0].catalog)
        self.catalogs = CatalogTimeline(versions=tuple(_version(one, n) for n, one in enumerate(loaded, 1)))
        self.account = replace(self.directory.accounts[account], replaced=tuple(replaced))
        self.directory = replace(self.directory, accounts={**self.directory.accounts, account: self.account})
        self.sites = list(loaded[0].catalog.sites.values())

    def events(self, text: str) -> list[UsageEvent]:
        """What happens, an event a line."""
        return [self._event(n, line.strip()) for n, line in enumerate(text.strip().splitlines(), 1)]

    def _event(self, number: int, line: str) -> UsageEvent:
        head, _, data = line.partition(" {")
        day, clock, who, kind = head.split()
        name, _, at = who.partition("@")
        site = next(one for one in self.sites if at in {"", one.id})
        time = datetime.fromisoformat(f"{day}T{clock}")
        body = yaml.load("{" + data, Loader=yaml.CSafeLoader)
        return UsageEvent(
            source=f"{site.id}/device",
            id=f"e{number:03}",
            type=kind,
            site=site.id,
            time=(time if time.tzinfo is not None else time.replace(tzinfo=zone(site.timezone))).astimezone(UTC),
            subject=None if name == "-" else f"member:{name}",
            thing=body.get(THING_FIELDS.get(kind, "")),
            data=body,
        )

    def space(self, closed: Iterable[str] = ()) -> Space:
        """The space, with these periods closed."""
        account = self.account
        found = [account.periods.named(name) for name in closed]
        return Space(
            directory=self.directory,
            catalogs=self.catalogs,
            account=account.id,
            closed=frozenset(period.start for period in found),
        )

    def bill(
        self,
        text: str,
        *,
        until: str,
        closed: Iterable[str] = (),
        revisions: Iterable[Revision] = (),
        left: bool = False,
    ) -> str:
        """The statements of all periods until a day (its end, in the account's zone), and which credit is left then."""
        where, clock = (
            self.space(closed),
            datetime.fromisoformat(until).replace(tzinfo=zone(self.account.timezone)).astimezone(UTC),
        )
        events = self.events(text) if text.strip() else []
        ledger = Ledger.empty()
        ledger.make_good(where.lines(*events, revisions=revisions, until=clock))
        periods = sorted({charge.invoice_period for charge in ledger.charges}, key=lambda period: period.start)
        told = []
        for period in periods:
            told.append(self.account.periods.name(period))
            statement = statement_of(charge for charge in ledger.charges if charge.invoice_period == period)
            told += [f"  {line}" for line in _told(statement)]
        if left:
            used: dict[str, Any] = {}
            for charge in ledger.charges:
                for draw in charge.line.draws:
                    used[draw.grant] = used.get(draw.grant, ZERO) + draw.amount
            told += [f"left {one.id} {plain(one.remaining)} {one.unit}" for one in balances(where.facts, clock, used)]
        return "\n".join(told)


def bill(text: str) -> str:
    """A bill as it is written in a test."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    margin = min(len(line) - len(line.lstrip()) for line in lines if line)
    return "\n".join(line[margin:] for line in lines).rstrip()


def _told(statement: Statement) -> Iterator[str]:
    for line in statement.lines:
        yield " ".join([line.section, *_what(line), plain(line.rounded) if line.currency else "", line.currency])
    for totals in statement.totals:
        yield f"net {plain(totals.net)} tax {plain(totals.tax)} due {plain(totals.gross)} {totals.currency}"


def _what(line: StatementLine) -> Iterator[str]:
    yield line.meter if line.price is None or line.kind == "fee" else f"{line.meter}/{line.price}"
    if line.quantity or line.covered:
        yield f"{plain(line.quantity)} {line.unit}"
    if line.covered:
        yield f"({plain(line.covered)} by credit)"
    if line.estimated:
        yield f"({line.estimated} estimated)"
    if line.unpriced:
        yield "unpriced"
    if line.expired:
        yield "expired"


def _version(loaded: LoadedCatalog, number: int) -> Catalog:
    given = loaded.catalog
    return Catalog(
        **{name: getattr(given, name) for name in Catalog.__dataclass_fields__ if name not in {"version", "effective"}},
        version=number,
        effective=loaded.effective,
    )


def _directory(draft: DirectoryDraft, catalog: Catalog) -> Directory:
    accounts = {
        one.id: Account(
            id=one.id,
            name=one.name,
            currency=one.currency or catalog.currency,
            timezone=one.timezone or catalog.timezone,
            anchor_day=one.anchor_day,
        )
        for one in draft.accounts
    }
    account_of = {link.member: link.account for link in draft.links}

    def span(account: str | None, start: When, end: When) -> Span:
        name = accounts[account].timezone if account in accounts else catalog.timezone
        return Span(start=instant_of(start, name), end=instant_of(end, name))

    subscriptions: dict[tuple[str, str], tuple[Subscription, ...]] = {}
    for held in draft.subscriptions:
        payer = held.account or account_of[held.member or ""]
        holder = ("member", held.member) if held.member else ("account", payer)
        discounts = [
            Discount(id=one.id, rate=one.rate, amount=one.amount, on=one.on, span=span(payer, one.start, one.end))
            for one in held.discounts
        ]
        found = Subscription(
            id=held.id,
            plan=held.plan,
            account=held.account,
            member=held.member,
            span=span(payer, held.start, held.end),
            seats=held.seats,
            discounts=tuple(discounts),
            deposit=held.deposit,
        )
        subscriptions[holder] = (*subscriptions.get(holder, ()), found)
    grants: dict[str, tuple[GivenGrant, ...]] = {}
    for one in draft.grants:
        given = GivenGrant(
            id=one.id,
            account=one.account,
            member=one.member,
            unit=one.unit,
            amount=one.amount,
            meters=one.meters,
            span=span(one.account, one.start, one.end),
            priority=one.priority,
            bought=one.bought,
        )
        grants[one.account] = (*grants.get(one.account, ()), given)
    links: dict[str, tuple[Link, ...]] = {}
    for link in draft.links:
        made = Link(member=link.member, account=link.account, span=span(link.account, link.start, link.end))
        links[link.member] = (*links.get(link.member, ()), made)
    return Directory(
        version=1,
        accounts=accounts,
        members={one.id: Member(id=one.id, name=one.name) for one in draft.members},
        links=links,
        claims={one.identity: (Claim(identity=one.identity, member=one.member),) for one in draft.claims},
        subscriptions=subscriptions,
        grants=grants,
    )
