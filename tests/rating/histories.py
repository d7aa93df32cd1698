"""Spaces in which everything is mixed, what happens in them, and the ways in which it may arrive (Hypothesis)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from meter.model.catalog import (
    Catalog,
    Condition,
    CreditRate,
    Fee,
    Flat,
    Graduated,
    Increment,
    Meter,
    Package,
    Pairing,
    Percentage,
    PerUnit,
    Plan,
    PlanGrant,
    Price,
    RevenueShare,
    Rollover,
    Site,
    Volume,
    Window,
)
from meter.model.directory import Account, Claim, Discount, GivenGrant, Link, Purchase, Subscription
from meter.model.event import Revision, UsageEvent
from tests.rating.world import (
    METERS,
    Space,
    amend,
    catalog,
    d,
    event,
    graduated,
    passed,
    per_unit,
    plan,
    space,
    span,
    subscription,
    t,
    taxed,
    void,
)

ZONES = {"berlin": "Europe/Berlin", "auckland": "Pacific/Auckland", "honolulu": "Pacific/Honolulu"}
CLOSES = {"berlin": "22:00", "auckland": "02:00", "honolulu": None}
START = t("10-23 00:00")


def _is(value: str) -> tuple[Condition, ...]:
    return (Condition(path=("direction",), operator="=", value=value),)


def _pairing(**more: Any) -> Pairing:
    return Pairing(start=_is("in"), end=_is("out"), **more)


def _presence(policy: Any) -> Meter:
    pairing = _pairing(max_s=14 * 3600, missing_end=policy, minimum_s=60, increment=Increment(first_s=1800, step_s=600))
    return Meter(id="presence", event="door.access", aggregate="duration", unit="hour", pairing=pairing)


DESK = Meter(
    id="desk",
    event="desk.seen",
    aggregate="duration",
    unit="minute",
    key=("desk",),
    group_by=(("desk",),),
    pairing=_pairing(missing_end="last_seen", idle_s=5400),
)
COUNTED = (
    Meter(id="level", event="usage.reported", aggregate="latest", unit="seat", per="member"),
    Meter(id="peak", event="usage.reported", aggregate="max", unit="seat"),
    Meter(id="kwh", event="meter.read", aggregate="counter", unit="kWh", value=("kwh",), key=("device",)),
    Meter(
        id="water",
        event="meter.read",
        aggregate="counter",
        unit="litre",
        value=("kwh",),
        from_zero=True,
        reset_below=True,
        forget_s=86_400,
    ),
    Meter(id="rooms", event="desk.seen", aggregate="unique", unit="desk", value=("desk",)),
    Meter(id="cups", event="pos.sale", aggregate="sum", unit="cup", value=("lines", "quantity")),
    Meter(id="visits", event="door.access", aggregate="count", unit="visit", debounce_s=3600),
    Meter(
        id="seats",
        event="desk.seen",
        aggregate="unique",
        unit="desk",
        value=("desk",),
        key=("desk",),
        debounce_s=86_400,
    ),
)

TIERS = graduated(("5", "1.005"), ("10", "0.333", "2.5"), (None, "0.1"))
FLATS = Graduated(tiers=graduated(("2", "1", "4"), (None, "0.5", "1")).tiers, flat_at_zero=True)
NIGHT = Window(from_minute=22 * 60, to_minute=6 * 60)
WEEKEND = Window(days=frozenset({5, 6}), holidays=frozenset({t("10-31").date()}))


def _price(model: Any, id: str = "p", **more: Any) -> Price:
    return Price(id=id, model=model, **more)


# What a plan may ask for each meter; None: it does not list the meter.
PRICES: dict[str, list[Sequence[Price] | None]] = {
    "use": [
        (per_unit("1.005"),),
        (_price(TIERS, day_cap=d("8")),),
        (_price(Volume(tiers=graduated(("6", "2"), (None, "1", "0.5")).tiers), tax="low"),),
        (_price(Package(size=d("4"), price=d("3"), free=d("2"))),),
        (_price(FLATS, per="member", period_minimum=d("6")),),
        (_price(FLATS, period_cap=d("9"), period_minimum=d("20.01")),),
        None,
    ],
    "level": [
        (_price(Volume(tiers=graduated(("3", "5"), (None, "3")).tiers)),),
        (per_unit("0.7", per="member"),),
        None,
    ],
    "peak": [(_price(graduated(("4", "2"), (None, "1"))),), None],
    "kwh": [(per_unit("0.31"),), (_price(Package(size=d(10), price=d("2.5"))),)],
    "water": [(per_unit("0.01"),), None],
    "rooms": [(_price(Flat(amount=d("1.25"))),), None],
    "days": [(per_unit("19.995", tax="low", period_cap=d(50)),), (per_unit("9", per="member", period_minimum=d(10)),)],
    "presence": [
        (_price(PerUnit(unit_price=d(9)), "night", when=NIGHT), _price(PerUnit(unit_price=d(6)), "day", day_cap=d(20))),
        (_price(graduated(("1.5", "6"), (None, "4"))),),
        (_price(PerUnit(unit_price=d(4)), "weekend", when=WEEKEND),),
        None,
    ],
    "desk": [(per_unit("0.06"),), (_price(Package(size=d(60), price=d(5))),), None],
    "pages": [(_price(graduated(("3", "0.25"), (None, "0.2")), match={"color": True}, per="member"),), None],
    "cafe": [
        (passed("0.1"),),
        (
            _price(
                Percentage(
                    path=("lines", "amount"), rate=d("0.1"), fixed=d("0.2"), minimum=d("0.3"), free_amount=d("6")
                )
            ),
        ),
        None,
    ],
    "cups": [(per_unit("1"),), None],
    "visits": [(_price(graduated(("2", "1"), (None, "0.5"))),), None],
    "seats": [(per_unit("3"),), None],
}


def _grant(id: str, unit: str, amount: str, *meters: str, **more: Any) -> PlanGrant:
    return PlanGrant(id=id, unit=unit, amount=d(amount), meters=meters, **more)


TILL = ("cafe", "cups")
PLAN_GRANTS = [
    _grant("cups", "cup", "2", "cups"),
    _grant("pool", "unit", "6", "use", rollover=Rollover(most=d(4), periods=2)),
    _grant("mine", "unit", "3", "use", holder="member", priority=5, rollover=Rollover(most=d(2))),
    _grant("days", "day", "2", "days", per_seat=True),
    _grant("hours", "hour", "1.7", "presence", rollover=Rollover(most=d(1), periods=3)),
    _grant("minutes", "minute", "40", "desk", holder="member"),
    _grant("credits", "credit", "5", "use", "presence", "cafe", "kwh", "level", priority=90),
    _grant("goodwill", "EUR", "4.5", "use", "cafe", "days", "level", rollover=Rollover(most=d(3))),
]
GIVEN = [
    GivenGrant(id="gift", account="acme", unit="unit", amount=d(3), span=span("11-05", "11-22"), priority=1),
    GivenGrant(id="adas", account="acme", unit="seat", amount=d(4), member="ada"),
    GivenGrant(
        id="pack", account="acme", unit="credit", amount=d(9), span=span("11-04", "11-16"), bought=Purchase(price=d(20))
    ),
    GivenGrant(id="cash", account="acme", unit="EUR", amount=d(7), meters=("use", "cafe", "cups"), span=span("10-28")),
    GivenGrant(id="coffee", account="acme", unit="EUR", amount=d(6), meters=("cafe",), span=span(None, "11-09")),
]
FEES = [None, Fee(amount=d(100)), Fee(amount=d("49.99"), timing="arrears", tax="low")]
DISCOUNTS = [
    Discount(id="tenth", rate=d("0.1"), span=span("10-20", "11-21")),
    Discount(id="five", amount=d(5), on=("use", "presence")),
    Discount(id="fee", amount=d(30), on=("fees",), span=span("11-01")),
]


LANDLORD = RevenueShare(party="landlord", share=d("0.12"), site="berlin")
SHARES = (
    (),
    (LANDLORD,),
    (replace(LANDLORD, share=d("0.333"), meter="cafe", role="agent"), replace(LANDLORD, site=None)),
)


def _subscriptions(layout: int, discounts: tuple[Discount, ...]) -> list[Subscription]:
    deposit = d(200)
    layouts = [
        [subscription(id="s1", discounts=discounts)],
        [
            subscription(id="s1", span=span("10-05", "11-18 10:00"), seats=2, discounts=discounts, deposit=deposit),
            subscription("big", id="s2", span=span("11-20"), seats=1),
        ],
        [
            subscription(id="s1", span=span("10-30 22:30"), discounts=discounts),
            subscription("big", id="bobs", member="bob", span=span("11-08", "11-15"), discounts=discounts),
        ],
        [subscription(id="s1"), subscription("big", id="adas", member="ada", span=span("11-01"), deposit=deposit)],
    ]
    return layouts[layout]


# --- spaces -----------------------------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn, id: str, *, till: bool = False) -> Plan:
    prices = {}
    for meter, listed in PRICES.items():
        found = draw(st.sampled_from([one for one in listed if one is not None] if till and meter in TILL else listed))
        if found is not None:
            prices[meter] = found
    offered = [grant for grant in PLAN_GRANTS if not till or {"cafe", "cups"} & set(grant.meters)]
    grants = draw(st.lists(st.sampled_from(offered), unique_by=lambda grant: grant.id, max_size=5))
    return replace(plan(id, grants=grants, **prices), fee=draw(st.sampled_from(FEES)))


@st.composite
def catalogs(draw: st.DrawFn, version: int, effective: str | None = None, *, till: bool = False) -> Catalog:
    meters = [*METERS, *COUNTED, DESK, _presence(draw(st.sampled_from(["cap", "close_at", "last_seen", "none"])))]
    return catalog(
        draw(plans("flex", till=till)),
        draw(plans("big", till=till)),
        plan("guest", use=per_unit("0.333"), days=per_unit("9.99", tax="low")),
        version=version,
        effective=effective,
        sites={name: Site(id=name, name=name, timezone=z, tax="vat", closes=CLOSES[name]) for name, z in ZONES.items()},
        taxes=taxed("0.19") | taxed("0.07", name="low", inclusive=True),
        default_plan="guest",
        meters={meter.id: meter for meter in meters},
        credit_rates={
            "use": (CreditRate(rate=d("0.7")),),
            "presence": (CreditRate(rate=d("1.5")),),
            "cafe": (CreditRate(rate=d("0.03"), match={}),),
            "kwh": (CreditRate(rate=d("0.3")),),
        },
        revenue_shares=draw(st.sampled_from(SHARES)),
    )


LINKS = [Link(member="ada", account="acme"), Link(member="bob", account="acme", span=span("10-20", "11-25"))]
CLAIMS = [Claim(identity="badge:A", member="ada"), Claim(identity="badge:B", member="bob", span=span("11-03"))]


# Hypothesis prints dataclasses field by field, and these are too long for that.


class Facts:
    """What is known in the end, what of it only comes to be known on the way, and since when each of that matters."""

    def __init__(self, terms: Mapping[str, Any], late: tuple[str, ...]) -> None:
        self.terms, self.late = terms, late

    def __repr__(self) -> str:
        """Say what was chosen, in few words: Hypothesis refuses long ones."""
        lines = [f"late {self.late}, closed {self.terms['closed']}, {self.terms['accounts'][0]}"]
        lines += [f"grants {[grant.id for grant in self.terms['grants']]}"]
        lines += [f"{held.id} {held.plan} {held.span} {held.discounts}" for held in self.terms["subscriptions"]]
        for version in self.terms["catalogs"]:
            for name in ("flex", "big"):
                own = version.plans[name]
                prices = {meter: PRICES[meter].index(list_) for meter, list_ in own.prices.items()}
                policy = version.meters["presence"].pairing.missing_end
                lines.append(f"{name}: {own.fee}, {policy}, {[grant.id for grant in own.grants]}, {prices}")
        return "\n".join(lines)

    def at(self, step: int) -> Space:
        """The space when the first `step` late facts are known."""
        terms = dict(self.terms)
        for name in self.late[step:]:
            terms.update(LATE[name][0](terms))
        account = terms["accounts"][0]
        closed = terms.pop("closed")
        found = space(**terms)
        starts = [_period(account, t(at)).start for at in closed]
        return replace(found, closed=frozenset(starts))

    def since(self, step: int) -> datetime:
        """The instant since when the `step`-th late fact (from 1) matters."""
        return LATE[self.late[step - 1]][1](self.terms["accounts"][0])


def _period(account: Account, at: datetime) -> Any:
    return account.periods.at(at)


# How the facts look without one, and since when it matters (decision 0006): a close from the period's end, what changes
# the days or the members of a period from its start.
LATE: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], Callable[[Account], datetime]]] = {
    "close": (lambda terms: {"closed": terms["closed"][:1]}, lambda account: _period(account, t("11-10")).end),
    "version": (lambda terms: {"catalogs": terms["catalogs"][:1]}, lambda _: t("11-12")),
    "gift": (lambda terms: {"grants": [g for g in terms["grants"] if g.id != "gift"]}, lambda _: t("11-05")),
    "pack": (lambda terms: {"grants": [g for g in terms["grants"] if g.id != "pack"]}, lambda _: t("11-04")),
    "claim": (lambda _: {"claims": CLAIMS[:1]}, lambda _: t("11-03")),
    "link": (
        lambda _: {"links": [LINKS[0], replace(LINKS[1], span=span("10-20"))]},
        lambda account: _period(account, t("11-25")).start,
    ),
}


@st.composite
def facts(draw: st.DrawFn, *, till: bool = False) -> Facts:
    zone, anchor = draw(st.sampled_from([("Europe/Berlin", 1), ("America/New_York", 31), ("Europe/Berlin", 15)]))
    discounts = tuple(draw(st.lists(st.sampled_from(DISCOUNTS), unique_by=lambda one: one.id)))
    terms: dict[str, Any] = {
        "catalogs": [draw(catalogs(1, till=till)), draw(catalogs(2, "11-12", till=till))],
        "accounts": [Account(id="acme", name="acme", currency="EUR", timezone=zone, anchor_day=anchor)],
        "links": LINKS,
        "claims": CLAIMS,
        "subscriptions": _subscriptions(draw(st.integers(0, 3)), discounts),
        "grants": draw(st.lists(st.sampled_from(GIVEN), unique_by=lambda one: one.id)),
        "closed": draw(st.sampled_from([[], ["10-25"], ["10-25", "11-10"]])),
    }
    late = draw(st.lists(st.sampled_from(sorted(LATE)), unique=True, max_size=3))
    return Facts(terms, tuple(late))


# --- what happens -----------------------------------------------------------------------------------------------------

# Half of what happens, happens around the end of October, where days and periods of the zones end apart and clocks
# change; a little of it months later, when credit that rolled over is spent.
minutes = (
    st.integers(0, 45 * 24 * 6) | st.integers(7 * 24 * 6, 10 * 24 * 6) | st.integers(40 * 24 * 6, 110 * 24 * 6)
).map(lambda n: START + timedelta(minutes=10 * n))
hours = st.integers(0, 72).map(lambda n: t("10-30 20:00") + timedelta(minutes=30 * n))
who = st.sampled_from(["member:ada", "member:ada", "member:bob", "badge:A", "badge:B"])
numbers = st.decimals("-6", "12", places=2)
orders = st.sampled_from(["o1", "o1", "o2"])
data_of: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "usage.reported": st.fixed_dictionaries(
        {
            "meter": st.sampled_from(["use", "use", "level", "peak"]),
            "quantity": numbers | numbers | numbers | st.just("many"),
        }
    ),
    "print.job": st.fixed_dictionaries(
        {
            "job": st.sampled_from(["j1", "j2", "j3"]),
            "impressions": st.integers(-2, 6),
            "color": st.booleans(),
            "status": st.sampled_from(["completed", "completed", "cancelled"]),
        }
    ),
    "door.access": st.fixed_dictionaries(
        {"granted": st.booleans(), "direction": st.sampled_from(["in", "in", "out", "through"])},
        optional={"estimated": st.booleans()},
    ),
    "desk.seen": st.fixed_dictionaries(
        {"desk": st.sampled_from(["a", "b"]), "direction": st.sampled_from(["in", "seen", "out"])},
        optional={"estimated": st.booleans()},
    ),
    "meter.read": st.fixed_dictionaries(
        {"device": st.sampled_from(["x", "y"]), "kwh": st.decimals("0", "40", places=1)}
    ),
    "pos.sale": st.fixed_dictionaries(
        {
            "order": orders,
            "currency": st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
            "settlement": st.sampled_from(["paid", "account", "account"]),
            "lines": st.lists(
                st.fixed_dictionaries(
                    {
                        "amount": st.decimals("-3", "9", places=3).map(str),
                        "sku": st.sampled_from(["c", "k"]),
                        "quantity": st.integers(1, 2),
                    },
                    optional={"tax": st.just("0.19")},
                ),
                max_size=3,
            ),
            "tip": st.sampled_from(["0", "1.50"]),
            "total": st.sampled_from(["5", "9.90"]),
        }
    ),
    "pos.refund": st.builds(
        lambda order, what, rest: {"sale": {"source": "berlin/device", "order": order}, **what, **rest},
        orders,
        st.decimals("0.5", "9", places=2).map(lambda amount: {"amount": str(amount)})
        | st.just({"lines": [{"sku": "c", "amount": "2"}]}),
        st.fixed_dictionaries(
            {
                "refund": st.sampled_from(["r1", "r2", "r3", "r4"]),
                "currency": st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
                "status": st.sampled_from(["completed", "completed", "pending"]),
            },
        ),
    ),
}
SESSIONS = ("door.access", "desk.seen")
# What happens in one history: a few kinds of events meet more often than many would.
THEMES: list[list[str]] = [
    ["pos.sale", "pos.refund"],
    ["pos.sale", "pos.refund", "usage.reported"],
    ["door.access"],
    ["door.access", "desk.seen", "usage.reported"],
    ["usage.reported"],
    ["usage.reported", "meter.read", "print.job"],
    sorted(data_of),
]


class History:
    """Everything that ever arrives, and the clock when it is looked at last."""

    def __init__(self, events: list[UsageEvent], revisions: list[Revision], until: datetime) -> None:
        self.events, self.revisions, self.until = events, revisions, until

    def __repr__(self) -> str:
        """Say what happens, in few words."""
        lines = [f"{one.id} {one.type} {one.time} {one.site} {one.subject} {one.data}" for one in self.events]
        lines += [f"{one.id} {one.target.id} {one.data}" for one in self.revisions]
        return "\n".join([*lines, f"until {self.until}"])


@st.composite
def histories(draw: st.DrawFn, *, till: bool = False) -> History:
    events: list[UsageEvent] = []
    kinds = ["pos.sale", "pos.refund"] if till else draw(st.sampled_from(THEMES))
    for n in range(draw(st.integers(1, 4) | st.integers(5, 16))):
        kind = draw(st.sampled_from(kinds))
        site = "berlin" if kind.startswith("pos.") else draw(st.sampled_from(sorted(ZONES)))
        at = draw(hours if kind in SESSIONS else minutes)
        by = "member:ada" if till else draw(who)
        events.append(event(f"e{n}", kind, at, draw(data_of[kind]), by=by, site=site))
    revisions: list[Revision] = []
    for n in range(draw(st.integers(0, 4))):
        told: list[UsageEvent | Revision] = [*events[:2], *revisions]
        target = draw(st.sampled_from(told))
        if draw(st.booleans()):
            revisions.append(void(target, id=f"r{n}"))
        else:
            kind = target.type if isinstance(target, UsageEvent) else "door.access"
            revisions.append(amend(target, draw(data_of[kind]), id=f"r{n}", at=f"11-{28 - n:02}"))
    last = max(one.time for one in events)
    return History(events, revisions, last + draw(st.integers(0, 60 * 24)) * timedelta(hours=1))


class Step:
    """A batch of what arrives; then the clock, how many late facts are known, and how far back the fold begins."""

    def __init__(self, told: list[UsageEvent | Revision], until: datetime, known: int, back: int) -> None:
        self.told, self.until, self.known, self.back = told, until, known, back

    def __repr__(self) -> str:
        """Say it in few words."""
        return f"{[one.id for one in self.told]} until {self.until}, {self.known} known, {self.back} back"


@st.composite
def arrivals(draw: st.DrawFn, *, till: bool = False) -> tuple[Facts, History, list[Step]]:
    """A history, and the steps in which it comes to be known, in any order, while the clock goes on."""
    known, history = draw(facts(till=till)), draw(histories(till=till))
    told: list[UsageEvent | Revision] = [*history.events, *history.revisions]
    order = draw(st.permutations(told))
    size = draw(st.integers(1, 6))
    batches = [list(order[n : n + size]) for n in range(0, len(order), size)]
    # Some steps bring nothing but the clock.
    for at in sorted(draw(st.lists(st.integers(0, len(batches)), max_size=2)), reverse=True):
        batches.insert(at, [])
    count = len(batches)
    first = min(one.time for one in history.events)
    length = int((history.until - first) / timedelta(hours=1)) + 1
    clocks = sorted(draw(st.lists(st.integers(0, length), min_size=count, max_size=count)))
    late = sorted(draw(st.lists(st.integers(0, len(known.late)), min_size=count, max_size=count)))
    backs = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    steps = [
        Step(batch, min(first + clock * timedelta(hours=1), history.until), number, back)
        for batch, clock, number, back in zip(batches, clocks, late, backs, strict=True)
    ]
    steps.append(Step([], history.until, len(known.late), 0))
    return known, history, steps
