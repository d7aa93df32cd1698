"""What readers type: keys and characters, whole numbers only, however they are cut into reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.collect.keys import EVENT, NUMBER_CHARS_MAX, Characters, Keys
from tests.edge.collect.keyboard import key, keys


def test_digits_letters_and_the_keypad() -> None:
    assert Keys().feed(keys("04a2-991b\n")) == ["04A2-991B"]
    assert Keys().feed(b"".join(key(code) for code in (79, 80, 81, 96))) == ["123"]


def test_a_shift_makes_a_colon_and_no_other_letter() -> None:
    typed = key(30) + EVENT.pack(0, 0, 1, 42, 1) + key(39) + key(30) + EVENT.pack(0, 0, 1, 42, 0) + key(39) + key(28)
    assert Keys().feed(typed) == ["A:A;"]


def test_what_the_kernel_threw_away_is_no_half_number() -> None:
    lost = EVENT.pack(0, 0, 0, 3, 0)
    assert Keys().feed(keys("123") + lost + keys("456\n")) == ["456"]


def test_a_key_that_is_held_down_is_typed_once() -> None:
    held = EVENT.pack(0, 0, 1, 2, 1) + EVENT.pack(0, 0, 1, 2, 2) * 5 + EVENT.pack(0, 0, 1, 2, 0)
    assert Keys().feed(held + key(28)) == ["1"]


def test_a_number_that_is_too_long_is_none() -> None:
    assert Keys().feed(keys("1" * (NUMBER_CHARS_MAX + 1) + "\n" + "2\n")) == ["2"]
    assert Characters().feed(b"1" * 100_000 + b"\n2\n") == ["2"]


def test_serial_lines_are_framed_in_many_ways() -> None:
    assert Characters().feed(b"\x0204A2991B\r\n\x03\x021234\x03\r\n\r\n5\n") == ["04A2991B", "1234", "5"]
    assert Characters().feed(b"\xff1\n") == ["\N{REPLACEMENT CHARACTER}1"], "no card's number, and told as such"


@given(st.lists(st.text("0123456789ABCDEF", min_size=1, max_size=20), max_size=5), st.data())
def test_however_it_is_cut(numbers: list[str], data: st.DataObject) -> None:
    for made, typed in ((Keys(), keys("".join(f"{n}\n" for n in numbers))),
                        (Characters(), "".join(f"{n}\r\n" for n in numbers).encode())):  # fmt: skip
        cuts = sorted(data.draw(st.lists(st.integers(0, len(typed)), max_size=8)))
        pieces = [typed[a:b] for a, b in zip([0, *cuts], [*cuts, len(typed)], strict=True)]
        assert [number for piece in pieces for number in made.feed(piece)] == numbers
        assert not made.half


@given(st.binary(max_size=400))
def test_no_bytes_fail(data: bytes) -> None:
    for made in (Keys(), Characters()):
        assert all(0 < len(number) <= NUMBER_CHARS_MAX for number in made.feed(data))
