"""The example's space under a catalog that says everything that can be said, more than the example has."""

from __future__ import annotations

from meter.examples import example_catalog

_METERS = """
  stay: {event: door.access, where: {granted: true}, aggregate: duration, unit: minute, key: member,
         start: {direction: in}, end: {direction: out}, minimum: 10m, max: 14h, missing_end: last_seen}
  doors-used: {event: door.access, where: {granted: true}, aggregate: unique, value: door, unit: door}
"""
_PRICES = """
      stay: [{id: stay, model: per_unit, unit_price: "0.025", cap: {amount: "6.00", every: day}}]
      doors-used: [{id: doors, model: volume, tiers: [{up_to: 1, unit_price: "0.40"}, {unit_price: "0.10"}]}]
"""
_RATES = """
credits:
  rates: {print-pages: [{match: {color: true}, rate: "0.10"}, {rate: "0.02"}]}
"""
_GRANTS = """
grants:
  - {id: goodwill-acme, account: acme, unit: EUR, amount: "7.00", effective: 2026-11-01, expires: 2026-12-01}
  - {id: wallet-hugo, account: hugo, unit: credit, amount: "0.5", effective: 2026-11-01}
  - {id: pack-ines, account: ines, unit: day, amount: "3", meters: [day-passes], effective: 2026-11-10,
     bought: {price: "70.00", tax: vat19}}
"""


def whole_catalog() -> str:
    """Return the example's catalog with more meters, prices, fees and credit."""
    share = 'cafe: [{id: cafe, model: percentage, field: amount, rate: "1", free_events: 1}]'
    text = example_catalog() + _RATES
    for old, new in (
        ("\ngrants:\n", _GRANTS),
        ("\nplans:\n", _METERS + "\nplans:\n"),
        ('where: {status: stop}, aggregate: sum, value: bytes_in, scale: "1e-9", unit: GB}',
         'aggregate: counter, value: bytes_in, key: session, from_zero: true, scale: "1e-9", unit: GB, forget: 2d}'),
        ('fee: {amount: "59.00", in: advance, tax: vat19}', 'fee: {amount: "59.00", in: arrears, tax: vat7}'),
        ('rollover: {max: "2"}', 'rollover: {max: "3", periods: 2}'),
        ("from: 2026-10-01", "from: 2026-09-10"),
        ("      cafe: [{id: cafe, model: pass_through}]\n",
         f"      {share}\n" + _PRICES.lstrip("\n")),
    ):  # fmt: skip
        assert old in text, old
        text = text.replace(old, new)
    return text
