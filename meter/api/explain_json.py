"""What an explanation looks like, for the OpenAPI document: `meter.rating.explain` makes it (docs/api.md)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from meter.api.routing import DecimalText, InstantText, Model
from meter.export.charge_json import EventKeyJson, PeriodJson
from meter.model.charge import Kind, Role, SalesRole, Settlement


class RawEventJson(Model, kw_only=True):
    """An event as it is stored. `timed` false: it came without a time, and that of its receipt stands in.

    `time_flag`: why its sender calls the time doubtful (unset_clock, no_zone, ambiguous, fallback); null: it does not.
    `thinned`: it is a movement of which only what a bill needs was kept.
    """

    source: str
    id: str
    type: str
    time: InstantText
    timed: bool
    time_flag: str | None
    subject: str | None
    thinned: bool
    data: dict[str, Any]


class OfMemberJson(Model, kw_only=True, rename={"start": "from", "end": "to"}):
    """Whose an identity is, and since when."""

    member: str
    start: InstantText | None
    end: InstantText | None


class OfAccountJson(Model, kw_only=True, rename={"start": "from", "end": "to"}):
    """To which account a member belongs, and since when."""

    account: str
    start: InstantText | None
    end: InstantText | None


class ResolutionJson(Model, kw_only=True):
    """How an event came to its account."""

    identity: str | None
    member: str | None
    account: str
    claim: OfMemberJson | None
    link: OfAccountJson | None


class MeasuredJson(Model, kw_only=True):
    """How it was measured: a session has `start` to `ended_by`, a reading `path` to `adds`, anything else `first`."""

    aggregate: str
    start: str | UnsetType = UNSET
    end: str | UnsetType | None = UNSET
    zone: str | UnsetType = UNSET
    seconds: DecimalText | UnsetType | None = UNSET
    billed_seconds: DecimalText | UnsetType = UNSET
    minimum_seconds: int | UnsetType = UNSET
    increment_seconds: list[int] | UnsetType = UNSET
    missing_end: str | UnsetType | None = UNSET
    ended_by: Literal["max", "closing", "last_seen", "next_start", "estimated_end"] | UnsetType | None = UNSET
    path: str | UnsetType = UNSET
    element: int | UnsetType | None = UNSET
    value: DecimalText | UnsetType = UNSET
    before: DecimalText | UnsetType | None = UNSET
    scale: DecimalText | UnsetType = UNSET
    adds: DecimalText | UnsetType = UNSET
    first: str | UnsetType | None = UNSET
    debounce_seconds: int | UnsetType = UNSET
    told_again: list[EventKeyJson] | UnsetType = UNSET


class SameActJson(Model, kw_only=True):
    """The event tells of an act that `first` began and counted for: it came too soon after `before`."""

    debounce_seconds: int
    before: EventKeyJson
    first: EventKeyJson


class DueJson(Model, kw_only=True):
    """What fell due without an event: `each` x `seats` x `active_days` / `days`, of a minimum less `reached`.

    Of expired credit nothing is due: `each` was paid for what was `bought`, of which the line's quantity was left.
    """

    what: Literal["fee", "unused", "deposit", "deposit_returned", "purchase", "expiry", "first_flat", "minimum"]
    each: DecimalText
    seats: DecimalText
    active_days: int | None
    days: int | None
    amount: DecimalText
    reached: DecimalText | None
    subscription: str | None
    bought: DecimalText | None


class SaleJson(Model, kw_only=True):
    """The sale of a refund."""

    source: str
    id: str
    settlement: Settlement


class SoldDrawJson(Model, kw_only=True):
    """A draw of the sale's line; `back` of its `amount` had come back before, by refunds or negative lines."""

    grant: str
    unit: str
    amount: DecimalText
    back: DecimalText


class RefundJson(Model, kw_only=True):
    """What a refund gives back: the till's figures, and which share of the line, which had `charged` and `drawn`."""

    sale: SaleJson
    total: DecimalText
    gross: DecimalText
    net: DecimalText
    tax: DecimalText
    tip: DecimalText
    left: DecimalText
    share_before: DecimalText
    share_after: DecimalText
    charged: DecimalText | None
    drawn: list[SoldDrawJson]


