"""The example space, days as devices send them: thinned, its books are what they were (decision 0026)."""

from __future__ import annotations

from datetime import date

from meter.booking.audit import audit
from meter.booking.movements import thin
from meter.booking.ties import ties
from meter.examples import example_tariff
from meter.model.event import is_movement
from meter.simulate import directory_text, simulate
from tests.booked import OPERATOR
from tests.booking.space import LATER, open_space
from tests.evidence.test_seals import verified
from tests.privacy.test_movements import BEFORE, owner, seal

SEED = 20261123
START = date(2026, 3, 2)


async def test_a_simulated_space_is_billed_as_before(database_url: str) -> None:
    catalog = example_tariff() + directory_text(sites=2, members=12, since=date(2026, 1, 1))
    events = list(simulate(start_day=START, sites=2, members=12, days=3, seed=SEED))
    async with open_space(database_url, catalog) as space:
        for n in range(0, len(events), 400):
            receipts = await space.accept(event.body for event in events[n : n + 400])
            assert {receipt.status for receipt in receipts} == {"accepted"}
            await seal(space.database)
        await space.rate()
        before = await space.books()
        told = await space.rows("SELECT type, sum(length(data::text)) FROM events GROUP BY 1")
        sizes = {name: int(size) for name, size in told}

        found = await thin(lambda: owner(space), OPERATOR, before=BEFORE)
        assert found.thinned > 100
        assert found.changed == 0
        told = await space.rows("SELECT type, sum(length(data::text)) FROM events GROUP BY 1")
        left = {name: int(size) for name, size in told}
        assert all(left[name] == size for name, size in sizes.items() if not is_movement(name))
        assert sum(left[name] for name in left if is_movement(name)) < sum(
            size for name, size in sizes.items() if is_movement(name)
        )
        await seal(space.database)
        assert (await verified(space.database)).faults == []
        assert await audit(space.database, OPERATOR, at=LATER)
        assert [one.fault async for one in ties(space.database, OPERATOR) if one.fault] == []
        space.new_worker()
        assert {receipt.status for receipt in await space.accept(event.body for event in events[:400])} == {"duplicate"}
        await space.rate()
        assert await space.books() == before
