"""Output that nobody reads to its end is no fault: `meter charges --json | head -1`."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from tests.booking.space import open_space, pages

# More than a pipe holds, so that writing to it fails in the midst of a page.
CHARGES = 300


async def unread(database_url: str, *arguments: str, lines: int) -> tuple[int | None, str]:
    """Run `meter ...` with an output of which so many lines are read; return exit code and errors."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read_end, write_end = os.pipe()
    if not lines:
        os.close(read_end)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from meter.cli import main; main()",
            *arguments,
            stdout=write_end,
            stderr=asyncio.subprocess.PIPE,
            env={**environment, "METER_DATABASE_URL": database_url, "METER_MQTT_URL": "mqtt://127.0.0.1:1"},
        )
    finally:
        os.close(write_end)
    if lines:
        await asyncio.to_thread(read_lines, read_end, lines)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


def read_lines(end: int, count: int) -> None:
    with os.fdopen(end, "rb") as pipe:
        for _ in range(count):
            assert pipe.readline()


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("arguments", [["charges", "--json"], ["charges", "--csv"], ["check", "--json"], ["--help"]])
async def test_an_output_that_is_closed_early_ends_the_command_without_a_word(
    database_url: str, arguments: list[str], lines: int
) -> None:
    async with open_space(database_url) as space:
        await space.take(*(pages(f"p{n}", f"02T{n // 60:02}:{n % 60:02}", 1) for n in range(CHARGES)))
        code, errors = await unread(database_url, *arguments, lines=lines)
    assert errors == ""
    assert code == 1
