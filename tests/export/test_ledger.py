from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from meter.export.contract import Absent, Delivered, Refused, Retry, Uncertain
from meter.export.targets.ledger.files import site_file
from meter.export.targets.ledger.target import LedgerTarget
from meter.model.errors import Unavailable
from meter.store.outbox import OutboxItem
from tests.export.books import DAY, check_every_file, entry, files_of, gathered, items_of

BEANCOUNT = "beancount/2026-03/2026-03-02.berlin.beancount"
HLEDGER = "hledger/2026-03/2026-03-02.berlin.journal"


async def deliver(ledger: Path, *items: OutboxItem) -> None:
    assert await LedgerTarget(ledger).send(items) == [Delivered()] * len(items)


async def test_both_formats_hold_the_same_entry(tmp_path: Path) -> None:
    [item] = items_of(entry("ch_1"))
    await deliver(tmp_path, item)
    files = {name: content.decode() for name, content in files_of(tmp_path).items()}
    assert files[BEANCOUNT].endswith(
        f"""
; batch {item.key}
2026-03-02 * "acme" "print-pages 3 page"
  charge: "ch_1"
  account: "acme"
  site: "berlin"
  meter: "print-pages"
  kind: "usage"
  Assets:Receivable  0.15 EUR
  Income:Print-pages  -0.15 EUR
; end {item.key}
"""
    )
    assert files[HLEDGER].endswith(
        f"""
; batch {item.key}
commodity 1000.00 EUR
payee acme
account assets:receivable
account income:print-pages
2026-03-02 * acme | print-pages 3 page
    ; charge:ch_1, account:acme, site:berlin, meter:print-pages, kind:usage
    assets:receivable  0.15 EUR
    income:print-pages  -0.15 EUR
; end {item.key}
"""
    )
    check_every_file(tmp_path)


async def test_sites_days_and_currencies_are_accepted_alone_and_together(tmp_path: Path) -> None:
    await deliver(
        tmp_path,
        *items_of(
            entry("a"),
            entry("b", site="köln", day=date(2026, 4, 1), amount="-3.00"),
            entry("c", site="kö/ln%", currency="JPY", amount="1200"),
            entry("d", day=date(2026, 2, 28), currency="KWD", amount="0.125", credit="income:Getränke & mehr"),
            entry("e", currency="points", credit="equity:suspense:1200 Debtors; (old)"),
            entry("f", account='a "b" \\ | ; ,c', narration='odd "x" \\ ; | \n end', debit="expenses:日本"),
            entry("g", credit="income:print pages"),
        ),
    )
    await deliver(tmp_path, *items_of(entry("h", credit="income:new")))
    check_every_file(tmp_path)


async def test_what_happened_at_no_site_has_a_file_that_no_sites_name_can_be(tmp_path: Path) -> None:
    sites = ["", "operator", "~operator", "%", "%7Eoperator", "x" * 200]
    accounts: dict[str, Any] = {"debit": "assets:receivable", "credit": "liabilities:deposits"}
    await deliver(tmp_path, *items_of(*(entry(f"ch_{n}", site=site, **accounts) for n, site in enumerate(sites))))
    check_every_file(tmp_path)
    assert len({site_file(site) for site in sites}) == len(sites)
    texts = [content.decode() for name, content in files_of(tmp_path).items() if f"{DAY}.~operator." in name]
    assert len(texts) == 2
    for text in texts:
        assert "No site, 2026-03-02" in text
        assert text.count("ch_") == 1
        assert " site:" not in text


async def test_a_late_entry_goes_behind_those_of_its_day(tmp_path: Path) -> None:
    """Also one that is not of a charge, whose tag the file did not know when it was begun."""
    await deliver(tmp_path, *items_of(entry("ch_1"), entry("ch_2", day=date(2026, 3, 3))))
    before = files_of(tmp_path)
    late = entry(
        "rv_1", debit="liabilities:deferred", credit="income:membership", narration="membership earned 2026-03-02"
    )
    late = replace(late, kind="earned", dimensions={**late.dimensions, "charge": "ch_0"})
    await deliver(tmp_path, *items_of(late))
    check_every_file(tmp_path)
    after = files_of(tmp_path)
    assert after.keys() == before.keys()
    for name in (BEANCOUNT, HLEDGER):
        assert after[name].startswith(before[name])
        assert b"rv_1" in after[name]
    assert b'\n  entry: "rv_1"\n  charge: "ch_0"\n' in after[BEANCOUNT]


async def test_what_was_written_is_never_changed(tmp_path: Path) -> None:
    before: dict[str, bytes] = {}
    for n in range(5):
        await deliver(tmp_path, *items_of(entry(f"ch_{n}", credit=f"income:{n}", site=f"s{n % 2}")))
        after = files_of(tmp_path)
        assert all(after[name].startswith(content) for name, content in before.items())
        before = after


