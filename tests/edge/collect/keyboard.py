"""A reader that is a keyboard, as the kernel tells of its keys."""

from __future__ import annotations

from edge.collect.keys import EVENT

_CODES = {
    **dict(zip("1234567890", range(2, 12), strict=True)),
    **dict(zip("QWERTYUIOP", range(16, 26), strict=True)),
    **dict(zip("ASDFGHJKL", range(30, 39), strict=True)),
    **dict(zip("ZXCVBNM", range(44, 51), strict=True)),
    "-": 12,
    "\n": 28,
}


def key(code: int) -> bytes:
    """A key that is pressed and released, each with the kernel's end of a report."""
    report = EVENT.pack(1, 2, 0, 0, 0)
    return EVENT.pack(1, 2, 1, code, 1) + report + EVENT.pack(1, 2, 1, code, 0) + report


def keys(text: str) -> bytes:
    return b"".join(key(_CODES[char]) for char in text.upper())
