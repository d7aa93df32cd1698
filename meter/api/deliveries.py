"""The outbox: what each target was sent and is to be sent, and trying again what was refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from meter.api.routing import JSON, InstantText, Limit, Model, Query, Route, json_answer, principal_of, query_of
from meter.api.services import Services
from meter.export.payload import whose
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.store.deliveries import (
    Delivery,
    Make,
    Renew,
    Retried,
    TargetSummary,
    list_deliveries,
    retry_dead,
    show_delivery,
    summarize,
)
from meter.store.outbox import State
from meter.store.resending import resend as resend_delivered

_ID: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class DeliveriesQuery(Query, kw_only=True):
    """A page of the outbox, newest first."""

    target: str | None = None
    state: State | None = None
    cursor: Annotated[str, msgspec.Meta(description="The `next` of an earlier answer.")] = ""
    limit: Limit = 100


class DeliveryJson(Model, kw_only=True):
    """One item of the outbox. `fault` is the reason of the last failure; `due` when it may be tried next.

    `account` or `site`: whom or where it is about; both null where it is about several, or about nobody. `asked_by`:
    the key that had it made again by hand (`command line` where it was no key); null where nobody did.
    """

    id: str
    target: str
    operation: str
    account: str | None
    site: str | None
    batch: str
    revision: int
    key: str
    stream: str
    state: State
    attempts: int
    created: InstantText
    due: InstantText | None
    first_sent: InstantText | None
    delivered: InstantText | None
    remote_id: str | None
    fault: str | None
    asked_by: str | None


class DeliveryShown(DeliveryJson, kw_only=True):
    """The same with its payload: the very content that the target is sent."""

    payload: Any


class DeliveriesPage(Model, kw_only=True):
    """Deliveries, newest first; `next` is null at the end."""

    deliveries: list[DeliveryJson]
    next: str | None


class HeldJson(Model, kw_only=True):
    """Why nothing is sent to a target for now. `failing_since`: it counts as down; null: it has asked for time."""

    until: InstantText
    failing_since: InstantText | None
    fault: str


class TargetDeliveries(Model, kw_only=True):
    """A target's deliveries by state; `oldest` is when the oldest was made that is still open."""

    target: str
    states: dict[State, int]
    oldest: InstantText | None
    held: HeldJson | None


class DeliveriesSummary(Model, kw_only=True):
    """Every target that was ever to be sent something, by name."""

    targets: list[TargetDeliveries]


