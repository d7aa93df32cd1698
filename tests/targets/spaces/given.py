"""What the tests of booking systems have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace as with_

from meter.export.targets.spaces.charges import Vendor
from meter.export.targets.spaces.cobot import Cobot
from meter.export.targets.spaces.nexudus import Nexudus
from meter.export.targets.spaces.officernd import OfficeRnD
from meter.export.targets.spaces.settings import rules_of
from meter.export.targets.spaces.target import SpacesTarget
from meter.store.engine import decode_json, encode_json
from tests.targets.cases.spaces import (
    BERLIN,
    COBOT_CASE,
    ELSEWHERE,
    NEXUDUS_CASE,
    NO_RATE,
    OFFICERND_CASE,
    VAT,
    setup_of,
)

Make: TypeAlias = Callable[..., Awaitable[tuple[Any, SpacesTarget]]]
BATCH = "k" * 32
by_kind = pytest.mark.parametrize("case", [COBOT_CASE, OFFICERND_CASE, NEXUDUS_CASE], ids=lambda case: case.kind)
NO_TAX_RATE = with_(VAT, rate=None)


def vendor_of(kind: str, **options: Any) -> Vendor:
    rules = rules_of(setup_of(kind, None, **options))
    businesses = {"berlin": BERLIN, "*": ELSEWHERE}
    match kind:
        case "cobot":
            return Cobot(rules=rules)
        case "officernd":
            return OfficeRnD(rules=rules, slug="north", locations=businesses)
        case _:
            return Nexudus(rules=rules, businesses=businesses, taxes_named=True, untaxed=NO_RATE)


def sent(vendor: Vendor, what: Any) -> Any:
    """The body as it leaves, numbers exact."""
    return decode_json(encode_json(vendor.post(what, BATCH).body))
