import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.credential import BADGE_FORMS, badge_from, normalise_badge, related_badges
from meter.model.errors import BadInput


@pytest.mark.parametrize(
    ("text", "badge"),
    [
        ("04-a2-99-1b", "04A2991B"),
        ("04:A2:99:1B", "04A2991B"),
        ("04 a2 99 1b", "04A2991B"),
        ("74.10.37.94", "74103794"),
        ("0x4a2991b", "04A2991B"),
        ("0X04A2991B", "04A2991B"),
        (" 04a2991b ", "04A2991B"),
        ("162,39195", "A2991B"),
        ("162, 39195", "A2991B"),
        ("162-39195", "A2991B"),
        ("1:00042", "01002A"),
        ("1,42", "01002A"),
        # Not plain, and so kept: a number, out of range, a label, two kinds of separator, an odd digit.
        ("77764891", "77764891"),
        ("256,1", "256,1"),
        ("1,65536", "1,65536"),
        ("ab-12", "AB-12"),
        ("1-42", "1-42"),
        ("04-a2:99-1b", "04-A2:99-1B"),
        ("04-a2-99-1", "04-A2-99-1"),
        ("guest 7", "GUEST 7"),
        ("0xZZ", "0XZZ"),
    ],
)
def test_what_is_plain_has_one_spelling_and_the_rest_stays(text: str, badge: str) -> None:
    assert normalise_badge(text) == badge


@given(st.text(st.sampled_from("0123456789abcdefABCDEFxX-:., g"), max_size=24) | st.text(max_size=12))
def test_normalising_again_changes_nothing(text: str) -> None:
    assert normalise_badge(normalise_badge(text)) == normalise_badge(text)


@given(st.binary(min_size=3, max_size=10), st.sampled_from("-:. "))
def test_every_way_to_write_bytes_is_one_badge(card: bytes, separator: str) -> None:
    badge = card.hex().upper()
    assert normalise_badge(card.hex(separator)) == badge
    assert normalise_badge(f"0x{card.hex()}") == badge
    assert badge_from(card.hex(separator), "hex") == badge
    assert badge_from(card[::-1].hex(), "hex_reversed") == badge
    assert badge_from(str(int.from_bytes(card, "big")), "decimal", length=len(card)) == badge
    assert badge_from(str(int.from_bytes(card, "little")), "decimal_reversed", length=len(card)) == badge


@pytest.mark.parametrize(
    ("text", "form", "length", "badge"),
    [
        ("0077764891", "decimal", 0, "04A2991B"),
        ("0", "decimal", 0, "00"),
        ("1", "decimal", 4, "00000001"),
        ("162,39195", "facility_card", 0, "A2991B"),
        ("162/39195", "facility_card", 0, "A2991B"),
        ("16239195", "facility_card", 0, "A2991B"),
        ("1 42", "facility_card", 0, "01002A"),
        # Counted by hand: 1 + A2991B + 1, of whose first 13 bits 6 are set, and of the last 13 nine.
        ("11010001010011001000110111", "wiegand26", 0, "A2991B"),
        ("0x3453237", "wiegand26", 0, "A2991B"),
        ("0000001001010001010011001000110111", "wiegand34", 0, "04A2991B"),
        ("9453237", "wiegand34", 0, "04A2991B"),
    ],
)
def test_a_reader_of_a_known_form_is_read(text: str, form: str, length: int, badge: str) -> None:
    assert badge_from(text, form, length=length) == badge


@pytest.mark.parametrize(
    ("text", "form", "length"),
    [
        ("", "hex", 0),
        ("04a", "hex", 0),
        ("card", "hex_reversed", 0),
        ("00" * 33, "hex", 0),
        ("-1", "decimal", 0),
        ("12a", "decimal", 0),
        ("\u0661", "decimal", 0),
        ("9" * 5_000, "decimal", 0),
        ("16777216", "decimal", 3),
        ("1", "decimal", -1),
        ("256,1", "facility_card", 0),
        ("1,65536", "facility_card", 0),
        ("39195", "facility_card", 0),
        ("25600001", "facility_card", 0),
        ("01010001010011001000110111", "wiegand26", 0),
        ("11010001010011001000110110", "wiegand26", 0),
        ("0x4000000", "wiegand26", 0),
        ("0x400000000", "wiegand34", 0),
        ("twenty-six", "wiegand26", 0),
        ("04a2991b", "braille", 0),
    ],
)
def test_what_is_not_of_its_form_is_refused(text: str, form: str, length: int) -> None:
    with pytest.raises(BadInput) as refused:
        badge_from(text, form, length=length)
    assert refused.value.code == "bad_identity"


@given(st.integers(0, 2**24 - 1), st.integers(0, 25))
def test_one_wrong_bit_of_a_wiegand_read_is_seen(number: int, bit: int) -> None:
    first, second = number >> 12, number & 0xFFF
    bits = f"{first.bit_count() % 2}{number:024b}{1 - second.bit_count() % 2}"
    assert badge_from(bits, "wiegand26") == f"{number:06X}"
    flipped = bits[:bit] + ("1" if bits[bit] == "0" else "0") + bits[bit + 1 :]
    with pytest.raises(BadInput):
        badge_from(flipped, "wiegand26")


def test_a_card_is_found_under_what_other_readers_call_it() -> None:
    related = related_badges("04A2991B")
    assert "1B99A204" in related  # reversed
    assert {"A2991B", "1B99A2", "04A299", "99A204"} <= related  # as Wiegand-26 readers cut it
    assert {"77764891", "0077764891", "463053316", "10656027", "0010656027"} <= related
    assert "04A2991B" not in related


def test_a_seven_byte_card_is_found_under_its_first_four() -> None:
    related = related_badges("04A2991BC25F80")
    assert {"04A2991B", "1B99A204", "805FC21B99A204", "C25F80"} <= related


def test_a_fob_is_found_under_the_number_printed_on_it() -> None:
    """0003955377 060,23217: the last four bytes, and the last three as facility and card."""
    assert {"003C5AB1", "3955377", "0003955377", normalise_badge("060,23217")} <= related_badges("0D003C5AB1")


def test_a_number_is_found_under_its_bytes() -> None:
    assert {"04A2991B", "1B99A204"} <= related_badges("0077764891")
    assert {"A2991B", "00A2991B"} <= related_badges("10656027")


@pytest.mark.parametrize("value", ["", "GUEST 7", "AB", "04A2991BC25F", "9" * 100, "\u0662"])
def test_what_is_no_card_has_no_relatives(value: str) -> None:
    assert related_badges(value) == frozenset()


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=7, max_size=7))
def test_relatives_are_spelled_as_badges_are(card: bytes) -> None:
    for badge in related_badges(card.hex()):
        assert normalise_badge(badge) == badge


@pytest.mark.parametrize("form", BADGE_FORMS)
def test_each_form_is_read(form: str) -> None:
    sample = {"facility_card": "1,2", "wiegand26": "1", "wiegand34": "1"}.get(form, "12")
    assert badge_from(sample, form)