def routes(services: Services) -> list[Route]:
    """Return the routes of the list and its action."""

    async def show_all(request: web.Request) -> web.StreamResponse:
        query = query_of(request, DeliveriesQuery)
        before = _number(query.cursor, what="cursor") if query.cursor else None
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await list_deliveries(
                conn, operator, target=query.target, state=query.state, before=before, deliveries_max=query.limit
            )
        following = str(found[-1].id) if len(found) == query.limit else None
        return json_answer(DeliveriesPage(deliveries=[delivery_json(one) for one in found], next=following))

    async def show(request: web.Request) -> web.StreamResponse:
        delivery = _number(request.match_info["id"], what="id")
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            return json_answer(shown_json(await show_delivery(conn, operator, delivery)))

    async def anew(request: web.Request, make: Make, *, left: str) -> web.StreamResponse:
        delivery = _number(request.match_info["id"], what="id")
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            again = await make(conn, operator, [delivery])
            made = [await show_delivery(conn, operator, id) for id in again.made]
        if not made:
            raise BadInput(f"delivery {delivery} {left}: {again.left[delivery]}", code="conflict")
        services.booked.notify()
        return json_answer(delivery_json(made[0]), status=201)

    async def retry(request: web.Request) -> web.StreamResponse:
        return await anew(request, _by(request, retry_dead, services.renew), left="is dead as before")

    async def resend(request: web.Request) -> web.StreamResponse:
        return await anew(request, _by(request, resend_delivered, services.resend), left="is not sent again")

    async def summary(_request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await summarize(conn, operator)
        return json_answer(DeliveriesSummary(targets=[target_json(one) for one in found]))

    return [
        Route(
            method="GET",
            path="/v1/deliveries",
            handler=show_all,
            tag="work lists",
            summary="What each export target was sent and is to be sent, newest first",
            scope="usage:read",
            query=DeliveriesQuery,
            answers={JSON: DeliveriesPage},
        ),
        Route(
            method="GET",
            path="/v1/deliveries/summary",
            handler=summary,
            tag="work lists",
            summary="How many deliveries of each target are in each state, and which targets are left alone",
            scope="usage:read",
            answers={JSON: DeliveriesSummary},
        ),
        Route(
            method="GET",
            path="/v1/deliveries/{id}",
            handler=show,
            tag="work lists",
            summary="One delivery with its payload",
            scope="usage:read",
            answers={JSON: DeliveryShown},
        ),
        Route(
            method="POST",
            path="/v1/deliveries/{id}/retry",
            handler=retry,
            tag="work lists",
            summary="Send a dead delivery again, as a new revision under a new key",
            description="Only dead ones, made anew by what is set today; 409 for others, which go on by themselves.",
            scope="admin",
            answers={JSON: DeliveryJson},
            status=201,
        ),
        Route(
            method="POST",
            path="/v1/deliveries/{id}/resend",
            handler=resend,
            tag="work lists",
            summary="Send again what a target was delivered and does not hold any more",
            description="A new revision: the target is asked for it first, and sent it only where it does not hold it. "
            "409 for what is not delivered, was followed by another revision, or is of a target that cannot be asked.",
            scope="admin",
            answers={JSON: DeliveryJson},
            status=201,
        ),
    ]


def _by(request: web.Request, make: Callable[..., Awaitable[Retried]], renew: Renew | None) -> Make:
    return partial(make, by=principal_of(request).key, renew=renew)


def delivery_json(delivery: Delivery) -> DeliveryJson:
    """Return a delivery as it leaves."""
    return DeliveryJson(**_fields(delivery))


def shown_json(delivery: Delivery) -> DeliveryShown:
    """Return a delivery with its payload: as JSON where it is some, else as text."""
    content = delivery.payload or b""
    try:
        payload = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        payload = content.decode(errors="replace")
    return DeliveryShown(payload=payload, **_fields(delivery))


def target_json(found: TargetSummary) -> TargetDeliveries:
    """Return a target's deliveries as they leave."""
    held = found.held
    return TargetDeliveries(
        target=found.target,
        states=dict(found.states),
        oldest=None if found.oldest_at is None else instant_text(found.oldest_at),
        held=None
        if held is None
        else HeldJson(
            until=instant_text(held.held_until),
            failing_since=None if held.failing_since is None else instant_text(held.failing_since),
            fault=held.fault,
        ),
    )


def _fields(delivery: Delivery) -> dict[str, Any]:
    settled = delivery.state not in {"pending", "uncertain"}
    account, site = whose(delivery.operation, delivery.stream)
    return {
        "id": str(delivery.id),
        "target": delivery.target,
        "operation": delivery.operation,
        "account": account,
        "site": site,
        "batch": delivery.batch,
        "revision": delivery.revision,
        "key": delivery.key,
        "stream": delivery.stream,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created": instant_text(delivery.created_at),
        "due": None if settled else instant_text(delivery.due_at),
        "first_sent": None if delivery.first_sent_at is None else instant_text(delivery.first_sent_at),
        "delivered": None if delivery.delivered_at is None else instant_text(delivery.delivered_at),
        "remote_id": delivery.remote_id,
        "fault": delivery.fault,
        "asked_by": delivery.asked_by,
    }


def _number(given: str, *, what: str) -> int:
    if not _ID.fullmatch(given):
        message = f"{what} is {given[:60]!r}; a delivery is named by a number, as GET /v1/deliveries shows it"
        raise BadInput(message, code="not_found" if what == "id" else "bad_cursor")
    return int(given)
