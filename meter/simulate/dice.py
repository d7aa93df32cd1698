"""Chance that falls the same everywhere: whole numbers only, one stream per scope.

`random.Random` seeded with text yields the same bits on every Python since 3.2. Only whole numbers are drawn from them,
because logarithms and roots differ in the last place between C libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


class Dice:
    """One stream of chance, named by its scope: what another scope draws never shifts it."""

    __slots__ = ("_random",)

    def __init__(self, *scope: object) -> None:
        """Seed the stream with the texts of `scope`, like a seed, a site and a day."""
        self._random = Random("/".join(map(str, scope)))  # noqa: S311 -- a simulation keeps no secret

    def between(self, low: int, high: int) -> int:
        """Return one of `low` to `high`, both included, each as likely."""
        return low + self._random.randrange(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of 100 cases."""
        return self._random.randrange(100) < percent

    def pick(self, choices: Sequence[_T]) -> _T:
        """Return one of `choices`, each as likely."""
        return choices[self._random.randrange(len(choices))]

    def bell(self, middle: int, spread: int) -> int:
        """Return a number near `middle`, never further than `spread` away: three dice make a bell good enough."""
        thrown = sum(self._random.randrange(2 * spread + 1) for _ in range(3))
        return middle + thrown // 3 - spread

    def sample(self, choices: Sequence[_T], count: int) -> list[_T]:
        """Return `count` different ones of `choices`, in random order."""
        return self._random.sample(choices, count)


def digest(*scope: object, size_bytes: int = 8) -> str:
    """Return `size_bytes` bytes as lower-case hex that depend on `scope` alone: ids, badges and addresses."""
    return blake2b("/".join(map(str, scope)).encode(), digest_size=size_bytes).hexdigest()
