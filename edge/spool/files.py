"""The spool's directory: who has it, where its files are, and what must be on the disk before anything else is.

    <directory>/lock                 held by the process that has the spool, with its number
                ballast              room that is given up on a full disk
                spool/events.sqlite  and its -wal and -shm
                spool.new/           a salvage that is not finished
                spool.damaged-<n>/   what could not be read as a whole
                suspect              the last process found the file damaged

The file has a directory of its own so that it and its log are moved by one rename.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from edge import failpoints
from edge.spool.errors import SpoolInUse
from meter.lockfile import Locked, take
from meter.model.errors import BadInput

# Older ones go when another comes: a disk that damages a file a week must not be filled by them.
DAMAGED_MAX: Final = 3


class SpoolFiles:
    """The paths, and the lock on them."""

    def __init__(self, directory: Path) -> None:
        """Name the files; nothing is made yet."""
        self.directory = directory
        self.home = directory / "spool"
        self.new_home = directory / "spool.new"
        self.ballast = directory / "ballast"
        self._suspect = directory / "suspect"
        self._lock_fd: int | None = None

    @property
    def database(self) -> Path:
        """Return the spool's file."""
        return self.home / "events.sqlite"

    @property
    def log(self) -> Path:
        """Return the file's write-ahead log."""
        return self.home / "events.sqlite-wal"

    def lock(self) -> None:
        """Take the directory; the kernel lets go of it when the process ends, however it ends.

        Raises BadInput where it cannot be made or written, SpoolInUse (naming the process) where it is held.
        """
        try:
            make_private(self.directory)
            self._lock_fd = take(self.directory / "lock")
        except OSError as error:
            raise BadInput(
                f"cannot use {self.directory}: {error.strerror}; choose a directory that this user can write",
                code="spool_directory",
            ) from error
        except Locked as error:
            raise SpoolInUse(
                f"the spool in {self.directory} is in use by process {error.holder}: stop that agent first"
            ) from None

    def unlock(self) -> None:
        """Let go; harmless when not held."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # --- salvage ------------------------------------------------------------------------------------------------------

    @property
    def is_suspect(self) -> bool:
        """Return whether the last process found the file damaged."""
        return self._suspect.exists()

    def suspect(self) -> None:
        """Have the next start examine the file whatever its size."""
        self._suspect.touch(mode=0o600)
        sync_directory(self.directory)

    def trust(self) -> None:
        """Forget the suspicion."""
        if self.is_suspect:
            self._suspect.unlink()
            sync_directory(self.directory)

    def finish(self) -> None:
        """Bring a salvage to its end, or to nothing, where a process ended in the middle of one."""
        if self.new_home.exists() and self.home.exists():
            shutil.rmtree(self.new_home)
        elif self.new_home.exists():
            # The damaged one is set aside only after this was complete.
            self._move(self.new_home, self.home)

    def replace_by_new(self) -> Path:
        """Set the file aside and put the complete new one in its place; return where the old one is."""
        aside = self._set_aside()
        failpoints.reach("between_salvage_moves")
        self._move(self.new_home, self.home)
        return aside

    def _set_aside(self) -> Path:
        found = sorted((path for path in self.directory.glob("spool.damaged-*")), key=_number)
        for path in found[: len(found) - DAMAGED_MAX + 1]:
            shutil.rmtree(path)
        aside = self.directory / f"spool.damaged-{_number(found[-1]) + 1 if found else 1}"
        self._move(self.home, aside)
        return aside

    def _move(self, source: Path, target: Path) -> None:
        source.rename(target)
        sync_directory(self.directory)


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def make_private(directory: Path) -> None:
    """Make the directory, for its owner only, and have its name on the disk."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True)
        sync_directory(directory.parent)
    directory.chmod(0o700)


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one, and have its name on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the names in the directory on the disk: a file is not there after a power cut because it was fsynced."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
