"""Three sites around their changes of the clock and on a leap day: what members use, and what it costs."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RIGHT = timedelta()
# Half an hour before a month ends: the clock ahead is in the next one.
START = datetime(2028, 11, 30, 22, 30, tzinfo=UTC)
ZONES = {"berlin": "Europe/Berlin", "newyork": "America/New_York", "howe": "Australia/Lord_Howe"}
# The instants at which the sites' clocks change, there and back, and both ends of the leap day in UTC.
MOMENTS = [
    datetime(2028, 3, 26, 1, tzinfo=UTC), datetime(2028, 10, 29, 1, tzinfo=UTC),
    datetime(2028, 3, 12, 7, tzinfo=UTC), datetime(2028, 11, 5, 6, tzinfo=UTC),
    datetime(2028, 4, 1, 15, tzinfo=UTC), datetime(2028, 9, 30, 15, 30, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC), START,
]  # fmt: skip
CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
SITES
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
plans:
  flex:
    name: Flex
    fee: {amount: "99.00", every: month, in: advance, tax: vat19}
    grants: [{id: pages, unit: page, amount: "10", meters: [print-pages]}]
    prices:
      print-pages:
        - {id: night, when: {hours: "00:00-02:30"}, model: per_unit, unit_price: "0.03"}
        - {id: mono, model: graduated, tiers: [{up_to: 20, unit_price: "0.05"}, {unit_price: "0.04"}]}
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
accounts:
ACCOUNTS
members:
MEMBERS
"""


def catalog() -> str:
    accounts = "  {site}: {{name: A, subscriptions: [{{id: {site}-flex, plan: flex, from: 2028-01-31}}]}}"
    parts = {
        "SITES": [f"  {site}: {{name: S, timezone: {zone}, tax: vat19}}" for site, zone in ZONES.items()],
        "ACCOUNTS": [accounts.format(site=site) for site in ZONES],
        "MEMBERS": [
            f'  m-{site}: {{account: {site}, name: M, identities: ["badge:{site.upper()}"]}}' for site in ZONES
        ],
    }
    text = CATALOG
    for name, lines in parts.items():
        text = text.replace(name, "\n".join(lines))
    return text


def usage(parts: int) -> list[list[bytes]]:
    """Prints and doors at each site around each moment, in so many parts; of START only what was before it.

    Each part has ten or more of several moments, the newest among them.
    """
    dice = random.Random(1)  # noqa: S311  any mixture will do, if only it stays
    found: list[dict[str, Any]] = []
    times = max(1, parts // len(MOMENTS))
    for moment, site, off, _ in product(MOMENTS, ZONES, (-HOUR, -timedelta(seconds=1), RIGHT, HOUR), range(times)):
        if moment + off > START:
            continue
        n = len(found)
        event = {"specversion": "1.0", "id": f"e{n}", "time": (moment + off).isoformat()}
        event["subject"] = f"badge:{site.upper()}"
        door = ("door.access", "door/main", {"door": "main", "granted": True, "direction": "in"})
        impressions = {"printer": "hall", "job": f"e{n}", "impressions": n % 4 + 1, "status": "completed"}
        job = ("print.job", "print/hall", impressions)
        kind, part, data = dice.choice((door, job, job))
        found.append(event | {"source": f"{site}/{part}", "type": kind, "data": data})
    return [[json.dumps(event).encode() for event in found[k::parts]] for k in range(parts)]
