"""How an agent on site gets its keys, and how it loses them (decision 0017)."""

from __future__ import annotations

import shlex
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.edges import RevocationJson, revocation_json
from meter.api.routing import JSON, TEXT, Body, InstantText, Model, Route, body_of, json_answer, principal_of
from meter.api.services import Services
from meter.certificates import Authority, Issued, common_name, requested_key, revocation_list
from meter.clock import monotonic_s
from meter.config import Settings
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import instant_text
from meter.rundir import edge_ca_key
from meter.store import enrolment
from meter.store.edge_revocations import Agent
from meter.store.enrolment import EXPIRES_DEFAULT, EXPIRES_MAX, Enrollment
from meter.transport.http_body import read_body
from meter.transport.topics import ack_topic, agent_topic, clock_topic

PEM: Final = "application/x-pem-file"
# One who mistypes needs a few; guessing 100 bits needs all there are.
_WRONG_MAX: Final = 10
_WRONG_WITHIN_S: Final = 60.0
_ADDRESSES_MAX: Final = 1_024
# A request of a P-256 key has some 300 characters.
_REQUEST_CHARS_MAX: Final = 4_096


class OpenBody(Body, kw_only=True):
    """How long the code lasts."""

    expires_s: Annotated[int, msgspec.Meta(ge=60, le=int(EXPIRES_MAX.total_seconds()))] = int(
        EXPIRES_DEFAULT.total_seconds()
    )


class OpenedJson(Model, kw_only=True):
    """A code, shown this once, and what is typed with it on site."""

    site: str
    edge: str
    code: str
    expires: InstantText
    command: str


class EnrollBody(Body, kw_only=True):
    """A code, and a certificate request (PKCS #10, PEM) of a P-256 key. Its subject is not read."""

    code: Annotated[str, msgspec.Meta(max_length=100)]
    request: Annotated[str, msgspec.Meta(max_length=_REQUEST_CHARS_MAX)]


class CertificateJson(Model, kw_only=True):
    """A certificate, PEM. After `renew` the agent asks for another."""

    certificate: str
    expires: InstantText
    renew: InstantText


class EnrolledJson(CertificateJson, kw_only=True):
    """All that an agent needs. The API key is shown this once. `trust`: PEM; null: as its system does."""

    site: str
    edge: str
    api_key: str
    http_url: str | None
    mqtt_url: str | None
    trust: str | None


class RevokeBody(Body, kw_only=True):
    """Why an agent is shut out."""

    reason: str


class Attempts:
    """Counts wrong codes by address, the addresses of the last ones only."""

    def __init__(self) -> None:
        """Nobody has tried."""
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise BadInput (`too_many_attempts`) where this address has to wait."""
        wrong = self._wrong.get(address, deque())
        if len(wrong) == _WRONG_MAX and monotonic_s() - wrong[0] < _WRONG_WITHIN_S:
            raise BadInput("too many wrong codes from this address; wait a minute", code="too_many_attempts")

    def failed(self, address: str) -> None:
        """Count a wrong one."""
        self._wrong.setdefault(address, deque(maxlen=_WRONG_MAX)).append(monotonic_s())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _ADDRESSES_MAX:
            self._wrong.popitem(last=False)


def signing_key(settings: Settings) -> str:
    """Return the key that signs agents' certificates, PEM: the one that is set, else that of the data directory."""
    given = settings.edges.ca_key
    return edge_ca_key(settings.data_dir) if given is None else given.get_secret_value()


def opened_json(enrollment: Enrollment, code: str, settings: Settings) -> OpenedJson:
    """Return a new enrolment as it is told once."""
    url = settings.edges.http_url or "https://GATEWAY"
    return OpenedJson(
        site=enrollment.site,
        edge=enrollment.edge,
        code=code,
        expires=instant_text(enrollment.expires_at),
        command=shlex.join(["meter-edge", "enroll", url, code]),
    )


def acl_text(enrollments: Iterable[Enrollment]) -> str:
    """Return Mosquitto's rules for the agents that stand: each sends on its own topic and reads what it is told."""
    rules = ["# Agents on site, as `meter edges acl` prints them: the common names of their certificates."]
    for one in enrollments:
        if one.used_at is not None:
            told = (ack_topic(one.site, one.edge), clock_topic(one.site, one.edge))
            rules += ["", f"user {common_name(one.site, one.edge)}", f"topic write {agent_topic(one.site, one.edge)}"]
            rules += [f"topic read {topic}" for topic in told]
    return "\n".join(rules) + "\n"


def certificate_fields(issued: Issued) -> Mapping[str, str]:
    """Return the fields of `CertificateJson`."""
    renew = issued.expires_at - (issued.expires_at - issued.issued_at) / 3
    return {"certificate": issued.pem, "expires": instant_text(issued.expires_at), "renew": instant_text(renew)}


