"""People: accounts, members, identities, subscriptions and given grants, as a draft of the directory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from meter.catalog.draft import (
    AccountDraft,
    ClaimDraft,
    DirectoryDraft,
    DiscountDraft,
    GrantDraft,
    LinkDraft,
    MemberDraft,
    SubscriptionDraft,
)
from meter.catalog.entry import Entry, When
from meter.catalog.issues import Faults, Place
from meter.catalog.limits import read_overage
from meter.catalog.plans import COUNT_MAX, PlanContext, read_credit, warn_of_misplaced
from meter.model.catalog import Plan, Site
from meter.model.directory import Purchase
from meter.model.errors import BadInput
from meter.model.identity import normalise_identity
from meter.model.money import ONE, ZERO
from meter.rating.calendar import is_due_without_usage
from meter.rating.lane import FEES

# Export targets that know an account under an id of their own.
EXTERNAL: Final = ("stripe", "square", "quickbooks", "xero", "cobot", "officernd", "nexudus")
# Each of them is looked at for every line of its subscription.
_DISCOUNTS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What entries may name beside what stands with them: the directory and the catalogs as stored."""

    accounts: Collection[str] = frozenset()
    members: Collection[str] = frozenset()
    plans: Collection[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class PeopleReader:
    """Reads entries of the directory and collects them. `ids` of one kind are unique among what is read together.

    `plans`: of the catalog in force; `earlier_plans`: of other versions, which may still be named.
    """

    plans: Mapping[str, Plan]
    earlier_plans: Collection[str]
    credit: PlanContext
    accounts: Collection[str]
    members: Collection[str]
    _accounts: list[AccountDraft] = field(default_factory=list)
    _members: list[MemberDraft] = field(default_factory=list)
    _links: list[LinkDraft] = field(default_factory=list)
    _claims: list[ClaimDraft] = field(default_factory=list)
    _subscriptions: list[SubscriptionDraft] = field(default_factory=list)
    _grants: list[GrantDraft] = field(default_factory=list)
    _seen: dict[tuple[object, ...], Place] = field(default_factory=dict)

    def draft(self) -> DirectoryDraft:
        """Return all that was read."""
        return DirectoryDraft(
            accounts=tuple(self._accounts),
            members=tuple(self._members),
            links=tuple(self._links),
            claims=tuple(self._claims),
            subscriptions=tuple(self._subscriptions),
            grants=tuple(self._grants),
        )

    def _once(self, faults: Faults, place: Place, *key: object) -> None:
        """Record a fault where an entry with the same key was read before."""
        before = self._seen.setdefault(key, place)
        if before is not place:
            line = "" if before.line is None else f" on line {before.line} of {before.file}"
            shown = ", ".join(str(part) for part in key[1:] if part is not None)
            faults.add(place, f"the {key[0]} {shown} stands already at {before.path}{line}; keep one")

    def account(self, name: str, entry: Entry) -> None:
        """Read an account."""
        external = {target: entry.id(target) or "" for target in EXTERNAL if target in entry}
        anchor_day = entry.integer("anchor_day", least=1, most=31)
        warn_of_misplaced(entry)
        self._accounts.append(
            AccountDraft(
                id=name,
                name=entry.text("name") or name,
                currency=entry.currency("currency"),
                timezone=entry.timezone("timezone"),
                anchor_day=1 if anchor_day is None else anchor_day,
                external=external,
                place=entry.place,
            )
        )
        for given in entry.entries("subscriptions"):
            self._subscription(given, account=name, member=None)
        entry.done()

    def walk_in(self, site: Site, place: Place) -> None:
        """Add the walk-in account of a site, which need not be written out."""
        if site.walk_in is None or any(other.id == site.walk_in for other in self._accounts):
            return
        name = f"Walk-ins {site.name}"
        self._accounts.append(
            AccountDraft(id=site.walk_in, name=name, currency=None, timezone=site.timezone, anchor_day=1, place=place)
        )

    def member(self, name: str, entry: Entry) -> None:
        """Read a member with links, claims and subscriptions of its own."""
        email = entry.text("email")
        self._members.append(MemberDraft(id=name, name=entry.text("name") or name, email=email, place=entry.place))
        if "account" in entry and "accounts" in entry:
            entry.fault("accounts", "stands beside `account`; list all of them in `accounts`")
        if (account := entry.reference("account", self.accounts, "account")) is not None:
            place = entry.at("account")
            self._link(LinkDraft(member=name, account=account, start=None, end=None, place=place), entry.faults)
        for given in entry.entries("accounts"):
            given.need("id", "the account's id")
            account = given.reference("id", self.accounts, "account") or ""
            start, end = span_at(given, "from", "to")
            self._link(LinkDraft(member=name, account=account, start=start, end=end, place=given.place), given.faults)
            given.done()
        for identity in entry.texts_or_entries("identities"):
            if isinstance(identity, Entry):
                identity.need("id", "the identity, kind:value")
                text = identity.text("id")
                start, end = span_at(identity, "from", "to")
                identity.done()
                place = identity.place
            else:
                (text, place), start, end = identity, None, None
            if text is not None:
                self._claim(ClaimDraft(identity=text, member=name, start=start, end=end, place=place), entry.faults)
        for given in entry.entries("subscriptions"):
            self._subscription(given, account=None, member=name)
        entry.done()

    def _link(self, link: LinkDraft, faults: Faults) -> None:
        self._once(faults, link.place, "link", link.member, link.account, link.start)
        self._links.append(link)

    def _claim(self, claim: ClaimDraft, faults: Faults) -> None:
        try:
            identity = normalise_identity(claim.identity)
        except BadInput as error:
            faults.add(claim.place, error.detail)
            return
        if identity.startswith("member:"):
            faults.add(claim.place, f"{identity!r} names a member itself and is nobody's to claim")
        self._once(faults, claim.place, "claim", identity, claim.member, claim.start)
        self._claims.append(replace(claim, identity=identity))

    def identity(self, identity: str, entry: Entry) -> None:
        """Read the claim of an identity: `{member, from, to}`."""
        entry.need("member", "the member whose identity it is")
        member = entry.reference("member", self.members, "member") or ""
        start, end = span_at(entry, "from", "to")
        claim = ClaimDraft(identity=identity, member=member, start=start, end=end, place=entry.place)
        self._claim(claim, entry.faults)
        entry.done()

    def subscription(self, name: str, entry: Entry) -> None:
        """Read a subscription that names its holder: `{account or member, plan, from, to, seats, ...}`."""
        account = entry.reference("account", self.accounts, "account")
        member = entry.reference("member", self.members, "member")
        if (account is None) == (member is None):
            entry.faults.add(entry.place, "must name its holder: either `account` or `member`")
        self._subscription(entry, account=account, member=member, name=name)

    def _subscription(self, entry: Entry, *, account: str | None, member: str | None, name: str | None = None) -> None:
        if name is None:
            entry.need("id", "a name of its own, like acme-flex")
        elif "id" in entry and entry.text("id") != name:
            entry.fault("id", f"differs from {name!r}, which is being put")
        subscription = name or entry.id("id") or ""
        entry.need("plan", "the plan that is subscribed to")
        plan = entry.reference("plan", {*self.plans, *self.earlier_plans}, "plan") or ""
        start, end = span_at(entry, "from", "to")
        seats = entry.integer("seats", least=1, most=COUNT_MAX)
        if seats is not None and member is not None:
            entry.fault("seats", "belong to an account's subscription; a member has one seat")
        discounts = self._discounts(entry)
        deposit = entry.number("deposit", above=ZERO)
        if "deposits" in entry:
            entry.warn("deposits", "does nothing; a subscription has one `deposit`")
        self._check_begin(entry, plan, start, deposited=deposit is not None)
        entry.done()
        if subscription:
            self._once(entry.faults, entry.place, "subscription", subscription)
        self._subscriptions.append(
            SubscriptionDraft(
                id=subscription,
                plan=plan,
                account=account,
                member=member,
                start=start,
                end=end,
                seats=seats,
                discounts=discounts,
                deposit=deposit,
                place=entry.place,
            )
        )

    def _check_begin(self, entry: Entry, plan: str, start: When, *, deposited: bool) -> None:
        """Warn where a subscription without `from` leaves open when something of it is due."""
        if start is not None:
            return
        if plan in self.plans and is_due_without_usage(self.plans[plan]):
            message = f"has no `from`, so what {plan} charges without usage begins with the account's first period"
            entry.faults.warn(entry.place, f"{message}; write since when it runs")
        if deposited:
            entry.warn("deposit", "is not taken without `from`: it is due when the subscription begins")

    def _discounts(self, entry: Entry) -> tuple[DiscountDraft, ...]:
        given = entry.entries("discounts")
        if len(given) > _DISCOUNTS_MAX:
            entry.fault("discounts", f"has {len(given)} entries; at most {_DISCOUNTS_MAX} are taken")
            return ()
        found: dict[str, DiscountDraft] = {}
        for one in given:
            discount = self._discount(one)
            if discount.id in found:
                one.fault("id", f"{discount.id!r} stands already at {found[discount.id].place.path}; choose another")
            found[discount.id] = discount
        return tuple(found.values())

    def _discount(self, entry: Entry) -> DiscountDraft:
        entry.need("id", "charges name the discount by it")
        rate, amount = entry.number("rate", above=ZERO), entry.number("amount", above=ZERO)
        if ("rate" in entry) == ("amount" in entry):
            entry.faults.add(entry.place, "must have one of `rate` (a fraction) and `amount` (each billing period)")
        if rate is not None and rate > ONE:
            entry.fault("rate", f"is {rate}; rates are fractions: 10 % is 0.1")
        start, end = span_at(entry, "from", "to")
        discount = DiscountDraft(
            id=entry.id("id") or "",
            rate=rate,
            amount=amount,
            on=self._discounted(entry),
            start=start,
            end=end,
            place=entry.place,
        )
        entry.done()
        return discount

    def _discounted(self, entry: Entry) -> tuple[str, ...]:
        """Return what a discount is on: `fees`, or a list of meters, in which `fees` may stand too."""
        if not entry.is_list("on"):
            word = entry.word("on", (FEES,))
            return () if word is None else (word,)
        if entry.empty("on"):
            entry.fault("on", "lists nothing; leave it out, and everything is meant")
        found = entry.texts("on")
        for name, place in found:
            if name != FEES:
                entry.check_reference(name, self.credit.meters, "meter", place)
        return tuple(name for name, _ in found)

    def grant(self, entry: Entry, *, account: str | None = None) -> None:
        """Read a given grant; `account` is its account where the entry need not say so."""
        entry.need("id", "a name of its own, like pack-1")
        grant = entry.id("id") or ""
        if account is None:
            entry.need("account", "the account that may draw it")
            account = entry.reference("account", self.accounts, "account") or ""
        elif "account" in entry and entry.text("account") != account:
            entry.fault("account", f"differs from {account!r}, which it is given to")
        unit, amount, meters = read_credit(entry, self.credit)
        start, end = span_at(entry, "effective", "expires")
        priority = entry.integer("priority", least=0, most=COUNT_MAX)
        bought = self._purchase(entry, start)
        if grant:
            self._once(entry.faults, entry.place, "grant", grant)
        self._grants.append(
            GrantDraft(
                id=grant,
                account=account,
                member=entry.reference("member", self.members, "member"),
                unit=unit,
                amount=amount,
                meters=meters if "meters" in entry else None,
                start=start,
                end=end,
                priority=100 if priority is None else priority,
                bought=bought,
                overage=read_overage(entry),
                place=entry.place,
            )
        )
        entry.done()

    def _purchase(self, entry: Entry, start: When) -> Purchase | None:
        bought = entry.entry("bought")
        if bought is None:
            return None
        bought.need("price", "what was paid for the whole grant")
        price, tax = bought.number("price"), bought.reference("tax", self.credit.taxes, "tax")
        bought.done()
        if start is None and "effective" not in entry:
            entry.fault("bought", "is due when the grant takes effect; give the grant an `effective`")
        return Purchase(price=price or ZERO, tax=tax)


def span_at(entry: Entry, first: str, last: str) -> tuple[When, When]:
    """Return the half-open span between two keys. Where one is a date and the other an instant, the store compares."""
    start, end = entry.when(first), entry.when(last)
    if (
        start is not None
        and end is not None
        and isinstance(start, datetime) == isinstance(end, datetime)
        and end <= start
    ):
        entry.fault(last, f"is not after `{first}`; spans are half-open and hold at least a moment")
    return start, end


def read_people(
    root: Entry, *, plans: Mapping[str, Plan], credit: PlanContext, sites: Mapping[str, Site], known: Known
) -> DirectoryDraft:
    """Return the draft of the sections `accounts`, `members` and `grants`, and the walk-in accounts of `sites`."""
    accounts, members, site_entries = root.entry("accounts"), root.entry("members"), root.entry("sites")
    walk_ins = {site.walk_in for site in sites.values() if site.walk_in is not None}
    account_names = {*known.accounts, *(accounts.keys() if accounts is not None else ())}
    reader = PeopleReader(
        plans=plans,
        earlier_plans=known.plans,
        credit=credit,
        accounts=account_names | walk_ins,
        members={*known.members, *(members.keys() if members is not None else ())},
    )
    for name, entry in () if accounts is None else accounts.names():
        reader.account(name, entry)
    for name, entry in () if members is None else members.names():
        reader.member(name, entry)
    for entry in root.entries("grants"):
        reader.grant(entry)
    for site in sites.values():
        if site.walk_in is not None and site.walk_in not in account_names and site_entries is not None:
            reader.walk_in(site, site_entries.at(site.id))
    return reader.draft()
