"""Codes that people read out and type: Crockford's base 32, in which nothing can be taken for something else."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# What is typed for a digit, and what stands between groups.
_TYPED: Final = str.maketrans("ILO", "110", " -\t\r\n")


def as_drawn(typed: str) -> str:
    """Return a code as it was drawn, however it was typed."""
    return typed.upper().translate(_TYPED)
