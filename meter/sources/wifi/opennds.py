"""openNDS' BinAuth: a script on the router posts the arguments that it is called with.

    client_auth, ndsctl_auth ─▶ start   ..._deauth ─▶ stop, with counters   auth_client ─▶ who it is: an interim of 0

Three forms of a body: JSON or a form with the names below, or one argument a line, in the order in which openNDS gives
them. `auth_client` is the request before the session: its `custom`, url-escaped, carries the member's id, and binds the
session to the member. It counts nothing, for the script may still refuse it.

A session is a station and its token. A power cut sends no deauth: the meter's policy ends the session.

Facts: openNDS docs/source/binauth.rst @b9fbb8d, November 2026. Which way its counters look is not documented: incoming
is taken as to the member, `swap_octets` turns it round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from meter.model.event import WIFI_SESSION, Json
from meter.model.strict_json import strict_json
from meter.sources.clocks import Timed, from_epoch
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest, usage_event, window_id
from meter.sources.signature import require_token
from meter.sources.spec import Covers, Delivery, Hook, Option, Reading, Setup, Vendor
from meter.sources.wifi.accounting import KIND, mac_of, session_of

_LOGIN: Final = "auth_client"
_STARTS: Final = frozenset({"client_auth", "ndsctl_auth"})
_STOPS: Final = frozenset(
    {
        "client_deauth", "idle_deauth", "timeout_deauth", "downquota_deauth", "upquota_deauth", "ndsctl_deauth",
        "shutdown_deauth",
    }
)  # fmt: skip
_LOGIN_ARGUMENTS: Final = ("method", "mac", "redir", "user_agent", "ip", "token", "custom")
_ARGUMENTS: Final = (
    "method", "mac", "bytes_incoming", "bytes_outgoing", "session_start", "session_end", "token", "custom",
)  # fmt: skip
_BODY_BYTES_MAX: Final = 16_384
_FIELDS_MAX: Final = 32
# A login that is repeated within this is the same one.
_LOGIN_WINDOW_S: Final = 60


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the event of a call of the script. Raises BadInput (`bad_payload`, or as `strict_json` does)."""
    call = Fields(_arguments(delivery.body))
    method = call.text("method")
    if method not in _STARTS | _STOPS | {_LOGIN}:
        raise bad_payload(f"method is {method[:40]!r}; one of BinAuth's is documented here")
    station = mac_of(call.text("mac"))
    if station is None:
        raise bad_payload("mac is no MAC address")
    session = session_of(setup.name, station, call.opt_text("token"))
    status = "start" if method in _STARTS else "stop" if method in _STOPS else "interim"
    seconds, down, up, timed = _readings(call, status)
    if setup.options["swap_octets"]:
        down, up = up, down
    fact = (session, method, seconds, down, up)
    if timed.time is not None:
        name = digest(*fact, str(timed.time))
    else:
        name = window_id(delivery.received_at, _LOGIN_WINDOW_S, *fact)
    data: Mapping[str, Json] = {
        "session": session,
        "status": status,
        "seconds": seconds,
        "bytes_in": down,
        "bytes_out": up,
        "cause": method if status == "stop" else None,
    }
    subject, rank = _member(setup, call) or f"mac:{station}", ("start", "interim", "stop").index(status)
    return Reading(
        [
            usage_event(
                setup,
                kind=KIND,
                id=f"{rank}-{status}-{name}",
                type=WIFI_SESSION,
                subject=subject,
                time=timed.time,
                flag=timed.flag,
                data=data,
            )
        ]
    )


def _readings(call: Fields, status: str) -> tuple[int, int, int, Timed]:
    """Return seconds, octets to and from the member, and the time: a session's start or end, where it is given."""
    if status == "interim":
        return 0, 0, 0, Timed(None)
    begun, ended = call.opt_integer("session_start") or 0, call.opt_integer("session_end") or 0
    down, up = call.opt_integer("bytes_incoming") or 0, call.opt_integer("bytes_outgoing") or 0
    if min(begun, ended, down, up) < 0:
        raise bad_payload("a counter or a time is below 0")
    if status == "start":
        return 0, 0, 0, _time(begun, "session_start")
    seconds = ended - begun if 0 < begun <= ended else 0
    return seconds, down, up, _time(ended, "session_end")


def _time(seconds: int, what: str) -> Timed:
    return from_epoch(seconds, what=what) if seconds else Timed(None)


def _member(setup: Setup, call: Fields) -> str | None:
    member = unquote_plus(call.opt_text("custom") or "").strip()
    return f"{setup.options['member_is']}:{member}" if member else None


def _arguments(body: bytes) -> Mapping[str, Json]:
    if len(body) > _BODY_BYTES_MAX:
        raise bad_payload(f"the body has {len(body)} bytes; arguments of a script are documented here")
    if body.lstrip()[:1] == b"{":
        value = strict_json(body)
        return value if isinstance(value, dict) else {}
    try:
        text = body.decode().strip()
    except UnicodeDecodeError as error:
        raise bad_payload("the body is neither JSON nor UTF-8 text") from error
    if text.startswith("method=") or "&method=" in text:
        try:
            return dict(parse_qsl(text, max_num_fields=_FIELDS_MAX))
        except ValueError as error:
            raise bad_payload(f"the form cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    names = _LOGIN_ARGUMENTS if lines[:1] == [_LOGIN] else _ARGUMENTS
    return dict(zip(names, lines, strict=False))


OPENNDS: Final = Vendor(
    title="openNDS (BinAuth)",
    area="wifi",
    needs=frozenset({"secrets", "site"}),
    options={
        "member_is": Option(default="member", about="The kind of identity that the portal writes into `custom`."),
        "swap_octets": Option(default=False, about="Incoming is from the member, not to the member."),
    },
    hook=Hook(check=require_token, read=read),
    covers=(
        Covers(what="client_auth, ndsctl_auth, ..._deauth", state="done", becomes="wifi.session"),
        Covers(
            what="auth_client", state="done", becomes="wifi.session", note="binds the session to `custom`; counts 0"
        ),
        Covers(what="readings between", state="not", note="openNDS calls no script for them"),
    ),
    facts="openNDS docs/source/binauth.rst @b9fbb8d, November 2026",
)
