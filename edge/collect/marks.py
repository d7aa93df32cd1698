"""How far a log was read: a place in a file that is known again by its bytes, whatever the file is called by then.

    {device, inode, offset} ─ where it was          {head, before} ─ digests of the first bytes, and of those before it

A name is renamed, an inode is given to another file, a file is copied and emptied, a rotated one is compressed. What
does not change are the bytes that were read.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Final, Self, cast

import msgspec

# Several lines: each has a time, so no two logs begin alike and are alike where one was left.
_DIGESTED_BYTES: Final = 512
# No line that means something is longer; of one that is, so much is kept as unreadable and the rest passed over.
LINE_BYTES_MAX: Final = 64 * 1024
# One commit: its events are well below what the spool takes at once.
_CHUNK_BYTES: Final = 2 * LINE_BYTES_MAX
_CHUNK_LINES_MAX: Final = 500
# Rows that are equal for a reader which tells them apart by their number are of one second, so of one stretch.
_CONTEXT_BYTES: Final = 64 * 1024
# Of files that are gone, so many are known again should they come back compressed or copied.
_GONE_MAX: Final = 16
COMPRESSED: Final = ".gz"
# What reading a file raises; a compressed one may be half written.
UNREADABLE: Final = (OSError, EOFError, zlib.error)


class Mark(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Up to `offset` the file was read. `inside`: that is within a line which is too long and is passed over."""

    device: int
    inode: int
    offset: int = 0
    head: str
    before: str
    inside: bool = False

    @property
    def file(self) -> tuple[int, int]:
        """Return where the file was."""
        return self.device, self.inode


_MARKS: Final = msgspec.json.Decoder(list[Mark])


def marks_of(position: str | None) -> list[Mark]:
    """Return what a stored position says, the latest read first; nothing where there is none of this kind."""
    try:
        return [] if position is None else _MARKS.decode(position)
    except msgspec.MsgspecError:
        return []  # of a later version: everything is read again, under the same ids


def position_of(marks: Sequence[Mark]) -> str:
    """Return the marks as they are stored."""
    return msgspec.json.encode(marks).decode()


def moved(marks: Iterable[Mark], mark: Mark, instead_of: Mark, *, there: Iterable[tuple[int, int]]) -> list[Mark]:
    """Return the marks with `mark` first, without the one that it stands for, and without most of files not `there`."""
    present, gone, kept = set(there), 0, [mark]
    for one in marks:
        if one == instead_of:
            continue
        gone += one.file not in present
        if one.file in present or gone <= _GONE_MAX:
            kept.append(one)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Lines without their ends, and the mark behind them. `before`: equal lines shortly before, which were read.

    `ended`: nothing more is there but `partial` bytes of a line without its end.
    """

    lines: Sequence[bytes]
    before: Sequence[bytes]
    mark: Mark
    ended: bool
    partial: int


class LogFile:
    """An open log, compressed or not. Blocks; use it in a thread."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError."""
        raw = path.open("rb")
        self._raw: IO[bytes] = raw
        self.stat = os.fstat(raw.fileno())
        self.compressed = path.suffix == COMPRESSED
        self._content: IO[bytes] = raw
        if self.compressed:
            self._content = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))  # one by what it does, not by its class
        # Of a compressed file: its first bytes, and what was read last, with its place.
        self._head: bytes | None = None
        self._kept: tuple[int, bytes] = (-1, b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        with closing(self._raw):
            self._content.close()

    def start(self) -> Mark:
        """Return the mark before everything."""
        return Mark(device=self.stat.st_dev, inode=self.stat.st_ino, head=_digest(b""), before=_digest(b""))

    def continued(self, mark: Mark) -> Mark:
        """Return the mark as one of this file."""
        return msgspec.structs.replace(mark, device=self.stat.st_dev, inode=self.stat.st_ino)

    def fits(self, mark: Mark) -> bool:
        """Tell whether what the mark says was read is what this file begins with. Raises UNREADABLE."""
        if _digest(self._beginning()[: mark.offset]) != mark.head:
            return False
        since = max(0, mark.offset - _DIGESTED_BYTES)
        return _digest(self._read(since, mark.offset - since)) == mark.before

    def after(self, mark: Mark, *, final: bool) -> Chunk | None:
        """Return what follows the mark; None: the file is not what it was. Raises UNREADABLE.

        `final`: nobody writes to the file any more, so that its last line is whole without an end.
        """
        since = max(0, mark.offset - _CONTEXT_BYTES)
        # In one read: what is before the mark is of the same file as what is after it.
        content = self._read(since, mark.offset - since + _CHUNK_BYTES)
        before, fresh = content[: mark.offset - since], content[mark.offset - since :]
        if _digest(before[-_DIGESTED_BYTES:]) != mark.before:
            return None
        ended = len(fresh) < _CHUNK_BYTES
        lines, length, inside = _lines(fresh, inside=mark.inside, final=final and ended)
        head = content if not since else self._beginning()
        offset = mark.offset + length
        there = msgspec.structs.replace(
            mark,
            offset=offset,
            head=_digest(head[: min(offset, _DIGESTED_BYTES)]),
            before=_digest((before + fresh[:length])[-_DIGESTED_BYTES:]),
            inside=inside,
        )
        known = set(lines)
        again = [line for line in map(_bare, before.split(b"\n")[:-1]) if line in known] if known else []
        partial = len(fresh) - length
        ended = ended and not (partial and len(lines) == _CHUNK_LINES_MAX)
        return Chunk(lines=lines, before=again, mark=there, ended=ended, partial=partial)

    def _beginning(self) -> bytes:
        if not self.compressed:
            return self._read(0, _DIGESTED_BYTES)
        if self._head is None:
            self._head = self._read(0, _DIGESTED_BYTES)
        return self._head

    def _read(self, offset: int, size: int) -> bytes:
        """Return the bytes there, fewer at the end. A compressed file is unpacked on from where the last read began."""
        at, kept = self._kept
        if not at <= offset <= at + len(kept):
            self._content.seek(offset)
            at, kept = offset, b""
        found = BytesIO()
        found.write(kept[offset - at :][:size])
        while found.tell() < size and (piece := self._content.read(size - found.tell())):
            found.write(piece)
        content = found.getvalue()
        if self.compressed and offset + size >= at + len(kept):
            self._kept = offset, content
        return content


def _lines(content: bytes, *, inside: bool, final: bool) -> tuple[list[bytes], int, bool]:
    """Return the whole lines at the beginning, how many bytes they take, and whether the next is too long."""
    at = 0
    if inside:
        at = content.find(b"\n") + 1
        if not at:
            return [], len(content), True
    lines: list[bytes] = []
    while len(lines) < _CHUNK_LINES_MAX:
        end = content.find(b"\n", at)
        if end < 0:
            break
        lines.append(_bare(content[at:end]))
        at = end + 1
    else:
        return lines, at, False
    rest = content[at:]
    if len(rest) > LINE_BYTES_MAX:
        return [*lines, rest[:LINE_BYTES_MAX]], len(content), True
    if final and rest:
        return [*lines, _bare(rest)], len(content), False
    return lines, at, False


def _bare(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
