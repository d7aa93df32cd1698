"""Looking for card numbers beside the event loop, where what is looked through is long.

A body of digits in groups of four has a candidate at every fifth byte: 256 kB of them take a tenth of a second, in
which a loop would serve nobody. In a thread, the loop gets its turn every few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from meter.model import card_number

Looked = TypeVar("Looked")

# Of what may hold one, all bodies together: some 5 ms at worst. An event has a few hundred bytes.
ON_LOOP_BYTES_MAX: Final = 8_192


async def looked(look: Callable[[], Looked], bodies: Iterable[bytes]) -> Looked:
    """Return what `look`, which looks through `bodies`, returns; its errors pass. Short ones are worth no thread."""
    if sum(len(body) for body in bodies if _may_take_long(body)) <= ON_LOOP_BYTES_MAX:
        return look()
    return await asyncio.to_thread(look)


def _may_take_long(body: bytes) -> bool:
    # Of a long body even this question is asked beside the loop.
    return len(body) > ON_LOOP_BYTES_MAX or card_number.may_hold(body)
