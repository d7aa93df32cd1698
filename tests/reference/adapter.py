"""Between the second rater and the real fold: its facts and events, and the lines of both in the same words."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from meter.catalog.load import read_catalog_text
from meter.model.catalog import Catalog, CatalogTimeline
from meter.model.charge import EXPIRY_PART
from meter.model.charge import Line as Folded
from meter.model.directory import (
    FOR_EVER,
    Account,
    Claim,
    Directory,
    Discount,
    GivenGrant,
    Link,
    Member,
    Purchase,
    Span,
    Subscription,
)
from meter.model.event import THING_FIELDS, EventKey, Revision, UsageEvent
from meter.model.period import Replaced
from meter.model.period import Terms as ProductTerms
from meter.rating.effective import effective
from meter.rating.facts import AccountFacts
from meter.rating.fold import PlacedEvent, fold
from meter.rating.resolve import Placed, place, place_refund
from meter.rating.state import AccountState
from tests.reference.chance import Scenario
from tests.reference.counting import EARLY
from tests.reference.dates import ALWAYS, NEVER, Calendar, Terms
from tests.reference.facts import Facts
from tests.reference.lines import Line
from tests.reference.values import Doc, decimal

# One line, told as text by field, so that any difference can be read.
Told = dict[str, str]
Lines = dict[tuple[Any, ...], Told]


# --- facts ------------------------------------------------------------------------------------------------------------


def catalogs(scenario: Scenario, facts: Facts) -> CatalogTimeline:
    found: list[Catalog] = []
    for start, n, body in facts.versions:
        loaded = read_catalog_text([("catalog.yaml", json.dumps(body))])
        found.append(replace(loaded.catalog, version=n, effective=None if start == ALWAYS else start))
    return CatalogTimeline(versions=tuple(found))


def _span(facts: Facts, entry: Doc, calendar: Calendar, first: str = "from", last: str = "to") -> Span:
    start, end = facts.span(entry, calendar, first, last)
    return Span(start=None if start == ALWAYS else start, end=None if end == NEVER else end)


def directory(facts: Facts) -> Directory:
    """The directory as the store would put it together."""
    links: dict[str, list[Link]] = defaultdict(list)
    for link in facts.links.values():
        span = _span(facts, link, facts.calendar_of_member(link["member"]))
        links[link["member"]].append(Link(member=link["member"], account=link["id"], span=span))
    claims: dict[str, list[Claim]] = defaultdict(list)
    for claim in facts.claims.values():
        span = _span(facts, claim, facts.calendar_of_member(claim["member"]))
        claims[claim["id"]].append(Claim(identity=claim["id"], member=claim["member"], span=span))
    grants: dict[str, list[GivenGrant]] = defaultdict(list)
    for grant in facts.grants.values():
        grants[grant["account"]].append(_grant(facts, grant))
    return Directory(
        version=1,
        accounts={
            name: Account(
                id=name, name=name, replaced=replaced(facts.calendar(name)), **newest(facts.calendar(name))._asdict()
            )
            for name in facts.accounts
        },
        members={name: Member(id=name, name=name) for name in facts.members},
        links={name: tuple(several) for name, several in links.items()},
        claims={name: tuple(several) for name, several in claims.items()},
        subscriptions=_subscriptions(facts),
        grants={name: tuple(several) for name, several in grants.items()},
        first_events={identity: facts.first.get(identity, FOR_EVER) for identity in claims},
    )


def _terms(terms: Terms) -> ProductTerms:
    return ProductTerms(terms.currency, terms.zone, terms.anchor)


def newest(calendar: Calendar) -> ProductTerms:
    return _terms(calendar.eras[-1][1])


def replaced(calendar: Calendar) -> tuple[Replaced, ...]:
    """All but the newest, each until the month in which the next begins."""
    return tuple(Replaced(_terms(terms), until) for (_, terms), (until, _) in pairwise(calendar.eras))


def _grant(facts: Facts, grant: Doc) -> GivenGrant:
    bought = grant.get("bought")
    return GivenGrant(
        id=grant["id"],
        account=grant["account"],
        unit=grant["unit"],
        amount=Decimal(grant["amount"]),
        member=grant.get("member"),
        meters=None if grant.get("meters") is None else tuple(grant["meters"]),
        span=_span(facts, grant, facts.calendar(grant["account"]), "effective", "expires"),
        priority=grant.get("priority", 100),
        bought=bought and Purchase(price=Decimal(bought["price"]), tax=bought.get("tax")),
    )


def _subscriptions(facts: Facts) -> dict[tuple[str, str], tuple[Subscription, ...]]:
    found: dict[tuple[str, str], list[Subscription]] = defaultdict(list)
    for sub in sorted(facts.subscriptions.values(), key=lambda sub: (facts.sub_span(sub)[0], sub["id"])):
        holder = ("account", sub["account"]) if sub["account"] else ("member", sub["member"])
        calendar = facts.calendar_of(sub)
        found[holder].append(
            Subscription(
                id=sub["id"],
                plan=sub["plan"],
                account=sub["account"],
                member=sub["member"],
                span=_span(facts, sub, calendar),
                seats=sub.get("seats"),
                discounts=tuple(
                    Discount(
                        id=one["id"],
                        rate=Decimal(one["rate"]) if "rate" in one else None,
                        amount=Decimal(one["amount"]) if "amount" in one else None,
                        on=(one["on"],) if isinstance(one.get("on"), str) else tuple(one.get("on", ())),
                        span=_span(facts, one, calendar),
                    )
                    for one in sub.get("discounts", [])
                ),
                deposit=Decimal(sub["deposit"]) if sub.get("deposit") else None,
            )
        )
    return {holder: tuple(several) for holder, several in found.items()}


# --- events -----------------------------------------------------------------------------------------------------------


def _json(value: Any) -> Any:
    """As it comes from the wire: numbers with a point as Decimal."""
    return json.loads(json.dumps(value), parse_float=Decimal)


def counted(events: list[Doc], now: datetime) -> list[UsageEvent]:
    """The events that count, by the gateway's own rule."""
    usage: list[UsageEvent] = []
    revisions: list[Revision] = []
    for event in events:
        data = _json(event["data"])
        if event["at"] - EARLY > now:
            continue
        if event["type"] in {"event.voided", "event.amended"}:
            target = EventKey(data["source"], data["id"])
            revisions.append(
                Revision(target=target, source=event["source"], id=event["id"], time=event["at"], data=data.get("data"))
            )
            continue
        thing = data.get(THING_FIELDS.get(event["type"], ""))
        usage.append(
            UsageEvent(
                source=event["source"],
                id=event["id"],
                type=event["type"],
                site=event["source"].split("/")[0],
                time=event["at"],
                subject=event.get("subject"),
                thing=None if thing is None else str(thing),
                data=data,
            )
        )
    return effective(usage, revisions)


