"""What `meter-edge check` finds of devices: heard by the running agent, or looked for while there is none.

A running agent is asked, so that nothing is taken from it: no printer is asked twice, no reader is opened.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from edge.clock import Clock, SystemClock
from edge.collect.poll import Transports
from edge.collect.tail import files_of
from edge.config.contradictions import host_and_port
from edge.config.faults import variable_of
from edge.config.settings import EdgeSettings, ReaderSettings
from edge.finding import Finding
from edge.sources import configured_logs, configured_sources, polled_feeds
from meter.model.errors import MeterError
from meter.model.wire import WireEvent
from meter.sources.setups import ConfiguredSource
from meter.transport.asking.retry import asked
from meter.transport.reading import guarded

# Where udev names serial ports, and keyboards among what is typed on, by their makers.
_ATTACHED: Final = (("/dev/serial/by-id", "*"), ("/dev/input/by-id", "*-event-kbd"))


async def devices_found(settings: EdgeSettings, running: Mapping[str, Any] | None) -> list[Finding]:
    """Return what there is of devices. `running`: what a running agent says of itself, None where there is none."""
    findings = list(_radius(settings))
    findings += await asyncio.to_thread(_logs, settings)
    findings += [_reader(name, given) for name, given in settings.readers.items()]
    if running is None:
        findings += _ports(settings)
        findings += await _polled(settings)
    else:
        findings += _told(running)
        findings += _unposted(settings, {device["origin"] for device in running.get("devices", ())})
    return [*findings, *_attached(settings)]


def _told(running: Mapping[str, Any]) -> Iterator[Finding]:
    """Give what the running agent says of its collectors and of who was heard since it started."""
    for name, state in running.get("collectors", {}).items():
        last = f"last {state['last']}" if state.get("last") else "nothing heard yet"
        detail = "; ".join(filter(None, [state["state"], last, state.get("detail")]))
        yield Finding(about=f"collector {name}", good=state["state"] != "failing", detail=detail)
    for device in running.get("devices", ()):
        unread = f", {device['refused']} that cannot be read (meter rejections)" if device["refused"] else ""
        detail = f"{device['taken']} events{unread} over {device['origin']}, last {device['last']}"
        good = device["taken"] > 0 or not device["refused"]
        yield Finding(about=f"device {device['source'] or device['origin']}", good=good, detail=detail)


def _unposted(settings: EdgeSettings, origins: Collection[str]) -> Iterator[Finding]:
    """Give the sources whose vendor has posted nothing yet, and where it would have to."""
    for source in _sources(settings):
        path = f"/hooks/{source.setup.vendor}/{source.setup.name}"
        posts = source.vendor.hook is not None or source.vendor.lines is not None
        if posts and not polled_feeds(source) and f"POST {path}" not in origins:
            detail = f"nothing was posted to {path} since the agent started"
            yield Finding(about=f"webhook {source.setup.vendor}/{source.setup.name}", detail=detail)


def _sources(settings: EdgeSettings) -> list[ConfiguredSource]:
    try:
        return configured_sources(settings)
    except MeterError:
        return []  # told with the sources


def _radius(settings: EdgeSettings) -> Iterator[Finding]:
    """Look whether anybody would be answered."""
    if settings.radius is None:
        return
    sources = settings.sources.get("radius", {})
    if sources:
        yield Finding(about="radius", detail=f"{settings.radius} (UDP), {', '.join(sources)}")
    else:
        message = f"no packet is answered without a source; set {variable_of('sources', 'radius', 'NAME', 'secrets')}"
        yield Finding(about="radius", good=False, detail=message)


def _ports(settings: EdgeSettings) -> Iterator[Finding]:
    """Look whether the agent could listen where it is to."""
    ports = [("http", settings.http, socket.SOCK_STREAM)]
    if settings.radius is not None:
        ports.append(("radius", settings.radius, socket.SOCK_DGRAM))
    for name, address, kind in ports:
        about = f"port {name}"
        host, port = host_and_port(address)
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
                probe.bind((host, port))
        except OSError as error:
            message = f"{address}: {error.strerror or error}; free it, or set {variable_of(name)}"
            yield Finding(about=about, good=False, detail=message)
        else:
            yield Finding(about=about, detail=f"{address} is free")


def _logs(settings: EdgeSettings) -> list[Finding]:
    """Look whether each log's files are there and may be read; a log that is not there yet is no fault."""
    try:
        logs = configured_logs(settings)
    except MeterError as error:
        return [Finding(about="logs", good=False, detail=error.detail)]
    return [_log(path, source.setup.name) for path, source in logs]


def _log(path: Path, name: str) -> Finding:
    try:
        files = files_of(path)
        for file in files:
            with file.path.open("rb"):
                pass
    except OSError as error:
        message = f"{error.filename or path}: {error.strerror or error}; the agent's user must be able to read it"
        return Finding(about=f"log {name}", good=False, detail=message)
    return Finding(about=f"log {name}", detail=f"{path}: {len(files)} files")


async def _polled(settings: EdgeSettings) -> list[Finding]:
    """Ask each device and vendor that is polled once, all at once; nothing of the answers is kept."""
    clock = SystemClock()
    async with aclosing(Transports(clock)) as transports:
        answers = [
            _answered(source, feed, transports, clock) for source in _sources(settings) for feed in polled_feeds(source)
        ]
        return await asyncio.gather(*answers)


async def _answered(source: ConfiguredSource, feed_name: str, transports: Transports, clock: Clock) -> Finding:
    setup, feed = source.setup, source.vendor.feeds[feed_name]
    about = f"polled {setup.vendor}/{setup.name}"
    try:
        request = feed.request(setup, None, clock.read().wall)
        answer = await asked(await transports.over(request.over), setup, request)
        page = guarded(lambda: feed.read(setup, None, answer), vendor=setup.vendor, source=setup.name)
    except MeterError as error:
        return Finding(about=about, good=False, detail=error.detail)
    kinds = Counter(item.type if isinstance(item, WireEvent) else item.code for item in page.items)
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) or "nothing yet"
    return Finding(about=about, detail=f"answers over {request.over}: {told}")


def _reader(name: str, given: ReaderSettings) -> Finding:
    """Look whether the device is there and may be read, without opening it."""
    about, path = f"reader {name}", Path(given.device)
    if not path.exists():
        return Finding(about=about, good=False, detail=f"there is no {path}; plug it in, or mend its settings")
    if not os.access(path, os.R_OK):
        message = f"{path} may not be read; add the agent's user to the group {path.group()}"
        return Finding(about=about, good=False, detail=message)
    return Finding(about=about, detail=str(path))


def _attached(settings: EdgeSettings) -> Iterator[Finding]:
    """Give what is plugged in that may be a card reader, and whose it is."""
    readers = {os.path.realpath(given.device): name for name, given in settings.readers.items()}
    for folder, pattern in _ATTACHED:
        for path in sorted(Path(folder).glob(pattern)):
            name = readers.get(os.path.realpath(path))
            unread = f"nothing reads it; {variable_of('readers', 'NAME', 'device')} would"
            yield Finding(about=f"attached {path}", detail=f"reader {name}" if name else unread)
