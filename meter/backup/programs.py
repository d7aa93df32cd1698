"""PostgreSQL's own programs, from the package that carries the server."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meter.embedded.child import Child, Program
from meter.embedded.postgres import binaries
from meter.embedded.runas import RunAs
from meter.model.errors import Unavailable

# A terabyte at 20 MB/s takes 14 hours; longer than a day there would never be a second one.
TIMEOUT_S: Final = 86_400.0
_END_S: Final = 10.0


async def run_program(
    name: str, arguments: Sequence[str], *, cwd: Path, log: Path, remedy: str, run_as: RunAs | None = None
) -> None:
    """Run a program to its end; killed, this process takes it along. Raises Unavailable (`backup_failed`).

    The error has the last of what the program said, and the `remedy`.
    """
    program = Program(
        name=name,
        argv=[str(binaries() / name), *arguments],
        cwd=cwd,
        log=log,
        run_as=run_as or RunAs(),
        stop=((signal.SIGTERM, _END_S),),
    )
    child = Child(program)
    child.start()
    try:
        code = await child.ended(within_s=TIMEOUT_S)
        if code != 0:
            how = f"still ran after {TIMEOUT_S:.0f} s" if code is None else f"ended with {code}"
            raise Unavailable(f"{name} {how}: {child.last_words()}; {remedy}", code="backup_failed")
    finally:
        await child.stop()
