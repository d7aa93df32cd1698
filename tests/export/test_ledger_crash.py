"""A crash at any point of a delivery: each batch is afterwards whole and once in both formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.export.contract import Absent, Delivered
from meter.export.targets.ledger.files import sound_length
from meter.export.targets.ledger.target import LedgerTarget
from meter.store.outbox import OutboxItem
from tests.export.balances import DIALECTS, entry_balances, ledger_balances
from tests.export.books import check_every_file, entry, files_of, items_of

ENTRIES = [entry("a"), entry("b", amount="2.00", credit="income:rooms", account="bob"), entry("c", amount="-0.15")]


class Crash(BaseException):
    """What kill -9 looks like from within: nothing of ours runs any more."""


class Power:
    """Lets so many steps pass (a byte written, a flush, a rename, a new directory), then none."""

    def __init__(self, patch: pytest.MonkeyPatch, steps: int) -> None:
        self.left = steps
        self._write = os.write
        patch.setattr(os, "write", self.write)
        patch.setattr(os, "fsync", lambda _descriptor: self.step())
        for owner, name in ((os, "ftruncate"), (Path, "replace"), (Path, "mkdir")):
            patch.setattr(owner, name, self.before(getattr(owner, name)))

    def step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **options: Any) -> Any:
            self.step()
            return call(*args, **options)

        return stepping

    def write(self, descriptor: int, content: Any) -> int:
        part = bytes(content)[: self.left]
        self.left -= len(part)
        written = self._write(descriptor, part)
        if len(part) < len(content):
            raise Crash
        return written


def recover(ledger: Path, items: list[OutboxItem]) -> None:
    """Do what the lane does with items that were being sent: ask, then send what is absent."""
    target = LedgerTarget(ledger)
    findings = target._look_up(items)
    absent = [item for item, finding in zip(items, findings, strict=True) if finding == Absent()]
    assert target._send(absent) == [Delivered()] * len(absent)


def without_blanks(ledger: Path) -> dict[str, list[bytes]]:
    return {name: [line for line in content.splitlines() if line] for name, content in files_of(ledger).items()}


def test_each_batch_is_there_once_wherever_the_crash_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a thousand recoveries need not wait for a disk
    *crashed, later = items_of(*ENTRIES)
    LedgerTarget(tmp_path / "whole")._send([*crashed, later])
    whole = without_blanks(tmp_path / "whole")
    steps, torn, ended = 0, 0, False
    while not ended:
        ledger = tmp_path / str(steps)
        with monkeypatch.context() as patch:
            power = Power(patch, steps)
            try:
                LedgerTarget(ledger)._send(crashed)
                ended = power.left > 0
            except Crash:
                pass
        recover(ledger, crashed)
        recover(ledger, [later])
        assert without_blanks(ledger) == whole, f"crash after {steps} steps"
        torn += len(list(ledger.glob("*/torn/*")))
        steps += 1
    assert steps > 1000
    assert torn > 200
    for name, dialect in DIALECTS.items():
        assert ledger_balances(tmp_path / "whole", dialect) == entry_balances(ENTRIES, dialect), name
    check_every_file(tmp_path / "whole")
    check_every_file(tmp_path / str(steps // 2))


BATCH = b"\n; batch " + b"k" * 32 + b"\n2026-03-02 * x\n; end " + b"k" * 32 + b"\n"
HEAD = b"; Site berlin\nplugin x\n"


@given(whole=st.integers(0, 3), cut=st.integers(0, len(BATCH) - 1), lost=st.integers(0, 8), hand=st.booleans())
def test_all_but_a_torn_batch_stands(*, whole: int, cut: int, lost: int, hand: bool) -> None:
    before = HEAD + BATCH * whole + (b"; a note of somebody\n" if hand else b"")
    data = before + BATCH[:cut] + b"\0" * lost
    # The blank line that begins a batch means nothing by itself.
    assert sound_length(data) in {len(before), len(before) + 1}
    assert sound_length(data[: sound_length(data)] + BATCH) == sound_length(data) + len(BATCH)


def test_what_somebody_added_by_hand_stands(tmp_path: Path) -> None:
    first, second = items_of(entry("a"), entry("b"))
    recover(tmp_path, [first])
    note = b"; bought a new printer"
    for name in files_of(tmp_path):
        with (tmp_path / name).open("ab") as file:
            file.write(note)
    recover(tmp_path, [second])
    assert all(content.count(note) == 1 for content in files_of(tmp_path).values())
    check_every_file(tmp_path)
