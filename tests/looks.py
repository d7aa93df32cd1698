"""Which bodies are looked through for card numbers, and whether beside the event loop."""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest

from meter.model import card_number

# As many candidates as a body can have.
HOSTILE = "4444 " * 50_000


class Look(NamedTuple):
    """One look through so many bytes; `beside`: in another thread than the test's."""

    size: int
    beside: bool


def looks(monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """A list to which each look from now on is added."""
    made: list[Look] = []
    masked_body, here = card_number.masked_body, threading.get_ident()

    def noted(body: bytes) -> tuple[bytes, str | None]:
        made.append(Look(len(body), threading.get_ident() != here))
        return masked_body(body)

    monkeypatch.setattr(card_number, "masked_body", noted)
    return made
