"""What every target's tests are given."""

from __future__ import annotations

import pytest

from meter.export.targets.spec import Means
from meter.store.engine import Database
from meter.telemetry import Telemetry


@pytest.fixture
def means(database: Database) -> Means:
    return Means(database=database, telemetry=Telemetry())
