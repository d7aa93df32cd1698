"""Which faults come when: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.edge.e2e.wires import CUTS, Cut

# What the rig has a method for: `kill_broker` and the like, the part behind the first underscore. `cut` is of a wire.
What: TypeAlias = str
WIRES: Final = ("agent_broker", "broker_gateway", "agent_gateway")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, after `after` more answers to devices; what can stay broken does so for `lasts` more.

    `wire`, `how`: of a cut. `lost`: whether a silent wire drops what it was given, or delivers it at last.
    """

    what: What
    after: int
    lasts: int
    wire: str
    how: Cut
    lost: bool


def scheduled(seed: int, counts: Mapping[What, int], *, events: int, wires: tuple[str, ...]) -> list[Fault]:
    """Return so many of each, in random order, spread over so many events."""
    dice = random.Random(seed)  # noqa: S311  a run is repeated by its seed
    whats = [what for what, count in counts.items() for _ in range(count)]
    dice.shuffle(whats)
    each = events / len(whats)
    return [
        Fault(
            what=what,
            after=dice.randint(1, int(each)),
            lasts=dice.randint(0, int(each * 0.8)),
            wire=dice.choice(wires),
            how=dice.choice(CUTS),
            lost=dice.random() < 0.7,
        )
        for what in whats
    ]
