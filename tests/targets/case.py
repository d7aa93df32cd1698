"""What a run against a stateful fake needs to know of a target: tests/targets/cases/ has one for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from meter.export.contract import Exporter
from meter.export.targets.spec import Means, Setup
from meter.store.outbox import OutboxItem

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
