"""The files of the deployment as the tests read them, and its Mosquitto started outside a container."""

import os
import pwd
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any, Self

import yaml

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.child import Child, Program
from meter.embedded.partdir import LOOPBACK, choose_port, is_free
from meter.embedded.runas import RunAs

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"


def compose() -> dict[str, Any]:
    """docker-compose.yml with its merges resolved and its variables as written."""
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    assert isinstance(document, dict)
    return document


def interpolated(text: str) -> str:
    """`text` as Compose reads it when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")


def document() -> str:
    """docs/deployment.md."""
    return (REPOSITORY / "docs" / "deployment.md").read_text()


def block(language: str, *, containing: str) -> str:
    """The one block of docs/deployment.md in `language` that contains a text, without its indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", document(), re.DOTALL | re.MULTILINE)
    (text,) = [textwrap.dedent(body) for _, body in found if containing in body]
    return text


def make_secrets(directory: Path) -> Path:
    """Run what docs/deployment.md says in a copy of the repository's directory of secrets; return that."""
    secrets = directory / "deploy" / "secrets"
    secrets.mkdir(parents=True)
    script = block("sh", containing=">database_password")
    subprocess.run(["sh", "-eu", "-c", script], cwd=directory, check=True)
    secrets.chmod(0o755)  # in a container the files are mounted without their directory
    return secrets


class Mosquitto:
    """The broker of docker-compose.yml: its command line and its configuration, in `home` instead of /mosquitto.

    Two things differ: the listener's address and port, and the user, who is Debian's. `changes` replaces settings, to
    reach a limit with few messages.
    """

    def __init__(self, home: Path, users: Path, **changes: str) -> None:
        self.home = home
        self.port = choose_port(LOOPBACK, given=None, remembered=None)
        self._run_as = RunAs()
        if os.geteuid() == 0:
            user = pwd.getpwnam("mosquitto")
            self._run_as = RunAs(uid=user.pw_uid, gid=user.pw_gid)
        shutil.copytree(DEPLOY / "mosquitto", home / "config")
        for part in ("auth", "data"):
            (home / part).mkdir()
        self._replace("listeners/plain.conf", listener=f"{self.port} {LOOPBACK}")
        self._replace("mosquitto.conf", **changes)
        for path in (home, *home.rglob("*")):
            self._run_as.own(path)
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "MQTT_USERS_FILE": str(users)}
        service = compose()["services"]["mosquitto"]
        self._command: list[str] = service["command"]
        self._health: str = interpolated(service["healthcheck"]["test"][1])
        self._child: Child | None = None

    def append(self, file: str, text: str) -> None:
        """Write `text` to the end of a file below `home`, which is made if need be."""
        path = self.home / file
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as stream:
            stream.write(text)
        for made in (path.parent, path):
            self._run_as.own(made)

    def _replace(self, file: str, **settings: str) -> None:
        path = self.home / "config" / file
        text = path.read_text()
        for name, value in settings.items():
            text, count = re.subn(rf"^{name} .*$", f"{name} {value}", text, flags=re.MULTILINE)
            assert count == 1, f"{file} has {count} lines with {name}"
        path.write_text(text)

    async def start(self) -> None:
        """Return when it listens."""
        self._child = Child(
            Program(
                name="mosquitto",
                argv=["/usr/bin/env", "-i", *(f"{k}={v}" for k, v in self._environment.items()), *self._command],
                cwd=self.home,
                log=self.home / "log",
                run_as=self._run_as,
                stop=EmbeddedBroker.stop_signals,
            )
        )
        self._child.start()
        while is_free(LOOPBACK, self.port):
            assert await self._child.ended(within_s=0.02) is None, self._child.obituary()

    async def stop(self) -> None:
        """Stop it as Compose does: SIGTERM, and time to write its queues."""
        if self._child is not None:
            await self._child.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def refuses_to_start(self) -> str:
        """Start it; return what it says when it ends instead."""
        try:
            await self.start()
        except AssertionError as end:
            return str(end)
        await self.stop()
        raise AssertionError("it started")

    def healthy(self) -> bool:
        """What the container's health check says."""
        command = f"{self._health} -p {self.port}"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.home,
            env=self._environment,
            capture_output=True,
            check=False,
            timeout=30,
        )
        return done.returncode == 0

    def log(self) -> str:
        """Everything that it has said."""
        return (self.home / "log").read_text()
