"""Names that anybody may have chosen, in both formats: read back, the books hold the entries, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from beancount import loader
from beancount.core.data import Transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meter.export.contract import Delivered
from meter.export.targets.ledger.target import LedgerTarget
from meter.export.targets.ledger.text import beancount_account, hledger_account
from meter.model.journal import JournalEntry
from tests.export.books import check_every_file, entry, items_of
from tests.tools import need_tool

# What opens, closes or ends something in one of the formats, what turns text around, and what is no letter at all.
_PIECES: Final = (
    *" \t\n\r\0\v\f\x1b;|\"'`\\%*!=:,()[]{}<>@#&~^$/-+.0123456789aZäß日🖨\u00a0\u2028\u202e\u2066\u200d\ufeff\u0301",
    "  ",
    "date:2020-01-01",
    "\n2026-03-02 * steal\n  assets:receivable  1 EUR\n  income:x\n",
    "\n; end " + "a" * 32 + "\n",
    'x" "y"\n  note: "',
    "%0A",
    "  1 EUR",
    "  = 5 EUR",
    "include /etc/passwd",
    "x" * 500,
)
# Each is a file of its own, which takes two programs to check.
_SITES: Final = ("", "../../etc", 'a;b "c"\n| d\n; end\u202e')
_TEXTS: Final = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)
_WORDS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | _TEXTS
_PARTS: Final = _WORDS.map(lambda text: ":".join(part.strip() for part in text.split(":") if part.strip()) or "x")


@st.composite
def _entries(draw: st.DrawFn) -> JournalEntry:
    made = entry(
        "ch_1",
        site=draw(st.sampled_from(_SITES)),
        account=draw(_WORDS),
        narration=draw(_WORDS),
        credit=f"income:{draw(_PARTS)}",
        amount=f"{draw(st.integers(1, 10**6))}.00",
    )
    dimensions = {name: draw(_WORDS) for name in ("meter", "member", "kind", "tax", "corrects")}
    return replace(made, dimensions=dict(made.dimensions) | dimensions)


def _numbered(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    return [replace(one, id=f"ch_{n}") for n, one in enumerate(entries)]


def _written(directory: Path, entries: Sequence[JournalEntry]) -> None:
    items = items_of(*entries)
    assert asyncio.run(LedgerTarget(directory).send(items)) == [Delivered()] * len(items)


def _expected(entries: Sequence[JournalEntry], spelled: Any) -> Counter[Any]:
    return Counter(
        (one.id, str(one.day), spelled(posting.account), posting.amount) for one in entries for posting in one.postings
    )


def _of_beancount(directory: Path, entries: Sequence[JournalEntry]) -> None:
    directives, errors, _ = loader.load_file(str(directory / "beancount" / "main.beancount"))
    assert errors == []
    transactions = [one for one in directives if isinstance(one, Transaction)]
    found = Counter(
        (one.meta["charge"], str(one.date), posting.account, posting.units and posting.units.number)
        for one in transactions
        for posting in one.postings
    )
    assert found == _expected(entries, beancount_account)
    by_id = {one.id: one for one in entries}
    for one in transactions:
        said = by_id[one.meta["charge"]]
        _same({"payee": one.payee, "narration": one.narration}, {**said.dimensions, "narration": said.narration})
        _same({name: one.meta.get(name) for name in ("meter", "member", "site")}, said.dimensions)


def _same(read: Mapping[str, Any], meant: Mapping[str, str]) -> None:
    """What was read is what was meant, but for what stands as %XX."""
    for name, text in read.items():
        wanted = meant.get("account" if name == "payee" else name, "")
        assert unquote(text or "", errors="surrogatepass") == wanted, name


def _of_hledger(directory: Path, entries: Sequence[JournalEntry]) -> None:
    argv = [need_tool("hledger"), "print", "-O", "json", "-f", str(directory / "hledger" / "main.journal")]
    run = subprocess.run(argv, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, check=True)
    transactions = json.loads(run.stdout, parse_float=Decimal)
    found: Counter[Any] = Counter()
    for one in transactions:
        tags = dict(one["ttags"])
        for posting in one["tpostings"]:
            (amount,) = posting["pamount"]
            quantity = amount["aquantity"]
            number = Decimal(quantity["decimalMantissa"]).scaleb(-quantity["decimalPlaces"])
            found[tags["charge"], one["tdate"], posting["paccount"], number] += 1
            assert posting["pdate"] is None
            assert posting["pbalanceassertion"] is None
            assert posting["ptype"] == "RegularPosting"
        assert one["tdate2"] is None
        assert one["tcode"] == ""
    assert found == _expected(entries, hledger_account)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(_entries(), min_size=1, max_size=25))
@example([entry("a", credit="income:print  pages")])
@example([entry("a", credit="income:a  1 EUR", account=" lead", narration="  two  ")])
@example([entry("a", account="=1+1", narration="=cmd|' /C calc'!A0", site="../../etc")])
def test_the_books_hold_the_entries_and_no_more(made: list[JournalEntry]) -> None:
    entries = _numbered(made)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        _written(directory, entries)
        check_every_file(directory)
        _of_beancount(directory, entries)
        _of_hledger(directory, entries)
        assert {path.parent.parent.name for path in directory.rglob("*.journal")} <= {"hledger", directory.name}
