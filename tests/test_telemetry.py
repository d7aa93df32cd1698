"""What is told to operators, and how often."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from meter import telemetry
from meter.telemetry import LOG_INTERVAL_S, Telemetry


def test_a_flood_of_refusals_is_counted_whole_and_logged_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(telemetry, "monotonic_s", lambda: clock[0])
    told = Telemetry()
    with capture_logs() as lines:
        for _ in range(1000):
            told.rejected(code="not_json", channel="mqtt", origin="spaces/berlin/door/main", count=3)
        told.rejected(code="too_old", channel="mqtt", origin="spaces/berlin/door/main")
        clock[0] = LOG_INTERVAL_S
        told.rejected(code="not_json", channel="http", origin="POST /v1/events")
    assert [(line["event"], line["code"], line["count"]) for line in lines] == [
        ("event_rejected", "not_json", 3),
        ("event_rejected", "too_old", 1),
        ("event_rejected", "not_json", 2998),
    ]
    assert told.registry.get_sample_value("meter_rejections_total", {"code": "not_json"}) == 3001
