"""What an account's fold carries from one event to the next. Small, exact, and in JSON a checkpoint (decision 0001).

Bounded by the account's members, prices and grants, not by its events: what belongs to a billing period is dropped when
the next begins, days seen when no later event can fall on them. Only the draws that a negative quantity could return
grow within a period: by an entry whenever a meter that can fall draws another grant than the time before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from meter.model.errors import Broken
from meter.model.event import Position
from meter.model.money import ZERO
from meter.model.period import Period

# Raised when `to_json` writes something else or its meaning changes: older checkpoints are then left unread.
STATE_FORMAT: Final = 1


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

    Negative: credit given back.
    """

    instance: str
    amount: Decimal
    balance: Decimal
    granted: Decimal


class _Drawn(NamedTuple):
    """The draws of a meter in this period, the last first, as a linked list: a copy of the state shares it."""

    instance: str
    amount: Decimal
    granted: Decimal
    earlier: _Drawn | None


@dataclass(slots=True, kw_only=True, eq=False)
class AccountState:
    """The state after the event at `position`. The fold works on a copy; nobody else changes one.

    `totals`: Q by price. `used`: credit drawn by instance. `days`: the last local dates seen, by meter and member.
    `drawn`: by meter, what a negative quantity would give back.
    """

    position: Position | None = None
    period: Period | None = None
    totals: dict[TotalKey, Decimal] = field(default_factory=dict)
    used: dict[str, Decimal] = field(default_factory=dict)
    days: dict[tuple[str, str], tuple[date, ...]] = field(default_factory=dict)
    drawn: dict[str, _Drawn] = field(default_factory=dict, repr=False)

    def copy(self) -> AccountState:
        """Return a state that can be changed without changing this one."""
        return AccountState(
            position=self.position,
            period=self.period,
            totals=self.totals.copy(),
            used=self.used.copy(),
            days=self.days.copy(),
            drawn=self.drawn.copy(),
        )

    def first_of_day(self, meter: str, member: str | None, day: date, instant: datetime) -> bool:
        """Tell whether `day` is new for the member (None: all usage without one), and remember it.

        Zones reach from UTC-12 to UTC+14, so later events show dates from the day before the instant's UTC date on.
        """
        key = (meter, member or "")
        seen = self.days.get(key, ())
        if day in seen:
            return False
        horizon = instant.date() - timedelta(days=1)
        self.days[key] = (*(d for d in seen if d >= horizon), day)
        return True

    def use(self, step: DrawStep) -> None:
        """Take credit from an instance."""
        self.used[step.instance] = self.used.get(step.instance, ZERO) + step.amount

    def remember(self, meter: str, step: DrawStep) -> None:
        """Keep a draw of `meter` for `give_back`; neighbouring draws of one instance are one."""
        top, amount = self.drawn.get(meter), step.amount
        if top is not None and top.instance == step.instance:
            amount, top = amount + top.amount, top.earlier
        self.drawn[meter] = _Drawn(step.instance, amount, step.granted, top)

    def give_back(self, meter: str, quantity: Decimal) -> list[DrawStep]:
        """Return up to `quantity` of the meter's draws of this period to their instances, the last drawn first."""
        found: list[DrawStep] = []
        top = self.drawn.get(meter)
        while top is not None and quantity > ZERO:
            returned = min(quantity, top.amount)
            used = self.used[top.instance]
            found.append(DrawStep(top.instance, -returned, top.granted - used, top.granted))
            self.used[top.instance] = used - returned
            quantity -= returned
            top = top._replace(amount=top.amount - returned) if returned < top.amount else top.earlier
        if top is None:
            self.drawn.pop(meter, None)
        else:
            self.drawn[meter] = top
        return found

    def enter(self, period: Period, given: set[str]) -> None:
        """Begin `period`: keep the use of the `given` grants, and days on which later events can still fall."""
        horizon = period.start.date() - timedelta(days=1)
        self.period = period
        self.totals = {}
        self.drawn = {}
        self.used = {name: amount for name, amount in self.used.items() if name in given}
        self.days = {key: kept for key, seen in self.days.items() if (kept := tuple(d for d in seen if d >= horizon))}

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values, numbers as strings: `from_json` gives back an equal one."""
        return {
            "position": self.position and [self.position.time.isoformat(), self.position.source, self.position.id],
            "period": self.period and [self.period.start.isoformat(), self.period.end.isoformat()],
            "totals": [[*key, str(total)] for key, total in sorted(self.totals.items())],
            "used": {name: str(amount) for name, amount in sorted(self.used.items())},
            "days": [[*key, [day.isoformat() for day in seen]] for key, seen in sorted(self.days.items())],
            "drawn": {meter: _flat(top) for meter, top in sorted(self.drawn.items())},
        }

    @staticmethod
    def from_json(body: dict[str, Any]) -> AccountState:
        """Return the state that `to_json` wrote."""
        position, period = body["position"], body["period"]
        return AccountState(
            position=position and Position(datetime.fromisoformat(position[0]), position[1], position[2]),
            period=period and Period(datetime.fromisoformat(period[0]), datetime.fromisoformat(period[1])),
            totals={TotalKey(*row[:5]): Decimal(row[5]) for row in body["totals"]},
            used={name: Decimal(amount) for name, amount in body["used"].items()},
            days={(row[0], row[1]): tuple(map(date.fromisoformat, row[2])) for row in body["days"]},
            drawn={meter: _linked(rows) for meter, rows in body["drawn"].items()},
        )


def _flat(top: _Drawn | None) -> list[list[str]]:
    rows: list[list[str]] = []
    while top is not None:
        rows.append([top.instance, str(top.amount), str(top.granted)])
        top = top.earlier
    return rows


def _linked(rows: list[list[str]]) -> _Drawn:
    top: _Drawn | None = None
    for instance, amount, granted in reversed(rows):
        top = _Drawn(instance, Decimal(amount), Decimal(granted), top)
    if top is None:
        raise Broken(
            "a checkpoint lists a meter without draws; delete the account's checkpoints", code="bad_checkpoint"
        )
    return top
