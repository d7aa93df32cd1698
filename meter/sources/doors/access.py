"""What every door has in common: the event, which way a door leads, whose badge it was, and settings for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from meter.model.credential import BADGE_FORMS, badge_from
from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.fields import bad_payload
from meter.sources.make import TimeFlag, usage_event
from meter.sources.spec import Option, Setup

ACCESS: Final = "door.access"
_TEXT_CHARS_MAX: Final = 200
# RFC 5321 allows an address no more.
_HINT_CHARS_MAX: Final = 254

WAYS: Final[Mapping[str, Option]] = {
    "direction": Option(default="in", about="Which way doors lead; empty: unknown.", choices=("in", "out", "")),
    "directions": Option(
        default={}, about='Which way single doors lead, by id or name, like `{"Back door": "out"}`; the rest as above.'
    ),
}
BADGES: Final[Mapping[str, Option]] = {
    "badge_form": Option(default="text", about="How the reader spells badges.", choices=BADGE_FORMS),
    "badge_bytes": Option(
        default=0, about="How many bytes a badge has that is sent as a number; 0: as few as hold it."
    ),
}


def access(
    setup: Setup,
    *,
    id: str,
    door: str,
    granted: bool,
    subject: str | None = None,
    time: datetime | None = None,
    flag: TimeFlag | None = None,
    **more: Json,
) -> Parsed:
    """Return the `door.access` event. `more` are further fields of its data; texts are cut to 200 characters."""
    cut = {name: value[:_TEXT_CHARS_MAX] if isinstance(value, str) else value for name, value in more.items()}
    data = {"door": door, "granted": granted, **cut}
    return usage_event(setup, kind="door", id=id, type=ACCESS, data=data, subject=subject, time=time, flag=flag)


def direction_of(setup: Setup, *doors: str | None) -> str | None:
    """Return which way a door leads that is known by `doors`, its id or name; None where nobody knows."""
    ways = setup.options["directions"]
    found = next((ways[door] for door in doors if door in ways), setup.options["direction"])
    return found or None


def badge_subject(setup: Setup, text: str) -> str:
    """Return the identity of a badge as the source's reader spells it. Raises BadInput (`bad_identity`)."""
    badge = badge_from(text, setup.options["badge_form"], length=setup.options["badge_bytes"])
    return f"badge:{badge}"


def hint(*, name: Json = None, email: Json = None) -> Mapping[str, str] | None:
    """Return by what a person may recognise whose an unclaimed identity is; nothing is billed by it.

    What is no text is left out, for nothing depends on it.
    """
    given = {"name": name, "email": email}
    texts = {key: value.strip()[:_HINT_CHARS_MAX] for key, value in given.items() if isinstance(value, str)}
    return {key: text for key, text in texts.items() if text} or None


def words(setup: Setup, option: str) -> tuple[str, ...]:
    """Return an option that is an array of words. Raises BadInput (`bad_payload`) where it holds something else."""
    listed = setup.options[option]
    if not all(isinstance(word, str) and word for word in listed):
        message = f"the option {option} of {setup.vendor} {setup.name} holds something that is no word"
        raise bad_payload(message)
    return tuple(listed)
