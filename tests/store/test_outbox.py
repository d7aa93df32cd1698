from __future__ import annotations

from datetime import date
from decimal import Decimal

from meter.model.journal import JournalEntry, Posting
from meter.store.outbox import ENTRIES_PER_ITEM_MAX, KEY_CHARS, item_key, items_for, read_journal

DAY = date(2026, 3, 2)


def entry(name: str, *, day: date = DAY, site: str = "berlin") -> JournalEntry:
    return JournalEntry(
        id=name,
        day=day,
        currency="EUR",
        narration="print-pages 3 page",
        postings=(
            Posting(account="assets:receivable", amount=Decimal("0.10")),
            Posting(account="income:print", amount=Decimal("-0.10")),
        ),
        dimensions={"site": site, "account": "acme"},
    )


def test_one_item_for_each_target_day_and_site() -> None:
    entries = [entry("a"), entry("b", site="köln"), entry("c"), entry("d", day=date(2026, 3, 3))]
    items = items_for(entries, operator="northside", targets=["ledger", "xero"])
    assert [(item.target, [e.id for e in read_journal(item.payload).entries]) for item in items] == [
        ("ledger", ["a", "c"]),
        ("xero", ["a", "c"]),
        ("ledger", ["b"]),
        ("xero", ["b"]),
        ("ledger", ["d"]),
        ("xero", ["d"]),
    ]
    assert len({item.key for item in items}) == len(items)
    assert all(len(item.key) == KEY_CHARS for item in items)


def test_the_payload_gives_back_the_entries_to_the_digit() -> None:
    [item] = items_for([entry("a")], operator="northside", targets=["ledger"])
    batch = read_journal(item.payload)
    assert (batch.day, batch.site, batch.entries) == (DAY, "berlin", (entry("a"),))
    assert b'"amount":"-0.10"' in item.payload


def test_a_booking_tried_again_makes_the_same_items() -> None:
    assert items_for([entry("a")], operator="n", targets=["t"]) == items_for([entry("a")], operator="n", targets=["t"])


def test_a_long_booking_is_cut_into_bounded_items() -> None:
    entries = [entry(str(n)) for n in range(2 * ENTRIES_PER_ITEM_MAX + 1)]
    items = items_for(entries, operator="northside", targets=["ledger"])
    read = [e for item in items for e in read_journal(item.payload).entries]
    assert len(items) == 3
    assert read == entries


def test_names_that_run_together_have_keys_of_their_own() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ('a","b', "c"), ("a", 'b","c')]
    keys = {item_key(operator=o, target=t, operation="journal", batch="x", revision=0) for o, t in pairs}
    assert len(keys) == len(pairs)
    assert len({item_key(operator="o", target="t", operation="j", batch="x", revision=n) for n in range(3)}) == 3
