"""The first target: plain-text books in two formats, Beancount and hledger, with the same entries (docs/ledger.md).

Exactly once, by the files alone: each batch is looked for in each format's file before it is written there, under a
lock that a second process (one that was taken for dead) waits for.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from meter.export.contract import Absent, Delivered, Finding, Limits, Outcome, Refused, Retry, Uncertain
from meter.export.payload import JOURNAL, JournalBatch, thawed
from meter.export.targets.ledger.files import Book, Rendered
from meter.export.targets.ledger.text import BEANCOUNT, HLEDGER, Dialect
from meter.model.errors import Unavailable
from meter.store.outbox import OutboxItem

# Items of one flush: at a flush of some milliseconds a file, several thousand a second.
ITEMS_MAX: Final = 500


class LedgerTarget:
    """Writes below `directory`: `beancount/` and `hledger/`, each with a main file that includes all others."""

    limits = Limits(items_max=ITEMS_MAX)

    def __init__(self, directory: Path) -> None:
        """Keep the place; it is made when something is first written."""
        self._directory = directory
        self._books = tuple(Book(directory / dialect.name, dialect) for dialect in (BEANCOUNT, HLEDGER))

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Append what is not there yet to both formats; the outcome is Delivered once both are on the disk."""
        return await asyncio.to_thread(self._send, items)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Look for each item's batch; only what both formats hold is delivered."""
        return await asyncio.to_thread(self._look_up, items)

    async def check(self) -> None:
        """Return where the directory can be written to. Raises Unavailable (`ledger_unwritable`)."""
        await asyncio.to_thread(self._check)

    async def close(self) -> None:
        """Do nothing: files are closed when they are written."""

    def _send(self, items: Sequence[OutboxItem]) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        rendered: dict[Book, list[Rendered]] = {book: [] for book in self._books}
        for item in items:
            try:
                batch = _batch_of(item)
                texts = [(book, _render(item.key, batch, book.dialect)) for book in self._books]
            except Exception as error:  # noqa: BLE001 -- one batch that cannot be written must not hold up the others
                outcomes[item.key] = Refused(f"cannot be written as text: {type(error).__name__}: {error}")
                continue
            outcomes[item.key] = Delivered()
            for book, text in texts:
                rendered[book].append(text)
        try:
            with self._locked():
                for book, batches in rendered.items():
                    for key, reason in _write(book, batches).items():
                        outcomes[key] = Retry(reason)
        except OSError as error:
            for key, outcome in outcomes.items():
                if isinstance(outcome, Delivered):
                    outcomes[key] = Retry(_reason(error))
        return [outcomes[item.key] for item in items]

    def _look_up(self, items: Sequence[OutboxItem]) -> list[Finding]:
        try:
            with self._locked():
                return [self._find(item) for item in items]
        except OSError as error:
            return [Uncertain(_reason(error))] * len(items)

    def _find(self, item: OutboxItem) -> Finding:
        try:
            batch = _batch_of(item)
        except msgspec.MsgspecError:
            return Absent()  # what cannot be read was never written; sending it says why
        held = [book.holds(item.key, batch.day, batch.site) for book in self._books]
        return Delivered() if all(held) else Absent()

    def _check(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if not os.access(self._directory, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable", str(self._directory))
        except OSError as error:
            message = f"the ledger cannot be written: {_reason(error)}; make {self._directory} writable"
            raise Unavailable(message, code="ledger_unwritable") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the ledger's lock. Raises OSError, at once where another process holds it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)  # and with it the lock


def _batch_of(item: OutboxItem) -> JournalBatch:
    """Return the item's entries. Raises msgspec.MsgspecError."""
    content = thawed(item.operation, item.payload)
    if not isinstance(content, JournalBatch):
        message = f"a ledger takes {JOURNAL} items, not {item.operation}"
        raise msgspec.ValidationError(message)
    return content


def _render(key: str, batch: JournalBatch, dialect: Dialect) -> Rendered:
    declarations: dict[str, None] = {}
    for entry in batch.entries:
        declarations.update(dict.fromkeys(dialect.declarations(entry)))
    return Rendered(
        key=key,
        day=batch.day,
        site=batch.site,
        declarations=tuple(declarations),
        text="\n".join(dialect.entry(entry) for entry in batch.entries),
    )


def _write(book: Book, batches: Sequence[Rendered]) -> dict[str, str]:
    """Write `batches`, one flush a file; return the keys of those that failed, each with its reason."""
    files: dict[tuple[date, str], list[Rendered]] = {}
    for batch in batches:
        files.setdefault((batch.day, batch.site), []).append(batch)
    failed: dict[str, str] = {}
    book.prepare(batches)
    for group in files.values():
        try:
            book.append(group)
        except OSError as error:
            failed.update((batch.key, _reason(error)) for batch in group)
    return failed


def _reason(error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return "another process is writing to the ledger"
    return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