def placed(events: list[UsageEvent], people: Directory, versions: CatalogTimeline) -> dict[str, list[PlacedEvent]]:
    """The events of each account, in order, refunds with their sales."""
    sales = {(event.source, event.thing): event for event in events if event.type == "pos.sale"}
    found: dict[str, list[PlacedEvent]] = defaultdict(list)
    for event in events:
        sale = None
        if event.type == "pos.refund":
            sale = sales.get((event.data["sale"]["source"], str(event.data["sale"]["order"])))
            where: Any = place_refund(sale, directory=people, catalogs=versions)
        else:
            where = place(event, directory=people, catalogs=versions)
        if isinstance(where, Placed):
            one = PlacedEvent(event=event, member=where.member, sale=sale.position if sale else None)
            found[where.account].append(one)
    return found


def inputs(scenario: Scenario, facts: Facts) -> Iterator[tuple[AccountFacts, list[PlacedEvent]]]:
    """What the fold takes, account by account."""
    people, versions = directory(facts), catalogs(scenario, facts)
    events = placed(counted(scenario.events, scenario.now), people, versions)
    for name, account in people.accounts.items():
        closed = frozenset(start for closed, start in scenario.closes if closed == name)
        yield AccountFacts(account=account, directory=people, catalogs=versions, closed=closed), events[name]


def folded(scenario: Scenario, facts: Facts) -> list[Folded]:
    """All lines by the real fold, each account in one go."""
    return [
        line
        for given, events in inputs(scenario, facts)
        for line in fold(given, AccountState(), events, until=scenario.now).lines
    ]


# --- lines ------------------------------------------------------------------------------------------------------------


