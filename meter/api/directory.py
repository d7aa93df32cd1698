"""The directory: accounts, members, identities, subscriptions and given grants, each put under its own id.

Bodies have the fields of the catalog's entries and are read by the same code. Put again, an entry changes nothing; what
its body leaves out has its default, but links, claims and subscriptions that it does not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.catalog import IssueJson, issues_json, text_of
from meter.api.directory_json import (
    AccountBody,
    GrantBody,
    HeldSubscriptionBody,
    IdentityBody,
    MemberBody,
    StoredAccount,
    StoredGrant,
    StoredIdentity,
    StoredMember,
    StoredSubscription,
    account_json,
    grant_json,
    identity_json,
    member_json,
    subscription_json,
)
from meter.api.routing import JSON, Model, Route, json_answer
from meter.api.services import Services
from meter.catalog.draft import DirectoryDraft
from meter.catalog.entry import Entry
from meter.catalog.issues import Faults, Place
from meter.catalog.nodes import read_json, texts_in
from meter.catalog.people import PeopleReader
from meter.model.errors import BadInput
from meter.store.apply import apply_directory, open_reader
from meter.store.directory import (
    read_accounts,
    read_claims,
    read_grants,
    read_links,
    read_members,
    read_subscriptions,
)
from meter.store.hashing import stored_identity

# Reads the body, an entry put under `id`.
ReadEntry: TypeAlias = Callable[[PeopleReader, str, Entry], None]
# Returns the entry that was put as it is stored then.
ReadBack: TypeAlias = Callable[[AsyncConnection, str, DirectoryDraft, list[IssueJson]], Awaitable[Model]]


def routes(services: Services) -> list[Route]:
    """Return the routes of the directory."""

    def route(
        path: str, read: ReadEntry, back: ReadBack, *, summary: str, body: Any, answer: Any, post: bool = False
    ) -> Route:
        async def handle(request: web.Request) -> web.StreamResponse:
            name = request.match_info["id"]
            return json_answer(await _put(services, name, await text_of(request, JSON), read, back))

        return Route(
            method="POST" if post else "PUT",
            path=path,
            handler=handle,
            tag="directory",
            summary=summary,
            scope="catalog:write",
            bodies={JSON: body},
            answers={JSON: answer},
        )

    return [
        route(
            "/v1/accounts/{id}",
            _checked(PeopleReader.account),
            _account,
            summary="Put an account",
            body=AccountBody,
            answer=StoredAccount,
        ),
        route(
            "/v1/members/{id}",
            _checked(PeopleReader.member),
            _member,
            summary="Put a member with links, identities and subscriptions",
            body=MemberBody,
            answer=StoredMember,
        ),
        route(
            "/v1/identities/{id}",
            PeopleReader.identity,
            _identity,
            summary="Say whose an identity is, and since when",
            body=IdentityBody,
            answer=StoredIdentity,
        ),
        route(
            "/v1/subscriptions/{id}",
            _checked(PeopleReader.subscription),
            _subscription,
            summary="Put a subscription of an account or a member",
            body=HeldSubscriptionBody,
            answer=StoredSubscription,
        ),
        route(
            "/v1/accounts/{id}/grants",
            _read_grant,
            _grant,
            summary="Give credit to an account, or to one of its members",
            body=GrantBody,
            answer=StoredGrant,
            post=True,
        ),
    ]


async def _put(services: Services, name: str, text: str, read: ReadEntry, back: ReadBack) -> Model:
    """Put one entry and return it as stored. Raises CatalogError with every fault of the body."""
    operator = await services.require_operator()
    faults = Faults()
    root = read_json(text, file="body", faults=faults)
    faults.settle()
    now = services.clock()
    async with services.db.begin() as conn:
        reader = await open_reader(conn, operator, now=now, naming={name, *texts_in(root)})
        read(reader, name, Entry(root, Place("body", None, ""), faults))
        faults.settle()
        draft = reader.draft()
        outcome = await apply_directory(conn, operator, draft, now=now)
        answer = await back(conn, operator, draft, issues_json((*faults.warnings, *outcome.warnings)))
    if outcome:
        services.accepted.notify()
    return answer


def _checked(read: ReadEntry) -> ReadEntry:
    """Return `read` for entries whose id is the operator's choice."""

    def checked(reader: PeopleReader, name: str, entry: Entry) -> None:
        entry.check_id(name, Place("path", None, "id"))
        read(reader, name, entry)

    return checked


def _read_grant(reader: PeopleReader, name: str, entry: Entry) -> None:
    if name not in reader.accounts:
        raise BadInput(f"there is no account {name[:60]!r}; put it first", code="not_found")
    reader.grant(entry, account=name)


async def _account(
    conn: AsyncConnection, operator: str, draft: DirectoryDraft, warnings: list[IssueJson]
) -> StoredAccount:
    name = draft.accounts[0].id
    (account,) = await read_accounts(conn, operator, {name})
    return account_json(account, await read_subscriptions(conn, operator, ((), {name}, ())), warnings)


async def _member(
    conn: AsyncConnection, operator: str, draft: DirectoryDraft, warnings: list[IssueJson]
) -> StoredMember:
    name = draft.members[0].id
    (member,) = await read_members(conn, operator, {name})
    return member_json(
        member,
        links=await read_links(conn, operator, {name}),
        claims=[claim for claim in await read_claims(conn, operator, of_members={name}) if not claim.is_withdrawn],
        held=await read_subscriptions(conn, operator, ((), (), {name})),
        warnings=warnings,
    )


async def _identity(
    conn: AsyncConnection, operator: str, draft: DirectoryDraft, warnings: list[IssueJson]
) -> StoredIdentity:
    identity = await stored_identity(conn, operator, draft.claims[0].identity)
    claims = await read_claims(conn, operator, of_identities={identity})
    return identity_json(identity, [claim for claim in claims if not claim.is_withdrawn], warnings)


async def _subscription(
    conn: AsyncConnection, operator: str, draft: DirectoryDraft, warnings: list[IssueJson]
) -> StoredSubscription:
    (held,) = await read_subscriptions(conn, operator, ({draft.subscriptions[0].id}, (), ()))
    return StoredSubscription(**msgspec.structs.asdict(subscription_json(held)), warnings=warnings)


async def _grant(conn: AsyncConnection, operator: str, draft: DirectoryDraft, warnings: list[IssueJson]) -> StoredGrant:
    (grant,) = await read_grants(conn, operator, {draft.grants[0].id})
    return grant_json(grant, warnings)
