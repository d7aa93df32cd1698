from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from meter.model.charge import LineKey, charge_id

KEY = LineKey(datetime(2026, 11, 2, 12, tzinfo=UTC), "berlin/door", "e1", "days")


def test_an_id_is_the_same_for_ever() -> None:
    assert charge_id("northside", "acme", KEY, 0) == "ch_4335c52ec2af8e28f88b5010c008ac71"


def test_an_id_is_short_and_safe_in_addresses() -> None:
    assert re.fullmatch(r"ch_[0-9a-f]{32}", charge_id("northside", "acme", KEY, 0))


def test_every_part_makes_another_id() -> None:
    others = [
        KEY._replace(time=KEY.time.replace(microsecond=1)),
        KEY._replace(source="berlin/door2"),
        KEY._replace(id="e2"),
        KEY._replace(meter="pages"),
        KEY._replace(element=1),
        KEY._replace(part="tip"),
    ]
    ids = [charge_id("northside", "acme", key, 0) for key in [KEY, *others]]
    ids += [
        charge_id("northside", "acme", KEY, 1),
        charge_id("northside", "beta", KEY, 0),
        charge_id("n", "acme", KEY, 0),
    ]
    assert len(set(ids)) == len(ids)


parts = st.tuples(*[st.text(alphabet='a-"\\,[]', max_size=4)] * 5)


@given(parts, parts)
def test_no_choice_of_names_collides(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    def made(names: tuple[str, ...]) -> str:
        operator, account, source, event, meter = names
        return charge_id(operator, account, LineKey(KEY.time, source, event, meter), 0)

    assert (made(one) == made(two)) is (one == two)
