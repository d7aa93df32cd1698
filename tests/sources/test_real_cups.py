"""A running CUPS: what its log and its IPP tell of the same jobs."""

import asyncio
from pathlib import Path

from meter.model.wire import Parsed
from meter.sources.printers.cups import RECOMMENDED
from meter.sources.registry import VENDORS
from meter.sources.spec import Lines, Setup
from meter.transport.asking.http import HttpTransport
from tests.sources.case import RECEIVED, events, setup
from tests.sources.cups_server import PrintServer, print_server
from tests.sources.printing import billed, counting

_TRIES = 200


async def _asked(server: PrintServer) -> list[Parsed]:
    """What a poll brings, over the gateway's own transport."""
    configured: Setup = setup("ipp", api_base=f"ipp://{server.address}/")
    feed, transport = VENDORS["ipp"].feeds["jobs"], HttpTransport()
    try:
        answer = await transport.ask(configured, feed.request(configured, None, RECEIVED))
    finally:
        await transport.close()
    return list(feed.read(configured, None, answer).items)


def _logged(server: PrintServer) -> list[Parsed]:
    read = VENDORS["cups"].lines
    assert read is not None
    lines = server.page_log.read_bytes().splitlines() if server.page_log.exists() else []
    return list(
        read(
            setup("cups", options={"format": RECOMMENDED}), Lines(name="page_log", lines=lines, received_at=RECEIVED)
        ).items
    )


async def _once(server: PrintServer, jobs: int, lines: int) -> tuple[list[Parsed], list[Parsed]]:
    """What both tell once so many jobs are over and so many lines are written: CUPS writes when it gets round to it."""
    asked, logged = list[Parsed](), list[Parsed]()
    for _ in range(_TRIES):
        asked, logged = await _asked(server), _logged(server)
        if len(asked) == jobs and len(logged) == lines:
            return asked, logged
        await asyncio.sleep(0.05)
    raise AssertionError((asked, logged, server.errors()))


async def test_the_log_and_the_server_tell_the_same_of_each_job(data_dir: Path) -> None:
    """A job on both sides with two copies, one that is printed twice over, one that is cancelled before it begins."""
    async with print_server(data_dir, RECOMMENDED) as server:
        await server.print(3, "-U", "mira", "-n", "2", "-o", "sides=two-sided-long-edge", "-t", "Q1 | deck.pdf")
        again = await server.print(5, "-U", "jo k", "-o", "job-billing=acme")
        held = await server.print(9, "-U", "ada", "-H", "hold")
        await server.run("cancel", held)
        asked, logged = await _once(server, jobs=3, lines=2)
        told = {data["job"]: data["impressions"] for data in counting(asked).values() if data["status"] == "completed"}
        assert told == {job: data["impressions"] for job, data in counting(logged).items()}
        assert billed(asked) == billed(logged) == 3 * 2 + 5
        assert sorted(event.subject or "" for event in events(asked)) == ["cups:ada", "cups:jo k", "cups:mira"]
        [cancelled] = [data for data in counting(asked).values() if data["status"] == "cancelled"]
        assert cancelled["impressions"] == 0

        await server.run("lp", "-i", again, "-H", "restart")
        asked_again, logged_again = await _once(server, jobs=3, lines=3)
        # CUPS counts on: the job is one, with what both runs made, whichever of its states come, in whatever order.
        assert billed(asked_again + asked) == billed(asked + asked_again) == 3 * 2 + 5 * 2
        assert billed(logged_again) == billed(logged_again[::-1]) == 3 * 2 + 5 * 2
