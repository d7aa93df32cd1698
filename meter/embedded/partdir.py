"""The directory of one embedded part: held by one gateway at a time, remembering its port and passwords.

    <data directory>/<part>/     the gateway's: lock, state.json, logs
                     └── home/   the child's own (0700): its files and its working directory

They are apart because the child may be another user, whose links the gateway must not follow.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any, Final

from meter.lockfile import Locked, take
from meter.model.errors import BadInput, Unavailable

LOOPBACK: Final = "127.0.0.1"


class PartDir:
    """`lock` first; everything else needs it held."""

    def __init__(self, data_dir: Path, part: str) -> None:
        self.path = data_dir.resolve() / part  # as the kernel names the working directory of a leftover
        self.home = self.path / "home"
        self._lock_fd: int | None = None

    def lock(self) -> None:
        """Take the directory for this process; the kernel lets go of it when the process ends, however it ends.

        Raises BadInput when the directory cannot be made or written, Unavailable (naming the process) when it is held.
        """
        # Root's children run as another user, who must be able to pass through to `home`.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.path.parent.mkdir(mode=mode, parents=True, exist_ok=True)
            self.path.mkdir(mode=mode, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)
            self._lock_fd = take(self.path / "lock")
        except OSError as error:
            raise BadInput(
                f"cannot use {self.path}: {error.strerror}. Choose a data directory that this user can write",
                code="data_directory",
            ) from error
        except Locked as error:
            raise Unavailable(
                f"{self.path} is in use by process {error.holder}: stop that gateway, or choose another data directory",
                code="data_directory_in_use",
            ) from None

    def unlock(self) -> None:
        """Let go; harmless when not held."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def state(self) -> dict[str, Any]:
        """What an earlier run kept; empty at the first."""
        with contextlib.suppress(FileNotFoundError):
            loaded: dict[str, Any] = json.loads((self.path / "state.json").read_bytes())
            return loaded
        return {}

    def keep(self, state: dict[str, Any]) -> None:
        """Keep `state` for the next run, readable by the owner only."""
        write_private(self.path / "state.json", json.dumps(state).encode())


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` whole or not at all, mode 0600, never through a link that someone else put there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections do not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(host: str, *, given: int | None, remembered: int | None) -> int:
    """`given` if it is free, else Unavailable; without it the `remembered` one if free, else any free port."""
    if given is not None:
        if not is_free(host, given):
            raise Unavailable(
                f"port {given} of {host} is taken or forbidden: stop what listens there, or give another port",
                code="port_taken",
            )
        return given
    if remembered is not None and is_free(host, remembered):
        return remembered
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
