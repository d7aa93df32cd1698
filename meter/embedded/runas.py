"""As whom a child runs: never as root, never with more than the gateway has. README.md says why each way is there."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meter.model.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

# Tried in this order when root starts a new data directory: the user of a packaged installation, then who owns nothing.
UNPRIVILEGED_USERS: Final = ("meter", "nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """Another user (`uid`, `gid`), or oneself seen as user `inside` of a namespace, or (all unset) simply oneself."""

    uid: int | None = None
    gid: int | None = None
    inside: int | None = None

    def own(self, path: Path) -> None:
        """Give `path` to who runs the child, taking it back from who was tried before."""
        uid, gid = (os.geteuid(), os.getegid()) if self.uid is None or self.gid is None else (self.uid, self.gid)
        if (path.stat().st_uid, path.stat().st_gid) != (uid, gid):
            os.chown(path, uid, gid)


def ways(home: Path) -> list[RunAs]:
    """The ways to run a child whose files are in `home`, best first; who owns what is there already decides.

    Raises BadInput when an ordinary user meets another one's files.
    """
    euid, owner = os.geteuid(), home.stat()
    if euid != 0:
        if owner.st_uid != euid:
            raise BadInput(
                f"{home} belongs to user {owner.st_uid} and this is user {euid}: run as its owner or as root, "
                "or choose another data directory",
                code="data_directory",
            )
        return [RunAs()] if _has_entry(euid) else [_namespace(), RunAs()]
    if owner.st_uid != 0:
        return [RunAs(uid=owner.st_uid, gid=owner.st_gid)]
    if any(home.iterdir()):
        return [_namespace()]
    return [*_unprivileged(), _namespace()]


def _unprivileged() -> list[RunAs]:
    entries = [entry for entry in pwd.getpwall() if entry.pw_name in UNPRIVILEGED_USERS and entry.pw_uid != 0]
    entries.sort(key=lambda entry: UNPRIVILEGED_USERS.index(entry.pw_name))
    return [RunAs(uid=entry.pw_uid, gid=entry.pw_gid) for entry in entries[:1]]


def _namespace() -> RunAs:
    """Any user with a name will do: initdb looks its own up, and nothing else ever asks."""
    return RunAs(inside=next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 65534))


def _has_entry(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
