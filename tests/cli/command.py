"""The command line in this process, on a loop of its own beside the test's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from typer.testing import CliRunner, Result

from meter.cli import app


async def meter(*arguments: str) -> Result:
    """Run `meter ...`."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments))


async def done(*arguments: str, exit_code: int = 0) -> str:
    """Run `meter ...` and return what it prints."""
    result = await meter(*arguments)
    assert result.exit_code == exit_code, (result.output, result.exception)
    printed: str = result.stdout
    return printed


async def machine(*arguments: str, exit_code: int = 0) -> Any:
    """Run `meter ... --json` and return what it says."""
    return json.loads(await done(*arguments, "--json", exit_code=exit_code))
