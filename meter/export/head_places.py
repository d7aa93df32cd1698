"""Where the heads of the seals are kept, outside the database: a file that grows, or a store with one object a head."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final, Protocol

import msgspec

from meter.export import durable
from meter.export.targets.files.places import Bucket, PlaceFault, StoreAccess, place_at
from meter.model.errors import BadInput, Unavailable
from meter.store.engine import reason_of
from meter.store.verify import Head

# Some 200 bytes a line: half a century of one every five minutes.
_FILE_BYTES_MAX: Final = 1 << 30
# All that verifying needs is in the name: a listing is read, and not each of a hundred thousand objects a year.
_NAMED: Final = re.compile(r"(\d{12})-(\d{8}T\d{6,12}Z)-([0-9a-f]{64})\.json")


class Heads(Protocol):
    """Where heads are kept; `where` is for people."""

    where: str

    async def add(self, operator: str, head: Head) -> None:
        """Have a head there, and stay there, when this returns. Raises OSError."""
        ...

    async def read(self, operator: str) -> list[Head]:
        """Return the operator's heads; none where none was written yet. Raises BadInput (`bad_heads`), Unavailable."""
        ...


def heads_at(where: str, access: StoreAccess) -> Heads:
    """Return the place that `where` names: a file, or `s3://bucket/prefix`. Raises BadInput (`bad_heads`)."""
    if "://" not in where:
        return FileHeads(Path(where))
    place = place_at(where, access)
    if not isinstance(place, Bucket):
        raise BadInput(f"{where} is no place for heads; write a file, or s3://bucket/prefix", code="bad_heads")
    return StoreHeads(place, where)


class FileHeads:
    """A file to which a line is appended, flushed."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.where = str(path)
        self._path = path

    async def add(self, operator: str, head: Head) -> None:
        """See Heads."""
        await asyncio.to_thread(_append, self._path, _encoded(operator, head) + b"\n")

    async def read(self, operator: str) -> list[Head]:
        """See Heads."""
        return read_heads(self._path, operator) if self._path.exists() else []


class StoreHeads:
    """A bucket with an object a head, which none of ours replaces: a store that locks objects holds each for good."""

    def __init__(self, bucket: Bucket, where: str) -> None:
        """Connect to nothing yet."""
        self.where = where
        self._bucket = bucket

    async def add(self, operator: str, head: Head) -> None:
        """See Heads."""
        at = re.sub(r"[-:.]", "", head.at)
        try:
            await self._bucket.write(f"{operator}/{head.n:012d}-{at}-{head.hash}.json", _encoded(operator, head))
        except PlaceFault as error:
            raise OSError(error.outcome.reason) from error

    async def read(self, operator: str) -> list[Head]:
        """See Heads."""
        heads = []
        try:
            async for name in self._bucket.names(operator):
                if (named := _NAMED.fullmatch(name.rpartition("/")[2])) is None:
                    message = f"{self.where}: {name} is no head; remove it, or name the place of heads"
                    raise BadInput(message, code="bad_heads")
                n, at, digest = named.groups()
                heads.append(Head(n=int(n), hash=digest, at=at))
        except PlaceFault as error:
            message = f"cannot read the heads at {self.where}: {error.outcome.reason}"
            raise Unavailable(message, code="heads_unreadable") from error
        return sorted(heads, key=lambda head: (head.n, head.at))


class _Line(msgspec.Struct):
    operator: str
    n: int
    hash: str
    at: str


def _encoded(operator: str, head: Head) -> bytes:
    return msgspec.json.encode(_Line(operator=operator, n=head.n, hash=head.hash, at=head.at))


def _append(path: Path, line: bytes) -> None:
    durable.make_directory(path.parent)
    if not path.exists():
        durable.replace(path, b"")
    durable.append(path, line, size=path.stat().st_size)


def read_heads(path: Path, operator: str) -> list[Head]:
    """Return the heads of `operator` in a file. Raises BadInput (`bad_heads`) with the line that is none."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {reason_of(error)}; name the file of heads", code="bad_heads") from error
    heads = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            told = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError as error:
            raise BadInput(f"{path}, line {number} is no head: {error}", code="bad_heads") from error
        if told.operator == operator:
            heads.append(Head(n=told.n, hash=told.hash, at=told.at))
    return heads
