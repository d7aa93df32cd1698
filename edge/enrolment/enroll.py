"""`meter-edge enroll`: a code becomes this machine's keys.

key, request ─▶ POST /v1/enrollments ─▶ certificate, trust ─▶ enrolled.json
                     ▲ lost, killed: the same command shows the same key and goes on
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from edge.clock import SystemClock
from edge.enrolment import keys
from edge.enrolment.files import (
    ENROLLED,
    Enrolled,
    GatewaySaid,
    Renewal,
    as_owner,
    enrolled_in,
    hash_of,
    make_directory,
    renewal_beside,
    write,
)
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import instant_text
from meter.transport.silence import silence

_TIMEOUT_S: Final = 30.0
_ANSWER_BYTES_MAX: Final = 256 * 1024


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    edge: str
    api_key: str
    certificate: str
    expires: datetime
    renew: datetime
    http_url: str | None = None
    mqtt_url: str | None = None
    trust: str | None = None


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = ""
    detail: str = ""


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_PROBLEM: Final = msgspec.json.Decoder(_Problem)


async def enroll(url: str, code: str, *, data_dir: Path, ca_file: Path | None, insecure: bool, force: bool) -> Enrolled:
    """Return who this machine is from now on, with everything of it on disk.

    Raises BadInput (the code, the URL, a machine that is enrolled already, a directory that cannot be written),
    Unavailable: try again.
    """
    url = _checked(url.rstrip("/"), insecure=insecure)
    trusted = None if ca_file is None else await asyncio.to_thread(_authorities, ca_file)
    name = hash_of(code)
    with as_owner(data_dir):
        known = enrolled_in(data_dir) if not force else None
    if known is not None and known.code == name:
        return known
    if known is not None:
        message = f"this machine is {known.edge} of {known.site} already; enroll --force makes it another"
        raise BadInput(message, code="enrolled")
    try:
        return await _enrolled(url, code, data_dir=data_dir, name=name, trusted=trusted)
    except OSError as error:
        message = f"{error.filename or data_dir}: {error.strerror or error}; run as the user that owns {data_dir}"
        raise BadInput(message, code="bad_data_dir") from error


def _authorities(ca_file: Path) -> str:
    try:
        return ca_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--ca-file: cannot read {ca_file}: {error}", code="bad_ca_file") from error


async def _enrolled(url: str, code: str, *, data_dir: Path, name: str, trusted: str | None) -> Enrolled:
    with as_owner(data_dir):
        directory = make_directory(data_dir, name)
        key = _key(directory / "key.pem")
    answer = await _asked(url, {"code": code, "request": keys.request_of(key).decode()}, trusted)
    if not keys.is_of(answer.certificate, key):
        raise Unavailable(f"{url} answered with another's certificate; try again", code="gateway_unavailable")
    with as_owner(data_dir):
        return _left(url, answer, directory=directory, data_dir=data_dir, name=name, trusted=trusted)


def _left(url: str, answer: _Answer, *, directory: Path, data_dir: Path, name: str, trusted: str | None) -> Enrolled:
    """Leave everything on disk, what makes it count last."""
    certificate, trust = directory / "certificate.pem", directory / "trust.pem"
    write(certificate, answer.certificate.encode())
    renewal = Renewal(expires=answer.expires, renew=answer.renew)
    write(renewal_beside(certificate), msgspec.json.encode(renewal))
    authorities = "\n".join(pem for pem in (trusted, answer.trust) if pem)
    if authorities:
        write(trust, authorities.encode())
    enrolled = Enrolled(
        code=name,
        site=answer.site,
        edge=answer.edge,
        gateway=GatewaySaid(
            http_url=answer.http_url or url,
            mqtt_url=answer.mqtt_url,
            api_key=answer.api_key,
            cert_file=str(certificate.absolute()),
            key_file=str((directory / "key.pem").absolute()),
            ca_file=str(trust.absolute()) if authorities else None,
        ),
    )
    write(data_dir / ENROLLED, msgspec.json.encode(enrolled))
    return enrolled


def _key(path: Path) -> bytes:
    """Return the key of this enrolment, which is made once."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        write(path, keys.new_key())
        return path.read_bytes()


def _checked(url: str, *, insecure: bool) -> str:
    """Return the URL. Raises BadInput where keys would travel for everyone to read."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise BadInput(f"{url[:200]!r} is no gateway's address; write https://meter.example", code="bad_url")
    if parts.scheme == "http" and not insecure and not _is_here(parts.hostname):
        message = f"{url[:200]}: over http everyone on the way reads this machine's keys; use https, or say --insecure"
        raise BadInput(message, code="bad_url")
    return url


def _trusting(trusted: str | None) -> ssl.SSLContext | bool:
    """Return whom to trust, these alone where there are some. Raises BadInput."""
    try:
        return ssl.create_default_context(cadata=trusted) if trusted else True
    except ssl.SSLError as error:
        raise BadInput(f"--ca-file holds no certificates (PEM): {error}", code="bad_ca_file") from error


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _asked(url: str, body: dict[str, str], trusted: str | None) -> _Answer:
    """Return the gateway's answer. Raises BadInput where it says no, Unavailable where it does not answer."""
    path, context = f"{url}/v1/enrollments", _trusting(trusted)
    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"}) as client,
            client.post(path, data=msgspec.json.encode(body), allow_redirects=False, ssl=context) as response,
        ):
            status, answer = response.status, bytearray()
            async for chunk in response.content.iter_chunked(_ANSWER_BYTES_MAX):
                answer += chunk
                if len(answer) > _ANSWER_BYTES_MAX:
                    break
    except aiohttp.ClientConnectorCertificateError as error:
        now = instant_text(SystemClock().read().wall)
        message = f"{url} shows a certificate that is not trusted here ({error.certificate_error}); name who signed it "
        message += f"by --ca-file, and see that this machine's clock is right (it says {now})"
        raise BadInput(message, code="gateway_not_trusted") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        message = f"{url} does not answer: {silence(error)}; the same command goes on from here"
        raise Unavailable(message, code="gateway_unavailable") from error
    if status == HTTPStatus.OK:
        try:
            return _ANSWER.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{path} did not answer as a gateway does: {error}", code="gateway_unavailable"
            ) from error
    try:
        problem = _PROBLEM.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    said = f"{url} answered {status}: {problem.detail or 'without a reason; is it a gateway?'}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Unavailable(said, code=problem.code or "gateway_unavailable")
    raise BadInput(said, code=problem.code or "refused")
