"""JSON as a bill can stand it: what the standard's parsers let through and a sum or a row does not survive is refused.

NaN and infinities, numbers of more than 18 digits on either side of the point, NUL, lone surrogates, duplicate keys and
deep nesting (decision 0002). The standard library's parser, because it shows every pair of an object: others keep the
last of two equal keys and do not tell.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

import msgspec

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.money import DIGITS_MAX

DEPTH_MAX: Final = 32
# A string that nothing closes ends with the body: were it passed over, each quote in it would be tried as a beginning,
# and a few kilobytes of escaped quotes would take seconds.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_EXACT: Final = msgspec.json.Encoder(decimal_format="number")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise BadInput(f"the key {twice[:60]!r} stands twice in one object; send it once", code="duplicate_key")
    return made


def _real(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _too_long(text) from error
    exponent = number.as_tuple().exponent
    if number.adjusted() >= DIGITS_MAX or (isinstance(exponent, int) and exponent < -DIGITS_MAX):
        raise _too_long(text)
    return number


def _integer(text: str) -> int:
    if len(text) > DIGITS_MAX + text.startswith("-"):
        raise _too_long(text)
    return int(text)


def _too_long(text: str) -> BadInput:
    message = f"the number {text[:40]} has more than {DIGITS_MAX} digits on one side of the point; send fewer"
    return BadInput(message, code="bad_number")


def _constant(text: str) -> NoReturn:
    raise BadInput(f"{text} is no number of JSON; leave the field out where there is no value", code="bad_number")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_real, parse_int=_integer, parse_constant=_constant
)


def exact_json(value: Json) -> str:
    """Return `value` as JSON text with each number as it is: `strict_json` gives back an equal value."""
    return _EXACT.encode(value).decode()


def strict_json(body: bytes) -> Json:
    """Return the decoded JSON: int and Decimal for numbers, never float.

    Raises BadInput: `not_json`, `bad_number`, `duplicate_key`, `too_deep`, `bad_string`.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start} of the body is not UTF-8; send JSON in UTF-8"
        raise BadInput(message, code="not_json") from error
    # No more brackets than levels allowed: no need to look how they nest.
    if text.count("{") + text.count("[") > DEPTH_MAX:
        _check_depth(body)
    try:
        value = _JSON.decode(text)
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at character {error.pos}; send one JSON object in UTF-8"
        raise BadInput(message, code="not_json") from error
    except RecursionError as error:
        raise too_deep() from error
    if "\\u" in text:  # only an escape can say NUL or half of a pair
        _check_strings(value)
    return value


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if bracket[0] in (b"{", b"[") else -1
        if depth > DEPTH_MAX:
            raise too_deep()


def too_deep() -> BadInput:
    """Return the refusal of a body that is nested deeper than is read."""
    return BadInput(f"the body is nested deeper than {DEPTH_MAX} levels; send it flatter", code="too_deep")


def _check_strings(value: Json) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise BadInput("a string holds the character NUL, which no text may; leave it out", code="bad_string")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadInput("a string holds half of a surrogate pair; send both or neither", code="bad_string")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)
