"""`meter up`, `serve`, `migrate`, `check`: run a gateway, and tell whether it could run."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from meter.app import Gateway, Parts
from meter.cli.books import check_deep
from meter.cli.catalog import read_files, take_in
from meter.cli.checked import Checked, check_listener
from meter.cli.common import AsJson, connect, database_url, err, hasher, out, print_json, require_operator
from meter.cli.demo import DEMO_S, Demo, leave_catalog
from meter.cli.targets import Check, target_checks, target_faults
from meter.clock import now
from meter.config import ROLES, Settings, listen_address, load_settings
from meter.embedded.broker import EmbeddedBroker
from meter.embedded.postgres import EmbeddedPostgres
from meter.ingest.setups import Sources
from meter.log import configure_logging
from meter.model.errors import BadInput, MeterError, Unavailable
from meter.plaintext import require_tls
from meter.rundir import (
    Addresses,
    admin_key,
    forget_addresses,
    has_identity_key,
    read_addresses,
    write_addresses,
)
from meter.store import migrate as schema
from meter.store.directory import current_operator
from meter.store.engine import Database, reason_of
from meter.store.hashing import check_key, unhashed_claims
from meter.store.walls import require_walls
from meter.transport.mqtt_address import broker_address

_CONNECT_TIMEOUT_S: Final = 5.0
# Whatever is kept warm is walked in vain: with Python's own thresholds a sixth of the CPU under load, and pauses of
# 300 ms. Hardly anything here is a cycle, so that collecting seldom costs no memory to speak of.
_GC_THRESHOLDS: Final = (10_000, 10, 100)
# How long a thread that looks through a long body goes on while the loop waits; Python's own 5 ms are felt by whoever
# waits for an answer.
_THREAD_TURN_S: Final = 0.001

Result = TypeVar("Result")
# Runs as long as a part does.
Watch: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept. METER_DATA_DIR")]
Http = Annotated[str | None, typer.Option("--http", metavar="HOST:PORT", help="Where HTTP is served. METER_HTTP")]


def up(
    *,
    data_dir: DataDir = None,
    catalog: Annotated[
        list[Path] | None, typer.Option("--catalog", help="A catalog to apply at start; may be given again.")
    ] = None,
    http: Http = None,
    mqtt: Annotated[
        str | None, typer.Option("--mqtt", metavar="HOST:PORT", help="Where the embedded broker listens. METER_MQTT")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Play a simulated day of the example space.")] = False,
    demo_seconds: Annotated[float, typer.Option("--demo-seconds", min=1, help="How long that day takes.")] = DEMO_S,
) -> None:
    """Run the whole gateway: with its own PostgreSQL and MQTT broker, unless settings name others."""
    settings = load_settings(data_dir=data_dir, catalog=catalog, http=http, mqtt=mqtt)
    configure_logging("warning" if demo and settings.log_level == "info" else settings.log_level)
    _say_source_faults(settings)
    _run_loop(_up(settings, demo_s=demo_seconds if demo else None))


def serve(
    *,
    roles: Annotated[str, typer.Option("--roles", help="Which of " + ", ".join(ROLES))] = ",".join(ROLES),
    http: Http = None,
    data_dir: DataDir = None,
) -> None:
    """Run the gateway alone, on the database and broker that the settings name. Any number may run side by side."""
    settings = load_settings(data_dir=data_dir, http=http)
    configure_logging(settings.log_level)
    _say_source_faults(settings)
    chosen = [role.strip() for role in roles.split(",") if role.strip()]
    unknown = sorted(set(chosen) - set(ROLES))
    if unknown or not chosen:
        message = f"--roles: {', '.join(unknown) or 'none given'}; choose from {', '.join(ROLES)}"
        raise BadInput(message, code="bad_option")
    if settings.database_url is None:
        message = "METER_DATABASE_URL: `serve` runs on a database of its own; set it, or use `meter up`"
        raise BadInput(message, code="no_database")
    if "ingest" in chosen and settings.mqtt_url is None:
        err.print("METER_MQTT_URL is not set: events come in over HTTP only", style="yellow")
    _run_loop(_serve(settings, chosen))


def migrate(
    *,
    finish: Annotated[
        bool, typer.Option("--finish", help="Let no older version serve from now on, and raise the walls wholly.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version. Safe to run twice, and while the older version serves."""
    reached = asyncio.run(_migrate(database_url(load_settings()), finish=finish))
    if as_json:
        print_json({"schema": reached})
    else:
        out.print(f"the database is at schema {reached}")


async def _migrate(url: str, *, finish: bool) -> str | None:
    """Return the revision that the database is at then: this version's, or that of a newer one which it may serve."""
    _say_administrator(await schema.upgrade(url, finish=finish))
    return await schema.revision_at(url)


