"""SQLite's file operations, seen and spoiled by a test, in this process and without a compiler.

SQLite asks its "VFS" for files and gets, with each, a table of functions. The one installed here is the usual one, but
for the table, a copy in which writing, cutting and syncing pass through Python first. It is found by every connection
that is opened while it is installed, so the product's code is the one that runs.
"""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

# sqlite3.h: struct sqlite3_vfs (version 1 up to xOpen) and struct sqlite3_io_methods (version 3), in their order.
_METHODS: Final = (
    "xClose xRead xWrite xTruncate xSync xFileSize xLock xUnlock xCheckReservedLock xFileControl xSectorSize "
    "xDeviceCharacteristics xShmMap xShmLock xShmBarrier xShmUnmap xFetch xUnfetch"
).split()

_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p),
        ("rest", ctypes.c_void_p * 15),
    )


class _Methods(ctypes.Structure):
    _fields_ = (("iVersion", ctypes.c_int), *((name, ctypes.c_void_p) for name in _METHODS))


_ALIVE: Final[list[object]] = []


class Watcher(Protocol):
    """Told of an operation before it is done. A result other than 0 is SQLite's error, and nothing is done."""

    def write(self, name: str, offset: int, data: bytes) -> int: ...

    def truncate(self, name: str, size: int) -> int: ...

    def sync(self, name: str) -> int: ...


@cache
def _library() -> ctypes.CDLL | None:
    """The very library that the module `sqlite3` uses: another copy would have other VFSs."""
    # The module is loaded; its library is mapped, if it is one of its own.
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "sqlite3" in line}
    for path in sorted(mapped):
        library = ctypes.CDLL(path)
        if hasattr(library, "sqlite3_vfs_register"):
            version = ctypes.CFUNCTYPE(ctypes.c_char_p)(("sqlite3_libversion", library))()
            return library if version.decode() == sqlite3.sqlite_version else None
    return None


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Show the watcher every write, cut and sync of connections opened inside. They are closed inside, too."""
    library = _library()
    if library is None:
        pytest.skip("SQLite is built into this Python: its file operations cannot be watched")
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    real = library.sqlite3_vfs_find(None)
    shim = _Vfs.from_buffer_copy(real.contents)
    keeper = _Shim(_OPEN(real.contents.xOpen), watcher)
    # A test that fails may leave a connection open, whose end still comes by here.
    _ALIVE.append((shim, keeper))
    shim.zName = b"watched"
    shim.xOpen = ctypes.cast(keeper.open, ctypes.c_void_p)
    assert library.sqlite3_vfs_register(ctypes.byref(shim), 1) == 0
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(shim))
        library.sqlite3_vfs_register(real, 1)


class _Shim:
    """The functions, and the tables that files point to: both must live as long as SQLite may call them."""

    def __init__(self, real_open: Callable[..., int], watcher: Watcher) -> None:
        self._names: dict[int, str] = {}
        self._tables: dict[int, _Methods] = {}
        self._functions: list[Any] = []
        self._watcher = watcher

        # The path as its address: SQLite keeps it, and a copy would be gone when this returns.
        def opened(vfs: int, path: int | None, file: int, flags: int, out: Any) -> int:
            result = real_open(vfs, path, file, flags, out)
            table = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))
            if result == 0 and path is not None and table[0]:
                self._names[file] = Path(ctypes.string_at(path).decode()).name
                table[0] = ctypes.addressof(self._table(table[0]))
            return result

        self.open = _OPEN(opened)

    def _table(self, real: int) -> _Methods:
        if real not in self._tables:
            methods = _Methods.from_buffer_copy(ctypes.cast(real, ctypes.POINTER(_Methods)).contents)
            write, truncate, sync = _WRITE(methods.xWrite), _TRUNCATE(methods.xTruncate), _SYNC(methods.xSync)

            def on_write(file: int, data: int, size: int, offset: int) -> int:
                told = self._watcher.write(self._names[file], offset, ctypes.string_at(data, size))
                return told or write(file, data, size, offset)

            def on_truncate(file: int, size: int) -> int:
                return self._watcher.truncate(self._names[file], size) or truncate(file, size)

            def on_sync(file: int, flags: int) -> int:
                return self._watcher.sync(self._names[file]) or sync(file, flags)

            functions = (_WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync))
            self._functions += functions
            methods.xWrite, methods.xTruncate, methods.xSync = (
                ctypes.cast(function, ctypes.c_void_p).value for function in functions
            )
            self._tables[real] = methods
        return self._tables[real]


class Spoiler:
    """Lets everything through but what a rule refuses; `done` and `refused` say what was asked for, by file."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.rule: Callable[[str, str], int] = lambda *_: 0

    def spoil(self, operation: str, name: str, code: int, *, times: int = 1 << 30) -> None:
        """Answer an operation on a file with an error of SQLite's, so many times from now on."""

        def rule(asked: str, of: str) -> int:
            nonlocal times
            if (asked, of) != (operation, name) or times == 0:
                return 0
            times -= 1
            return code

        self.rule = rule

    def heal(self) -> None:
        """Let everything through again."""
        self.rule = lambda *_: 0

    def write(self, name: str, *_: object) -> int:
        return self._ask("write", name)

    def truncate(self, name: str, *_: object) -> int:
        return self._ask("truncate", name)

    def sync(self, name: str) -> int:
        return self._ask("sync", name)

    def _ask(self, operation: str, name: str) -> int:
        code = self.rule(operation, name)
        (self.refused if code else self.done).append((operation, name))
        return code
