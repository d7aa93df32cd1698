"""Square's amounts: integers of a currency's smallest unit, and texts of them; and shares of them that sum exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meter.model.event import Json
from meter.model.money import minor_unit_places
from meter.sources.fields import Fields, bad_payload
from meter.sources.spec import Setup

# Square's ids; what looks otherwise is never put into the path of a request.
_OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,192}")


class Money(NamedTuple):
    """An amount in the smallest unit of its currency (cents, yen)."""

    minor: int
    currency: str


def money(of: Fields, name: str) -> Money:
    """Return the amount at `name`. Raises BadInput (`bad_payload`) where there is none."""
    given = of.object(name)
    amount, currency = given.raw("amount"), given.text("currency")
    if type(amount) is not int:
        raise bad_payload(f"{name} is no integer with a currency; the smallest unit is documented here")
    return Money(amount, currency)


def opt_minor(of: Fields, name: str, currency: str) -> int | None:
    """Return the amount at `name`, None where there is none. Raises BadInput: it is in another currency."""
    if of.raw(name) is None:
        return None
    found = money(of, name)
    if found.currency != currency:
        raise bad_payload(
            f"{name} is in {found.currency[:10]!r}, the rest in {currency[:10]!r}; one is documented here"
        )
    return found.minor


def text_of(minor: int, currency: str) -> str:
    """Return the amount in units of the currency, with all its places: `"4.20"`, `"420"` yen."""
    places = minor_unit_places(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f}"


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Return `amount` in parts by weight that sum to it: each is cut down, and the largest remainders get what is left.

    Of equal remainders the first. Where the amount is at most the sum of the weights, no part is above its weight.
    Without any weight the first takes all. Neither may be negative.
    """
    whole = sum(weights)
    if not whole:
        return [amount, *[0] * (len(weights) - 1)] if weights else []
    parts = [amount * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda n: (-(amount * weights[n] % whole), n))
    for n in by_remainder[: amount - sum(parts)]:
        parts[n] += 1
    return parts


def is_object_id(value: Json) -> bool:
    """Tell whether a value can be the id of an object of Square's."""
    return isinstance(value, str) and _OBJECT_ID.fullmatch(value) is not None


def is_ours(setup: Setup, of: Fields) -> bool:
    """Tell whether an object's location belongs to the source; one that names none does."""
    listed, location = setup.options["locations"], of.raw("location_id")
    return not listed or location is None or location in listed
