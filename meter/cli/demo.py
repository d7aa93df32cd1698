"""`meter up --demo`: plays a working day of the example space into the gateway, and shows what comes of it.

Everything goes the way that devices, a till's vendor and a billing system go: through an agent on site, MQTT, HTTP, a
signed webhook, and charges pulled with the cursor. Only what was stored of the day is looked up in the database.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from pydantic import SecretStr
from rich.console import Console
from rich.live import Live

from meter.cli.demo_agent import DemoAgent
from meter.cli.demo_day import (
    SIGNATURE_HEADER,
    SITE,
    ZONE,
    DemoDay,
    choose_day,
    demo_catalog,
    square_payment,
    square_signature,
    unfinished,
)
from meter.cli.demo_play import SHOWN_ACCOUNT, Playing
from meter.cli.demo_site import DemoSite, demo_site
from meter.cli.demo_view import Progress, money, tally_table
from meter.clock import now
from meter.config import Settings, WebhookSettings
from meter.model.errors import Unavailable
from meter.rundir import Addresses, admin_key_path
from meter.store.engine import Database

DEMO_S: Final = 60.0
_WEBHOOK_NAME: Final = "demo"
_WEBHOOK_PATH: Final = f"/hooks/square/{_WEBHOOK_NAME}"
# As registered with the vendor, which signs it along; nobody looks it up.
_WEBHOOK_URL: Final = f"https://demo.example{_WEBHOOK_PATH}"
_LINE_INTERVAL_S: Final = 5.0
_CATALOG: Final = "northside.yaml"
_WORDS: Final = {"membership": "a fee", "presence": "somebody's hours, from the way in to the way out"}


def leave_catalog(data_dir: Path) -> tuple[str, str]:
    """Return name and text of the catalog that is played, left in the data directory to be edited and applied."""
    path, text = data_dir / _CATALOG, demo_catalog(today=_today())
    data_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path), text


class Demo:
    """One demo. Run the gateway with `settings`, call `begin` when it is ready, and run `run` beside it."""

    def __init__(self, settings: Settings, *, key: str, seconds: float, console: Console) -> None:
        """Prepare. `settings` get a webhook source with a secret that only this demo knows."""
        self._secret = secrets.token_urlsafe(32)
        source = WebhookSettings(secrets=[SecretStr(self._secret)], url=_WEBHOOK_URL, site=SITE)
        square = {**settings.webhooks.get("square", {}), _WEBHOOK_NAME: source}
        self.settings = settings.model_copy(update={"webhooks": {**settings.webhooks, "square": square}})
        self._key = key
        self._seconds = seconds
        self._console = console
        self._ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()

    def begin(self, addresses: Addresses) -> None:
        """Start playing: the gateway answers at `addresses`."""
        self._ready.set_result(addresses)

    async def run(self, stop: asyncio.Event) -> None:
        """Play once, tell where to look, and wait to be cancelled with the gateway; `stop` ends the playing early.

        Raises MeterError where the gateway does not take the day.
        """
        addresses = await self._ready
        async with demo_site(self.settings.data_dir, site=SITE, mqtt_url=addresses.mqtt) as site:
            playing = asyncio.create_task(self._play(addresses, site))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
                if playing.done() and not stop.is_set():
                    playing.result()
            finally:
                playing.cancel()
                stopping.cancel()
                await asyncio.wait([playing, stopping])
            if site is not None and not stop.is_set():
                await site.agent.watch()
            await asyncio.get_running_loop().create_future()

    async def _play(self, addresses: Addresses, site: DemoSite | None) -> None:
        database = Database(addresses.database)
        try:
            async with database.begin() as connection:
                day = await choose_day(connection, today=_today())
            await self._play_day(day, database, addresses, site)
        finally:
            await database.dispose()

    async def _play_day(self, day: DemoDay, database: Database, addresses: Addresses, site: DemoSite | None) -> None:
        speed = (day.end - day.start).total_seconds() / self._seconds
        self._say(f"demo: {day.day:%A %d %B %Y} at {SITE}, played in {self._seconds:g} s")
        if site is not None:
            self._say(
                f"agent: meter-edge runs on site, process {site.agent.pid}; doors post to {site.agent.url}/v1/events"
            )
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            async with aiohttp.ClientSession(addresses.http, headers=headers) as http:
                playing = Playing(day, addresses, http, key=self._key, speed=speed, site=site)
                body = square_payment(day)
                signature = square_signature(body, key=self._secret, url=_WEBHOOK_URL)
                webhook = playing.post_webhook(
                    _WEBHOOK_PATH, body, {SIGNATURE_HEADER: signature}, after_s=self._seconds / 2
                )
                works = [webhook]
                if site is not None:
                    works.append(site.play_outage(self._seconds, self._say))
                async with self._shown(playing.progress):
                    await playing.run(works, unfinished=partial(unfinished, database, day))
        except ExceptionGroup as faults:
            raise _first(faults) from faults
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the demo lost the gateway at {addresses.http}: {error!r}") from error
        self._summary(playing, addresses, site)

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @asynccontextmanager
    async def _shown(self, progress: Progress) -> AsyncIterator[None]:
        """Show the progress: in place on a terminal, else a line every few seconds."""
        if self._console.is_terminal:
            with Live(progress, console=self._console, refresh_per_second=4):
                yield
            return
        lines = asyncio.create_task(self._lines(progress))
        try:
            yield
        finally:
            lines.cancel()
            self._console.print(progress.text(), highlight=False, soft_wrap=True)

    async def _lines(self, progress: Progress) -> None:
        while True:
            await asyncio.sleep(_LINE_INTERVAL_S)
            self._console.print(progress.text(), highlight=False, soft_wrap=True)

    def _summary(self, playing: Playing, addresses: Addresses, site: DemoSite | None) -> None:
        progress, show = playing.progress, self._console
        if playing.before or not show.is_terminal:  # else the live view stands there already
            show.print(tally_table(progress.sent, progress.tallies, before=playing.before))
        if held := progress.held:
            lines = sum(progress.original_lines[key] for key in held)
            self._say(
                f"agent: what doors told it while it was cut off, {len(held)} events, is stored, each once; "
                f"{lines} lines come of it"
            )
        for line in _where_to_look(self.settings, addresses, playing.explained, site):
            self._say(line)
        self._say(
            f"demo finished: {progress.sent.total()} events, {progress.lines} lines, "
            f"{money(progress.invoiced)} EUR to invoice before tax. The gateway goes on serving until Ctrl-C."
        )


def _today() -> date:
    return now().astimezone(ZONE).date()


def _where_to_look(
    settings: Settings, addresses: Addresses, explained: Mapping[str, str], site: DemoSite | None
) -> list[str]:
    key_file = admin_key_path(settings.data_dir)
    meter = _program(settings.data_dir)
    catalogs = [path for path in [settings.data_dir / _CATALOG] if path.is_file()]
    key = "$METER_ADMIN_KEY" if settings.admin_key is not None else f"$(cat {key_file})"
    bearer = f'curl -H "Authorization: Bearer {key}"'
    page = f"{addresses.http}/v1/accounts/{SHOWN_ACCOUNT}/statement"
    return [
        f'statement      {bearer} -H "Accept: text/html" {page} > statement.html',
        f"API documents  {addresses.http}/docs",
        f"metrics        {addresses.http}/metrics",
        f"charges        {bearer} {addresses.http}/v1/charges",
        f"commands       {meter} statement {SHOWN_ACCOUNT}",
        f"               {meter} balance {SHOWN_ACCOUNT}",
        f"               {meter} charges --account {SHOWN_ACCOUNT}",
        *(f"               {meter} explain {charge}  # {_WORDS[about]}" for about, charge in sorted(explained.items())),
        *(f"               {meter} plan {catalog}  # once a price in it is changed" for catalog in catalogs),
        *([] if site is None else _of_agent(meter, site.agent)),
        *(f"ledger         {path}" for path in _main_files(settings.data_dir / "ledger")),
    ]


def _of_agent(meter: str, agent: DemoAgent) -> list[str]:
    return [
        f"agent          {meter} edges list",
        f"               {agent.config}  # its settings, with the token that doors show",
    ]


def _program(data_dir: Path) -> str:
    """Return what to type for `meter`, from where this one was started and on the same data."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "meter" else "meter"
    is_default = data_dir == Settings.model_fields["data_dir"].default
    return program if is_default else f"METER_DATA_DIR={shlex.quote(str(data_dir))} {program}"


def _main_files(ledger: Path) -> list[Path]:
    return sorted(path for path in ledger.glob("*/main.*") if path.is_file())


def _first(faults: BaseExceptionGroup[Exception]) -> Exception:
    """Return one fault of a group: several of the demo's clients fail for one reason."""
    fault = faults.exceptions[0]
    return _first(fault) if isinstance(fault, BaseExceptionGroup) else fault
