"""`meter simulate`: believable days as events, to a broker, a gateway or a file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from meter.clock import now
from meter.config import Settings, load_settings
from meter.examples import example_tariff
from meter.model.errors import BadInput
from meter.rundir import Addresses, admin_key, read_addresses
from meter.simulate import (
    NO_FAULTS,
    Delivery,
    Faults,
    Sent,
    SteadyRate,
    deliver,
    directory_text,
    to_file,
    to_http,
    to_mqtt,
)
from meter.simulate import simulate as events_of
from meter.simulate.pace import Pace, unpaced


class Sink(StrEnum):
    """Where the events go."""

    MQTT = "mqtt"
    HTTP = "http"
    FILE = "file"


def simulate(
    *,
    sites: Annotated[int, typer.Option(min=1, max=500, help="How many sites; the first is berlin.")] = 1,
    members: Annotated[int, typer.Option(min=1, max=2000, help="How many members each site has.")] = 40,
    days: Annotated[int, typer.Option(min=1, max=400, help="How many local days.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first day; unset: so that yesterday is the last.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Events a second; unset: as fast as they are taken.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same events.")] = 1,
    to: Annotated[Sink, typer.Option(help="Where they go.")] = Sink.FILE,
    url: Annotated[str | None, typer.Option(help="The broker or gateway; unset: the one that runs here.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Bearer key for HTTP; unset: METER_ADMIN_KEY, or the one made here.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write, one event a line; - is the standard output.")] = Path(
        "-"
    ),
    clean: Annotated[bool, typer.Option("--clean", help="Each event once, on time and in order.")] = False,
    catalog: Annotated[
        Path | None, typer.Option(help="Also write the catalog that knows these sites and members, for meter apply.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary for machines.")] = False,
) -> None:
    """Send realistic events: doors, printers, Wi-Fi, tills and rooms of coworking days, the same for the same seed."""
    first = start.date() if start else now().date() - timedelta(days=days)
    if catalog is not None:
        people = directory_text(sites=sites, members=members, since=first.replace(day=1))
        catalog.write_text(example_tariff() + people, encoding="utf-8")
    happened = events_of(start_day=first, sites=sites, members=members, days=days, seed=seed)
    deliveries = deliver(happened, seed=seed, faults=NO_FAULTS if clean else Faults())
    with ExitStack() as stack:
        shown = stack.enter_context(_progress())
        followed = _follow(deliveries, shown, first, days)
        pace: Pace = SteadyRate(rate) if rate else unpaced
        if to is Sink.FILE:
            if rate:
                raise BadInput("--rate paces --to mqtt and --to http; a file is written at once", code="bad_option")
            stream = sys.stdout.buffer if str(out) == "-" else stack.enter_context(out.open("wb"))
            sent = to_file(followed, out=stream)
        else:
            sent = asyncio.run(_send(followed, to, pace, url=url, key=key))
    _summary(sent, to, as_json=as_json)


async def _send(deliveries: Iterable[Delivery], to: Sink, pace: Pace, *, url: str | None, key: str | None) -> Sent:
    settings = load_settings()
    running = read_addresses(settings.data_dir)
    if to is Sink.MQTT:
        return await to_mqtt(deliveries, url=url or _broker(settings, running), pace=pace)
    found = (
        running.http
        if running is not None
        else f"{'http' if settings.http_tls.pair is None else 'https'}://{settings.http}"
    )
    return await to_http(deliveries, url=url or found, key=key or _key(settings, running), pace=pace)


def _broker(settings: Settings, running: Addresses | None) -> str:
    if settings.mqtt_url is not None:
        return settings.mqtt_url.get_secret_value()
    if running is None or running.mqtt is None:
        message = f"no broker is set and no gateway runs on {settings.data_dir}; give --url or set METER_MQTT_URL"
        raise BadInput(message, code="bad_option")
    return running.mqtt


def _key(settings: Settings, running: Addresses | None) -> str:
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    if running is None:
        message = f"the gateway wants a key and none runs on {settings.data_dir}; give --key or set METER_ADMIN_KEY"
        raise BadInput(message, code="bad_option")
    return admin_key(settings.data_dir)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[events]:,} events"))
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty())


def _follow(deliveries: Iterable[Delivery], shown: Progress, first: date, days: int) -> Iterator[Delivery]:
    """Yield the deliveries on, with the bar at the simulated time; what arrives after the last day keeps it full."""
    began = datetime.combine(first, time.min, tzinfo=UTC)
    task = shown.add_task("simulating", total=days * 86_400, events=0)
    events = 0
    for delivery in deliveries:
        events += len(delivery.events)
        passed_s = (delivery.at - began).total_seconds()
        shown.update(task, completed=min(passed_s, days * 86_400), events=events)
        yield delivery
    shown.update(task, completed=days * 86_400)


def _summary(sent: Sent, to: Sink, *, as_json: bool) -> None:
    """Print what was sent: on the error stream, since a file may go to the standard output."""
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(sent)), err=to is Sink.FILE)
        return
    told = (
        f": {sent.accepted} accepted, {sent.duplicates} duplicate, {sent.rejected} rejected" if to is Sink.HTTP else ""
    )
    typer.echo(f"sent {sent.events} events in {sent.deliveries} deliveries{told}", err=True)
