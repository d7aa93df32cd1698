"""Postings summed by local day and site, as accounting software has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from meter.export.gather.days import DayGrain, Days
from meter.export.gather.shape import Draft
from meter.export.gather.spans import GRACE
from meter.export.payload import DayJournal
from meter.model.money import ZERO
from tests.export.books import DAY, entry
from tests.export.gathering import NOW, Desk, account, known

CODES = {"assets:receivable": "1200", "income:*": "4000", "income:print-pages": "4100"}
MIDNIGHT = datetime(2026, 3, 2, 23, tzinfo=UTC)


def desk(grain: DayGrain = "day", codes: Mapping[str, str] | None = None) -> Desk:
    return Desk(Days(target="books", grain=grain, codes={**CODES, **(codes or {})}, keys=("xero",), parties={}))


def journals(drafts: list[Draft]) -> list[DayJournal]:
    return [draft.content for draft in drafts if isinstance(draft.content, DayJournal)]


def test_a_day_of_a_site_is_one_journal_with_a_receivable_for_each_account() -> None:
    found, facts = desk(), known(account(xero="c-1"), account("bob", xero="c-2"), now=MIDNIGHT + GRACE)
    found.put([entry("a"), entry("b"), entry("c", account="bob", amount="1.00")], known(now=MIDNIGHT))
    assert found.due(known(now=MIDNIGHT)) == []
    [journal] = journals(found.due(facts))
    assert [(p.ledger_account, p.code, p.party, p.amount, p.entries) for p in journal.postings] == [
        ("assets:receivable", "1200", "c-1", Decimal("0.30"), 2),
        ("assets:receivable", "1200", "c-2", Decimal("1.00"), 1),
        ("income:print-pages", "4100", None, Decimal("-1.30"), 3),
    ]
    assert (journal.day, journal.site, journal.tracking, journal.part) == (DAY, "berlin", "Berlin", 1)
    assert len(journal.number) <= 21


def test_what_comes_later_is_a_journal_of_the_difference() -> None:
    found, facts = desk(), known(account(xero="c-1"), now=NOW)
    found.put([entry("a")], facts)
    [first] = journals(found.due(facts))
    found.put([entry("late")], facts, late=timedelta(minutes=15))
    assert found.due(facts) == []
    [second] = journals(found.due(known(account(xero="c-1"), now=NOW + timedelta(minutes=15))))
    assert (second.day, second.part, second.number) == (DAY, 2, f"{first.number}-2")
    assert second.postings[0].amount == Decimal("0.15")
    assert len(second.number) <= 21


def test_days_sites_and_currencies_are_journals_of_their_own() -> None:
    found, facts = desk(), known(account(xero="c-1"), now=NOW)
    found.put([entry("a"), entry("b", day=date(2026, 3, 3)), entry("c", site=""), entry("d", currency="USD")], facts)
    assert len(found.due(facts)) == 4


def test_what_cancels_out_is_no_journal() -> None:
    found, facts = desk(), known(account(xero="c-1"), now=NOW)
    found.put([entry("a"), entry("b", amount="-0.15")], facts)
    assert found.due(facts) == []


def test_an_account_that_nothing_names_goes_to_suspense_or_waits() -> None:
    facts = known(account(xero="c-1"), now=NOW)
    for codes, expected in (({}, None), ({"suspense": "9999"}, "9999")):
        found = desk(codes=codes)
        found.put([entry("a", credit="liabilities:tips")], facts)
        [draft] = found.due(facts)
        [journal] = journals([draft])
        assert (draft.unmet is None) == (expected is not None)
        assert journal.postings[1].code == (expected or "")
        assert expected or "liabilities:tips" in (draft.unmet or "")


def test_an_entry_or_a_month_may_be_the_grain() -> None:
    facts = known(account(xero="c-1"), now=NOW)
    drafts = desk("charge").put([entry("a"), entry("b")], facts)
    assert [journal.narration for journal in journals(drafts)] == ["print-pages 3 page"] * 2
    assert len({draft.batch for draft in drafts}) == 2
    found = desk("period")
    found.put([entry("a"), entry("b", day=date(2026, 3, 30))], facts)
    [journal] = journals(found.due(facts))
    assert (journal.day, journal.postings[0].amount) == (date(2026, 3, 31), Decimal("0.30"))


@given(st.lists(st.tuples(st.integers(1, 28), st.integers(-300, 300), st.booleans()), max_size=25))
def test_journals_balance_and_sum_to_the_entries(given_entries: list[tuple[int, int, bool]]) -> None:
    found, facts = desk(), known(account(xero="c-1"), now=NOW)
    drafts, total = [], ZERO
    for n, (day, cents, flush) in enumerate(given_entries):
        amount = Decimal(cents) / 100
        total += amount
        found.put([entry(f"e{n}", amount=str(amount), day=date(2026, 3, day))], facts)
        drafts += found.due(facts) if flush else []
    drafts += found.due(facts)
    sums = [posting for journal in journals(drafts) for posting in journal.postings]
    for journal in journals(drafts):
        assert sum((posting.amount for posting in journal.postings), ZERO) == ZERO
    assert sum((p.amount for p in sums if p.ledger_account == "assets:receivable"), ZERO) == total
    assert len({draft.batch for draft in drafts}) == len(drafts)
