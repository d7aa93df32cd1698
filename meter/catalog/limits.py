"""What whoever asks before acting may have: limits of a plan, and what lies beyond a grant (decision 0016)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.issues import Place
from meter.model.catalog import Overage, UsageLimit

# Each that is of the meter asked for is summed up for every answer.
_LIMITS_MAX: Final = 100


def read_overage(entry: Entry) -> Overage:
    """Return what becomes of usage beyond the grant that `entry` is."""
    return "deny" if entry.word("overage", ("bill", "deny")) == "deny" else "bill"


def read_limits(plan: Entry, *, meters: Collection[str], booked: Collection[str]) -> tuple[UsageLimit, ...]:
    """Return a plan's limits in their order; `booked`: the meters that it prices or grants."""
    given = plan.entries("limits")
    if len(given) > _LIMITS_MAX:
        plan.fault("limits", f"has {len(given)} entries; at most {_LIMITS_MAX} are taken")
        return ()
    found: list[UsageLimit] = []
    places: dict[tuple[str, ...], Place] = {}
    for entry in given:
        limit = _read_limit(entry, meters)
        found.append(limit)
        before = places.setdefault((limit.meter, limit.of, limit.every, limit.per), entry.place)
        if before is not entry.place:
            entry.faults.add(entry.place, f"limits the same as {before.path}; write `hard` and `soft` into one")
        if limit.meter in meters and limit.meter not in booked:
            entry.warn("meter", f"{limit.meter} is neither priced nor granted by this plan, so nobody can ask for it")
    return tuple(found)


def _read_limit(entry: Entry, meters: Collection[str]) -> UsageLimit:
    entry.need("meter", "the meter whose usage is limited")
    meter = entry.reference("meter", meters, "meter") or ""
    hard, soft = entry.number("hard"), entry.number("soft")
    if "hard" not in entry and "soft" not in entry:
        entry.faults.add(entry.place, "must have `hard` (beyond it the answer is no), `soft` (it warns), or both")
    if hard is not None and soft is not None and soft >= hard:
        entry.fault("soft", f"is {soft}, which is not below `hard`; it could never warn")
    of = entry.word("of", ("quantity", "money"))
    every = entry.word("every", ("day", "period"))
    per = entry.word("per", ("account", "member"))
    entry.done()
    return UsageLimit(
        meter=meter,
        hard=hard,
        soft=soft,
        of="money" if of == "money" else "quantity",
        every="day" if every == "day" else "period",
        per="member" if per == "member" else "account",
    )
