"""Taking in catalogs: PUT /v1/catalog does what `meter apply` does, with `dry_run=1` what `meter plan` does."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web

from meter.api.costs import AccountCostJson, costs_json
from meter.api.routing import JSON, InstantText, Model, Query, Route, json_answer, query_of
from meter.api.services import Services
from meter.booking.preview import AccountPreview, facts_with, previews
from meter.catalog.issues import Issue
from meter.catalog.load import LoadedCatalog, read_catalog_json, read_catalog_text
from meter.catalog.people import Known
from meter.model.directory import SINCE_ALWAYS
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.apply import REASON_CHARS_MAX, Outcome, apply_catalog, preview_catalog, read_known_to
from meter.transport.http_body import read_body

YAML: Final = "application/yaml"
_YAML_TYPES: Final = (YAML, "application/x-yaml", "text/yaml", "text/x-yaml")


class CatalogQuery(Query, kw_only=True):
    """How to take the catalog in."""

    dry_run: Annotated[bool, msgspec.Meta(description="Tell what would change, and change nothing.")] = False
    reason: Annotated[
        str, msgspec.Meta(max_length=REASON_CHARS_MAX, description="Why; asked for where it takes effect in the past.")
    ] = ""


class CatalogBody(Model, kw_only=True):
    """The sections of a catalog, as in its YAML files."""

    operator: str
    currency: str
    timezone: str


class SectionJson(Model, kw_only=True):
    """A section of the catalog that differs from the version before it: ids of its entries."""

    section: str
    added: list[str]
    changed: list[str]
    removed: list[str]


class EntriesJson(Model, kw_only=True):
    """Entries of the directory, by how they differ from what was stored."""

    added: int
    changed: int


class RefoldJson(Model, kw_only=True):
    """The accounts that are folded again. `since` null: since always."""

    accounts: int
    since: InstantText | None


class IssueJson(Model, kw_only=True):
    """Something accepted that does less than it says. `line` is null where the body has no lines."""

    file: str
    line: int | None
    path: str
    message: str


class AppliedJson(Model, kw_only=True):
    """What a catalog changes. `version` null: it says nothing new; `effective` null: since always.

    `needs_reason`: it takes effect in the past, and is applied only with a reason. `costs` is what it would book, by
    account; null where it was applied.
    """

    operator: str
    applied: bool
    version: int | None
    effective: InstantText | None
    needs_reason: bool
    sections: list[SectionJson]
    directory: dict[str, EntriesJson]
    refolds: RefoldJson
    warnings: list[IssueJson]
    costs: list[AccountCostJson] | None = None


def routes(services: Services) -> list[Route]:
    """Return the route of the catalog."""

    async def put(request: web.Request) -> web.StreamResponse:
        query = query_of(request, CatalogQuery)
        text = await text_of(request, JSON, *_YAML_TYPES)
        now = services.clock()
        # Reading takes its time: no transaction is held meanwhile, nor the loop. What is known only ever grows.
        async with services.db.begin() as conn:
            known = await read_known_to(conn)
        loaded = await asyncio.to_thread(_load, request.content_type, text, known)
        async with services.db.begin() as conn:
            if query.dry_run:
                outcome = await preview_catalog(conn, loaded, now=now)
            else:
                outcome = await apply_catalog(conn, loaded, now=now, reason=query.reason or None)
        told = outcome_json(outcome, loaded.warnings, applied=not query.dry_run)
        if query.dry_run:
            told.costs = costs_json(await _costs(services, loaded, outcome, now))
        elif outcome:
            services.accepted.notify()
        return json_answer(told)

    return [
        Route(
            method="PUT",
            path="/v1/catalog",
            handler=put,
            tag="catalog",
            summary="Take in a catalog and the people that it names",
            description="YAML or JSON with the sections of the catalog's files. Sent again, it changes nothing.",
            scope="catalog:write",
            query=CatalogQuery,
            bodies={YAML: bytes, JSON: CatalogBody},
            answers={JSON: AppliedJson},
        )
    ]


async def text_of(request: web.Request, *media_types: str) -> str:
    """Return the body's text. Raises BadInput: `unsupported_media_type`; `bad_json` or `bad_yaml`, not UTF-8."""
    given = request.content_type
    if given not in media_types and not (JSON in media_types and given.endswith("+json")):
        message = f"Content-Type is {given[:80]!r}; send {' or '.join(media_types)}"
        raise BadInput(message, code="unsupported_media_type")
    try:
        return (await read_body(request)).decode()
    except UnicodeDecodeError as error:
        code = "bad_yaml" if given in _YAML_TYPES else "bad_json"
        raise BadInput(f"the body is not UTF-8: {error}", code=code) from error


async def _costs(services: Services, loaded: LoadedCatalog, outcome: Outcome, now: datetime) -> list[AccountPreview]:
    """Return what the outcome would book, for each account for which it is anything."""
    if not outcome.touches:
        return []
    facts = await facts_with(services.db, loaded, outcome.operator, at=now)
    since = {touch.account: touch.since for touch in outcome.touches}
    found = [one async for one in previews(services.db, outcome.operator, facts, since, at=now)]
    return [one for one in found if one.charges or one.fault is not None]


def _load(content_type: str, text: str, known: Known) -> LoadedCatalog:
    if content_type in _YAML_TYPES:
        return read_catalog_text([("body", text)], known=known)
    return read_catalog_json(text, known=known)


def outcome_json(outcome: Outcome, warnings: tuple[Issue, ...], *, applied: bool) -> AppliedJson:
    """Return the outcome as it leaves."""
    since = min((touch.since for touch in outcome.touches), default=SINCE_ALWAYS)
    return AppliedJson(
        operator=outcome.operator,
        applied=applied,
        version=outcome.version,
        effective=None if outcome.effective is None else instant_text(outcome.effective),
        needs_reason=outcome.needs_reason,
        sections=[
            SectionJson(section=s.section, added=list(s.added), changed=list(s.changed), removed=list(s.removed))
            for s in outcome.sections
        ],
        directory={
            kind: EntriesJson(
                added=sum(change.before is None for change in changes),
                changed=sum(change.before is not None for change in changes),
            )
            for kind, changes in outcome.changes.by_kind().items()
            if changes
        },
        refolds=RefoldJson(accounts=len(outcome.touches), since=None if since == SINCE_ALWAYS else instant_text(since)),
        warnings=issues_json((*warnings, *outcome.warnings)),
    )


def issues_json(issues: tuple[Issue, ...]) -> list[IssueJson]:
    """Return issues as they leave."""
    return [IssueJson(file=i.file, line=i.line, path=i.path, message=i.message) for i in issues]