def _number(value: Fraction | Decimal | None) -> str:
    """Equal for equal numbers."""
    if value is None:
        return "-"
    text = format(decimal(value) if isinstance(value, Fraction) else value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def _draws(draws: Iterable[tuple[str, Fraction | Decimal]]) -> str:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for name, amount in draws:
        sums[name] += Fraction(amount)
    return ", ".join(f"{name} {_number(sums[name])}" for name in sorted(sums) if sums[name])


def _instant(when: datetime | None) -> str:
    return "-" if when is None else when.isoformat()


def _cents(told: Told) -> Told:
    """Of a refund at the till the sum counts: which of its parts bears an odd cent is not laid down."""
    if told["kind"] != "refund" or told["settlement"] != "paid":
        return told
    parts = [Fraction(told[name]) for name in ("amount", "till_tax", "tip") if told[name] != "-"]
    return told | {"amount": _number(sum(parts, Fraction(0))), "till_tax": "-", "tip": "-"}


def told_of_reference(line: Line) -> Told:
    tax = line.tax
    told = {
        "kind": line.kind,
        "member": line.member or "-",
        "site": line.site or "-",
        "plan": line.plan or "-",
        "price": line.price or "-",
        "quantity": _number(line.quantity),
        "covered": _number(line.covered),
        "amount": _number(line.amount),
        "currency": line.currency,
        "unpriced": str(line.unpriced),
        "estimated": str(line.estimated),
        "settlement": line.settlement,
        "tax": f"{tax[0]} {_number(tax[1])} {tax[2]}" if tax else "-",
        "till_tax": _number(line.till_tax or None),
        "tip": _number(line.tip or None if line.settlement == "paid" else None),
        "total": _number(line.total),
        "period": line.period.start.isoformat(),
        "draws": _draws(line.draws.items()),
        "shares": str([(party, _number(share), role) for party, share, role in line.shares]),
        "earned": _instant(line.earned_until),
        "events": str(sorted(line.events)) if line.kind == "usage" and len(line.events) > 1 else "-",
    }
    return _cents(told)


def told_of_fold(line: Folded) -> Told:
    tax = line.tax
    told = {
        "kind": line.kind,
        "member": line.member or "-",
        "site": line.site or "-",
        "plan": line.plan or "-",
        "price": line.price or "-",
        "quantity": _number(line.quantity),
        "covered": _number(line.covered),
        "amount": _number(line.amount),
        "currency": line.currency,
        "unpriced": str(line.unpriced),
        "estimated": str(line.estimated),
        "settlement": line.settlement,
        "tax": f"{tax.name} {_number(tax.rate)} {tax.inclusive}" if tax else "-",
        "till_tax": _number(tax.amount or None if tax else None),
        "tip": _number(line.tip or None),
        "total": _number(line.total),
        "period": line.period.start.isoformat(),
        "draws": _draws((draw.grant, draw.amount) for draw in line.draws),
        "shares": str([(one.party, _number(one.share), one.role) for one in line.shares]),
        "earned": _instant(line.earned_until),
        "events": str(sorted(map(tuple, line.events))) if line.kind == "usage" and len(line.events) > 1 else "-",
    }
    return _cents(told)


def _keyed(account: str, key: tuple[Any, ...], told: Told, taken: Lines) -> tuple[Any, ...]:
    """The key of a line. What comes from no event has no name that both would choose, so its content stands for it."""
    time, source, name, meter, element, part = key
    if source:
        return account, time.isoformat(), source, name, meter, str(element), part
    sign = "-" if told["amount"].startswith("-") else "+"
    sign = part if part == EXPIRY_PART else sign
    which = told["plan"] if told["kind"] == "fee" else told["price"]
    content = (account, time.isoformat(), "", told["kind"], meter, told["member"], which, told["period"], sign)
    return next((*content, str(n)) for n in range(1000) if (*content, str(n)) not in taken)


def keyed(lines: Iterable[tuple[str, tuple[Any, ...], Told]]) -> Lines:
    found: Lines = {}
    for account, key, told in sorted(lines, key=lambda one: (one[0], one[1][:2], sorted(one[2].items()))):
        found[_keyed(account, key, told, found)] = told
    return found


def of_reference(lines: Iterable[Line]) -> Lines:
    return keyed((line.account, line.key, told_of_reference(line)) for line in lines)


def of_fold(lines: Iterable[Folded]) -> Lines:
    return keyed((line.account, tuple(line.key), told_of_fold(line)) for line in lines)


def differences(reference: Lines, fold: Lines) -> list[str]:
    """Each difference as a text: the line, and what each side says of it."""
    found = []
    for key in sorted({*reference, *fold}):
        ours, theirs = reference.get(key), fold.get(key)
        name = " ".join(map(str, key))
        if ours is None or theirs is None:
            side = "only the reference" if theirs is None else "only the fold"
            told = {
                field: text for field, text in (ours or theirs or {}).items() if text not in {"-", "", "0", "False"}
            }
            found.append(f"{name}: {side} has it: {told}")
        elif ours != theirs:
            parts = [f"{field} is {ours[field]} / {theirs[field]}" for field in ours if ours[field] != theirs[field]]
            found.append(f"{name}: {'; '.join(parts)} (reference / fold)")
    return found
