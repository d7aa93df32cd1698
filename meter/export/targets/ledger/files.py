"""Files that are only ever appended to, and in which every batch is whole or absent.

    <blank>
    ; batch KEY
    declarations, transactions
    ; end KEY

A batch counts once its closing mark is there. What a crash leaves behind the last closing mark, from an opening mark on
or from the first NUL (a block that never reached the disk reads so), is moved aside before anything is written.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Final

from meter.export.durable import append, cut, flush, make_directory, replace
from meter.export.targets.ledger.text import Dialect

# A day of 500 sites and the day before: what is beyond is read again when it is needed.
FILES_KEPT_MAX: Final = 1024
_SITE_CHARS_MAX: Final = 120
_NO_SITE: Final = "~operator"
_BATCH: Final = b"; batch "
_OPENING: Final = re.compile(rb"^; batch ", re.MULTILINE)
_CLOSING: Final = re.compile(rb"^; end ([a-z2-7]{32})\n", re.MULTILINE)
_DECLARED: Final = re.compile(r"^(?:account|commodity|payee|tag) .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A batch as text of one format: what it needs declared, and its transactions."""

    key: str
    day: date
    site: str
    declarations: tuple[str, ...]
    text: str


@dataclass(slots=True)
class _Index:
    """What a file holds. Good as long as the file has `size` bytes; another process may have written to it."""

    size: int
    keys: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)


def site_file(site: str) -> str:
    """Return a site's part of a file name: two sites never share one, on a file system that folds case either.

    What happened at no site ("") has a file of the operator's own.
    """
    if not site:
        return _NO_SITE
    name = "".join(
        char if char.isascii() and (char.islower() or char.isdigit() or char in "-_") else _hex(char) for char in site
    )
    if len(name) <= _SITE_CHARS_MAX:
        return name
    # "~" stands in no name that was not cut, and begins none.
    return f"{name[:80]}~{sha256(site.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _hex(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def sound_length(data: bytes) -> int:
    """Return how many bytes of a file stand: all but a torn batch at its end.

    Lines that somebody has added by hand behind the last batch are theirs, and stand.
    """
    torn_at = data.find(b"\0")
    stands = data if torn_at < 0 else data[:torn_at]
    closed = 0
    for mark in _CLOSING.finditer(stands):
        closed = mark.end()
    unclosed = _OPENING.search(stands, closed)
    if unclosed is not None:
        return unclosed.start()
    last_line = stands.rfind(b"\n", closed) + 1 or closed
    if last_line < len(stands) and _BATCH.startswith(stands[last_line:]):
        return last_line
    return len(stands)


class Book:
    """The files of one format below `directory`. Whoever calls holds the ledger's lock."""

    def __init__(self, directory: Path, dialect: Dialect) -> None:
        """Keep the place; files are read when they are first needed."""
        self.dialect = dialect
        self.main = directory / f"main{dialect.suffix}"
        self._directory = directory
        self._indexes: OrderedDict[Path, _Index] = OrderedDict()
        self._main: tuple[int, set[str]] = (-1, set())

    def path(self, day: date, site: str) -> Path:
        """Return the file of a day and site."""
        return self._directory / f"{day:%Y-%m}" / f"{day}.{site_file(site)}{self.dialect.suffix}"

    def holds(self, key: str, day: date, site: str) -> bool:
        """Tell whether the batch is in its file, and on the disk. A torn batch is moved aside. Raises OSError."""
        path = self.path(day, site)
        index = self._index(path)
        if index is None or key not in index.keys:
            return False
        # Whoever wrote it may have died before it was flushed.
        flush(path)
        return True

    def prepare(self, batches: Sequence[Rendered]) -> None:
        """Make the files of `batches`, and have the main file include them and open their accounts. Raises OSError.

        Comes before the first transaction is written: nothing is ever in a file that the main file does not know.
        """
        needed: dict[str, None] = {}
        for batch in batches:
            path = self.path(batch.day, batch.site)
            if not path.exists():
                make_directory(path.parent)
                replace(path, self.dialect.head(batch.site, batch.day).encode())
            if self.dialect.declares_in_main:
                needed.update(dict.fromkeys(batch.declarations))
            needed[self.dialect.include(path.parent.name)] = None
        self._add_to_main(needed)

    def append(self, batches: Sequence[Rendered]) -> None:
        """Write the `batches` of one day and site that the file does not hold yet, and flush. Raises OSError.

        After an error the file is as it was, if the disk allows that; if not, the next use of it moves the rest aside.
        """
        path = self.path(batches[0].day, batches[0].site)
        index = self._index(path)
        if index is None:
            raise FileNotFoundError(path)
        missing = [batch for batch in batches if batch.key not in index.keys]
        if not missing:
            flush(path)
            return
        declared: set[str] = set()
        parts: list[str] = []
        for batch in missing:
            new: list[str] = []
            if not self.dialect.declares_in_main:
                new = [line for line in dict.fromkeys(batch.declarations) if line not in index.declared | declared]
                declared.update(new)
            head = "".join(f"{line}\n" for line in new)
            parts.append(f"\n; batch {batch.key}\n{head}{batch.text}; end {batch.key}\n")
        content = "".join(parts).encode()
        del self._indexes[path]
        append(path, content, size=index.size)
        index.size += len(content)
        index.keys.update(batch.key for batch in missing)
        index.declared |= declared
        self._remember(path, index)

    def _index(self, path: Path) -> _Index | None:
        """Return what the file holds; None where there is no such file."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        index = self._indexes.get(path)
        if index is None or index.size != size:
            index = self._read(path)
        self._remember(path, index)
        return index

    def _remember(self, path: Path, index: _Index) -> None:
        self._indexes[path] = index
        self._indexes.move_to_end(path)
        while len(self._indexes) > FILES_KEPT_MAX:
            self._indexes.popitem(last=False)

    def _read(self, path: Path) -> _Index:
        data = path.read_bytes()
        length = sound_length(data)
        if length < len(data):
            aside = self._directory / "torn"
            make_directory(aside)
            replace(aside / f"{path.name}.{sha256(data[length:]).hexdigest()[:16]}", data[length:])
            cut(path, length)
        sound = data[:length]
        keys = {key.decode() for key in _CLOSING.findall(sound)}
        declared = set() if self.dialect.declares_in_main else set(_DECLARED.findall(sound.decode(errors="replace")))
        return _Index(size=length, keys=keys, declared=declared)

    def _add_to_main(self, needed: Iterable[str]) -> None:
        size, known = self._main
        try:
            changed = self.main.stat().st_size != size
        except FileNotFoundError:
            changed, size, known = False, -1, set()
        if changed:
            known = set(self.main.read_text(encoding="utf-8").splitlines())
        missing = [line for line in needed if line not in known]
        if missing:
            before = self.main.read_text(encoding="utf-8") if known else self.dialect.main_head
            joint = "" if before.endswith("\n") else "\n"
            content = before + joint + "".join(f"{line}\n" for line in missing)
            replace(self.main, content.encode())
            known = set(content.splitlines())
        self._main = (self.main.stat().st_size, known)
