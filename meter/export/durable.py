"""Writing that is on the disk when the call returns, or has not happened. Everything here raises OSError."""

from __future__ import annotations

import os
from pathlib import Path


def make_directory(path: Path) -> None:
    """Have the directory, and its name in the one above, on the disk."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


def replace(path: Path, content: bytes, *, writer: str = "") -> None:
    """Give `path` the content, whole or not at all.

    `writer` tells apart those that may write the same path at the same time.
    """
    draft = path.with_name(f"{path.name}{writer}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    flush(path.parent)


def append(path: Path, content: bytes, *, size: int) -> None:
    """Add `content` to a file of `size` bytes; after an error the file has those again, if the disk allows that."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        except OSError:
            # After a failed flush nobody knows what the disk holds: the bytes must go, to be written anew.
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def cut(path: Path, length: int) -> None:
    """Keep the first `length` bytes."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def flush(path: Path) -> None:
    """Have what is in a file, or the names in a directory, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