class TillJson(Model, kw_only=True):
    """The figures of a paid sale or a tip; `gap` is what they leave to the total."""

    net: DecimalText
    tax: DecimalText | None
    tip: DecimalText | None
    total: DecimalText | None
    gap: DecimalText | None


class DrawnJson(Model, kw_only=True):
    """A draw of credit: `before` - `amount` = `after`, in the grant's `unit`."""

    grant: str
    origin: Literal["plan", "given", "bought", "rollover", "refund"] | None
    unit: str
    granted: DecimalText
    before: DecimalText
    amount: DecimalText
    after: DecimalText
    covered: DecimalText | None
    rate: DecimalText | None


class ReachedJson(Model, kw_only=True):
    """What a price had come to in the period; `amount` null where events are priced one by one."""

    quantity: DecimalText
    amount: DecimalText | None


class SeenJson(Model, kw_only=True):
    """What a percentage had seen in the period, and the `amount` that it is taken of."""

    before: int
    amount_before: DecimalText
    amount: DecimalText


class StepJson(Model, kw_only=True):
    """A term: `units` x `unit_price` + `flat` = `amount`."""

    label: str
    above: DecimalText
    up_to: DecimalText | None
    units: DecimalText
    unit_price: DecimalText
    flat: DecimalText
    size: DecimalText | None
    amount: DecimalText


class PriceJson(Model, kw_only=True):
    """What the price asked; without one, `note` says why."""

    id: str | None
    model: str | None
    note: str | None
    per: str | None
    window: str | None
    before: ReachedJson
    after: ReachedJson
    events: SeenJson | None
    steps: list[StepJson]
    amount: DecimalText


class ReductionJson(Model, kw_only=True):
    """A cap or a discount, of `most` or at a `rate`; `running` is the sum that it had seen."""

    kind: Literal["day_cap", "period_cap", "discount"]
    id: str
    running: DecimalText
    most: DecimalText | None
    rate: DecimalText | None
    before: DecimalText
    after: DecimalText


class GroupJson(Model, kw_only=True):
    """The lines whose rounded amounts sum to their rounded sum."""

    account: str
    period: PeriodJson
    meter: str
    site: str | None
    settlement: Settlement
    currency: str
    tax: str | None


class RoundingJson(Model, kw_only=True):
    """What the line would round to `alone`."""

    alone: DecimalText
    group: GroupJson


class BookedTaxJson(Model, kw_only=True):
    """The tax as booked, and what it would be `alone`."""

    name: str
    rate: DecimalText | None
    inclusive: bool
    amount: DecimalText
    alone: DecimalText


class BookedShareJson(Model, kw_only=True):
    """What of the charge belongs to `party`: `share` of `revenue` (net of tax, before money grants), and `alone`."""

    party: str
    share: DecimalText
    role: SalesRole
    revenue: DecimalText
    amount: DecimalText
    alone: DecimalText


class ChainJson(Model, kw_only=True):
    """A charge of the same line."""

    id: str
    role: Role
    kind: Kind
    quantity: DecimalText
    amount: DecimalText
    rounded: DecimalText
    corrects: str | None
    reason: str | None
    invoice_period: PeriodJson
    booked_at: InstantText


class RecomputedJson(Model, kw_only=True):
    """What the facts give now; null where they give nothing."""

    agrees: bool
    amount: DecimalText | None
    quantity: DecimalText | None


class ExplanationJson(Model, kw_only=True):
    """A charge with all that it follows from."""

    charge: str
    role: Role
    kind: Kind
    events: list[RawEventJson]
    resolution: ResolutionJson | None
    meter: str
    plan: str | None
    dimensions: dict[str, Any]
    quantity: DecimalText
    unit: str
    covered: DecimalText
    billable: DecimalText
    estimated: bool
    arithmetic_of: Literal["charge", "recomputed"]
    measured: MeasuredJson | None
    same_act: SameActJson | None
    due: DueJson | None
    refund: RefundJson | None
    till: TillJson | None
    grants: list[DrawnJson]
    price: PriceJson | None
    reductions: list[ReductionJson]
    amount: DecimalText
    rounded: DecimalText
    rounding: RoundingJson
    currency: str
    tax: BookedTaxJson | None
    shares: list[BookedShareJson]
    earned_until: InstantText | None
    period: PeriodJson
    invoice_period: PeriodJson
    chain: list[ChainJson]
    recomputed: RecomputedJson
    text: str
