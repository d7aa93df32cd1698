"""Who nobody is: identities without a claim, and claiming them."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from aiohttp import web

from meter.api.routing import (
    JSON,
    Body,
    InstantText,
    Limit,
    Model,
    Query,
    Route,
    body_of,
    json_answer,
    principal_of,
    query_of,
)
from meter.api.services import Services
from meter.model.errors import BadInput
from meter.model.instant import instant_text, parse_instant
from meter.store.hashing import stored_identity
from meter.store.suggestions import Strength, Suggestion, suggestions_for
from meter.store.unresolved import UnresolvedIdentity, claim_identity, unresolved_identities

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
StrengthName: TypeAlias = Literal["strong", "likely", "weak"]
STRENGTHS: Final[Mapping[Strength, StrengthName]] = {
    Strength.strong: "strong",
    Strength.likely: "likely",
    Strength.weak: "weak",
}
DateOrInstant = Annotated[str, msgspec.Meta(description="A date (midnight in the account's zone) or RFC 3339.")]


class UnresolvedQuery(Query, kw_only=True):
    """A page of the list, in the order of identities."""

    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class IdentityJson(Model, kw_only=True):
    """An identity that nobody has claimed. Null gathers the sales on account that name nobody."""

    identity: str | None
    events: int
    first: InstantText
    last: InstantText
    sites: list[str]
    types: list[str]


class UnresolvedPage(Model, kw_only=True):
    """Identities in order; `next` is null at the end."""

    identities: list[IdentityJson]
    next: str | None


class ClaimOfIdentity(Body, kw_only=True):
    """Whose the identity is, and since when; without `from` since its earliest event."""

    member: str
    from_: DateOrInstant | None = msgspec.field(default=None, name="from")
    to: DateOrInstant | None = None


class ReasonJson(Model, kw_only=True):
    """Why a member may be meant."""

    code: str
    strength: StrengthName
    text: str


class SuggestionJson(Model, kw_only=True):
    """A member whose the identity may be, with every reason, the strongest first. Nothing is claimed by itself."""

    member: str
    name: str
    strength: StrengthName
    reasons: list[ReasonJson]


class SuggestionsJson(Model, kw_only=True):
    """Whose an identity may be, the likeliest first; empty: nothing speaks for anybody."""

    identity: str
    suggestions: list[SuggestionJson]


class Claimed(Model, kw_only=True):
    """The claim as it stands, and the accounts that are rated again for it."""

    identity: str
    member: str
    changed: bool
    accounts: list[str]


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its action."""

    async def show(request: web.Request) -> web.StreamResponse:
        query = query_of(request, UnresolvedQuery)
        after = identity_after(query.cursor) if query.cursor else None
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await unresolved_identities(
                conn, operator, after=after, site=principal_of(request).site, identities_max=query.limit
            )
        following = identity_cursor(found[-1].identity) if len(found) == query.limit else None
        return json_answer(UnresolvedPage(identities=[identity_json(item) for item in found], next=following))

    async def claim(request: web.Request) -> web.StreamResponse:
        wanted = await body_of(request, ClaimOfIdentity)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            identity = await stored_identity(conn, operator, request.match_info["identity"])
            outcome = await claim_identity(
                conn,
                operator,
                identity,
                member=wanted.member,
                start=when(wanted.from_, what="from"),
                end=when(wanted.to, what="to"),
                now=services.clock(),
            )
        services.accepted.notify()
        accounts = sorted({touch.account for touch in outcome.touches})
        return json_answer(Claimed(identity=identity, member=wanted.member, changed=bool(outcome), accounts=accounts))

    async def suggest(request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            identity = await stored_identity(conn, operator, request.match_info["identity"])
            found = await suggestions_for(conn, operator, identity)
        return json_answer(SuggestionsJson(identity=identity, suggestions=suggestions_json(found)))

    return [
        Route(
            method="GET",
            path="/v1/unresolved",
            handler=show,
            tag="work lists",
            summary="Identities that nobody has claimed, with what waits for them",
            scope="usage:read",
            open_to=frozenset({"site"}),
            query=UnresolvedQuery,
            answers={JSON: UnresolvedPage},
        ),
        Route(
            method="GET",
            path="/v1/unresolved/{identity}/suggestions",
            handler=suggest,
            tag="work lists",
            summary="Whose an unclaimed identity may be, and why; nothing is claimed by itself",
            scope="catalog:write",  # names and addresses of members, for those who may claim
            answers={JSON: SuggestionsJson},
        ),
        Route(
            method="POST",
            path="/v1/unresolved/{identity}/claim",
            handler=claim,
            tag="work lists",
            summary="Claim an identity for a member; its events are rated at their own times",
            scope="catalog:write",
            bodies={JSON: ClaimOfIdentity},
            answers={JSON: Claimed},
        ),
    ]


def when(given: str | None, *, what: str) -> date | datetime | None:
    """Return the date or the instant that `given` names. Raises BadInput (`bad_time`)."""
    if given is None:
        return None
    if not _DATE.fullmatch(given):
        try:
            return parse_instant(given, what=what)
        except BadInput as error:
            raise BadInput(f"{error.detail}; or a date, like 2026-03-02", code=error.code) from error
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise BadInput(f"{what} is {given!r}: {error}; send a date that exists", code="bad_time") from error


def identity_json(item: UnresolvedIdentity) -> IdentityJson:
    """Return the identity as it leaves."""
    return IdentityJson(
        identity=item.identity or None,
        events=item.events,
        first=instant_text(item.first),
        last=instant_text(item.last),
        sites=list(item.sites),
        types=list(item.types),
    )


def suggestions_json(found: Sequence[Suggestion]) -> list[SuggestionJson]:
    """Return suggestions as they leave."""
    return [
        SuggestionJson(
            member=one.member,
            name=one.name,
            strength=STRENGTHS[one.strength],
            reasons=[ReasonJson(code=r.code, strength=STRENGTHS[r.strength], text=r.text) for r in one.reasons],
        )
        for one in found
    ]


def identity_cursor(identity: str) -> str:
    """Return the cursor of a page that ends with `identity`."""
    return "u" + urlsafe_b64encode(identity.encode()).decode().rstrip("=")


def identity_after(cursor: str) -> str:
    """Return the identity in a cursor of `identity_cursor`'s. Raises BadInput (`bad_cursor`)."""
    try:
        identity = urlsafe_b64decode(cursor[1:] + "=" * (-len(cursor[1:]) % 4)).decode()
    except ValueError:
        identity = "\0"
    if "\0" in identity or identity_cursor(identity) != cursor:
        message = f"{cursor[:60]!r} is no cursor; use the `next` of an earlier answer unchanged, or none to begin"
        raise BadInput(message, code="bad_cursor")
    return identity
