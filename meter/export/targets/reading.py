"""Fields of what targets answer, each of the type that it has to be: what is of another is named, and never guessed.

what may be missing ──▶ "" or 0 or nothing        what is there and of another type ──▶ Unreadable
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from meter.export.contract import Barred, Refused, Uncertain
from meter.export.http import Ends
from meter.model.errors import BadInput, Unavailable
from meter.model.money import ZERO

Json: TypeAlias = Mapping[str, Any]
# As much as a figure needs; what is longer is none, and would take for ever to compute with.
NUMBER_CHARS_MAX: Final = 40
_SAID_CHARS_MAX: Final = 40


class Unreadable(Ends):
    """An answer with something else in it than the interface has: whatever it was to say is not known."""

    def __init__(self, field: str, found: Any, wanted: str) -> None:
        """Name the field, what is there and what should be."""
        said = "is missing" if found is None else f"is {_kind_of(found)}, not {wanted}"
        super().__init__(Uncertain(f"what it answered cannot be read: {field} {said}"))


def word_of(record: Json, field: str) -> str:
    """Return a name that has to be there: a text, or a whole number as text. Raises Unreadable."""
    found = record.get(field)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, str) and found:
        return found
    raise Unreadable(field, found, "a name")


def text_of(record: Json, field: str, default: str = "") -> str:
    """Return a text; `default` where there is none. Raises Unreadable."""
    found = record.get(field)
    if found is None:
        return default
    if isinstance(found, str):
        return found
    raise Unreadable(field, found, "a text")


def number_of(record: Json, field: str, default: Decimal = ZERO) -> Decimal:
    """Return a number, which may be written as text; `default` where there is none. Raises Unreadable."""
    found = record.get(field)
    if found is None or found == "":
        return default
    # A float is what a vendor's library makes of a number; its text is the number as it was written.
    if isinstance(found, int | float | Decimal | str) and not isinstance(found, bool):
        written = str(found)
        try:
            number = Decimal(written) if len(written) <= NUMBER_CHARS_MAX else None
        except InvalidOperation:
            number = None
        if number is not None and number.is_finite() and abs(number.adjusted()) <= NUMBER_CHARS_MAX:
            return number
    raise Unreadable(field, found, "a number")


def whole_of(record: Json, field: str) -> int:
    """Return a whole number that has to be there. Raises Unreadable."""
    found = record.get(field)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise Unreadable(field, found, "a whole number")


def object_of(record: Json, field: str) -> Json:
    """Return an object; an empty one where there is none. Raises Unreadable."""
    found = record.get(field)
    if found is None:
        return {}
    if isinstance(found, Mapping):
        return found
    raise Unreadable(field, found, "an object")


def objects_of(record: Json, field: str, *, required: bool = False) -> Sequence[Any]:
    """Return a list of objects; an empty one where there is none, unless it is `required`. Raises Unreadable."""
    found = record.get(field)
    if found is None and not required:
        return ()
    if isinstance(found, list) and all(isinstance(one, Mapping) for one in found):
        return found
    raise Unreadable(field, found, "a list of objects")


@contextmanager
def listing(vendor: str) -> Iterator[None]:
    """Raise Unavailable (`not_listed`) for what ends the reading of what a vendor holds, or cannot be read of it.

    BadInput (`not_listed`) where it refuses to say so.
    """
    try:
        yield
    except Ends as end:
        if isinstance(end.outcome, Refused | Barred):
            raise BadInput(f"{vendor} does not say what it holds: {end}", code="not_listed") from end
        raise Unavailable(f"{vendor} does not say what it holds: {end}", code="not_listed") from end
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise Unavailable(f"{vendor}'s list cannot be read ({fault}); ask again", code="not_listed") from error


def _kind_of(found: Any) -> str:
    match found:
        case bool():
            return str(found).lower()
        case str():
            return f"the text {found[:_SAID_CHARS_MAX]!r}"
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case _:
            return f"the number {str(found)[:_SAID_CHARS_MAX]}"
