from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from meter.model.catalog import Catalog, CatalogTimeline

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def catalog(version: int, effective: datetime | None) -> Catalog:
    return Catalog(operator="northside", version=version, effective=effective, currency="EUR", timezone="UTC")


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_version_in_force_is_the_latest_effective_and_of_equals_the_greatest(order: tuple[int, ...]) -> None:
    versions = [catalog(1, None), catalog(2, APRIL), catalog(3, MARCH), catalog(4, MARCH)]
    timeline = CatalogTimeline(versions=tuple(versions[i] for i in order))
    assert timeline.at(MARCH - timedelta(microseconds=1)).version == 1
    assert timeline.at(MARCH).version == 4
    assert timeline.at(APRIL - timedelta(microseconds=1)).version == 4
    assert timeline.at(APRIL).version == 2
