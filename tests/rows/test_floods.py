"""Each event ten times, shuffled, the copies 30 days apart: the books of one copy in order."""

from __future__ import annotations

import random
from datetime import timedelta

from tests.booking.months import a_month
from tests.booking.space import LATER, Space
from tests.rows.sizes import SEED, sized

EVENTS = sized(96, 4_800)
COPIES = 10
APART = timedelta(days=30)
BATCH = sized(16, 200)
# How often it is rated on the way.
RATED = sized(20, 100)


async def test_ten_copies_thirty_days_apart_change_nothing(space: Space) -> None:
    bodies = a_month(SEED, events=EVENTS)
    dice = random.Random(SEED)  # noqa: S311  a test is repeated by its seed
    last = LATER + APART * COPIES
    space.now = last
    await space.take(*bodies)
    expected = await space.books()
    await space.forget()

    first = [LATER + APART * dice.random() for _ in bodies]
    copies = sorted((at + APART * n, k) for k, at in enumerate(first) for n in range(COPIES))
    batches = [copies[at : at + BATCH] for at in range(0, len(copies), BATCH)]
    rated = set(dice.sample(range(len(batches)), min(RATED, len(batches))))
    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    for number, batch in enumerate(batches):
        space.now = batch[-1][0]
        for receipt in await space.accept([bodies[k] for _, k in batch]):
            counts[receipt.status] += 1
        if number in rated:
            await space.rate()
            if dice.random() < 0.2:
                space.new_worker()
    space.now = last
    await space.rate()
    print(f"floods, seed {SEED}: {counts}")  # noqa: T201  for the long form
    assert counts == {"accepted": len(bodies), "duplicate": len(bodies) * (COPIES - 1), "rejected": 0}
    assert await space.books() == expected
