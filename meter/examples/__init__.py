"""The example catalog that comes with the gateway: `northside.yaml`, loaded by `meter up --demo`."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

# Everything below this line is written by `meter.simulate.directory`, everything above by hand.
_PEOPLE_MARK: Final = "# The people of the simulated site"


def example_catalog() -> str:
    """Return the YAML text of the example catalog of the operator `northside`."""
    return (files(__name__) / "northside.yaml").read_text(encoding="utf-8")


def example_tariff() -> str:
    """Return its first part: operator, taxes, meters, plans and ledger, without any site or person."""
    tariff, _, _ = example_catalog().partition(_PEOPLE_MARK)
    return tariff.rstrip() + "\n\n"