async def test_a_batch_sent_again_is_written_once(tmp_path: Path) -> None:
    first, second = items_of(entry("a"), entry("b"))
    target = LedgerTarget(tmp_path)
    await target.send([first])
    once = files_of(tmp_path)
    assert await target.send([first]) == [Delivered()]
    assert await LedgerTarget(tmp_path).send([first]) == [Delivered()]
    assert files_of(tmp_path) == once
    assert await target.send([first, second]) == [Delivered(), Delivered()]
    assert len(re.findall(rb"^; end ", files_of(tmp_path)[BEANCOUNT], re.MULTILINE)) == 2


async def test_another_process_that_wrote_meanwhile_is_noticed(tmp_path: Path) -> None:
    [one, two] = items_of(entry("a"), entry("b"))
    mine, other = LedgerTarget(tmp_path), LedgerTarget(tmp_path)
    await mine.send([one])
    await other.send([two])
    assert await mine.send([two]) == [Delivered()]
    assert len(re.findall(rb"^; end ", files_of(tmp_path)[HLEDGER], re.MULTILINE)) == 2


async def test_a_look_up_wants_the_batch_in_both_formats(tmp_path: Path) -> None:
    [item] = items_of(entry("a"))
    target = LedgerTarget(tmp_path)
    assert await target.look_up([item]) == [Absent()]
    await target.send([item])
    assert await target.look_up([item]) == [Delivered()]
    (tmp_path / HLEDGER).unlink()
    assert await target.look_up([item]) == [Absent()]
    assert await target.send([item]) == [Delivered()]
    assert len(re.findall(rb"^; end ", files_of(tmp_path)[BEANCOUNT], re.MULTILINE)) == 1
    check_every_file(tmp_path)


async def test_a_batch_that_no_text_can_hold_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    [good] = items_of(entry("a"))
    unread = OutboxItem(operator="n", target="t", operation="journal", batch="b", key="k" * 32, payload=b"{}")
    other = OutboxItem(operator="n", target="t", operation="invoice", batch="b", key="l" * 32, payload=good.payload)
    outcomes = await LedgerTarget(tmp_path).send([unread, good, other])
    assert [type(outcome) for outcome in outcomes] == [Refused, Delivered, Refused]
    assert await LedgerTarget(tmp_path).look_up([unread]) == [Absent()]


async def test_while_another_process_writes_nothing_is_written(tmp_path: Path) -> None:
    [item] = items_of(entry("a"))
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await LedgerTarget(tmp_path).send([item]) == [Retry("another process is writing to the ledger")]
        assert await LedgerTarget(tmp_path).look_up([item]) == [Uncertain("another process is writing to the ledger")]
    assert files_of(tmp_path) == {}
    await deliver(tmp_path, item)


def no_space(*_args: object) -> int:
    raise OSError(28, "No space left on device")


def no_space_after_half() -> Callable[[int, bytes], int]:
    """A disk that fills up while something is written."""
    write, parts = os.write, iter([True])

    def once(descriptor: int, content: bytes) -> int:
        return write(descriptor, bytes(content)[: len(content) // 2]) if next(parts, False) else no_space()

    return once


@pytest.mark.parametrize("fault", ["fsync", "write", "half"])
async def test_a_full_disk_takes_the_bytes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    [one, two] = items_of(entry("a"), entry("b"))
    target = LedgerTarget(tmp_path)
    await target.send([one])
    before = files_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write" if fault == "half" else fault, no_space_after_half() if fault == "half" else no_space)
        assert await target.send([two]) == [Retry("[Errno 28] No space left on device")]
    assert files_of(tmp_path) == before
    assert await target.send([two]) == [Delivered()]
    check_every_file(tmp_path)


async def test_one_file_that_cannot_be_written_holds_up_no_other(tmp_path: Path) -> None:
    here, there = items_of(entry("a"), entry("b", site="hamburg"))
    target = LedgerTarget(tmp_path)
    await target.send([here, there])
    (tmp_path / BEANCOUNT).unlink()
    (tmp_path / BEANCOUNT).mkdir()
    more_here, more_there = items_of(entry("c"), entry("d", site="hamburg"))
    outcomes = await target.send([more_here, more_there])
    assert [type(outcome) for outcome in outcomes] == [Retry, Delivered]


async def test_check_tells_whether_the_directory_can_be_written(tmp_path: Path) -> None:
    await LedgerTarget(tmp_path / "new").check()
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"make .* writable"):
        await LedgerTarget(tmp_path / "file" / "ledger").check()


async def test_a_whole_day_in_one_booking(tmp_path: Path) -> None:
    entries = [entry(f"ch_{n}", amount=f"{n}.01", account=f"a{n % 7}") for n in range(300)]
    await deliver(tmp_path, *gathered(entries, operator="n"))
    check_every_file(tmp_path)
    assert files_of(tmp_path)[HLEDGER].count(b"\npayee ") == 7
    assert files_of(tmp_path)["beancount/main.beancount"].count(b" open ") == 2
    assert DAY.isoformat().encode() in files_of(tmp_path)[BEANCOUNT]
