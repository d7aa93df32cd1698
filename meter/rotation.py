"""Secrets that come from files, taken anew when the files change: no restart (decision 0019).

    every LOOK_S, or at SIGHUP ─▶ a file has changed ─▶ are the settings sound with it? ─▶ taken
                                                                └── no ─▶ the one before stays, and that is said

Only secrets change so. Whatever else a file or meter.toml says anew waits for a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from meter.config import ConfigFault, Settings, load_settings, secret_file, secret_files, variable_of
from meter.log import log
from meter.telemetry import Telemetry

# A look is one stat a file; whoever replaces a secret waits for it, or sends SIGHUP.
LOOK_S: Final = 5.0
# Beside a user and a password, an address: a gateway does not move to another server while it runs.
_ADDRESSES: Final = ("database_url", "mqtt_url")
# What is stored was hashed, and what agents hold was signed, with them: another one is of no use.
_FIXED: Final = frozenset({"identity_key", "ca_key"})

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]


def secrets_in(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Give every secret below `value`, with its place in the tree of settings."""
    match value:
        case SecretStr():
            yield place, value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_in(getattr(value, name), (*place, name))
        case dict():
            for name, one in value.items():
                yield from secrets_in(one, (*place, name))
        case list():
            for number, one in enumerate(value):
                yield from secrets_in(one, (*place, number))


def with_secrets_of(settings: Model, other: Model) -> Model:
    """Return `settings` with each secret that `other` has in the same place."""
    fields = type(settings).model_fields
    return settings.model_copy(
        update={name: _with(getattr(settings, name), getattr(other, name)) for name in fields if name not in _FIXED}
    )


def _with(mine: Any, theirs: Any) -> Any:
    match mine, theirs:
        case _, SecretStr():
            return theirs
        case BaseModel(), BaseModel():
            return with_secrets_of(mine, theirs)
        case dict(), dict():
            return {name: _with(one, theirs.get(name)) for name, one in mine.items()}
        case list(), [SecretStr(), *_]:
            return theirs
        case _:
            return mine


def check_may_change(old: Settings, new: Settings) -> None:
    """Return where only what may change has. Raises ConfigFault naming the setting that has to wait for a restart."""
    before, after = dict(secrets_in(old)), dict(secrets_in(new))
    for place, secret in before.items():
        if place[-1] in _FIXED and after.get(place, secret) != secret:
            message = f"{variable_of(*place)}: does not change while what it made is in use"
            raise ConfigFault(message)
    for name in _ADDRESSES:
        mine, theirs = getattr(old, name), getattr(new, name)
        if mine is not None and theirs is not None and _server(mine) != _server(theirs):
            message = f"{variable_of(name)}: names another server; only user and password change without a restart"
            raise ConfigFault(message)


def _server(url: SecretStr) -> tuple[str, str, str, str]:
    parts = urlsplit(url.get_secret_value())
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query


async def renewed(event: asyncio.Event, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run what `run` gives until it ends, and anew each time that `event` is set."""
    while True:
        event.clear()
        tasks = [asyncio.ensure_future(run()), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        running, _ = tasks
        if not running.cancelled():
            running.result()
        if not event.is_set():
            return


class SecretWatch:
    """Looks at the files that settings came from. `changed` is called with the settings as they are now."""

    def __init__(
        self,
        settings: Settings,
        *,
        changed: Callable[[Settings], None],
        telemetry: Telemetry,
        unused: Callable[[], int] = lambda: 0,
    ) -> None:
        """Look at nothing yet; what changed since `settings` were read is found at the first look.

        `unused`: how many of the secrets that were taken turned out to be of no use.
        """
        self._unused = unused
        self.settings = settings
        self._changed = changed
        self._telemetry = telemetry
        self._files = secret_files()
        self._seen: dict[str, object] = {}
        self._taken: dict[str, str] = {}
        self._kept: set[str] = set()
        self._asked = asyncio.Event()

    def look_now(self) -> None:
        """Have the next look at once (SIGHUP), whatever the files' times say."""
        self._seen.clear()
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while self._files:
            if not self._taken:
                await asyncio.to_thread(self._read_all)
            await self.look()
            self._asked.clear()
            try:
                await asyncio.wait_for(self._asked.wait(), LOOK_S)
            except TimeoutError:
                continue
        await asyncio.Event().wait()  # a role that ends by itself stops the gateway

    async def look(self) -> None:
        """Take what has changed, file by file, so that one that is bad holds up no other."""
        before = self.settings
        for variable, path in self._files.items():
            stamp = _stamp(path)
            if self._seen.get(variable) == stamp and variable in self._seen:
                continue
            self._seen[variable] = stamp
            try:
                content = secret_file(variable, path)
                found = await asyncio.to_thread(load_settings, files={**self._taken, variable: content})
                check_may_change(self.settings, found)
            except ConfigFault as error:
                self._keep(variable, error.detail)
            else:
                self._take(variable, content, with_secrets_of(self.settings, found))
        # Once for all of them: of a certificate and its key neither is of use before both are here.
        if self.settings is not before:
            self._changed(self.settings)
        self._telemetry.secret_files_kept(len(self._kept) + self._unused())

    def _read_all(self) -> None:
        """Begin with what can be read: the start has taken all of it."""
        for variable, path in self._files.items():
            try:
                self._taken[variable] = secret_file(variable, path)
            except ConfigFault:
                continue

    def _keep(self, variable: str, detail: str) -> None:
        self._kept.add(variable)
        self._telemetry.secret_changed(outcome="kept")
        log.error("secret_kept", setting=variable, detail=detail)

    def _take(self, variable: str, content: str, settings: Settings) -> None:
        self._taken[variable] = content
        self._kept.discard(variable)
        if dict(secrets_in(settings)) == dict(secrets_in(self.settings)):
            return
        self.settings = settings
        self._telemetry.secret_changed(outcome="taken")
        log.info("secret_taken", setting=variable)


def _stamp(path: Path) -> object:
    """Return what tells that a file was written or replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
