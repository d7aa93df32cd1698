"""What an account's fold carries from place to place. Small, exact, and in JSON a checkpoint (decisions 0001, 0009).

    memory                    of stage one: days seen, open sessions, counter runs
    tallies, used, drawn …    of stage two: what the next line costs, and which credit is left for it
    settled, sold             what was taken for granted about sessions and sales that lie before the position

Bounded by the account's members, prices and grants, not by its events: what belongs to a billing period is dropped when
the next begins. Only the draws that a negative quantity could return grow within a period: by an entry whenever a meter
that can fall draws another grant than the time before, or for a sale that has refunds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from meter.model.errors import Broken
from meter.model.event import EventKey, Position
from meter.model.money import ZERO, round_amount
from meter.model.period import Period
from meter.rating.measure import Memory
from meter.rating.placed import PlacedEvent, placed_json, placed_of
from meter.rating.price import Tally
from meter.rating.refund import Sold

# Raised when `to_json` writes something else or its meaning changes: older checkpoints are then left unread.
STATE_FORMAT: Final = 6


class TotalKey(NamedTuple):
    """Whose quantities add up to one Q within the billing period (rating.md, section 5).

    `price` and `content` are "" for what is not priced yet, which then counts by `meter`; `member` is "" unless the
    price counts per member.
    """

    plan: str
    price: str
    content: str
    meter: str
    member: str


class DrawStep(NamedTuple):
    """A draw of `amount` from `instance`, whose balance was `balance` before, of `granted` in all.

    All three are in the instance's `unit` (seconds for a unit of time); `covered` is the quantity of the meter, or the
    money, that it pays for. Negative: credit given back.
    """

    instance: str
    unit: str
    amount: Decimal
    covered: Decimal
    balance: Decimal
    granted: Decimal


class SaleKey(NamedTuple):
    """A sale as refunds speak of it."""

    source: str
    order: str


class SoldPart(NamedTuple):
    """An element of a sale that has refunds."""

    sale: SaleKey
    element: int


class Drawn(NamedTuple):
    """The draws of a meter in this period, the last first, as a linked list: a copy of the state shares it.

    Of a draw of a sale that has refunds (`part`), `sold` knows what is left to give back.
    """

    instance: str
    unit: str
    amount: Decimal
    covered: Decimal
    granted: Decimal
    earlier: Drawn | None
    part: SoldPart | None = None


class Settled(NamedTuple):
    """What became of a session that was open at the state's position, as far as was known when it was folded."""

    quantity: Decimal
    estimated: bool
    events: tuple[EventKey, ...]


class SessionKey(NamedTuple):
    """A session by its meter and its start."""

    meter: str
    source: str
    id: str


class Returned(NamedTuple):
    """Credit that a refund gave back to an instance that had expired: a new one with the old one's scope."""

    origin: str
    effective: datetime
    expires: datetime
    amount: Decimal


