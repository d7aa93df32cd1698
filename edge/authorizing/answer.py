"""What the gateway says of an ask, read; and what the agent says by itself, in the same shape (docs/api.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from edge.authorizing.ask import Ask
from edge.authorizing.decide import Decision, Word
from meter.model.event import Json
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.model.strict_json import exact_json


class _Allowance(msgspec.Struct, frozen=True):
    covered: Decimal
    price: Decimal | None
    currency: str
    left: Decimal | None
    left_amount: Decimal | None
    sold_beyond: bool


class Answer(msgspec.Struct, frozen=True):
    """As much of the gateway's answer as is looked at here."""

    id: str
    allowed: bool
    offline: bool
    account: str | None
    member: str | None
    unit: str | None
    allowance: _Allowance | None

    @property
    def word(self) -> Word | None:
        """Return what it says of what may be allowed further on; None: nobody answers for the identity."""
        left = self.allowance
        if left is None or self.account is None:
            return None
        return Word(
            account=self.account,
            member=self.member,
            unit=self.unit,
            covered=left.covered,
            price=left.price,
            currency=left.currency,
            left=left.left,
            left_amount=left.left_amount,
            sold_beyond=left.sold_beyond,
        )


ANSWER: Final = msgspec.json.Decoder(Answer)


def own_answer(ask: Ask, word: Word | None, decision: Decision, *, at: datetime) -> bytes:
    """Return what a device is told while the gateway cannot be heard. What it would cost is not known here."""
    told: Mapping[str, Json] = {
        "id": ask.id,
        "allowed": decision.allowed,
        "reasons": list(decision.reasons),
        "warnings": [],
        "state": "open" if decision.allowed else "refused",
        "offline": True,
        "account": None if word is None else word.account,
        "member": None if word is None else word.member,
        "site": ask.site,
        "meter": ask.meter,
        "quantity": plain(ask.quantity),
        "unit": None if word is None else word.unit,
        "dimensions": dict(ask.dimensions),
        "cost": None,
        "left": None if decision.left is None else plain(decision.left),
        "limits": [],
        "allowance": None,
        "asked_at": instant_text(at),
        "expires_at": instant_text(at + timedelta(seconds=ask.expires_s)),
        "settled": None,
        "released_at": None,
    }
    return exact_json(told).encode()
