"""Tables as spreadsheets and exports write them, and what their cells mean."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.sources.table import (
    Dialect,
    Table,
    cell_day,
    cell_flag,
    cell_moment,
    cell_number,
    cell_text,
    read_table,
)


def table(body: str | bytes, **dialect: Any) -> Table:
    return read_table(body.encode() if isinstance(body, str) else body, Dialect(**dialect))


def cells(body: str | bytes, **dialect: Any) -> list[dict[str, str]]:
    return [dict(row.cells) for row in table(body, **dialect).rows]


# --- dialects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_in_any_dialect(delimiter: str, end: str) -> None:
    lines = [delimiter.join(row) for row in (("Name", "Preis"), ("Müller", "3"), ("Smith", "4"))]
    assert cells(end.join(lines)) == [{"Name": "Müller", "Preis": "3"}, {"Name": "Smith", "Preis": "4"}]


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("cp1252", "cp1252"),
        ("iso-8859-15", "iso-8859-15"),
        ("mac-roman", "mac-roman"),
        ("utf-8-sig", "utf-8"),
    ],
)
def test_an_encoding_is_seen_or_declared(encoding: str, declared: str | None) -> None:
    body = "Straße;Ort\nÄußere;Köln\n".encode(encoding)
    assert cells(body, encoding=declared) == [{"Straße": "Äußere", "Ort": "Köln"}]


def test_an_encoding_is_never_guessed() -> None:
    with pytest.raises(BadInput, match=r"line 2 .*csv.encoding, as to cp1252"):
        table("a;b\nKöln;1\n".encode("cp1252"))
    with pytest.raises(BadInput, match=r"another csv\.encoding"):
        table(b"a;b\n\x81;1\n", encoding="cp1252")
    with pytest.raises(BadInput, match="NUL"):
        table("a;b\n1;2\n".encode("utf-16-le"))


def test_what_a_spreadsheet_puts_around_a_table() -> None:
    body = '\ufeffsep=;\r\nNr; Name ;;\r\n="007"; Ada ;;\r\n;;;\r\n8;Bob;;\r\n'
    found = table(body)
    assert found.columns == ("Nr", "Name")
    assert [dict(row.cells) for row in found.rows] == [{"Nr": "007", "Name": "Ada"}, {"Nr": "8", "Name": "Bob"}]
    assert [row.line for row in found.rows] == [3, 5]


def test_a_row_stands_on_the_line_where_it_begins() -> None:
    found = table('a,b\n"x\ny",1\nz,2\n')
    assert [(row.line, row.cells["a"]) for row in found.rows] == [(2, "x\ny"), (4, "z")]


def test_only_line_ends_end_a_line() -> None:
    found = table('a,b\nx\u2028y\x0bz\x85,1\n\n2,"3\r\n4\r5"\n6,7')
    assert [(row.line, row.cells["a"], row.cells["b"]) for row in found.rows] == [
        (2, "x\u2028y\x0bz", "1"),
        (4, "2", "3\r\n4\r5"),
        (7, "6", "7"),
    ]


def test_cells_beyond_the_columns_are_a_fault_and_missing_ones_are_empty() -> None:
    found = table("a,b\n1,2,3\n4\n5,6,,\n")
    assert [fault.line for fault in found.faults] == [2]
    assert [dict(row.cells) for row in found.rows] == [{"a": "4", "b": ""}, {"a": "5", "b": "6"}]


def test_a_title_above_and_no_header_at_all() -> None:
    assert cells("Export vom 2.3.\n\na;b\n1;2\n", skip_lines=2) == [{"a": "1", "b": "2"}]
    assert table("Export\n\na;b\n1;2\n", skip_lines=2).rows[0].line == 4
    assert cells("1;2\n3;4\n", columns=("a", "b")) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("body", "fault"),
    [("", "no header"), ("\n\n", "no header"), ("a;b;a\n1;2;3\n", "'a' twice"), ('a,b\n"x,1\n', "no CSV")],
)
def test_what_is_no_table_is_refused_as_a_whole(body: str, fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        table(body)


def test_a_column_without_a_name_has_its_place() -> None:
    assert cells("a,,c\n1,2,3\n") == [{"a": "1", "#2": "2", "c": "3"}]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(body: bytes) -> None:
    for encoding in (None, "cp1252", "utf-16"):
        try:
            table(body, encoding=encoding)
        except BadInput as error:
            if error.code != "bad_table":
                raise


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("12", None, "12"),
        ("-1.50", None, "-1.50"),
        ("+3", None, "3"),
        ("1.234,56", ",", "1234.56"),
        ("1 234,5", ",", "1234.5"),
        ("1\u202f234,5", ",", "1234.5"),
        ("1'234.50", ".", "1234.50"),
        ("1,234,567.8", ".", "1234567.8"),
        ("1.234", ",", "1234"),
        ("0,005", ",", "0.005"),
        (",5", ",", "0.5"),
    ],
)
def test_numbers_are_exact(text: str, decimal: str | None, number: str) -> None:
    assert cell_number(text, decimal=decimal) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("1,5", None),
        ("1,234", None),
        ("12,50", "."),
        ("1.5", ","),
        ("1.2345,0", ","),
        ("1,2,3", ","),
        ("3 €", ","),
        ("", None),
        ("1e3", None),
        ("NaN", None),
        ("--1", None),
        ("1.2.3", None),
        ("9" * 40, None),
    ],
)
def test_a_number_is_never_guessed(text: str, decimal: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        cell_number(text, decimal=decimal)
    assert caught.value.code == "bad_cell"


@pytest.mark.parametrize(
    ("text", "form", "instant"),
    [
        ("2026-03-02 14:30", None, datetime(2026, 3, 2, 13, 30, tzinfo=UTC)),
        ("02.03.2026", None, datetime(2026, 3, 1, 23, 0, tzinfo=UTC)),
        ("2.3.2026, 9:05", None, datetime(2026, 3, 2, 8, 5, tzinfo=UTC)),
        ("2026-07-02T14:30:05", None, datetime(2026, 7, 2, 12, 30, 5, tzinfo=UTC)),
        ("2026-03-02T14:30:00-05:00", None, datetime(2026, 3, 2, 19, 30, tzinfo=UTC)),
        ("03/02/2026 2:30 PM", "%m/%d/%Y %I:%M %p", datetime(2026, 3, 2, 13, 30, tzinfo=UTC)),
        ("20260302", "%Y%m%d", datetime(2026, 3, 1, 23, 0, tzinfo=UTC)),
    ],
)
def test_times_of_a_zone(text: str, form: str | None, instant: datetime) -> None:
    assert cell_moment(text, form=form, timezone="Europe/Berlin").time == instant


def test_a_time_that_a_zone_shows_twice_is_flagged() -> None:
    assert cell_moment("25.10.2026 02:30", form=None, timezone="Europe/Berlin").flag == "ambiguous"


@pytest.mark.parametrize(
    "text", ["02/03/2026", "32.01.2026", "2026-02-30", "tomorrow", "45000", "0001-01-01", "1.1.26"]
)
def test_a_time_is_never_guessed(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        cell_moment(text, form=None, timezone="UTC")
    assert caught.value.code == "bad_cell"


def test_a_local_time_needs_a_zone_and_one_with_an_offset_none() -> None:
    assert cell_moment("2026-03-02T10:00:00Z", form=None, timezone=None).time == datetime(2026, 3, 2, 10, tzinfo=UTC)
    with pytest.raises(BadInput, match="timezone"):
        cell_moment("02.03.2026 10:00", form=None, timezone=None)


def test_days_stay_days_for_the_directory() -> None:
    assert cell_day("02.03.2026", form=None, timezone=None) == date(2026, 3, 2)
    assert cell_day("3/2/26", form="%m/%d/%y", timezone=None) == date(2026, 3, 2)
    assert cell_day("2026-03-02 10:00", form=None, timezone="UTC") == datetime(2026, 3, 2, 10, tzinfo=UTC)


def test_words_for_yes_and_no() -> None:
    assert [cell_flag(text) for text in ("Ja", "x", "TRUE", "1", "nein", "", "0", "Falsch")] == [True] * 4 + [False] * 4
    with pytest.raises(BadInput):
        cell_flag("vielleicht")


def test_a_number_that_a_spreadsheet_has_cut_is_no_text() -> None:
    assert cell_text("04A2991E+B") == "04A2991E+B"
    for cut in ("4,91234E+11", "4.91234E+11", "4E+11"):
        with pytest.raises(BadInput, match="format the column as text"):
            cell_text(cut)
