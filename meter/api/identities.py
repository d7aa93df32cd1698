"""Whose identities are, and were: claims listed, and withdrawn where they were wrong from the start."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from meter.api.directory_json import ClaimJson, claim_json
from meter.api.routing import JSON, Limit, Model, Query, Route, json_answer, query_of
from meter.api.services import Services
from meter.api.unresolved import Claimed, identity_after, identity_cursor, when
from meter.store.hashing import stored_identity
from meter.store.identities import ALWAYS, ClaimedIdentity, Since, claimed_identities, withdraw_claim


class IdentitiesQuery(Query, kw_only=True):
    """A page of the list, in the order of identities."""

    member: Annotated[str, msgspec.Meta(description="Only identities that this member ever claimed.")] = ""
    identity: Annotated[str, msgspec.Meta(description="Only this one, `kind:value`.")] = ""
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class WithdrawalQuery(Query, kw_only=True):
    """Which claim of the identity is withdrawn."""

    member: Annotated[str, msgspec.Meta(min_length=1, description="Whose claim.")]
    from_: Annotated[
        str,
        msgspec.Meta(description="Where the member has several: its start, a date, RFC 3339, or `always`."),
    ] = msgspec.field(default="", name="from")


class ClaimedIdentityJson(Model, kw_only=True):
    """An identity with every claim of it: of several that cover an instant the latest start counts."""

    identity: str
    claims: list[ClaimJson]


class IdentitiesPage(Model, kw_only=True):
    """Identities in order; `next` is null at the end."""

    identities: list[ClaimedIdentityJson]
    next: str | None


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its action."""

    async def show(request: web.Request) -> web.StreamResponse:
        query = query_of(request, IdentitiesQuery)
        after = identity_after(query.cursor) if query.cursor else None
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await claimed_identities(
                conn,
                operator,
                identity=query.identity or None,
                member=query.member or None,
                after=after,
                identities_max=query.limit,
            )
        more = not query.identity and len(found) == query.limit
        following = identity_cursor(found[-1].identity) if more else None
        return json_answer(IdentitiesPage(identities=[claimed_json(one) for one in found], next=following))

    async def withdraw(request: web.Request) -> web.StreamResponse:
        query = query_of(request, WithdrawalQuery)
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            identity = await stored_identity(conn, operator, request.match_info["id"])
            outcome = await withdraw_claim(
                conn, operator, identity, member=query.member, since=since_given(query.from_ or None, what="from")
            )
        services.accepted.notify()
        accounts = sorted({touch.account for touch in outcome.touches})
        return json_answer(Claimed(identity=identity, member=query.member, changed=bool(outcome), accounts=accounts))

    return [
        Route(
            method="GET",
            path="/v1/identities",
            handler=show,
            tag="directory",
            summary="Claimed identities, with everyone whose they are and were",
            scope="catalog:write",  # whoever reads charges need not know which card opens the door
            query=IdentitiesQuery,
            answers={JSON: IdentitiesPage},
        ),
        Route(
            method="DELETE",
            path="/v1/identities/{id}",
            handler=withdraw,
            tag="directory",
            summary="Withdraw a member's claim of an identity, as if it had never been put",
            scope="catalog:write",
            query=WithdrawalQuery,
            answers={JSON: Claimed},
        ),
    ]


def since_given(given: str | None, *, what: str) -> Since:
    """Return which of a member's claims is meant. Raises BadInput (`bad_time`)."""
    return ALWAYS if given == ALWAYS else when(given, what=what)


def claimed_json(found: ClaimedIdentity) -> ClaimedIdentityJson:
    """Return the identity as it leaves."""
    return ClaimedIdentityJson(identity=found.identity, claims=[claim_json(claim) for claim in found.claims])
