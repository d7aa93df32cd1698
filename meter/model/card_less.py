"""What came in, without the numbers of payment cards: at the gateway's door and at that of an agent on site."""

from __future__ import annotations

from meter.model import card_number
from meter.model.errors import BadInput
from meter.model.event import EDGE_REFUSAL
from meter.model.wire import Parsed, Refusal, WireEvent, read_event


def card_less(parsed: Parsed) -> Parsed:
    """Return the same, or a refusal (`card_number`) whose bytes have the number masked.

    What is refused already stays refused for its own reason, and what an agent could not read stays for people to see,
    both masked.
    """
    body, where = card_number.masked_body(parsed.body)
    if where is None:
        return parsed
    if isinstance(parsed, Refusal):
        error = BadInput(card_number.masked_detail(parsed.detail), code=parsed.code)
    else:
        masked = read_event(body)
        if parsed.type == EDGE_REFUSAL and isinstance(masked, WireEvent):
            return masked
        error = card_number.refused(where)
    return Refusal(
        code=error.code,
        detail=error.detail,
        body=body,
        source=_plain(parsed.source),
        id=_plain(parsed.id),
        site=_plain(parsed.site),
        # An agent of such a name has no place to be marked at.
        edge=parsed.edge if _plain(parsed.edge) == parsed.edge else None,
        boot=parsed.boot,
        sequence=parsed.sequence,
    )


def _plain(text: str | None) -> str | None:
    return None if text is None else card_number.masked_text(text)
