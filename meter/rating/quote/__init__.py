"""What an ask would come to if it were used now: the rater's own answer, and what limits say (decision 0016).

state, folded to now ──▶ open reservations ──▶ the ask ──▶ line: credit, price, caps, discounts, tax
                                                 │  └────▶ limits ──▶ yes, or no and why
                                                 └──────▶ what an agent may go on with: the allowance

Nothing here changes the state that it is given, and no fold ever sees an ask.
"""

from __future__ import annotations

from meter.rating.quote.allowance import Allowance
from meter.rating.quote.ask import Ask
from meter.rating.quote.limits import LimitUse, Window, limits_on
from meter.rating.quote.quote import REASONS, UNKNOWN_IDENTITY, Quote, Reason, quote

__all__ = [
    "REASONS",
    "UNKNOWN_IDENTITY",
    "Allowance",
    "Ask",
    "LimitUse",
    "Quote",
    "Reason",
    "Window",
    "limits_on",
    "quote",
]
