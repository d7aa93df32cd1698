"""`meter counters` over a real database: the device's count beside what was metered."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from meter.store import counters as counters_module
from tests.booking.space import Space, amend, event, open_space, pages, void
from tests.cli.command import done, machine, meter

MARCH = ("--from", "2026-03-01", "--to", "2026-04-01")


@pytest_asyncio.fixture
async def space(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "250")
    async with open_space(database_url) as opened:
        yield opened


def reading(time: str, count: int, printer: str = "hall", unit: str = "impressions") -> bytes:
    data = {"printer": printer, "marker": "1.1", "count": count, "unit": unit}
    return event("printer.counter", f"{printer}:{time}", time, None, f"berlin/print/snmp-{printer}", data)


async def shown(*arguments: str) -> dict[str, dict[str, Any]]:
    return {one.pop("printer"): one for one in (await machine("counters", *MARCH, *arguments))["printers"]}


async def test_a_printer_is_compared_with_its_jobs(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """Voided, corrected and superseded jobs are counted as the bill counts them, in whatever pages they are read."""
    monkeypatch.setattr(counters_module, "_PAGE_EVENTS", 2)
    source = "berlin/print/hall"
    await space.take(
        reading("02T07:00", 1_000),
        pages("1", "02T08:00", 10),
        pages("2", "02T08:10", 5),
        pages("2b", "02T08:20", 8, job="2"),
        pages("3", "02T08:30", 50),
        void("v", "02T09:00", "3", source),
        pages("4", "02T08:40", 70),
        amend("a", "02T09:10", "4", source, {"printer": "hall", "job": "4", "impressions": 7, "status": "completed"}),
        pages("5", "02T08:50", 3, status="cancelled"),
        pages("6", "02T08:55", 0, status="cancelled", withdrawn_impressions=12),
        reading("02T12:00", 1_040),
        reading("02T13:00", 1_033),
        reading("02T14:00", 1_043),
        pages("7", "03T08:00", 4, printer="lounge"),
        reading("03T09:00", 5, printer="lobby", unit="sheets"),
    )
    found = await shown()
    assert list(found) == ["hall", "lobby", "lounge"]
    hall = found["hall"]
    assert (hall["counted"], hall["metered"], hall["cancelled"], hall["difference"]) == (50, 10 + 8 + 7, 3 + 12, 25)
    assert any("fell from 1040 to 1033" in note for note in hall["notes"])
    assert (found["lobby"]["counted"], found["lobby"]["difference"]) == (None, None)
    assert found["lounge"] == {
        "counted": None,
        "metered": 4,
        "cancelled": 0,
        "difference": None,
        "notes": ["no counter is read"],
    }
    assert list(await shown("--printer", "lounge")) == ["lounge"]


async def test_the_last_reading_before_is_where_counting_begins(space: Space) -> None:
    """What was counted before that reading belongs to the time before."""
    await space.take(
        reading("09T12:00", 40), reading("10T12:00", 100), reading("11T12:00", 130), reading("12T12:00", 150)
    )
    whole = (await machine("counters", "--from", "2026-03-11", "--to", "2026-03-13"))["printers"][0]
    assert (whole["counted"], whole["notes"]) == (50, [])
    late = (await machine("counters", "--from", "2026-03-08", "--to", "2026-03-12"))["printers"][0]
    assert late["counted"] == 90
    assert "only" in late["notes"][0]


async def test_counters_are_a_table_for_people(space: Space) -> None:
    assert (await meter("counters", *MARCH)).exit_code == 0
    await space.take(reading("02T07:00", 10), reading("02T08:00", 30), pages("1", "02T07:30", 15))
    row = next(line for line in (await done("counters", *MARCH)).splitlines() if "hall" in line)
    assert row.split()[:5] == ["hall", "20", "15", "0", "5"]


async def test_counters_are_in_no_bill(space: Space) -> None:
    await space.take(reading("02T07:00", 10), reading("02T08:00", 30))
    assert (await machine("charges"))["charges"] == []
    assert (await machine("unresolved", "list"))["identities"] == []