@dataclass(slots=True, kw_only=True, eq=False)
class AccountState:
    """The state at `position`. The fold works on a copy; nobody else changes one.

    `tallies`: Q and its companions by price. `day_sums`, `capped`: what caps and minimums look at. `discounted`:
    running sums of discounts. `used`: credit drawn by instance, until `lasts` at the most. `drawn` and `money`: by
    meter, what a negative quantity or amount would give back; `paid`: what was paid for the meters that can fall.
    `sold`: sales that have refunds; `waiting`: refunds from before `position` whose sales come after it.
    """

    position: Position | None = None
    period: Period | None = None
    memory: Memory = field(default_factory=Memory)
    settled: dict[SessionKey, Settled] = field(default_factory=dict)
    tallies: dict[TotalKey, Tally] = field(default_factory=dict)
    day_sums: dict[tuple[TotalKey, date], Decimal] = field(default_factory=dict)
    capped: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    discounted: dict[str, Decimal] = field(default_factory=dict)
    used: dict[str, Decimal] = field(default_factory=dict)
    lasts: dict[str, datetime] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict, repr=False)
    money: dict[str, Drawn] = field(default_factory=dict, repr=False)
    paid: dict[str, Decimal] = field(default_factory=dict)
    sold: dict[SaleKey, Sold] = field(default_factory=dict)
    returned: dict[str, Returned] = field(default_factory=dict)
    waiting: dict[EventKey, PlacedEvent] = field(default_factory=dict)

    def copy(self) -> AccountState:
        """Return a state that can be changed without changing this one."""
        return AccountState(
            position=self.position,
            period=self.period,
            memory=self.memory.copy(),
            settled=self.settled.copy(),
            tallies=self.tallies.copy(),
            day_sums=self.day_sums.copy(),
            capped=self.capped.copy(),
            discounted=self.discounted.copy(),
            used=self.used.copy(),
            lasts=self.lasts.copy(),
            drawn=self.drawn.copy(),
            money=self.money.copy(),
            paid=self.paid.copy(),
            sold=self.sold.copy(),
            returned=self.returned.copy(),
            waiting=self.waiting.copy(),
        )

    def use(self, step: DrawStep, lasts: datetime) -> None:
        """Take credit from an instance that matters until `lasts`."""
        used = self.used.get(step.instance)
        if used is None:
            self.lasts[step.instance] = lasts
            used = ZERO
        self.used[step.instance] = used + step.amount

    def enter(self, period: Period) -> None:
        """Begin `period`: forget what belonged to the one before, and credit that nobody can draw any more."""
        horizon = period.start.date() - timedelta(days=2)
        self.period = period
        self.tallies = {}
        self.capped = {}
        self.discounted = {}
        self.drawn = {}
        self.money = {}
        self.paid = {}
        self.day_sums = {key: total for key, total in self.day_sums.items() if key[1] >= horizon}
        self.lasts = {name: until for name, until in self.lasts.items() if until > period.start}
        self.used = {name: amount for name, amount in self.used.items() if name in self.lasts}
        self.returned = {name: one for name, one in self.returned.items() if one.expires > period.start}

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values, numbers as strings: `from_json` gives back an equal one."""
        return {
            "position": self.position and [self.position.time.isoformat(), self.position.source, self.position.id],
            "period": self.period and [self.period.start.isoformat(), self.period.end.isoformat()],
            "memory": self.memory.to_json(),
            "settled": [
                [*key, str(one.quantity), one.estimated, [list(event) for event in one.events]]
                for key, one in sorted(self.settled.items())
            ],
            "tallies": [[*key, *tally.to_row()] for key, tally in sorted(self.tallies.items())],
            "day_sums": [[*key, day.isoformat(), str(total)] for (key, day), total in sorted(self.day_sums.items())],
            "capped": [[*key, str(total)] for key, total in sorted(self.capped.items())],
            "discounted": {name: str(total) for name, total in sorted(self.discounted.items())},
            "used": {name: [str(amount), self.lasts[name].isoformat()] for name, amount in sorted(self.used.items())},
            "drawn": {meter: _flat(top) for meter, top in sorted(self.drawn.items())},
            "money": {meter: _flat(top) for meter, top in sorted(self.money.items())},
            "paid": {meter: str(amount) for meter, amount in sorted(self.paid.items())},
            "sold": [[*key, one.to_json()] for key, one in sorted(self.sold.items())],
            "returned": {
                name: [one.origin, one.effective.isoformat(), one.expires.isoformat(), str(one.amount)]
                for name, one in sorted(self.returned.items())
            },
            "waiting": [placed_json(self.waiting[key]) for key in sorted(self.waiting)],
        }

    @staticmethod
    def from_json(body: dict[str, Any]) -> AccountState:
        """Return the state that `to_json` wrote."""
        position, period = body["position"], body["period"]
        return AccountState(
            position=position and Position(datetime.fromisoformat(position[0]), position[1], position[2]),
            period=period and Period(datetime.fromisoformat(period[0]), datetime.fromisoformat(period[1])),
            memory=Memory.from_json(body["memory"]),
            settled={
                SessionKey(*row[:3]): Settled(Decimal(row[3]), row[4], tuple(EventKey(*event) for event in row[5]))
                for row in body["settled"]
            },
            tallies={TotalKey(*row[:5]): Tally.from_row(row[5:]) for row in body["tallies"]},
            day_sums={(TotalKey(*row[:5]), date.fromisoformat(row[5])): Decimal(row[6]) for row in body["day_sums"]},
            capped={(row[0], row[1], row[2]): Decimal(row[3]) for row in body["capped"]},
            discounted={name: Decimal(total) for name, total in body["discounted"].items()},
            used={name: Decimal(amount) for name, (amount, _) in body["used"].items()},
            lasts={name: datetime.fromisoformat(until) for name, (_, until) in body["used"].items()},
            drawn={meter: _linked(rows) for meter, rows in body["drawn"].items()},
            money={meter: _linked(rows) for meter, rows in body["money"].items()},
            paid={meter: Decimal(amount) for meter, amount in body["paid"].items()},
            sold={SaleKey(row[0], row[1]): Sold.from_json(row[2]) for row in body["sold"]},
            returned={
                name: Returned(row[0], datetime.fromisoformat(row[1]), datetime.fromisoformat(row[2]), Decimal(row[3]))
                for name, row in body["returned"].items()
            },
            waiting={placed.event.key: placed for placed in map(placed_of, body["waiting"])},
        )


def remember(drawn: dict[str, Drawn], meter: str, step: DrawStep, part: SoldPart | None = None) -> None:
    """Keep a draw of `meter` in `drawn` for `give_back`; neighbouring draws of one instance at one rate are one.

    `part`: it is a draw of a sale that has refunds.
    """
    top, amount, covered = drawn.get(meter), step.amount, step.covered
    if part is None and top is not None and top.part is None and _joins(top, step):
        amount, covered, top = amount + top.amount, covered + top.covered, top.earlier
    drawn[meter] = Drawn(step.instance, step.unit, amount, covered, step.granted, top, part)


def _joins(draw: Drawn | DrawStep, other: DrawStep) -> bool:
    """Tell whether two neighbouring draws are one: of one instance, at one rate."""
    return draw.instance == other.instance and draw.amount == draw.covered and other.amount == other.covered


def give_back(state: AccountState, drawn: dict[str, Drawn], meter: str, covered: Decimal) -> list[DrawStep]:
    """Return draws of the meter in this period that cover up to `covered` to their instances, the last drawn first."""
    found: list[DrawStep] = []
    top = drawn.get(meter)
    while top is not None and covered > ZERO:
        top = _outstanding(state, meter, top)
        if covered >= top.covered:
            part, amount, rest = top.covered, top.amount, top.earlier
        else:
            part = covered
            # Credits go back in proportion, as finely as they were drawn.
            amount = part if top.amount == top.covered else round_amount(top.amount * part / top.covered)
            rest = top._replace(amount=top.amount - amount, covered=top.covered - part)
        if part:
            step = _returned(state, meter, top, amount, part)
            if found and _joins(found[-1], step):
                # As one draw would be: a line looks the same whether its draws' sales have refunds or not.
                last = found[-1]
                found[-1] = last._replace(amount=last.amount + step.amount, covered=last.covered + step.covered)
            else:
                found.append(step)
            covered += step.covered
        top = rest
    if top is None:
        drawn.pop(meter, None)
    else:
        drawn[meter] = top
    return found


def _outstanding(state: AccountState, meter: str, draw: Drawn) -> Drawn:
    """Return a draw with what is left of it: a refund may have given back some."""
    if draw.part is None:
        return draw
    of = state.sold[draw.part.sale].line_of(meter, draw.part.element).draw_of(draw.instance)
    return draw._replace(amount=of.amount - of.back, covered=of.covered - of.uncovered)


def _returned(state: AccountState, meter: str, draw: Drawn, amount: Decimal, covered: Decimal) -> DrawStep:
    """Give `amount` of a draw back to its instance, and have its sale's refunds know."""
    if draw.part is not None:
        sale = state.sold[draw.part.sale]
        line = sale.line_of(meter, draw.part.element)
        line = line.with_draw(line.draw_of(draw.instance).returned(amount, covered))
        state.sold[draw.part.sale] = sale.with_line(line)
    used = state.used[draw.instance]
    state.used[draw.instance] = used - amount
    return DrawStep(draw.instance, draw.unit, -amount, -covered, draw.granted - used, draw.granted)


def _flat(top: Drawn | None) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    while top is not None:
        of = () if top.part is None else (*top.part.sale, top.part.element)
        rows.append([top.instance, top.unit, str(top.amount), str(top.covered), str(top.granted), *of])
        top = top.earlier
    return rows


def _linked(rows: list[list[Any]]) -> Drawn:
    top: Drawn | None = None
    for instance, unit, amount, covered, granted, *of in reversed(rows):
        part = SoldPart(SaleKey(of[0], of[1]), of[2]) if of else None
        top = Drawn(instance, unit, Decimal(amount), Decimal(covered), Decimal(granted), top, part)
    if top is None:
        raise Broken(
            "a checkpoint lists a meter without draws; delete the account's checkpoints", code="bad_checkpoint"
        )
    return top
