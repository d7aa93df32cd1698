"""Names that look like each other."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

# Comparing names is quadratic in their length and linear in their number.
_NAME_CHARS_MAX: Final = 64
_CANDIDATES_MAX: Final = 2000


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ` (did you mean ...?)` where one of `known` looks like `name`, else nothing."""
    if len(name) > _NAME_CHARS_MAX:
        return ""
    close = get_close_matches(name, [one for one in known[:_CANDIDATES_MAX] if len(one) <= _NAME_CHARS_MAX], n=1)
    return f" (did you mean {close[0]}?)" if close else ""
