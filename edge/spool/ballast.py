"""A file of zeros that is given up on a full disk, so that acknowledgements can still be written and events removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from edge.spool.files import sync_directory

_CHUNK_BYTES: Final = 256 * 1024
# It is made again only where as much would still be left: at the brim it would be made and given up in turns.
_TIMES_FREE: Final = 2


class Ballast:
    """The file at `path` with `size` bytes; `held` while it is whole. Without it the spool takes no events."""

    def __init__(self, path: Path, size: int) -> None:
        """Look whether a former process left it whole."""
        self._path = path
        self._size = size
        self.held = size == 0 or (path.is_file() and path.stat().st_size == size)

    def make(self) -> bool:
        """Make it where the disk has room, and return whether it is there. Written, not sparse, and on the disk."""
        if self.held:
            return True
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < _TIMES_FREE * self._size:
            return False
        try:
            self._write()
        except OSError:
            # Another program was faster.
            self.release()
            return False
        self.held = True
        return True

    def _write(self) -> None:
        # Its size says that it is whole, so it gets its name last.
        partial = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
            # Some file systems only promise what was allocated and not written.
            for offset in range(0, self._size, _CHUNK_BYTES):
                os.pwrite(descriptor, bytes(min(_CHUNK_BYTES, self._size - offset)), offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(self._path)
        sync_directory(self._path.parent)

    def release(self) -> None:
        """Give its room to the disk."""
        self.held = False
        for path in (self._path, self._path.with_name(self._path.name + ".new")):
            path.unlink(missing_ok=True)
