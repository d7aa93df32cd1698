"""`python -m bench` from end to end: every figure is there, and two ways in made the same bill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_short_bench_measures_everything(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--short", "--events", "600", "--out", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["events"] == results["rows"]["events"] == sum(results["mix"].values()) == 600
    assert results["rows"]["charges"] > 100
    assert results["latency"]["lines"] > 100
    assert 0 < results["latency"]["p50_ms"] <= results["latency"]["p99_ms"] <= results["latency"]["max_ms"]
    for rate in ("copy_events_per_s", "naive_events_per_s"):
        assert results[rate] > 0
    for way in ("mqtt", "http"):
        assert results[way]["events_per_s"] > 0
        assert results[way]["memory_peak_mb"] > 0
        assert {"gateway", "postgres", "nats-server"} <= results[way]["cpu_us_per_event"].keys()
    told = results["exports"]
    assert told["live"].keys() == {"ledger", "files", "webhook", "stripe"} == told["backlog"]["others"].keys()
    for lag in (*told["live"].values(), *told["backlog"]["others"].values(), told["slow"]["quickbooks"]):
        assert lag["items"] > 0
        assert 0 < lag["p50_ms"] <= lag["p99_ms"] <= lag["max_ms"]
    assert all(seconds > 0 for seconds in told["backlog"]["seconds"].values())
    for row in ("limit", "naive", "MQTT until rated", "HTTP until rated", "p99", "stripe + backlog"):
        assert row in ran.stdout
