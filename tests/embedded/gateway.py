"""A gateway reduced to its embedded parts, as a process to kill: takes a data directory, says where they are, waits."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.postgres import EmbeddedPostgres


async def main(data_dir: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with EmbeddedPostgres(data_dir) as database, EmbeddedBroker(data_dir) as broker:
        facts = {
            "database": database.url,
            "mqtt": broker.url,
            "pids": [os.getpid(), database.pid, broker.pid],
            "euid": os.geteuid(),
        }
        print(json.dumps(facts), flush=True)  # noqa: T201
        await stop.wait()


asyncio.run(main(Path(sys.argv[1])))
