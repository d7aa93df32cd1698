"""What tests of lanes and of the dispatcher are given."""

from __future__ import annotations

import pytest

from meter.export import breaker, delivery


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(delivery, "BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(delivery, "UNTRIED_PAUSE_S", 0.0)
    monkeypatch.setattr(breaker, "PAUSE_FIRST_S", 0.0)
