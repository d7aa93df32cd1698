"""What a run against a stateful fake needs to know of a target: tests/targets/cases/ has one for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from meter.clock import Ticks
from meter.export.contract import Exporter, Limits
from meter.export.targets.registry import KINDS
from meter.export.targets.spec import Means, Setup
from meter.sources.options import options_of
from meter.store.outbox import OutboxItem
from tests.booked import OPERATOR

Books: TypeAlias = Mapping[str, tuple[Decimal, Decimal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCase:
    """A kind of target with its fake.

    `fake` makes one with everything in it that items refer to, `setup` the target's for the address it is asked at,
    `open` the target. `items` makes `n` items by a seed, replaced revisions and corrections among them; `books` says
    what a fake holds by batch, net and tax, and `wanted` what items come to likewise.
    """

    kind: str
    fake: Callable[[], Any]
    setup: Callable[[str], Setup]
    open: Callable[[Setup, Means], Exporter]
    items: Callable[[int, int], list[OutboxItem]]
    books: Callable[[Any], Books]
    wanted: Callable[[list[OutboxItem]], Books]


def setup_of(kind: str, options: Mapping[str, Any], **given: Any) -> Setup:
    """What the settings come to: `given` beside the options, which have to be sound."""
    filled, faults = options_of(KINDS[kind].options, options)
    assert not faults, faults
    return Setup(operator=OPERATOR, kind=kind, data_dir=Path("/nowhere"), options=filled, **given)


def unhurried(limits: Limits) -> Limits:
    """What a target bears, without a rate and without time to settle."""
    return replace(limits, rate_per_s=None, settles_s=0.0)


def passing(step_s: float = 60.0) -> Ticks:
    """A clock by which so much time passes at each look."""
    looks = count(0.0, step_s)
    return lambda: next(looks)
