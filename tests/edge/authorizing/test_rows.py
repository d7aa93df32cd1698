"""Answers and words in the spool's file: through damage, at their bounds, and the gateway's words among each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from edge.authorizing import book, rows
from edge.spool.errors import Full
from meter.model.errors import BadInput
from tests.edge.authorizing.making import Site, ask, word
from tests.edge.clocks import VirtualClock


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, VirtualClock())
    yield made
    made.spool.close()


def test_whose_word_is_older_has_taken_off_what_others_of_the_account_were_allowed_since(site: Site) -> None:
    """Ten pages for all of the account, and nothing beyond."""
    ten = word(price="0", sold_beyond=False, covered=Decimal(10))
    site.online(ask("a", 1, "bob"), ten)
    site.online(ask("b", 8), word(price="0", sold_beyond=False, covered=Decimal(2)))
    assert site.offline(ask("c", 3, "bob")).shown(site.clock.read())["left"] == "2"
    assert site.offline(ask("d", 2, "bob")).allowed
    assert site.offline(ask("e", 1)).shown(site.clock.read())["reasons"] == ["no_credit"]
    site.let_go("d")
    assert site.offline(ask("f", 2)).allowed


def test_a_word_that_was_asked_for_before_an_answer_was_told_does_not_count_it(site: Site) -> None:
    left = word(price="0", left=Decimal(10))
    site.online(ask("a"), left)
    yes = site.offline(ask("b", 6))
    before = site.heard()
    site.event("e", "b")
    site.told(yes)
    site.acknowledge()
    site.act(book.close_settled)
    site.online(ask("c"), left, heard=before)
    assert not site.offline(ask("d", 5)).allowed
    site.online(ask("e"), left)
    assert site.offline(ask("f", 5)).allowed


def test_whom_the_gateway_knows_no_more_nobody_knows(site: Site) -> None:
    site.online(ask("a"), word())
    assert site.offline(ask("b")).allowed
    site.online(ask("c"), None, allowed=False)
    assert not site.offline(ask("d")).allowed


def test_a_word_counts_for_so_long(site: Site) -> None:
    site.online(ask("a"), word())
    site.clock.advance(site.limits.known_for)
    assert site.offline(ask("b")).allowed
    site.clock.advance(timedelta(seconds=1))
    assert not site.offline(ask("c")).allowed


def test_other_dimensions_have_a_word_of_their_own(site: Site) -> None:
    site.online(ask("a", dimensions={"color": False}), word())
    assert site.offline(ask("b", dimensions={"color": False})).allowed
    assert not site.offline(ask("c", dimensions={"color": True})).allowed


def test_answers_and_words_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "ANSWERS_MAX", 12)
    monkeypatch.setattr(book, "WORDS_MAX", 3)
    for number in range(30):
        site.online(ask(f"a{number}", who=f"m{number}"), word(f"acc{number}", "0"))
    assert site.spool.read(lambda connection, _: rows.count(connection)) <= 12
    assert not site.offline(ask("b", who="m26")).allowed  # the oldest words are forgotten
    assert site.offline(ask("c", who="m28")).allowed
    for number in range(10):
        site.offline(ask(f"d{number}"))
    with pytest.raises(Full, match="wait to be told"):
        site.offline(ask("d10"))
    assert {one.id for one in site.owed()} >= {"b", "c", "d0"}


def test_what_is_forgotten_takes_along_the_words_that_do_not_count_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "ANSWERS_MAX", 6)
    site.online(ask("a", who="bob"), word(price="0", left=Decimal(10)))
    site.online(ask("b", 9), word(price="0", left=Decimal(1)))
    for number in range(8):
        site.online(ask(f"c{number}", who="eve"), word("solo"))
    assert not site.offline(ask("d", 9, "bob")).allowed


def test_another_ask_under_a_known_id_is_refused(site: Site) -> None:
    site.offline(ask("a"))
    with pytest.raises(BadInput, match="another ask"):
        site.offline(ask("a", 2))


@pytest.mark.parametrize("table", ["events", "authorizations"])
def test_a_damaged_file_keeps_its_answers(tmp_path: Path, table: str) -> None:
    clock = VirtualClock()
    site = Site(tmp_path, clock)
    site.online(ask("a"), word())
    yes, no = site.offline(ask("b", 6)), site.offline(ask("c", 6))
    site.event("e", "b")
    site.spool.close()
    path = tmp_path / "spool" / "events.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE events SET crc = crc + 1")
        if table == "authorizations":
            connection.execute("UPDATE authorizations SET crc = crc + 1 WHERE id = 'a'")
        connection.commit()
    (tmp_path / "suspect").touch()
    again = Site(tmp_path, clock)
    assert again.spool.opening.salvage is not None
    assert {one.id for one in again.owed()} == {"b", "c"}
    assert again.at_risk() == Decimal(6)
    assert (
        [again.offline(one).allowed for one in (ask("b", 6), ask("c", 6))] == [yes.allowed, no.allowed] == [True, False]
    )
    # Where an answer is lost, nobody knows what was allowed since a word.
    assert again.offline(ask("d", 4)).allowed == (table == "events")
    again.spool.close()
