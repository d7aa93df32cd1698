"""What may not change of a target that has begun, and what changes nothing any more. Pure."""

from __future__ import annotations

from meter.model.instant import instant_text
from meter.store.gathering import Begun, ExportCursor


def changed(target: str, cursor: ExportCursor, given: Begun) -> str | None:
    """Return why a target that began as something else cannot go on as what is `given`; None where it can.

    Its cursor counts charges or entries, its sums wait for documents of its mode, and what it replaces is named by
    ids of its kind, in the books of its company: read as another's, revenue would be passed over or told twice. A grain
    may change: sums that were begun are sent as they are, and what is booked from then on is summed anew.
    """
    begun = cursor.begun
    then, now = _said(begun, given), _said(given, begun)
    if then == now:
        return None
    return (
        f"{target} began on {instant_text(cursor.since)} as {then} and is set to {now}; set it back, or leave "
        f"{target} switched off (enabled = false) and give the new one a name of its own, with `start` on the first "
        "day that is not told yet (docs/targets.md)"
    )


def _said(begun: Begun, other: Begun) -> str:
    """Return as what it began; its company where the other one's is known, too."""
    mode = f", mode {begun.mode}" if begun.mode else ""
    company = f", company {begun.company}" if begun.company and other.company else ""
    return f"kind {begun.kind}{mode}{company}, fed with {begun.reads}"


def ignored_start(target: str, cursor: ExportCursor, given: Begun) -> str | None:
    """Return what is to be said of a `start` that was set, changed or taken away after the target began; None: nothing.

    Nothing of the past is read again. Of what is booked late, only days and periods from the `start` of today on are
    sent.
    """
    then, now = cursor.begun.start, given.start
    if then == now:
        return None
    began = "with what was booked from then on" if then is None else f"with start = {then}"
    given_now = "has no start any more" if now is None else f"is set to start = {now}"
    back = f"set start = {then} again" if then is not None else "remove start"
    return (
        f"{target} began on {instant_text(cursor.since)} {began} and {given_now}: nothing that was passed over is sent "
        f"for that; {back}, or give the target another name, under which it begins anew (docs/targets.md)"
    )
