"""The files of the deployment as the tests read them, and its Mosquitto started outside a container."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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


def shell_block(document: str, *, after: str) -> str:
    """The first `sh` block of docs/{document} below the heading `after`."""
    text = (REPOSITORY / "docs" / document).read_text()
    match = re.search(r"```sh\n(.*?)```", text[text.index(f"\n## {after}\n") :], re.DOTALL)
    assert match is not None
    return match[1]


def make_secrets(directory: Path) -> Path:
    """Run what docs/deployment.md says in a copy of the repository's directory of secrets; return that."""
    secrets = directory / "deploy" / "secrets"
    secrets.mkdir(parents=True)
    block = shell_block("deployment.md", after="Make the secrets")
    subprocess.run(["sh", "-eu", "-c", block], cwd=directory, check=True)
    secrets.chmod(0o755)  # in a container the files are mounted without their directory
    return secrets


class Mosquitto:
    """The broker of docker-compose.yml: its command line and its configuration, in `home` instead of /mosquitto.

    Two things differ: the listener's address and port, and the user's name, which is Debian's. `changes` replaces
    settings, to reach a limit with few messages; `added` are lines that are not there.
    """

    def __init__(self, home: Path, users: Path, *, added: str = "", **changes: str) -> None:
        self.home = home
        self.port = choose_port(LOOPBACK, given=None, remembered=None)
        shutil.copytree(DEPLOY / "mosquitto", home / "config")
        for part in ("auth", "data"):
            (home / part).mkdir()
        with (home / "config" / "mosquitto.conf").open("a") as file:
            file.write(added)
        self._replace("listeners/plain.conf", listener=f"{self.port} {LOOPBACK}")
        self._replace("mosquitto.conf", **changes)
        self._run_as = RunAs()
        if os.geteuid() == 0:
            user = pwd.getpwnam("mosquitto")
            self._run_as = RunAs(uid=user.pw_uid, gid=user.pw_gid)
            for path in (home, *home.rglob("*")):
                self._run_as.own(path)
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "MQTT_USERS_FILE": str(users)}
        service = compose()["services"]["mosquitto"]
        self._command: list[str] = service["command"]
        self._health: str = interpolated(service["healthcheck"]["test"][1])
        self._child: Child | None = None

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
