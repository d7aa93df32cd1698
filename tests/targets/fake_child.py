"""A vendor's fake in a process of its own, which can be stopped: python -m tests.targets.fake_child CASE.

Says where it listens, then, for each line that it is given, what it holds by batch and how much it is at work on.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.targets.fault_run import cases


def say(told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def serve(name: str) -> None:
    case = cases()[name]
    async with case.fake() as fake:
        say(fake.url)
        while await asyncio.to_thread(sys.stdin.readline):
            held = {batch: [str(net), str(tax)] for batch, (net, tax) in case.books(fake).items()}
            say({"held": held, "at_work": fake.in_flight})


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
