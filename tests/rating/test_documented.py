"""Every figure of docs/rating.md: its examples are computed here, and its rules say what the code does.

An example stands on the page *like this*, word for word as a function of `tests.rating.shown` tells it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from meter.booking.closing import WITHOUT_SITE_AFTER
from meter.config import Settings
from meter.ingest.judge import AHEAD_MAX
from meter.model.catalog import Pairing, PlanGrant, Rollover
from meter.model.money import AMOUNT_PLACES, QUANTITY_PLACES, TIME_UNITS, ZERO
from tests.rating.shown import crediting, measuring, pricing, selling, subscribing
from tests.rating.shown.explaining import explanation
from tests.rating.shown.words import EXAMPLES, Example

PAGE: Final = (Path(__file__).parents[2] / "docs" / "rating.md").read_text(encoding="utf-8")
# An example is registered where it is defined.
MODULES: Final = (measuring, crediting, pricing, subscribing, selling)
_EMPHASIS: Final = re.compile(r"(?<!\*)\*(?!\*)([^*]+)\*(?!\*)")


def rules() -> list[str]:
    """What the page says beside examples that has a figure in it, by what the code says."""
    pairing = Pairing(start=(), end=())
    grant = PlanGrant(id="", unit="", amount=ZERO, meters=())
    return [
        f"More than {AHEAD_MAX.seconds // 60} minutes ahead",
        f"older than {Settings.model_fields['max_age_days'].default} days (a setting)",
        f"({pairing.max_s // 3600} h unless set), that instant included",
        f"`idle` ({pairing.idle_s // 3600} h unless set)",
        f"`priority` ({grant.priority} unless set)",
        f"`periods` more ({Rollover(most=ZERO).periods} unless set)",
        f"P is rounded to {AMOUNT_PLACES} places",
        f"minutes or seconds to {AMOUNT_PLACES} places",
        f"cut to {QUANTITY_PLACES} places",
        f"days of the period, rounded to {QUANTITY_PLACES} places",
        f"from {TIME_UNITS['hour'] // 3 // 60} minutes to a third of an hour",
        f"it closes {WITHOUT_SITE_AFTER.days * 24} h after its end",
    ]


def flowing(text: str) -> str:
    return " ".join(text.split())


def without_code(page: str) -> str:
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("told", EXAMPLES, ids=lambda told: f"{told.__module__.rpartition('.')[2]}-{told.__name__}")
def test_an_example_comes_to_what_the_page_says(told: Example) -> None:
    assert f"*{told()}*" in flowing(PAGE)


def test_the_page_has_no_example_that_nobody_computes() -> None:
    on_the_page = [flowing(example) for example in _EMPHASIS.findall(without_code(PAGE))]
    computed = [told() for told in EXAMPLES if told.__module__ in {module.__name__ for module in MODULES}]
    assert sorted(set(on_the_page) - {"like this"}) == sorted(computed)


def test_the_explanation_on_the_page_is_the_programs() -> None:
    assert f"```\n{explanation()}\n```" in PAGE


@pytest.mark.parametrize("rule", rules())
def test_a_rule_has_the_codes_figure(rule: str) -> None:
    assert rule in flowing(PAGE)


def test_the_page_has_no_other_figure() -> None:
    rest = flowing(_EMPHASIS.sub("", re.sub(r"^#.*$", "", without_code(PAGE), flags=re.MULTILINE)))
    for known in rules():
        rest = rest.replace(known, "")
    # Names in code, the sections that are referred to, and nothing or one of something.
    rest = re.sub(r"`[^`]*`|\(section \d+\)|\b[01]\b", "", rest)
    assert re.findall(r"[^.]*\d[^.]*", rest) == []
