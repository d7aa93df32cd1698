"""`meter edges enroll`, `revoke`, and what a broker has to be told of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeVar

import msgspec
import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.api.edges import RevocationJson, revocation_json
from meter.api.enrolment import OpenedJson, acl_text, opened_json, signing_key
from meter.certificates import Authority, revocation_list
from meter.cli.common import COMMAND_LINE, AsJson, connect, err, out, print_json, require_operator, run
from meter.clock import now
from meter.config import load_settings
from meter.model.errors import BadInput
from meter.store import enrolment
from meter.store.edge_revocations import Agent
from meter.store.enrolment import EXPIRES_MAX

T = TypeVar("T")

Site = Annotated[str, typer.Argument(help="The site.")]
Edge = Annotated[str, typer.Argument(help="The agent's id.")]
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def enroll(
    site: Site,
    *,
    edge: Annotated[str | None, typer.Option("--edge", help="The agent's id; unset: SITE-edge.")] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="SPAN", help="30m, 24h, 7d: how long it is good.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a code with which one machine on site becomes this agent, and print what to type there.

    An agent of this id that is enrolled already stays so until the code is used.
    """
    opened = run(_open(site, edge or f"{site}-edge", _span(expires)))
    if as_json:
        print_json(msgspec.to_builtins(opened))
        return
    told = f"on site, once, until {opened.expires} ({opened.edge} of {opened.site}):"
    err.print(told, markup=False, highlight=False, soft_wrap=True)
    out.print(opened.command, markup=False, highlight=False, soft_wrap=True)
    if load_settings().edges.http_url is None:
        told = "METER_EDGES__HTTP_URL is not set: write there for GATEWAY where agents reach this gateway"
        err.print(told, markup=False, highlight=False, soft_wrap=True)


def revoke(
    site: Site,
    edge: Edge,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Why; kept with the agent.")],
    as_json: AsJson = False,
) -> None:
    """Shut an agent out: its keys end, nothing that it sends is billed, and no closing waits for it.

    It keeps what it has not got rid of, and sends that once it is enrolled again.
    """
    revocation = run(_revoke(Agent(site, edge), reason))
    if as_json:
        print_json(msgspec.to_builtins(revocation))
        return
    told = f"{edge} of {site} is revoked; give the broker its new list and rules (meter edges crl, meter edges acl)"
    err.print(told, markup=False, highlight=False, soft_wrap=True)


def ca(
    *,
    new: Annotated[
        bool, typer.Option("--new", help="Begin anew, the key being lost: every agent has to enrol again.")
    ] = False,
) -> None:
    """Print who signs agents' certificates, as Mosquitto's cafile."""

    async def found(conn: AsyncConnection, operator: str, at: datetime) -> Authority:
        return await (enrolment.replace_authority if new else enrolment.authority)(conn, operator, _key(), at=at)

    _write(run(_within(found)).pem)


def crl() -> None:
    """Print the certificates of agents that were taken back, as Mosquitto's crlfile."""

    async def found(conn: AsyncConnection, operator: str, at: datetime) -> str:
        signer = await enrolment.authority(conn, operator, _key(), at=at)
        return revocation_list(signer, await enrolment.revoked_certificates(conn, operator, at=at), at=at)

    _write(run(_within(found)))


def acl() -> None:
    """Print what each agent may write and read, for Mosquitto's acl_file."""

    async def found(conn: AsyncConnection, operator: str, _at: datetime) -> str:
        return acl_text(await enrolment.list_enrollments(conn, operator))

    _write(run(_within(found)))


async def _open(site: str, edge: str, life: timedelta) -> OpenedJson:
    async def found(conn: AsyncConnection, operator: str, at: datetime) -> OpenedJson:
        enrollment, code = await enrolment.open_enrollment(
            conn, operator, site=site, edge=edge, life=life, by=COMMAND_LINE, at=at
        )
        return opened_json(enrollment, code, load_settings())

    return await _within(found)


async def _revoke(agent: Agent, reason: str) -> RevocationJson:
    async def found(conn: AsyncConnection, operator: str, at: datetime) -> RevocationJson:
        revocation = await enrolment.revoke_agent(conn, operator, agent, reason=reason, by=COMMAND_LINE, at=at)
        return revocation_json(revocation)

    return await _within(found)


async def _within(work: Callable[[AsyncConnection, str, datetime], Awaitable[T]]) -> T:
    """Return what `work` returns, committed."""
    async with connect() as database:
        operator = await require_operator(database)
        async with database.begin() as conn:
            return await work(conn, operator, now())


def _key() -> str:
    return signing_key(load_settings())


def _span(given: str) -> timedelta:
    """Return the length of 30m, 24h or 7d. Raises BadInput."""
    found = _SPAN.fullmatch(given)
    if found is None:
        message = f"--expires {given[:40]!r} is no span; write 30m, 24h or 7d, up to {EXPIRES_MAX.days}d"
        raise BadInput(message, code="invalid")
    return int(found[1]) * _UNITS[found[2]]


def _write(text: str) -> None:
    out.print(text, end="", markup=False, highlight=False, soft_wrap=True)
