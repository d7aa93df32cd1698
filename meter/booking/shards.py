"""The shards that an operator's accounts are divided into, each rated by whoever holds its lease."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from meter.store.leases import Lease, LeaseKeeper
from meter.store.shards import lease_names


class Held(NamedTuple):
    """The shards that this process holds, and the leases that a transaction for them is fenced by."""

    shards: frozenset[int]
    leases: Sequence[Lease]


class Shards:
    """Shards numbered from 0; `lease_names` are those of their leases, in that order."""

    def __init__(self, operator: str, count: int, leases: LeaseKeeper) -> None:
        """Divide the accounts of `operator` into `count` shards."""
        self.lease_names = lease_names(operator, count)
        self._leases = leases

    def of(self, name: str) -> int:
        """Return the shard of an account, or of an identity that nobody claims."""
        return zlib.crc32(name.encode()) % len(self.lease_names)

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Give what this process holds now; what a fence inside finds to be lost is not held any more."""
        with self._leases.holding(self.lease_names) as leases:
            held = {lease.name for lease in leases}
            yield Held(frozenset(shard for shard, name in enumerate(self.lease_names) if name in held), leases)
