"""Which representation a caller wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from meter.model.errors import BadInput


def best_media(request: web.Request, offered: Sequence[str]) -> str:
    """Return the offered media type that the caller likes best; the first one where it does not matter.

    Raises BadInput (`not_acceptable`) naming what is offered.
    """
    header = ",".join(request.headers.getall("Accept", [])).strip()
    if not header:
        return offered[0]
    ranges = [_media_range(part) for part in header.split(",") if part.strip()]
    liked = [(_quality(media, ranges), -place, media) for place, media in enumerate(offered)]
    quality, _, media = max(liked)
    if quality <= 0:
        raise BadInput(f"Accept is {header[:80]!r}; there are {', '.join(offered)}", code="not_acceptable")
    return media


def _media_range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return media, quality


def _quality(media: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that fits: `text/csv` before `text/*` before `*/*`."""
    kind = media.partition("/")[0]
    for wanted in (media, f"{kind}/*", "*/*"):
        fitting = [quality for name, quality in ranges if name == wanted]
        if fitting:
            return max(fitting)
    return 0.0
