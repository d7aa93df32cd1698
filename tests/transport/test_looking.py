"""A long look leaves the event loop to others; a short one is not worth a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from meter.model.errors import BadInput
from meter.transport.looking import ON_LOOP_BYTES_MAX, looked


@pytest.mark.parametrize(
    ("bodies", "beside"),
    [
        ([b"4" * ON_LOOP_BYTES_MAX], False),
        ([b"4" * (ON_LOOP_BYTES_MAX + 1)], True),
        ([b"4444 4444 4444 4444"] * 1_000, True),
        ([b"no long number"] * 10_000, False),
        ([b"no long number " * 10_000], True),
        ([], False),
    ],
)
async def test_what_is_long_or_often_may_hold_one_is_looked_through_beside_the_loop(
    bodies: list[bytes],
    *,
    beside: bool,
) -> None:
    assert (await looked(threading.get_ident, bodies) != threading.get_ident()) is beside


async def test_the_loop_goes_on_meanwhile() -> None:
    met = threading.Event()
    asyncio.get_running_loop().call_soon(met.set)
    assert await looked(lambda: met.wait(20), [b"4" * (ON_LOOP_BYTES_MAX + 1)])


@pytest.mark.parametrize("size", [14, ON_LOOP_BYTES_MAX + 1])
async def test_what_is_refused_is_refused(size: int) -> None:
    def refuse() -> None:
        raise BadInput("no", code="card_number")

    with pytest.raises(BadInput, match="no"):
        await looked(refuse, [b"4" * size])