def routes(services: Services) -> list[Route]:
    """Return the routes of codes, keys and certificates; a key that is revoked here stops working here at once."""
    settings, attempts = services.settings, Attempts()

    async def open_one(request: web.Request) -> web.StreamResponse:
        operator, body, at = await services.require_operator(), await _optional(request), services.clock()
        async with services.db.begin() as conn:
            enrollment, code = await enrolment.open_enrollment(
                conn,
                operator,
                site=request.match_info["site"],
                edge=request.match_info["edge"],
                life=timedelta(seconds=body.expires_s),
                by=principal_of(request).key,
                at=at,
            )
        return json_answer(opened_json(enrollment, code, settings), status=201)

    async def use(request: web.Request) -> web.StreamResponse:
        address = request.remote or ""
        attempts.check(address)
        body, operator, at = await body_of(request, EnrollBody), await services.require_operator(), services.clock()
        public_key = requested_key(body.request)
        try:
            async with services.db.begin() as conn:
                signer = await _authority(conn, operator, settings, at=at)
                enrolled = await enrolment.use_enrollment(conn, operator, body.code, public_key, signer=signer, at=at)
        except BadInput as error:
            if error.code in {"unknown_code", "code_expired", "conflict"}:
                attempts.failed(address)
            raise
        services.keys.heard()
        answer = EnrolledJson(
            site=enrolled.site,
            edge=enrolled.edge,
            api_key=enrolled.secret,
            http_url=settings.edges.http_url,
            mqtt_url=settings.edges.mqtt_url,
            trust=settings.edges.trust,
            **certificate_fields(enrolled.certificate),
        )
        return json_answer(answer)

    async def renew(request: web.Request) -> web.StreamResponse:
        operator, at = await services.require_operator(), services.clock()
        site, edge = request.match_info["site"], request.match_info["edge"]
        async with services.db.begin() as conn:
            key = await enrolment.enrolled_key(conn, operator, site=site, edge=edge, key=principal_of(request).key)
            signer = await _authority(conn, operator, settings, at=at)
            issued = await enrolment.certify(conn, operator, site, edge, key, signer=signer, at=at)
        return json_answer(CertificateJson(**certificate_fields(issued)))

    async def revoke(request: web.Request) -> web.StreamResponse:
        operator, body = await services.require_operator(), await body_of(request, RevokeBody)
        agent = Agent(request.match_info["site"], request.match_info["edge"])
        async with services.db.begin() as conn:
            revocation = await enrolment.revoke_agent(
                conn, operator, agent, reason=body.reason, by=principal_of(request).key, at=services.clock()
            )
        services.keys.heard()
        return json_answer(revocation_json(revocation))

    async def crl(_request: web.Request) -> web.StreamResponse:
        operator, at = await services.require_operator(), services.clock()
        async with services.db.begin() as conn:
            signer = await _authority(conn, operator, settings, at=at)
            revoked = await enrolment.revoked_certificates(conn, operator, at=at)
        return web.Response(text=revocation_list(signer, revoked, at=at), content_type=PEM)

    async def ca(_request: web.Request) -> web.StreamResponse:
        operator, at = await services.require_operator(), services.clock()
        async with services.db.begin() as conn:
            signer = await _authority(conn, operator, settings, at=at)
        return web.Response(text=signer.pem, content_type=PEM)

    async def acl(_request: web.Request) -> web.StreamResponse:
        operator = await services.require_operator()
        async with services.db.begin() as conn:
            found = await enrolment.list_enrollments(conn, operator)
        return web.Response(text=acl_text(found), content_type=TEXT)

    return [
        Route(
            method="POST",
            path="/v1/edges/{site}/{edge}/enrollment",
            handler=open_one,
            tag="sites",
            summary="A code with which a machine on site becomes this agent; shown this once",
            scope="admin",
            bodies={JSON: OpenBody},
            answers={JSON: OpenedJson},
            status=201,
        ),
        Route(
            method="POST",
            path="/v1/enrollments",
            handler=use,
            tag="sites",
            summary="A code and a certificate request become an agent's keys; the code is the only credential",
            description="Safe to repeat with the same key: the API key of the answer before is revoked.",
            scope=None,
            bodies={JSON: EnrollBody},
            answers={JSON: EnrolledJson},
        ),
        Route(
            method="POST",
            path="/v1/edges/{site}/{edge}/certificate",
            handler=renew,
            tag="sites",
            summary="Another certificate for the key that the agent enrolled with; asked with its own API key",
            scope="events:write",
            open_to=frozenset({"site"}),
            answers={JSON: CertificateJson},
        ),
        Route(
            method="POST",
            path="/v1/edges/{site}/{edge}/revoke",
            handler=revoke,
            tag="sites",
            summary="An agent is shut out: its keys end, and nothing that it sends is billed",
            scope="admin",
            bodies={JSON: RevokeBody},
            answers={JSON: RevocationJson},
        ),
        *(
            Route(
                method="GET",
                path=f"/v1/edges/{name}",
                handler=handler,
                tag="sites",
                summary=summary,
                scope="usage:read",
                answers={media: str},
            )
            for name, handler, media, summary in (
                ("crl", crl, PEM, "Certificates of agents that were taken back: Mosquitto's crlfile"),
                ("ca", ca, PEM, "Who signs agents' certificates: Mosquitto's cafile"),
                ("acl", acl, TEXT, "What each agent may write and read: rules for Mosquitto's acl_file"),
            )
        ),
    ]


async def _authority(conn: AsyncConnection, operator: str, settings: Settings, *, at: datetime) -> Authority:
    """Return who signs. Raises Unavailable where this gateway is not set up for it: no fault of whoever asks."""
    try:
        return await enrolment.authority(conn, operator, signing_key(settings), at=at)
    except BadInput as error:
        raise Unavailable(error.detail, code=error.code) from error


async def _optional(request: web.Request) -> OpenBody:
    return await body_of(request, OpenBody) if await read_body(request) else OpenBody()
