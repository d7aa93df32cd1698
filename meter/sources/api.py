"""Requests of vendors' JSON interfaces, and rows of what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.strict_json import exact_json
from meter.model.wire import Parsed
from meter.sources.fields import Fields
from meter.sources.make import refused
from meter.sources.spec import Request, Setup, Token


def api_request(
    setup: Setup,
    path: str,
    *,
    base: str = "",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    content: Json = None,
    token: Token | None = None,
    verify_tls: bool = True,
) -> Request:
    """Return the request of `path` below `api_base` (where that is not set: `base`): a POST of `content`, else a GET.

    Shown is `api_key` as a bearer token (RFC 6750), or what `token` brings.
    """
    shown = {"Accept": "application/json", **(headers or {})}
    if token is None:
        shown["Authorization"] = f"Bearer {setup.api_key}"
    if content is not None:
        shown["Content-Type"] = "application/json"
    return Request(
        method="GET" if content is None else "POST",
        url=f"{(setup.api_base or base).rstrip('/')}{path}",
        query=query or {},
        headers=shown,
        body=b"" if content is None else msgspec.json.encode(content),
        token=token,
        verify_tls=verify_tls,
    )


def each_row(rows: Iterable[Json], read: Callable[[Fields], Sequence[Parsed]]) -> list[Parsed]:
    """Return what `read` makes of each object in an answer's array; one that it cannot read is one refusal."""
    items: list[Parsed] = []
    for row in rows:
        try:
            items.extend(read(Fields(row)))
        except BadInput as error:
            items.append(refused(error, exact_json(row).encode()))
    return items
