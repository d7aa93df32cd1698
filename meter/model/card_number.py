"""Numbers of payment cards, found and masked: what may not be stored anywhere (PCI DSS, requirement 3; decision 0021).

    4111 1111 1111 1111  ──▶  411111******1111

One is 14 to 19 digits with an issuer's beginning and length and a right check digit (ISO/IEC 7812, Luhn), alone or in
the groups that are printed on cards; no part of a longer run of letters and digits, and no fraction.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.strict_json import exact_json, strict_json

CODE: Final = "card_number"
WHOLE: Final = "the body"
# PCI DSS 3.4.1: at most the first six and the last four digits are shown.
_FIRST: Final = 6
_LAST: Final = 4

# Beginnings and lengths: Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay, Maestro,
# girocard and Mir. Visa's old 13 digits are left out: they are barcodes (EAN-13) of Germany and Japan.
_ISSUED: Final = re.compile(
    rb"""4\d{15}(?:\d{3})?
      | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}
      | 3[47]\d{13}
      | 3(?:0[0-5]|095|6|[89])\d{11,16}
      | (?:6011|64[4-9]\d|65\d\d|62\d\d|35(?:2[89]|[3-8]\d)|220[0-4]|5018|5020|5038|5893|6304|67\d\d)\d{12,15}""",
    re.VERBOSE,
)
# Between groups: a space, a dash; the space of a form, of an address, and one that does not break.
_GAP: Final = rb"(?:[ +-]|%20|\xc2\xa0|\\u00[aA]0)"
# Where the four digits begin that every issuer's numbers begin with. After a letter or a digit nothing begins, but for
# the start of a magnetic stripe (%B) and what escapes stand for. The first digit comes before all else: it is what the
# engine can skip to.
_START: Final = rb"""
    (?: 4 | 5(?=[1-5]|018|020|038|893) | 2(?=22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720|20[0-4])
      | 3(?=[478]|0[0-5]|095|5(?:2[89]|[3-8][0-9])|[69]) | 6(?=011|4[4-9]|5|2|304|7) )
    (?:(?<![0-9A-Za-z].)|(?<=%[Bb].)|(?<=%[0-9A-Fa-f]{2}.)|(?<=\\[bfnrt].)|(?<=\\u[0-9A-Fa-f]{4}.))(?<![0-9]\..)"""
# D: what a chip puts before the date of expiry.
_END: Final = rb"(?:(?![0-9A-Za-z])|(?=[Dd][0-9]{4}))(?!\.[0-9]*[1-9])"
# In one run, in the groups of most cards with and without a fifth, and in those of American Express and Diners Club.
# Looked ahead for, so that what turns out to be none hides nothing that begins within it.
_CANDIDATES: Final = re.compile(
    _START
    + rb"(?:(?=([0-9]{13,18}"
    + _END
    + rb"))"
    + rb"|(?=[0-9]{3}"
    + _GAP
    + rb"[0-9]{4})"
    + rb"(?=([0-9]{3}(?:"
    + _GAP
    + rb"[0-9]{4}){3}"
    + _GAP
    + rb"[0-9]{1,3}"
    + _END
    + rb")|)"
    + rb"(?=([0-9]{3}(?:"
    + _GAP
    + rb"[0-9]{4}){3}"
    + _END
    + rb")|)"
    + rb"(?=([0-9]{3}"
    + _GAP
    + rb"[0-9]{6}"
    + _GAP
    + rb"[0-9]{4,5}"
    + _END
    + rb")|))",
    re.VERBOSE | re.DOTALL,
)
_GAPS: Final = re.compile(_GAP)
# A search of this much is half a millisecond in which no other thread runs; between two of them others have their turn.
_SEARCHED_AT_ONCE: Final = 65_536
# What a candidate can be, and what has to be seen behind it, is shorter.
_BEYOND: Final = 256
# Each digit twice, with the digits of what that makes added up.
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")

# What no card number can be without: fourteen digits in a row once spaces and dashes are gone.
_DIGITS: Final = bytes(ord("0") if chr(code).isdigit() and code < 128 else code for code in range(256))
_SEPARATORS: Final = b" -+"
_LEAST: Final = b"0" * 14
# How a digit or a gap can be written otherwise.
_ESCAPED, _PERCENT, _UNBROKEN, _BASE64 = b"\\u00", b"%20", b"\xa0", b'_base64"'
# Of an agent's own numbers: some are drawn at random, and each of them marks all that it sends.
_AGENTS: Final = frozenset({"boot", "boots", "sequence", "edgeoffsetms", "delayms"})
_ENCODED: Final = frozenset({"data_base64", "body_base64"})
# A message may have cut a number off: what is left of it is more than may be shown.
_LONG: Final = re.compile(r"[0-9](?:[ -]?[0-9]){10,}", re.ASCII)


def may_hold(text: bytes) -> bool:
    """Tell whether it is worth looking; False is sure. Costs little: it is asked of every event."""
    return _LEAST in text.translate(_DIGITS, _SEPARATORS) or _disguised(text)


def _disguised(text: bytes) -> bool:
    return _ESCAPED in text or _PERCENT in text or _UNBROKEN in text or _BASE64 in text


def holds(text: str) -> bool:
    """Tell whether a text holds a card number."""
    raw = text.encode(errors="surrogatepass")
    return may_hold(raw) and next(_found(raw), None) is not None


def masked_text(text: str) -> str:
    """Return a text with the card numbers masked."""
    raw = text.encode(errors="surrogatepass")
    return _masked(raw).decode(errors="surrogatepass") if may_hold(raw) else text


def masked_detail(text: str) -> str:
    """Return a message about something that holds a card number, without any long number: it may be a part of it."""
    return _LONG.sub("(number left out)", masked_text(text))


def masked_body(body: bytes) -> tuple[bytes, str | None]:
    """Return a body with its card numbers masked, and the path of the first, like `data.note`.

    No path: it holds none, and is returned as it is. JSON stays JSON: a bare number becomes a string.
    """
    if not may_hold(body) or not (_disguised(body) or any(_found(body))):
        return body, None
    try:
        value = strict_json(body)
    except BadInput:
        masked = _masked(body)
        return masked, None if masked == body else WHOLE
    paths: list[str] = []
    masked_value = _walked(value, "", paths)
    return (exact_json(masked_value).encode(), paths[0] or WHOLE) if paths else (body, None)


def refused(where: str) -> BadInput:
    """Return the refusal of what holds a card number in `where`."""
    message = (
        f"{where} holds the number of a payment card, which is never stored; it is masked in what is kept: take it "
        "out and send again, or retry what is kept"
    )
    return BadInput(message, code=CODE)


def _walked(value: Json, path: str, paths: list[str]) -> Json:
    """Return JSON with card numbers masked; `paths` gets where they were, keys by their objects."""
    if isinstance(value, Mapping):
        made: dict[str, Json] = {}
        times: Counter[str] = Counter()
        for name, item in value.items():
            # Two names that look alike once masked stay two; counted, for a body can hold thousands of them.
            kept = alike = _text(name, path or WHOLE, paths)
            while kept != name and (kept in made or kept in value):
                times[alike] += 1
                kept = f"{alike} ({times[alike]})"
            made[kept] = _item(name, item, f"{path}.{kept}" if path else kept, paths)
        return made
    if isinstance(value, list):
        return [_walked(item, f"{path}[{index}]", paths) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _text(value, path, paths)
    if isinstance(value, int | Decimal) and value > 0 and value == int(value):  # bool is too short to be one
        whole = str(int(value))
        text = _text(whole, path, paths)
        return value if text == whole else text
    return value


def _item(name: str, item: Json, path: str, paths: list[str]) -> Json:
    if name in _AGENTS and isinstance(item, int | list):
        return item
    if name in _ENCODED and isinstance(item, str):
        try:
            inner = b64decode(item, validate=True)
        except ValueError:
            return _text(item, path, paths)
        masked, where = masked_body(inner)
        if where is None:
            return item
        paths.append(path)
        return b64encode(masked).decode()
    return _walked(item, path, paths)


def _text(text: str, path: str, paths: list[str]) -> str:
    masked = masked_text(text)
    if masked != text:
        paths.append(path)
    return masked


def _masked(raw: bytes) -> bytes:
    made, until = [], 0
    for start, end, digits in sorted(_found(raw)):
        if start >= until:
            mask = b"*" * (len(digits) - _FIRST - _LAST)
            made += [raw[until:start], digits[:_FIRST] + mask + digits[-_LAST:]]
            until = end
    return b"".join([*made, raw[until:]])


def _found(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield where card numbers begin and end, and their digits."""
    for match in _candidates(raw):
        start = match.start()
        for spelling in range(1, _CANDIDATES.groups + 1):
            end = match.end(spelling)
            if end >= 0:
                digits = raw[start:end]
                if not digits.isdigit():
                    digits = _GAPS.sub(b"", digits)
                if _checks(digits) and _ISSUED.fullmatch(digits):
                    yield start, end, digits


def _candidates(raw: bytes) -> Iterator[re.Match[bytes]]:
    for at in range(0, len(raw), _SEARCHED_AT_ONCE):
        until = at + _SEARCHED_AT_ONCE
        for match in _CANDIDATES.finditer(raw, at, until + _BEYOND):
            if match.start() < until:
                yield match


def _checks(digits: bytes) -> bool:
    """Tell whether the last digit is right (Luhn)."""
    doubled = digits[-2::-2].translate(_DOUBLED)
    return (sum(digits[-1::-2]) + sum(doubled) - ord("0") * len(digits)) % 10 == 0
