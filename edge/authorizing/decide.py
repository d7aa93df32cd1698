"""May somebody have something while the gateway cannot be heard? Pure (decision 0016).

the gateway's last word ─┐
allowed since            ├─▶ yes or no, why, and the value that the operator risks by it
risk limits, and used   ─┘

What an answer risks stays at risk until the gateway has it:

            allowed ──────────────▶ at risk ◀──── an event names it (after all)
                                      │  ▲               │
      the device lets it go ──────────┤  └───────────────┘
      told, and its event is there ───┤
      told, none came, it expired ────┴──▶ no risk any more

That nothing came in time does not free it while the gateway has not been told: an event may be on its way in a printer
that is as cut off as the agent is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final, Literal, TypeAlias

from meter.model.money import EXACT, ZERO, cut_quantity

Reason: TypeAlias = Literal["unknown_offline", "unpriced", "no_credit", "hard_limit", "risk_limit"]
# What became of the event that names an answer: none came; it waits in the spool; the gateway has it.
Came: TypeAlias = Literal["nothing", "waiting", "there"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The gateway's last word on an identity and a meter: its `allowance`, in the meter's `unit`, and whose it is.

    `covered`: by credit. `price`: of one unit more beyond that; None: nothing prices it. `left`, `left_amount`: what
    limits leave; None: none limits it. `sold_beyond` False: nothing is sold beyond credit.
    """

    account: str
    member: str | None
    unit: str | None
    covered: Decimal
    price: Decimal | None
    currency: str
    left: Decimal | None
    left_amount: Decimal | None
    sold_beyond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Yes:
    """One answer that allowed something, as it stands now.

    `value`: at the price of one unit more, covered or not. `known`: from which word of the gateway's on it is counted
    there; None: the gateway was not told yet.
    """

    id: str
    quantity: Decimal
    value: Decimal
    currency: str
    offline: bool
    known: int | None
    released: bool
    expired: bool
    came: Came

    @property
    def at_risk(self) -> bool:
        """Tell whether the operator risks its value: nobody but this agent has allowed it, or knows what came of it."""
        if not self.offline or (self.released and self.came == "nothing"):
            return False
        if self.known is None or self.came == "waiting":
            return True
        return self.came == "nothing" and not self.expired

    def taken_since(self, heard: int) -> bool:
        """Tell whether a word that was heard as the `heard`th may not count it."""
        if self.came == "nothing" and (self.released or (self.expired and self.known is not None)):
            return False
        return self.at_risk or self.known is None or self.known > heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an account was allowed of a meter since a word. `dearest`: the highest price of one unit of it."""

    quantity: Decimal = ZERO
    dearest: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """How much may be risked, and how much is: of one account, and in all of the site, in one currency."""

    account_max: Decimal
    site_max: Decimal
    account: Decimal = ZERO
    site: Decimal = ZERO

    @property
    def left(self) -> Decimal:
        """Return how much more may be risked; never below 0."""
        return max(min(self.account_max - self.account, self.site_max - self.site), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Allowed where `reasons` is empty. `left`: of what is refused, so much would go; None: not to be said."""

    reasons: tuple[Reason, ...]
    value: Decimal = ZERO
    left: Decimal | None = None

    @property
    def allowed(self) -> bool:
        """Tell whether the answer is yes."""
        return not self.reasons


UNKNOWN: Final = Decision(reasons=("unknown_offline",))


def taken_since(given: Iterable[Yes], heard: int) -> Taken:
    """Return what a word does not count of what was allowed of its account and meter."""
    since = [one for one in given if one.taken_since(heard)]
    with localcontext(EXACT):
        return Taken(
            quantity=sum((one.quantity for one in since), ZERO),
            dearest=max((one.value / one.quantity for one in since), default=ZERO),
        )


def value_of(word: Word, quantity: Decimal) -> Decimal:
    """Return what `quantity` is worth at the price of one unit more; 0 where nothing prices it."""
    return EXACT.multiply(quantity, max(word.price or ZERO, ZERO))


def decide(quantity: Decimal, word: Word | None, taken: Taken, risk: Risk) -> Decision:
    """Return the answer to an ask of `quantity`; `word` None: there is none that still counts.

    Credit and limits are the account's and not the member's here: what anybody of it was allowed is taken off.
    """
    if word is None:
        return UNKNOWN
    if word.price is None:
        return Decision(reasons=("unpriced",))  # what it risks cannot be said
    with localcontext(EXACT):
        value = value_of(word, quantity)
        covered = max(word.covered - taken.quantity, ZERO)
        lefts: dict[Reason, Decimal | None] = {}
        if not word.sold_beyond and quantity > covered:
            lefts["no_credit"] = covered
        if word.left is not None and taken.quantity + quantity > word.left:
            lefts["hard_limit"] = max(word.left - taken.quantity, ZERO)
        if word.left_amount is not None and _beyond(quantity, word, taken) > word.left_amount:
            lefts["hard_limit"] = None
        if value > risk.left:
            lefts["risk_limit"] = cut_quantity(risk.left / word.price)
    if not lefts:
        return Decision(reasons=(), value=value)
    said = [left for left in lefts.values() if left is not None]
    return Decision(reasons=tuple(lefts), left=min(said) if len(said) == len(lefts) else None)


def _beyond(quantity: Decimal, word: Word, taken: Taken) -> Decimal:
    """Return at most how much money lies beyond credit once this is allowed, too."""
    beyond = max(taken.quantity + quantity - word.covered, ZERO)
    return beyond * max(word.price or ZERO, taken.dearest)
