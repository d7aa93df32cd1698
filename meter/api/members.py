"""Members that turn out to be one: what merging them would book, and merging them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from aiohttp import web

from meter.api.costs import AccountCostJson, costs_json
from meter.api.routing import JSON, Body, Model, Query, Route, body_of, json_answer, query_of
from meter.api.services import Services
from meter.booking.preview import AccountPreview, facts_after, previews
from meter.store.merge import Merge, merge_members


class MergeQuery(Query, kw_only=True):
    """How to merge."""

    dry_run: Annotated[bool, msgspec.Meta(description="Tell what would change, and change nothing.")] = False


class MergeBody(Body, kw_only=True):
    """The member that the other one turned out to be."""

    into: str


class MergeJson(Model, kw_only=True):
    """What becomes the other's, and the accounts that are rated again.

    `changed` false: they were one before. `costs` is what it would book, by account; null where it was applied.
    """

    member: str
    into: str
    applied: bool
    changed: bool
    claims: int
    links: int
    subscriptions: int
    grants: int
    accounts: list[str]
    costs: list[AccountCostJson] | None = None


def routes(services: Services) -> list[Route]:
    """Return the route."""

    async def merge(request: web.Request) -> web.StreamResponse:
        query, wanted = query_of(request, MergeQuery), await body_of(request, MergeBody)
        operator = await services.require_operator()
        work = partial(merge_members, operator=operator, member=request.match_info["id"], into=wanted.into)
        if query.dry_run:
            done, facts = await facts_after(services.db, work, operator)
            since = {touch.account: touch.since for touch in done.touches}
            found = [one async for one in previews(services.db, operator, facts, since, at=services.clock())]
            return json_answer(merge_json(done, costs=found))
        async with services.db.begin() as conn:
            done = await work(conn)
        services.accepted.notify()
        return json_answer(merge_json(done, costs=None))

    return [
        Route(
            method="POST",
            path="/v1/members/{id}/merge",
            handler=merge,
            tag="directory",
            summary="Merge a member into another that it turned out to be",
            description="Identities, links, subscriptions and grants become the other's; the name stays and means it.",
            scope="catalog:write",
            query=MergeQuery,
            bodies={JSON: MergeBody},
            answers={JSON: MergeJson},
        )
    ]


def merge_json(done: Merge, *, costs: list[AccountPreview] | None) -> MergeJson:
    """Return a merge as it leaves; `costs`: what it would book, where it is a preview."""
    told = None if costs is None else costs_json(one for one in costs if one.charges or one.fault is not None)
    return MergeJson(
        member=done.member,
        into=done.into,
        applied=costs is None,
        changed=done.changed,
        claims=done.claims,
        links=done.links,
        subscriptions=done.subscriptions,
        grants=done.grants,
        accounts=[touch.account for touch in done.touches],
        costs=told,
    )
