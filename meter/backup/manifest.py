"""What a backup says of itself: its files with their checksums, of which version and server, what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from meter.model.errors import BadInput
from meter.store.safekeeping import Totals

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 4 * 1024 * 1024
# A few hundred bytes a file, and a backup has a handful.
_MANIFEST_BYTES_MAX: Final = 1024 * 1024


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a backup, by its path below it. `secret`: whoever has it has a key or a password."""

    name: str
    size: int
    sha256: str
    secret: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup. It is written last, so one without it is none.

    `started_at`: whatever was committed before is in it. `next_xid` is the server's, of before the copy was made.
    """

    format: int
    name: str
    version: str
    schema: str
    postgres: int
    started_at: datetime
    seconds: float
    next_xid: int
    embedded: bool
    totals: Totals
    files: list[BackupFile]

    @property
    def size(self) -> int:
        """Return how many bytes it takes."""
        return sum(file.size for file in self.files)


def encoded(manifest: Manifest) -> bytes:
    """Return the manifest as JSON; amounts are strings."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decoded(content: bytes, *, where: str) -> Manifest:
    """Return the manifest of JSON. Raises BadInput (`bad_backup`)."""
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        message = f"{where} cannot be read as a backup's manifest: {error}; take another backup"
        raise BadInput(message, code="bad_backup") from error
    if found.format != FORMAT:
        message = f"{where} is of format {found.format}, this version reads {FORMAT}; use the version that made it"
        raise BadInput(message, code="bad_backup")
    return found


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the backup in a directory. Raises BadInput (`bad_backup`), OSError."""
    path = folder / MANIFEST
    with path.open("rb") as file:
        return decoded(file.read(_MANIFEST_BYTES_MAX), where=str(path))


def file_of(folder: Path, name: str, *, secret: bool) -> BackupFile:
    """Return what a manifest says of a file. Raises OSError."""
    size, digest = summed(folder / name)
    return BackupFile(name=name, size=size, sha256=digest, secret=secret)


def faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Give what is wrong with each file of a backup, by name."""
    for file in manifest.files:
        try:
            size, digest = summed(folder / file.name)
        except FileNotFoundError:
            yield f"{file.name} is missing"
            continue
        except OSError as error:
            yield f"{file.name} cannot be read: {error.strerror or error}"
            continue
        if size != file.size:
            yield f"{file.name} has {size} bytes and should have {file.size}"
        elif digest != file.sha256:
            yield f"{file.name} is not what was written: its checksum differs"


def total_faults(wanted: Totals, found: Totals) -> Iterator[str]:
    """Give where what stands differs from what the manifest says."""
    for what, said, stands in (
        ("rows", wanted.rows, found.rows),
        ("amounts", wanted.amounts, found.amounts),
        ("rounded amounts", wanted.rounded, found.rounded),
    ):
        for name in sorted({*said, *stands}):
            if (one := said.get(name, Decimal(0))) != (other := stands.get(name, Decimal(0))):
                yield f"{what} of {name}: {other} below transaction {wanted.below_xid}, the manifest says {one}"


def summed(path: Path) -> tuple[int, str]:
    """Return a file's size and its SHA-256. Raises OSError."""
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
