from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.identity import normalise_identity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("badge:04a2991b", "badge:04A2991B"),
        ("Badge: 04A2991b ", "badge:04A2991B"),
        ("badge:04:a2:99:1b", "badge:04A2991B"),
        ("badge:0x4a2991b", "badge:04A2991B"),
        ("badge:162,39195", "badge:A2991B"),
        ("email:Ada@Acme.Example", "email:ada@acme.example"),
        ("mac:AA:BB:CC:DD:EE:FF", "mac:aa-bb-cc-dd-ee-ff"),
        ("mac:aabb.ccdd.eeff", "mac:aa-bb-cc-dd-ee-ff"),
        ("MAC:AABBCCDDEEFF", "mac:aa-bb-cc-dd-ee-ff"),
        ("mac:Unknown", "mac:unknown"),
        ("square:CUST_1", "square:CUST_1"),
        ("mac:02-00-00-00-00-0A ", "mac:02-00-00-00-00-0a"),
        ("mac:02 00 00 00 00 0a", "mac:02-00-00-00-00-0a"),
        ("mac:02:00:00:00:00", "mac:02:00:00:00:00"),
        ("email: Zo\u0065\u0308@acme.example", "email:zo\u00eb@acme.example"),
        ("email:a.d.a+bills@acme.example", "email:a.d.a+bills@acme.example"),
        ("user:Ada", "user:ada"),
        ("user:ACME\\Ada", "user:acme\\ada"),
        ("user:Ada@Acme.Example", "user:ada@acme.example"),
        ("papercut:Ada", "papercut:Ada"),
        ("mac:~abcdefghijklmnopqrst.eeff", "mac:~abcdefghijklmnopqrst.eeff"),
        ("badge:~abcdefghijklmnopqrst.1B", "badge:~abcdefghijklmnopqrst.1B"),
        ("badge:~abc", "badge:~ABC"),
        ("unifi:a:b:c", "unifi:a:b:c"),
        ("member:ada", "member:ada"),
    ],
)
def test_one_identity_has_one_spelling(text: str, expected: str) -> None:
    assert normalise_identity(text) == expected
    assert normalise_identity(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        ":ada",
        "badge:",
        "badge: ",
        "1:x",
        "a b:x",
        "badge:\x00",
        "badge:" + "x" * 256,
        "email:" + "\u0130" * 250,
    ],
)
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        normalise_identity(text)
    assert caught.value.code == "bad_identity"


@given(st.sampled_from(["badge", "email", "mac", "user", "square", "Card"]), st.text(min_size=1, max_size=40))
@example("email", "\u0130\u0307")
@example("badge", "\u0149")
@example("user", "\u03a3\u0345 ")
def test_normalising_twice_changes_nothing(kind: str, value: str) -> None:
    try:
        once = normalise_identity(f"{kind}:{value}")
    except BadInput:
        return
    assert normalise_identity(once) == once
