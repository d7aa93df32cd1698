"""The catalog: what is metered and what it costs. One immutable value per version (docs/catalog.md).

Rates and amounts are Decimal; zones are IANA names. Whether a catalog makes sense as a whole (every meter named exists,
identifiers unique) is settled where it is read (`meter.catalog`), so the core can rely on it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Literal, TypeAlias

from meter.model.charge import SalesRole, Share
from meter.model.event import REPORTED, Json
from meter.model.ledger import Ledger
from meter.model.money import ONE, plain

Operator: TypeAlias = Literal["=", "in", "gt", "gte", "lt", "lte", "exists"]
Holder: TypeAlias = Literal["account", "member"]
MissingEnd: TypeAlias = Literal["cap", "close_at", "last_seen", "none"]
Timing: TypeAlias = Literal["advance", "arrears"]
# What becomes of usage beyond a grant: it is billed, or whoever asks first is told no.
Overage: TypeAlias = Literal["bill", "deny"]
LimitOf: TypeAlias = Literal["quantity", "money"]
LimitEvery: TypeAlias = Literal["day", "period"]


def by_value(value: Json) -> str:
    """Return a text equal for equal values: records by their fields, mappings by sorted keys, numbers by value."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, int | Decimal):
        return plain(Decimal(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(by_value, value))) + "}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name!r}:{by_value(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(by_value, value)) + "]"
    return "(" + ",".join(by_value(getattr(value, term.name)) for term in fields(value)) + ")"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One term of a `where`: the field at `path` (below `data`) compared with `value`; all terms must hold.

    `value` is decoded JSON; a tuple of such for `in`; a bool for `exists`.
    """

    path: tuple[str, ...]
    operator: Operator
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """Durations are rounded up: the first `first_s` seconds, then steps of `step_s` ("30s/6s"; "15m" is both)."""

    first_s: int
    step_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """How a duration finds its ends: a start and an end by their conditions, any other event is a reading between.

    An end counts within `max_s` of its start. `idle_s` is what `last_seen` waits for another reading.
    """

    start: tuple[Condition, ...]
    end: tuple[Condition, ...]
    max_s: int = 86_400
    missing_end: MissingEnd = "none"
    idle_s: int = 3_600
    minimum_s: int = 0
    increment: Increment = Increment(first_s=1, step_s=1)


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Events to quantities. `value` and `group_by` are paths below `data`; `scale` turns readings into `unit`.

    `aggregate` names a function of `meter.rating.measure`. For `usage.reported` the event names the meter itself.
    `key` tells runs, sessions and acts of one member at one site apart (None: there is but one). `per` is whose `max`
    or `latest` it is. `from_zero`, `reset_below` and `forget_s` are about counter runs: what the first reading counts,
    whether a lower one begins a new run, and after how long without a reading a run is over (None: never).
    `debounce_s`: events that come less than that after one another are one act, and count once (None: each is one).
    """

    id: str
    event: str
    aggregate: str
    unit: str
    where: tuple[Condition, ...] = ()
    value: tuple[str, ...] | None = None
    group_by: tuple[tuple[str, ...], ...] = ()
    scale: Decimal = ONE
    key: tuple[str, ...] | None = None
    per: Holder = "account"
    pairing: Pairing | None = None
    from_zero: bool = False
    reset_below: bool = False
    forget_s: int | None = None
    debounce_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One step of a tiered price: up to and including `up_to` (None: without end)."""

    up_to: Decimal | None
    unit_price: Decimal
    flat: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerUnit:
    """P(Q) = unit_price x Q."""

    unit_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Graduated:
    """Each unit at the price of its own tier; a tier's `flat` is due once it is entered.

    `flat_at_zero`: the first tier's flat is due without usage, too.
    """

    tiers: tuple[Tier, ...]
    flat_at_zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """All units at the price of the tier that holds Q, and that tier's `flat`."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Packages of `size` at `price` each, begun ones in full; the first `free` units cost nothing."""

    size: Decimal
    price: Decimal
    free: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """The same amount for each event."""

    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentage:
    """A share of the amount at `path` of each event, plus `fixed`, within `minimum` and `maximum`.

    In order, an event is free while at most `free_events` have come and their amounts sum to at most `free_amount`; the
    one that passes `free_amount` pays the rate on what lies above. None: that one does not limit.
    """

    path: tuple[str, ...]
    rate: Decimal = Decimal(0)
    fixed: Decimal = Decimal(0)
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    free_events: int | None = None
    free_amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThrough:
    """The quantity is money already: amount = quantity x (1 + markup)."""

    markup: Decimal = Decimal(0)


