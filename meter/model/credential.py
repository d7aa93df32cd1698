"""Badges: one card, one spelling. The canonical one is upper-case hexadecimal, two digits a byte, nothing between.

A card's number reaches us in as many ways as there are readers. Of `04 A2 99 1B`, a UID as the card sends it:

    form              what the reader reports                 example      reads as
    ----------------  --------------------------------------  -----------  ------------------------
    text              anything; only what is plain is read    04-a2-99-1b  04A2991B
    hex               bytes in the card's order               04 a2 99 1b  04A2991B
    hex_reversed      bytes from last to first                1b99a204     04A2991B
    decimal           the bytes as one number                 77764891     04A2991B (with length 4)
    decimal_reversed  the reversed bytes as one number        463053316    04A2991B (with length 4)
    facility_card     Wiegand-26's numbers of 8 and 16 bits   162,39195    A2991B
    wiegand26         26 bits with both parities              0x3453237    A2991B
    wiegand34         34 bits with both parities              0x9453237    04A2991B

What cannot be seen is not guessed: `77764891` without a form could be four bytes or a number, and stays as it is. A
Wiegand-26 number (SIA AC-01) is 24 bits of a longer one, and two cards may share it.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, get_args

from meter.model.errors import BadInput

BadgeForm: TypeAlias = Literal[
    "text", "hex", "hex_reversed", "decimal", "decimal_reversed", "facility_card", "wiegand26", "wiegand34"
]
BADGE_FORMS: Final[tuple[str, ...]] = get_args(BadgeForm)
# ISO/IEC 14443-3 knows UIDs of 4, 7 and 10 bytes; no reader reports more than a FASC-N's 25.
BADGE_BYTES_MAX: Final = 32
_UID_BYTES: Final = (4, 7, 10)
_WIEGAND_26_BYTES: Final = 3
# EM4100 fobs at 125 kHz: a version byte, and four more, of which the number printed on them is made.
_FOB_BYTES: Final = 5
_CARD_BYTES: Final = (_WIEGAND_26_BYTES, _FOB_BYTES, *_UID_BYTES)
_SHOWN_CHARS: Final = 40

# Pairs with one kind of separator. Two pairs are too little of a card to tell from a label like AB-12.
_PAIRS: Final = re.compile(r"[0-9A-F]{2}([-:. ])[0-9A-F]{2}(?:\1[0-9A-F]{2})+", re.ASCII)
_PREFIXED: Final = re.compile(r"0X([0-9A-F]+)", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+", re.ASCII)
# With a hyphen or a colon only the five digits of the card make it plain that these are no pairs.
_FACILITY_CARD: Final = re.compile(r"(\d{1,3})(?:, ?(\d{1,5})|[-:](\d{5}))", re.ASCII)
_TWO_NUMBERS: Final = re.compile(r"(\d{1,3})[-:,/ ]+(\d{1,5})|(\d{3})(\d{5})", re.ASCII)


def normalise_badge(text: str) -> str:
    """Return the badge in its canonical spelling where `text` says plainly what it is, else in upper case.

    Plain are pairs of hexadecimal digits with one kind of separator, `0x...`, and `FFF,NNNNN` (also with a hyphen or a
    colon, then with all five digits) within 8 and 16 bits. Normalising again changes nothing.
    """
    spelled = text.strip().upper()
    if _PAIRS.fullmatch(spelled):
        return re.sub(r"[-:. ]", "", spelled)
    prefixed = _PREFIXED.fullmatch(spelled)
    if prefixed is not None:
        return _whole_bytes(prefixed[1])
    numbers = _FACILITY_CARD.fullmatch(spelled)
    if numbers is not None:
        facility, card = int(numbers[1]), int(numbers[2] or numbers[3])
        if facility <= 0xFF and card <= 0xFFFF:
            return f"{facility:02X}{card:04X}"
    return spelled


def badge_from(text: str, form: str, *, length: int = 0) -> str:
    """Return the canonical spelling of what a reader of the given `form` reports.

    `length`: the card's bytes, for numbers, whose leading zeros cannot be seen; 0: as few as hold it. Raises BadInput
    (`bad_identity`): not of this form, out of its range, a wrong parity, an unknown form.
    """
    spelled = text.strip().upper()
    match form:
        case "text":
            return normalise_badge(text)
        case "hex":
            return _hex(spelled, text, form).hex().upper()
        case "hex_reversed":
            return _hex(spelled, text, form)[::-1].hex().upper()
        case "decimal":
            return _decimal(spelled, text, length).hex().upper()
        case "decimal_reversed":
            return _decimal(spelled, text, length)[::-1].hex().upper()
        case "facility_card":
            return _facility_card(spelled, text)
        case "wiegand26":
            return _wiegand(spelled, text, bits=26)
        case "wiegand34":
            return _wiegand(spelled, text, bits=34)
        case _:
            raise _bad(text, f"no form {form!r} is known; there are {', '.join(BADGE_FORMS)}")


def related_badges(value: str) -> frozenset[str]:
    """Return the other canonical spellings under which readers are known to report the card `value`.

    Its bytes reversed; the first four of a UID of seven or ten, the last four of a fob's five; three at either end, as
    Wiegand-26 readers send them, in either order; each of these as a number, bare and with ten digits; and what a
    number would be in bytes. From a short number the long one cannot be had: look from both sides. Two cards may share
    a spelling: a hint, no proof.
    """
    spelled = normalise_badge(value)
    made: set[bytes] = set()
    if _HEX.fullmatch(spelled) and len(spelled) // 2 in _CARD_BYTES:
        made |= _cuts(bytes.fromhex(spelled))
    numbers = {str(int.from_bytes(cut, "big")) for cut in made}
    # The number itself may be all that a reader showed.
    if spelled.isascii() and spelled.isdecimal() and len(spelled) <= len(str(2**80)):
        number = int(spelled)
        lengths = [length for length in (_WIEGAND_26_BYTES, *_UID_BYTES) if number < 1 << 8 * length]
        for length in lengths[:2]:
            shown = number.to_bytes(length, "big")
            made |= {shown, shown[::-1]}
    spellings = {cut.hex().upper() for cut in made} | numbers | {number.zfill(10) for number in numbers}
    return frozenset(spellings - {spelled})


def _cuts(card: bytes) -> set[bytes]:
    whole = {card}
    if len(card) == _FOB_BYTES:
        whole.add(card[-4:])
    elif len(card) in _UID_BYTES:
        whole.add(card[:4])
    threes = {cut for part in whole for cut in (part[:_WIEGAND_26_BYTES], part[-_WIEGAND_26_BYTES:])}
    forward = whole | threes
    return forward | {cut[::-1] for cut in forward}


def _whole_bytes(digits: str) -> str:
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _hex(spelled: str, text: str, form: str) -> bytes:
    digits = re.sub(r"[-:. ]", "", spelled.removeprefix("0X"))
    if not _HEX.fullmatch(digits) or len(digits) > 2 * BADGE_BYTES_MAX:
        raise _bad(text, f"{form} is 1 to {BADGE_BYTES_MAX} bytes of two hexadecimal digits each")
    return bytes.fromhex(digits)


def _decimal(spelled: str, text: str, length: int) -> bytes:
    if not 0 <= length <= BADGE_BYTES_MAX:
        raise _bad(text, f"a card has 0 (as few as hold the number) to {BADGE_BYTES_MAX} bytes, not {length}")
    # As many digits as 32 bytes have, so that no text becomes a number of any size.
    if not (spelled.isascii() and spelled.isdecimal()) or len(spelled) > len(str(1 << 8 * BADGE_BYTES_MAX)):
        raise _bad(text, "a decimal number is digits only")
    number = int(spelled)
    size = length or max(1, (number.bit_length() + 7) // 8)
    if size > BADGE_BYTES_MAX or number >= 1 << 8 * size:
        raise _bad(text, f"the number does not fit {length or BADGE_BYTES_MAX} bytes")
    return number.to_bytes(size, "big")


def _facility_card(spelled: str, text: str) -> str:
    numbers = _TWO_NUMBERS.fullmatch(spelled)
    if numbers is None:
        raise _bad(text, "a facility and a card are two numbers, like 162,39195, or eight digits")
    facility, card = int(numbers[1] or numbers[3]), int(numbers[2] or numbers[4])
    if facility > 0xFF or card > 0xFFFF:
        raise _bad(text, "a facility is 0 to 255 and a card 0 to 65535")
    return f"{facility:02X}{card:04X}"


def _wiegand(spelled: str, text: str, *, bits: int) -> str:
    """Return the bytes between an even parity over the first half and an odd one over the second."""
    digits = spelled.removeprefix("0X")
    if re.fullmatch(rf"[01]{{{bits}}}", digits, re.ASCII):
        number = int(digits, 2)
    elif re.fullmatch(rf"[0-9A-F]{{1,{(bits + 3) // 4}}}", digits, re.ASCII):
        number = int(digits, 16)
    else:
        raise _bad(text, f"wiegand{bits} is {bits} times 0 or 1, or their number in hexadecimal")
    if number >= 1 << bits:
        raise _bad(text, f"the number has more than {bits} bits")
    half = bits // 2
    first, second = number >> half, number & ((1 << half) - 1)
    # Each half holds its parity bit, so that the even one has an even and the odd one an odd count.
    if first.bit_count() % 2 != 0 or second.bit_count() % 2 != 1:
        raise _bad(text, "a parity bit is wrong: the read failed, or the bits are in another order")
    payload = (number >> 1) & ((1 << (bits - 2)) - 1)
    return payload.to_bytes((bits - 2) // 8, "big").hex().upper()


def _bad(text: str, remedy: str) -> BadInput:
    return BadInput(f"{text[:_SHOWN_CHARS]!r} is no badge of this form: {remedy}", code="bad_identity")