def _say_administrator(statements: Sequence[str]) -> None:
    """Say what this user may not do for the walls, and what holds without."""
    if statements:
        err.print(
            "the database's user may not make the role that gateways act as, so that they act as the tables' owner: "
            "what is kept for good stands open to a mistake of ours. As an administrator run\n  "
            + "\n  ".join(statements)
            + "\nand then `meter migrate`",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def check(
    *,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Hold what is stored against itself, its seals and a fresh fold of every period, too."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell whether settings, database, broker and each target answer, one line each."""
    results = asyncio.run(_check())
    if deep and all(one.ok for one in results if one.part in {"database", "schema", "catalog"}):
        results += [Checked(*one) for one in asyncio.run(check_deep())]
    if as_json:
        print_json([{"part": one.part, "ok": one.ok, "state": one.state, "detail": one.detail} for one in results])
    else:
        table = Table("part", "state", "detail", box=None)
        for one in results:
            table.add_row(one.part, f"[{_COLOURS[one.state]}]{one.state}[/]", escape(one.detail or ""))
        out.print(table)
    if any(one.state == "fault" for one in results):
        raise typer.Exit(1)


_COLOURS: Final = {"ok": "green", "warning": "yellow", "fault": "red", "not checked": "yellow"}


# --- up ---------------------------------------------------------------------------------------------------------------


async def _up(settings: Settings, *, demo_s: float | None) -> None:
    stop = _stop_on_signals()
    demo = None if demo_s is None else Demo(settings, key=_key(settings), seconds=demo_s, console=out)
    settings = settings if demo is None else demo.settings
    async with AsyncExitStack() as stack:
        started = await _unless(stop, _start_parts(stack, settings, demo=demo is not None))
        if started is None:
            return
        parts, watches = started
        gateway = Gateway(settings, parts, roles=ROLES, admin_key=_key(settings), hasher=hasher(settings))
        _look_on_signal(gateway)
        stack.callback(forget_addresses, settings.data_dir)
        works = [gateway.run(stop=stop, ready=partial(_ready, settings, demo)), *(watch() for watch in watches)]
        if demo is not None:
            works.append(demo.run(stop))
        await _together(works)


async def _start_parts(stack: AsyncExitStack, settings: Settings, *, demo: bool) -> tuple[Parts, list[Watch]]:
    """Start what the settings do not name, apply migrations and catalogs; `stack` stops the parts."""
    watches: list[Watch] = []
    if settings.database_url is not None:
        database = settings.database_url.get_secret_value()
    else:
        postgres = await stack.enter_async_context(EmbeddedPostgres(settings.data_dir))
        database = postgres.url
        watches.append(postgres.watch)
    if settings.mqtt_url is not None:
        broker = settings.mqtt_url.get_secret_value()
    else:
        host, port = listen_address(settings.mqtt, setting="METER_MQTT")
        nats = await stack.enter_async_context(EmbeddedBroker(settings.data_dir, host=host, port=port or None))
        broker = nats.url
        watches.append(nats.watch)
    _say_administrator(await schema.upgrade(database))
    await _apply(database, settings, demo=demo)
    return Parts(database_url=database, mqtt_url=broker), watches


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what `work` returns; None, with `work` cancelled, where `stop` is set before."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait([working])


async def _together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run until the first ends, the gateway when asked to or a child that dies; raise what it raises."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def _ready(settings: Settings, demo: Demo | None, addresses: Addresses) -> None:
    write_addresses(settings.data_dir, addresses)
    _say_ready(addresses.http, addresses.mqtt)
    if demo is not None:
        demo.begin(addresses)


def _say_ready(http: str, mqtt: str | None) -> None:
    """Print the line that scripts wait for."""
    sys.stdout.write(f"ready http={http} mqtt={mqtt or '-'}\n")
    sys.stdout.flush()


async def _apply(url: str, settings: Settings, *, demo: bool) -> None:
    """Apply the catalogs that the settings name; for the demo on a new data directory the example's."""
    files = read_files(settings.catalog)
    database = Database(url, hasher=hasher(settings))
    try:
        if not files and demo:
            async with database.begin() as connection:
                if await current_operator(connection) is None:
                    files = [leave_catalog(settings.data_dir)]
        if files:
            loaded, _ = await take_in(database, files, reason="meter up", dry_run=False, at=now())
            for warning in loaded.warnings:
                err.print(f"[yellow]warning[/yellow] {escape(warning.text)}", soft_wrap=True, highlight=False)
    finally:
        await database.dispose()


def _key(settings: Settings) -> str:
    return settings.admin_key.get_secret_value() if settings.admin_key is not None else admin_key(settings.data_dir)


# --- serve ------------------------------------------------------------------------------------------------------------


async def _serve(settings: Settings, roles: Sequence[str]) -> None:
    stop = _stop_on_signals()
    if settings.database_url is None:
        return
    parts = Parts(
        database_url=settings.database_url.get_secret_value(),
        mqtt_url=settings.mqtt_url.get_secret_value() if settings.mqtt_url is not None else None,
    )

    async def ready(addresses: Addresses) -> None:
        _say_ready(addresses.http, None if parts.mqtt_url is None else broker_address(parts.mqtt_url).shown)

    gateway = Gateway(settings, parts, roles=roles, admin_key=_key(settings), hasher=hasher(settings))
    _look_on_signal(gateway)
    await gateway.run(stop=stop, ready=ready)


def _say_source_faults(settings: Settings) -> None:
    """Say which webhooks could never arrive; what else is metered must not wait for them."""
    for fault in Sources(settings.webhooks).faults:
        err.print(fault, style="yellow")


# --- check ------------------------------------------------------------------------------------------------------------


async def _check() -> list[Checked]:
    """Return each part with what is wrong with it, or to be said of it."""
    settings = load_settings()
    faults = "\n".join(Sources(settings.webhooks).faults) or None
    results = [Checked("settings", "ok" if faults is None else "fault", faults)]
    database = await _checked("database", _check_database)
    results.append(database)
    of_database: list[tuple[str, Check]] = [
        ("schema", _check_schema),
        ("walls", _check_walls),
        ("catalog", _check_catalog),
        ("identities", partial(_check_identities, settings)),
    ]
    results.append(await _checked("encryption", partial(require_tls, settings)))
    results.append(check_listener(settings))
    broker: tuple[str, Check] = ("broker", partial(_check_broker, settings))
    of_targets = target_checks(settings)
    if database.ok:
        return results + [await _checked(part, answers) for part, answers in (*of_database, broker, *of_targets)]
    results.append(await _checked(*broker))
    results += [Checked(part, "fault", fault) for part, fault in target_faults(settings).items()]
    told = {one.part for one in results}
    unmade = [part for part, _ in (*of_database, *of_targets) if part not in told]
    return [*results, Checked("the rest", "not checked", f"without the database: {', '.join(unmade)}")]


async def _checked(part: str, answers: Check) -> Checked:
    try:
        warnings = await answers()
    except MeterError as error:
        return Checked(part, "fault", error.detail)
    return Checked(part, "warning", "\n".join(warnings)) if warnings else Checked(part, "ok")


async def _check_database() -> None:
    async with connect() as database, database.begin():
        pass


async def _check_schema() -> None:
    async with connect() as database:
        if fault := await schema.fault(database):
            raise BadInput(fault, code="schema_mismatch")


async def _check_walls() -> Sequence[str]:
    async with connect() as database:
        if await schema.fault(database):
            raise BadInput("unknown while the schema is another version's", code="schema_mismatch")
        async with database.begin() as connection:
            return (await require_walls(connection)).faults


async def _check_catalog() -> None:
    async with connect() as database:
        if await schema.fault(database):
            raise BadInput("unknown while the schema is another version's", code="schema_mismatch")
        await require_operator(database)


async def _check_identities(settings: Settings) -> None:
    async with connect() as database:
        if await schema.fault(database):
            raise BadInput("unknown while the schema is another version's", code="schema_mismatch")
        async with database.begin() as connection:
            operator = await current_operator(connection)
            if operator is None:
                return
            # Looking makes no key: where there is none yet, nothing can be hashed with another.
            if settings.identity_key is not None or has_identity_key(settings.data_dir):
                await check_key(connection, operator)
            unhashed = await unhashed_claims(connection, operator)
    if unhashed:
        message = f"{unhashed} claims are stored unhashed and no longer found; run `meter identities hash`"
        raise BadInput(message, code="unhashed_claims")


async def _check_broker(settings: Settings) -> None:
    running = read_addresses(settings.data_dir)
    url = None if running is None else running.mqtt
    if settings.mqtt_url is not None:
        url = settings.mqtt_url.get_secret_value()
    if url is None:
        message = "METER_MQTT_URL is not set and no gateway runs here; events come in over HTTP only"
        raise BadInput(message, code="no_broker")
    address = broker_address(url)
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError) as error:
        message = f"{address.host}:{address.port} does not answer: {reason_of(error)}"
        raise Unavailable(message, code="broker_unavailable") from error
    writer.close()
    await writer.wait_closed()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    return stop


def _look_on_signal(gateway: Gateway) -> None:
    """Have secrets read anew at SIGHUP, as a deployment sends it after it has replaced one."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, gateway.secrets.look_now)


def _run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is there, with the collector tamed."""
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_THREAD_TURN_S)
    if sys.platform == "win32":
        asyncio.run(work)
    else:
        import uvloop  # noqa: PLC0415 -- not built for Windows

        uvloop.run(work)
