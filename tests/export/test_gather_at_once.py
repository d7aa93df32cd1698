"""Entries as they are, in items for plain-text books."""

from __future__ import annotations

from datetime import date

from meter.export.gather.at_once import ENTRIES_PER_ITEM_MAX
from meter.export.payload import JournalBatch, thawed
from meter.store.outbox import KEY_CHARS, OutboxItem
from tests.export.books import DAY, entry, gathered


def read(item: OutboxItem) -> JournalBatch:
    batch = thawed(item.operation, item.payload)
    assert isinstance(batch, JournalBatch)
    return batch


def test_one_item_for_each_day_and_site() -> None:
    items = gathered([entry("a"), entry("b", site="köln"), entry("c"), entry("d", day=date(2026, 3, 3))])
    assert [[e.id for e in read(item).entries] for item in items] == [["a", "c"], ["b"], ["d"]]
    assert len({item.key for item in items}) == len(items)
    assert all(len(item.key) == KEY_CHARS for item in items)


def test_the_payload_gives_back_the_entries_to_the_digit() -> None:
    [item] = gathered([entry("a", amount="0.10")])
    batch = read(item)
    assert (batch.day, batch.site, batch.entries) == (DAY, "berlin", (entry("a", amount="0.10"),))
    assert b'"amount":"-0.10"' in item.payload


def test_what_is_gathered_again_makes_the_same_items_and_another_target_others() -> None:
    assert gathered([entry("a")]) == gathered([entry("a")])
    assert gathered([entry("a")])[0].key != gathered([entry("a")], target="other")[0].key


def test_a_long_booking_is_cut_into_bounded_items() -> None:
    entries = [entry(str(n)) for n in range(2 * ENTRIES_PER_ITEM_MAX + 1)]
    items = gathered(entries)
    assert len(items) == 3
    assert [e for item in items for e in read(item).entries] == entries