Cumulative: TypeAlias = PerUnit | Graduated | Volume | Package
PerEvent: TypeAlias = Flat | Percentage | PassThrough
Model: TypeAlias = Cumulative | PerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a price applies, in the site's time: on these weekdays (0: Monday) or dates, between two minutes of the day.

    Without `days` and `holidays`: every day. Hours that end before they start reach over midnight, and belong to the
    day on which the usage lies.
    """

    days: frozenset[int] = frozenset()
    holidays: frozenset[date] = frozenset()
    from_minute: int = 0
    to_minute: int = 1440


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price of a meter within a plan: the first of the list whose `match` and `when` fit applies.

    `per` says whose quantities add up: the account's or each member's. `day_cap` and `period_cap` are the most that is
    billed each local date and period, `period_minimum` the least.
    """

    id: str
    model: Model
    match: Mapping[str, Json] = field(default_factory=dict)
    when: Window | None = None
    per: Holder = "account"
    tax: str | None = None
    day_cap: Decimal | None = None
    period_cap: Decimal | None = None
    period_minimum: Decimal | None = None

    @cached_property
    def content(self) -> str:
        """Return a digest equal for equal prices: a changed price starts again from Q = 0 (rating.md, section 5).

        Numbers count by value: an amount written "0.50" instead of "0.5" changes nothing.
        """
        limits = [self.day_cap, self.period_cap, self.period_minimum]
        text = by_value([type(self.model).__name__, self.model, self.match, self.when, self.per, self.tax, *limits])
        return sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What is left at a period's end, at most `most`, goes on for `periods` more."""

    most: Decimal
    periods: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGrant:
    """Credit that a plan gives anew each billing period, to the account or to each of its members.

    `meters` is its scope; a unit grant covers quantities of meters of its `unit`, one in `credit` by the catalog's
    rates, one in a currency lowers amounts.
    """

    id: str
    unit: str
    amount: Decimal
    meters: tuple[str, ...]
    holder: Holder = "account"
    per_seat: bool = False
    priority: int = 100
    rollover: Rollover | None = None
    overage: Overage = "bill"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLimit:
    """How much of a meter whoever asks first may have: never a matter of the bill (decision 0016).

    Of the quantity, or of what it costs before tax; each local day of the site or each billing period; of each member,
    or of all of the account. Beyond `soft` the answer warns, beyond `hard` it is no; one of them is set.
    """

    meter: str
    hard: Decimal | None = None
    soft: Decimal | None = None
    of: LimitOf = "quantity"
    every: LimitEvery = "period"
    per: Holder = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """What a subscription costs each billing period, for each seat."""

    amount: Decimal
    timing: Timing = "advance"
    tax: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a subscription buys: grants each period, and a list of prices for each meter it charges for."""

    id: str
    name: str
    fee: Fee | None = None
    grants: tuple[PlanGrant, ...] = ()
    prices: Mapping[str, tuple[Price, ...]] = field(default_factory=dict)
    limits: tuple[UsageLimit, ...] = ()

    @cached_property
    def meters(self) -> frozenset[str]:
        """Return the meters that the plan prices or grants; usage of others books nothing."""
        granted = {meter for grant in self.grants for meter in grant.meters}
        return frozenset(granted | set(self.prices))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditRate:
    """Credits for one unit of a meter, where the dimensions match; the first of a list that fits applies."""

    rate: Decimal
    match: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """A tax by name: `rate` is a fraction; `inclusive` means that amounts are gross; `account` is in the ledger."""

    name: str
    rate: Decimal
    inclusive: bool = False
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueShare:
    """The fraction of net revenue that belongs to `party`: of one meter, one site, both (None: of any)."""

    party: str
    share: Decimal
    role: SalesRole = "principal"
    meter: str | None = None
    site: str | None = None

    def fits(self, meter: str, site: str) -> bool:
        """Tell whether it is of the revenue of a meter at a site."""
        return self.meter in {None, meter} and self.site in {None, site}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place: its zone counts local days; `walk_in` is the account of paid sales by unknown guests."""

    id: str
    name: str
    timezone: str
    closes: str | None = None
    ledger_class: str | None = None
    tax: str | None = None
    walk_in: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMap:
    """Messages on topics that match `topic` (an MQTT filter) are decoded by `decoder` and belong to `site`.

    `name` becomes part of the events' source (None: the topic's last word), `timezone` is that of devices that name
    none (None: UTC), `options` are the decoder's own.
    """

    topic: str
    decoder: str
    site: str
    name: str | None = None
    timezone: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One version of everything that is metered and priced. `effective` None: in force since always.

    `account`: it is in force for that account alone (a re-rate of one account); None: for every account.
    """

    operator: str
    version: int
    effective: datetime | None
    currency: str
    timezone: str
    default_plan: str | None = None
    sites: Mapping[str, Site] = field(default_factory=dict)
    taxes: Mapping[str, Tax] = field(default_factory=dict)
    meters: Mapping[str, Meter] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    topics: tuple[TopicMap, ...] = ()
    credit_rates: Mapping[str, tuple[CreditRate, ...]] = field(default_factory=dict)  # by meter
    ledger: Ledger = field(default_factory=Ledger)
    revenue_shares: tuple[RevenueShare, ...] = ()
    account: str | None = None

    @cached_property
    def _meters_by_event(self) -> Mapping[str, tuple[Meter, ...]]:
        found: dict[str, list[Meter]] = {}
        for name in sorted(self.meters):
            found.setdefault(self.meters[name].event, []).append(self.meters[name])
        return {event: tuple(meters) for event, meters in found.items()}

    def meters_of(self, event_type: str, data: Mapping[str, Json]) -> Sequence[Meter]:
        """Return the meters that look at such an event, by name; of `usage.reported` only the one it names."""
        if event_type == REPORTED:
            named = self.meters.get(str(data.get("meter")))
            return (named,) if named is not None and named.event == REPORTED else ()
        return self._meters_by_event.get(event_type, ())

    @cached_property
    def _shares(self) -> Sequence[tuple[RevenueShare, Share]]:
        return [(one, Share(party=one.party, share=one.share, role=one.role)) for one in self.revenue_shares]

    def shares_of(self, meter: str, site: str) -> tuple[Share, ...]:
        """Return what of a meter's revenue at a site belongs to others: of each party the first entry that fits."""
        if not self.revenue_shares:
            return ()
        found: dict[str, Share] = {}
        for entry, share in self._shares:
            if entry.fits(meter, site):
                found.setdefault(entry.party, share)
        return tuple(found.values())

    def site(self, name: str) -> Site:
        """Return the site; one that the catalog does not know has the operator's zone and nothing else."""
        return self.sites.get(name) or Site(id=name, name=name, timezone=self.timezone)


