"""Decimal arithmetic of the bill: the only place that rounds.

Amounts are differences of a price function rounded to `AMOUNT_PLACES`; a line is rounded once, when it is booked, to
the minor unit of its currency (`rounded_minor`). All rounding is half away from zero (decision 0003).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Final

from meter.model.errors import BadInput

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
AMOUNT_PLACES: Final = 12
QUANTITY_PLACES: Final = 6

# A product of two of the longest numbers let in (`DIGITS_MAX` either side of the point) has 72 digits; the rest is room
# for sums of such. Short numbers cost the same at any precision.
EXACT: Final = Context(prec=96, rounding=ROUND_HALF_UP)
DIGITS_MAX: Final = 18

# Units of time by their seconds: usage in them is rated in seconds throughout.
TIME_UNITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("second", "seconds", "s"), 1),
    **dict.fromkeys(("minute", "minutes", "min"), 60),
    **dict.fromkeys(("hour", "hours", "h"), 3600),
}
_UNIT_SCALES: Final = {unit: Decimal(seconds) for unit, seconds in TIME_UNITS.items()}

_AMOUNT_STEP: Final = Decimal(1).scaleb(-AMOUNT_PLACES)
_QUANTITY_STEP: Final = Decimal(1).scaleb(-QUANTITY_PLACES)

# ISO 4217 minor units that are not 2. Source: ISO 4217 list one, 2026-01-01.
_MINOR_UNITS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

# ISO 4217 list one, 2026-01-01: a grant in one of these is money, in anything else credit for quantities.
_CURRENCIES: Final = frozenset(
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD "
    "TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG".split()
)


def unit_scale(unit: str) -> Decimal:
    """Return how many base units `unit` is: the seconds of a unit of time, 1 for any other."""
    return _UNIT_SCALES.get(unit, ONE)


def round_amount(amount: Decimal) -> Decimal:
    """Return `amount` rounded to 12 places, half away from zero."""
    return amount.quantize(_AMOUNT_STEP, rounding=ROUND_HALF_UP, context=EXACT)


def round_quantity(quantity: Decimal) -> Decimal:
    """Return `quantity` rounded to 6 places, half away from zero."""
    return quantity.quantize(_QUANTITY_STEP, rounding=ROUND_HALF_UP, context=EXACT)


def cut_quantity(quantity: Decimal) -> Decimal:
    """Return `quantity` cut (not rounded) to 6 places: what a short grant covers."""
    return quantity.quantize(_QUANTITY_STEP, rounding=ROUND_DOWN, context=EXACT)


def minor_unit_places(currency: str) -> int:
    """Return the decimal places of `currency`'s minor unit (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    return _MINOR_UNITS.get(currency, 2)


def is_currency(unit: str) -> bool:
    """Tell whether `unit` is a currency (ISO 4217): then an amount of it is money and not a quantity."""
    return unit in _CURRENCIES


def covers_quantity(unit: str) -> bool:
    """Tell whether a grant in `unit` covers quantities: `credit` covers by rate, a currency is money after pricing."""
    return unit != "credit" and not is_currency(unit)


def rounded_minor(amount: Decimal, currency: str) -> Decimal:
    """Return `amount` rounded to the minor unit of `currency`, half away from zero."""
    step = Decimal(1).scaleb(-minor_unit_places(currency))
    return amount.quantize(step, rounding=ROUND_HALF_UP, context=EXACT)


def plain(number: Decimal) -> str:
    """Return `number` without exponent and without trailing zeros: how amounts leave (`Decimal("1E+3")` -> "1000")."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def parse_decimal(text: str | int | Decimal, *, what: str) -> Decimal:
    """Return the number that `text` says, exactly.

    Raises BadInput (`bad_number`) for NaN, infinities, anything but ASCII digits with a point and an exponent, and
    numbers of more than 18 digits on either side of the point.
    """
    if isinstance(text, bool):
        message = f"{what} is {text}, not a number; send a number or a decimal string"
        raise BadInput(message, code="bad_number")
    if isinstance(text, str) and not text.isascii():
        message = f"{what} is {text[:40]!r}; digits must be ASCII"
        raise BadInput(message, code="bad_number")
    try:
        number = Decimal(text.strip()) if isinstance(text, str) else Decimal(text)
    except InvalidOperation as error:
        message = f"{what} is {str(text)[:40]!r}, not a number; send a number or a decimal string"
        raise BadInput(message, code="bad_number") from error
    if not number.is_finite() or "_" in str(text):
        message = f"{what} is {str(text)[:40]!r}; only finite decimal numbers count"
        raise BadInput(message, code="bad_number")
    exponent = number.as_tuple().exponent
    if number.adjusted() >= DIGITS_MAX or (isinstance(exponent, int) and exponent < -DIGITS_MAX):
        message = f"{what} is {str(text)[:40]!r}; at most {DIGITS_MAX} digits on either side of the point are kept"
        raise BadInput(message, code="bad_number")
    return number
