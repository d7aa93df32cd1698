"""What the second rater takes as given: catalog versions, the directory put together, closes and the clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from tests.reference.dates import ALWAYS, NEVER, Calendar, Period, Span, instant_of, join, without
from tests.reference.lines import Share
from tests.reference.values import Doc, exact

Version = tuple[datetime, int, Doc]


class Facts:
    """All that was ever applied: catalog versions in the order of application, and the directory put together."""

    def __init__(
        self,
        versions: list[tuple[str | None, Doc]],
        people: list[Doc],
        events: list[Doc],
        *,
        now: datetime = NEVER,
        closes: Iterable[tuple[str, datetime]] = (),
    ) -> None:
        self.now = now
        self.closes = set(closes)
        self.versions: list[Version] = [
            (ALWAYS if n == 0 else instant_of(effective, Calendar.of(body["timezone"]), ALWAYS), n, body)
            for n, (effective, body) in enumerate(versions)
        ]
        self.accounts: dict[str, Doc] = {}
        # The terms that replace those of `accounts`, by the month whose period is the first of theirs.
        self.changes: dict[str, dict[str, Doc]] = {}
        self.members: set[str] = set()
        self.links: dict[tuple[str, str, str], Doc] = {}
        self.claims: dict[tuple[str, str, str], Doc] = {}
        self.subscriptions: dict[str, Doc] = {}
        self.grants: dict[str, Doc] = {}
        for put in [*(body for _, body in versions), *people]:
            self._put(put)
        self.first: dict[str, datetime] = {}
        for event in events:
            if event.get("subject"):
                self.first[event["subject"]] = min(event["at"], self.first.get(event["subject"], NEVER))
        self._calendars: dict[str, Calendar] = {}
        # When each account's first period begins: the rater finds it.
        self.entered: dict[str, datetime] = {}

    def _put(self, put: Doc) -> None:
        for name, account in put.get("accounts", {}).items():
            self.accounts[name] = account
            for sub in account.get("subscriptions", []):
                self.subscriptions[sub["id"]] = sub | {"account": name, "member": None}
        for name, terms in put.get("terms", {}).items():
            self.changes.setdefault(name, {})[terms["from"]] = terms
        for name, member in put.get("members", {}).items():
            self.members.add(name)
            whole = [{"id": member["account"]}] if member.get("account") else []
            for link in whole + member.get("accounts", []):
                self.links[name, link["id"], str(link.get("from"))] = link | {"member": name}
            for claim in member.get("identities", []):
                claim = {"id": claim} if isinstance(claim, str) else claim  # noqa: PLW2901 -- its short form
                self.claims[claim["id"], name, str(claim.get("from"))] = claim | {"member": name}
            for sub in member.get("subscriptions", []):
                self.subscriptions[sub["id"]] = sub | {"account": None, "member": name}
        for grant in put.get("grants", []):
            self.grants[grant["id"]] = grant

    # --- catalog ------------------------------------------------------------------------------------------------------

    def catalog(self, instant: datetime) -> Doc:
        return max((v for v in self.versions if v[0] <= instant), key=lambda v: v[:2])[2]

    def plan(self, name: str | None, instant: datetime) -> Doc | None:
        found: Doc | None = self.catalog(instant).get("plans", {}).get(name) if name else None
        return found

    def only_site(self, instant: datetime) -> str:
        sites = list(self.catalog(instant).get("sites", {}))
        return str(sites[0]) if len(sites) == 1 else ""

    def zone_of_site(self, site: str, instant: datetime) -> str:
        catalog = self.catalog(instant)
        return str(catalog.get("sites", {}).get(site, {}).get("timezone", catalog["timezone"]))

    def tax(self, name: str | None, instant: datetime, *, net: bool = False) -> tuple[str, object, bool] | None:
        """A tax by name: (name, rate, inclusive)."""
        if name is None:
            return None
        tax = self.catalog(instant)["taxes"][name]
        return name, tax["rate"], bool(tax.get("inclusive")) and not net

    def tax_of_site(self, site: str, instant: datetime) -> str | None:
        found: str | None = self.catalog(instant).get("sites", {}).get(site, {}).get("tax")
        return found

    def shares(self, meter: str, site: str, instant: datetime) -> list[Share]:
        """What of a meter's revenue at a site belongs to others, each party once."""
        found: dict[str, Share] = {}
        for entry in self.catalog(instant).get("revenue_share", []):
            match, party = entry.get("match", {}), entry["party"]
            if match.get("meter", meter) == meter and match.get("site", site) == site and party not in found:
                found[party] = (party, exact(entry["share"]), entry.get("role", "principal"))
        return list(found.values())

    # --- people -------------------------------------------------------------------------------------------------------

    def calendar(self, account: str) -> Calendar:
        """The account's terms; the catalog's where it does not say."""
        if account not in self._calendars:
            changes = [body for _, body in sorted(self.changes.get(account, {}).items())]
            self._calendars[account] = Calendar.of_terms([self.accounts[account], *changes], self.versions[0][2])
        return self._calendars[account]

    def calendar_of_member(self, member: str) -> Calendar:
        links = [link for link in self.links.values() if link["member"] == member]
        if not links:
            return Calendar.of(self.versions[0][2]["timezone"])
        first = min(links, key=lambda one: (instant_of(one.get("from"), self.calendar(one["id"]), ALWAYS), one["id"]))
        return self.calendar(first["id"])

    def calendar_of(self, sub: Doc) -> Calendar:
        """Of a subscription's holder."""
        return self.calendar(sub["account"]) if sub["account"] else self.calendar_of_member(sub["member"])

    def span(self, entry: Doc, calendar: Calendar, first: str = "from", last: str = "to") -> Span:
        return instant_of(entry.get(first), calendar, ALWAYS), instant_of(entry.get(last), calendar, NEVER)

    def sub_span(self, sub: Doc) -> Span:
        return self.span(sub, self.calendar_of(sub))

    def member_at(self, identity: str, instant: datetime) -> str | None:
        if identity.startswith("member:"):
            return identity[7:] if identity[7:] in self.members else None
        covering = []
        for claim in self.claims.values():
            if claim["id"] != identity:
                continue
            start, end = self.span(claim, self.calendar_of_member(claim["member"]))
            if claim.get("from") is None:
                start = self.first[identity]
            if start <= instant < end:
                covering.append((start, claim["member"]))
        return max(covering)[1] if covering else None

    def account_at(self, member: str, instant: datetime) -> str | None:
        covering = []
        for link in self.links.values():
            if link["member"] != member:
                continue
            start, end = self.span(link, self.calendar_of_member(member))
            if start <= instant < end:
                covering.append((start, link["id"]))
        return max(covering)[1] if covering else None

    def subscription_at(self, account: str, member: str | None, instant: datetime) -> Doc | None:
        for holder in (("member", member), ("account", account)):
            for sub in self.subscriptions.values():
                start, end = self.sub_span(sub)
                if holder[1] is not None and sub[holder[0]] == holder[1] and start <= instant < end:
                    return sub
        return None

    def membership(self, member: str, account: str, within: Span) -> list[Span]:
        """The spans in which the member's usage is the account's, cut to `within`."""
        if within[0] >= within[1]:
            return []
        edges = {within[0], within[1]}
        for link in self.links.values():
            if link["member"] == member:
                edges |= {e for e in self.span(link, self.calendar_of_member(member)) if within[0] < e < within[1]}
        return join([span for span in pairwise(sorted(edges)) if self.account_at(member, span[0]) == account])

    def belongs_since(self, member: str, account: str, part: Span) -> datetime | None:
        """The start of the membership that first overlaps `part`."""
        for start, end in self.membership(member, account, (ALWAYS, NEVER)):
            if start < part[1] and part[0] < end:
                return start
        return None

    def linked(self) -> list[str]:
        """The members that were ever linked to an account, by id."""
        return sorted({link["member"] for link in self.links.values()})

    # --- periods and parts --------------------------------------------------------------------------------------------

    def periods(self, account: str) -> list[Period]:
        return self.calendar(account).periods

    def period(self, account: str, instant: datetime) -> Period:
        return max((p for p in self.periods(account) if p.start <= instant), key=lambda p: p.start)

    def named(self, account: str, month: str) -> Period:
        return next(period for period in self.periods(account) if period.name == month)

    def paying(self, account: str) -> list[Doc]:
        """The subscriptions that the account may have to pay for: its own, and its members' own."""
        members = {link["member"] for link in self.links.values() if link["id"] == account}
        subs = [s for s in self.subscriptions.values() if s["account"] == account or s["member"] in members]
        return sorted(subs, key=lambda sub: str(sub["id"]))

    def parts(self, sub: Doc, account: str, period: Period) -> list[Span]:
        """The spans of the period in which the account has the subscription; without `from`, since it is entered."""
        start, end = self.sub_span(sub)
        if sub.get("from") is None:
            start = self.entered.get(account, NEVER)
        part = (max(start, period.start), min(end, period.end))
        if part[0] >= part[1]:
            return []
        return [part] if sub["account"] else self.membership(sub["member"], account, part)

    def under(self, sub: Doc, account: str, member: str, part: Span) -> list[Span]:
        """The spans of `part` in which the member's usage is under this subscription."""
        spans = self.membership(member, account, part)
        if sub["member"] is not None:
            return spans if sub["member"] == member else []
        own = [self.sub_span(one) for one in self.subscriptions.values() if one["member"] == member]
        return without(spans, own)