@dataclass(frozen=True, kw_only=True)
class CatalogTimeline:
    """All versions of an operator's catalog, in any order; one of them is in force since always.

    Of two that take effect at the same instant the greater version is in force. Versions for one account alone count in
    that account's timeline only (`of_account`): `account` says whose this is, None is everybody's.
    """

    versions: tuple[Catalog, ...]
    account: str | None = None

    @cached_property
    def _in_order(self) -> tuple[list[datetime], list[Catalog]]:
        versions = [v for v in self.versions if v.account is None or v.account == self.account]
        dated = [(v.effective, v.version, v) for v in versions if v.effective is not None]
        dated.sort(key=lambda entry: entry[:2])
        always = max((v for v in versions if v.effective is None), key=lambda v: v.version)
        return [effective for effective, _, _ in dated], [always, *(v for _, _, v in dated)]

    @cached_property
    def _of_accounts(self) -> Mapping[str, CatalogTimeline]:
        named = {version.account for version in self.versions if version.account is not None}
        return {name: replace(self, account=name) for name in named}

    def of_account(self, account: str) -> CatalogTimeline:
        """Return the timeline that counts for `account`: the versions for every account, and those for it alone."""
        return self._of_accounts.get(account, self)

    def at(self, instant: datetime) -> Catalog:
        """Return the version in force at `instant`."""
        starts, in_order = self._in_order
        return in_order[bisect_right(starts, instant)]
