"""Access tokens that expire and refresh tokens that change (RFC 6749 sections 4.3, 4.4 and 6).

    row lasts ──────────────────────────────────────────────▶ its access token
    else lock ──▶ ask with the row's, the one before it, the configured one ──▶ persist ──▶ the new access token

A vendor's answer that is lost with us (a crash before the commit) leaves the refresh token that asked in the row, and
vendors take that once more for a while. What is in the database is always older than, or the same as, what is in use.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal, TypeGuard
from urllib.parse import quote_plus, urlencode

import msgspec
from yarl import URL

from meter.clock import Ticks, monotonic_s
from meter.export.contract import Limits
from meter.export.http import Channel, Fault
from meter.export.targets.spec import Means, Setup
from meter.log import log
from meter.model.errors import BadInput, Unavailable
from meter.store.engine import Database
from meter.store.oauth import Tokens, lock_tokens, read_tokens, write_tokens
from meter.telemetry import Telemetry
from meter.transport.outgoing import Guard

# A token is not taken where it would expire during the call that it is for (a lane's call takes 120 s at most).
MARGIN_S: Final = 180.0
# A vendor that does not say how long its token lasts (RFC 6749 leaves it open); the shortest in use is an hour's half.
LASTS_S: Final = 1_800.0
# Three refresh tokens are asked with at most: less than the 60 s for which the database bears an idle transaction.
TIMEOUT_S: Final = 15.0
# Somebody has to find the time to authorise the app again.
WARNED_S: Final = 14 * 86_400.0
_CODE: Final = re.compile(r"[a-z_]{1,40}")
# What a header and a column can hold (RFC 6749 appendix A.12: VSCHAR); the longest in use have some 4,000 characters.
_TOKEN: Final = re.compile(r"[\x20-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A vendor's token endpoint. `remedy` is one sentence that says how the operator gets a new refresh token.

    `refresh_lasts_s` is how long a refresh token lasts where the answer does not say (None: nobody knows).
    `credentials` is where the client's id and secret go; with the grant `password` they are a user's name and password.
    """

    url: str
    remedy: str
    grant: Literal["refresh_token", "client_credentials", "password"] = "refresh_token"
    credentials: Literal["header", "body"] = "header"
    scope: str | None = None
    refresh_lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a token endpoint gave. `refresh_token` None: the one that asked stays in force."""

    access_token: str = field(repr=False)
    lasts_s: float
    refresh_token: str | None = field(default=None, repr=False)
    refresh_lasts_s: float | None = None


def read_answer(status: int, body: bytes) -> Granted | str:
    """Return what was given, or the code of the refusal (RFC 6749 section 5.2). Never the words beside it.

    Raises Unavailable where the answer is neither.
    """
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = None
    if not isinstance(told, dict):
        told = {}
    access, refresh = told.get("access_token"), told.get("refresh_token")
    if 200 <= status < 300 and _is_token(access) and (not refresh or _is_token(refresh)):
        return Granted(
            access_token=access,
            lasts_s=_seconds(told.get("expires_in")) or LASTS_S,
            refresh_token=refresh or None,
            refresh_lasts_s=_seconds(told.get("x_refresh_token_expires_in")),  # Intuit's own
        )
    code = told.get("error")
    if status in {400, 401, 403} and isinstance(code, str) and _CODE.fullmatch(code):
        return code
    raise Unavailable(f"it answered {status} and gave no token", code="no_access_token")


def _is_token(given: Any) -> TypeGuard[str]:
    return isinstance(given, str) and _TOKEN.fullmatch(given) is not None and not given.isspace()


def _seconds(given: Any) -> float | None:
    return float(given) if type(given) in {int, float} and 0 < given < 1e10 else None


class TokenKeeper:
    """The access token of one target: from the database while it lasts, else refreshed by whoever comes first."""

    def __init__(
        self,
        database: Database,
        *,
        operator: str,
        target: str,
        endpoint: Endpoint,
        client_id: str,
        client_secret: str,
        refresh_token: str | None = None,
        telemetry: Telemetry | None = None,
        clock: Ticks = monotonic_s,
        guard: Guard = Guard(),  # noqa: B008 -- it never changes
    ) -> None:
        """Ask nobody yet. `refresh_token` is the configured first one; another has a row of its own.

        `clock` gives seconds that never go backwards.
        """
        self._database = database
        self._operator = operator
        self._target = target
        self._endpoint = endpoint
        self._url = URL(endpoint.url)
        self._client = (client_id, client_secret)
        self._configured = refresh_token
        self._seed = sha256(json.dumps([endpoint.url, endpoint.scope, client_id, refresh_token]).encode()).hexdigest()
        self._telemetry = telemetry
        self._clock = clock
        self._guard = guard
        self._channel: Channel | None = None
        self._held = ""
        self._held_until_s = 0.0
        self._refused = ""
        self._flight: asyncio.Task[str] | None = None

    async def token(self) -> str:
        """Return an access token that lasts longer than a call.

        Raises Unavailable (the database, the token endpoint), BadInput (`authorisation_ended`, `unknown_client`, or
        `no_operator`: whoever refreshed before there is one would keep the new refresh token where nobody finds it).
        """
        if not self._operator:
            message = f"{self._target}: no catalog was ever applied, so nobody owns its tokens yet; apply one first"
            raise BadInput(message, code="no_operator")
        for _ in range(2):  # a flight that had begun before a token was refused may bring that very one
            if self._held and self._held != self._refused and self._clock() < self._held_until_s:
                return self._held
            if self._flight is None:
                self._flight = asyncio.create_task(self._fetched())
                self._flight.add_done_callback(self._landed)
            # Whoever is cancelled leaves the others their answer, and the answer its way into the database.
            if await asyncio.shield(self._flight) != self._refused:
                break
        return self._held

    async def renewed(self, refused: str) -> str:
        """Return another access token than `refused`, which the target no longer takes. Raises as `token`."""
        self._refused = refused
        return await self.token()

    async def close(self) -> None:
        """Wait for a refresh that is under way, and close the connection."""
        if self._flight is not None:
            await asyncio.wait([self._flight])
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _landed(self, flight: asyncio.Task[str]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # whoever waits for it gets it; nobody may be left

    async def _fetched(self) -> str:
        async with self._database.begin() as connection:
            tokens = await read_tokens(connection, self._operator, self._target, self._seed)
        if not self._good(tokens):
            async with self._database.begin() as connection:
                await lock_tokens(connection, self._operator, self._target)
                tokens = await read_tokens(connection, self._operator, self._target, self._seed)
                if not self._good(tokens):
                    tokens = await self._refreshed(tokens)
                    await write_tokens(connection, self._operator, self._target, tokens)
        if tokens is None:
            raise Unavailable(f"{self._target}: no access token", code="no_access_token")
        self._held, self._held_until_s = tokens.access_token, self._clock() + tokens.lasts_s - MARGIN_S
        if self._telemetry is not None and tokens.refresh_lasts_s is not None:
            self._telemetry.authorisation_lasts(target=self._target, seconds=tokens.refresh_lasts_s)
        return self._held

    def _good(self, tokens: Tokens | None) -> bool:
        return tokens is not None and tokens.access_token != self._refused and tokens.lasts_s > MARGIN_S

    async def _refreshed(self, known: Tokens | None) -> Tokens:
        """Return new tokens. Raises as `token`."""
        code = ""
        for asked in self._candidates(known):
            granted = await self._asked(asked)
            if isinstance(granted, Granted):
                self._note("refreshed")
                return self._successor(known, asked, granted)
            code = granted
            if code != "invalid_grant":
                break
        self._note("refused")
        host = self._url.host
        if self._endpoint.grant == "refresh_token" and code in {"invalid_grant", ""}:
            message = (
                f"{self._target}: {host} takes none of the refresh tokens that there are; "
                f"authorise the app anew and set refresh_token: {self._endpoint.remedy}"
            )
            raise BadInput(message, code="authorisation_ended")
        message = f"{self._target}: {host} refuses the client ({code}); check client_id and client_secret"
        raise BadInput(message, code="unknown_client")

    def _candidates(self, known: Tokens | None) -> Iterator[str | None]:
        """Give the refresh tokens to ask with, the likeliest first; None where the grant has none."""
        if self._endpoint.grant != "refresh_token":
            yield None
            return
        present, previous = (None, None) if known is None else (known.refresh_token, known.previous_refresh_token)
        yield from dict.fromkeys(token for token in (present, previous, self._configured) if token)

    async def _asked(self, refresh_token: str | None) -> Granted | str:
        form: dict[str, str] = {"grant_type": self._endpoint.grant}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._endpoint.grant == "password":
            form |= dict(zip(("username", "password"), self._client, strict=True))
        elif self._endpoint.credentials == "body":
            form |= dict(zip(("client_id", "client_secret"), self._client, strict=True))
        else:
            basic = b64encode(":".join(map(quote_plus, self._client)).encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        if refresh_token is not None:
            form["refresh_token"] = refresh_token
        if self._endpoint.scope is not None:
            form["scope"] = self._endpoint.scope
        if self._channel is None:
            limits = Limits(items_max=1)
            origin = str(self._url.origin())
            self._channel = Channel(origin, limits, timeout_s=TIMEOUT_S, clock=self._clock, guard=self._guard)
        try:
            answer = await self._channel.request(
                "POST",
                self._url.raw_path,
                headers=headers,
                body=urlencode(form).encode(),
            )
            return read_answer(answer.status, answer.body)
        except (Fault, Unavailable) as error:
            self._note("unavailable")
            message = f"{self._target}: no access token from {self._url.host}: {error}; it is asked again"
            raise Unavailable(message, code="no_access_token") from error

    def _successor(self, known: Tokens | None, asked: str | None, granted: Granted) -> Tokens:
        refresh = granted.refresh_token or asked
        previous = None if known is None else known.previous_refresh_token
        lasts_s = granted.refresh_lasts_s or self._endpoint.refresh_lasts_s
        if refresh is not None and lasts_s is not None and lasts_s < WARNED_S:
            log.warning("authorisation_ends", target=self._target, days=int(lasts_s / 86_400))
        return Tokens(
            seed=self._seed,
            access_token=granted.access_token,
            lasts_s=granted.lasts_s,
            refresh_token=refresh,
            previous_refresh_token=previous if asked == refresh else asked,
            refresh_lasts_s=None if refresh is None else lasts_s,
        )

    def _note(self, outcome: str) -> None:
        if self._telemetry is not None:
            self._telemetry.token_refreshed(target=self._target, outcome=outcome)


def keeper_of(setup: Setup, means: Means, endpoint: Endpoint, *, clock: Ticks = monotonic_s) -> TokenKeeper:
    """Return the keeper of a configured target's token."""
    return TokenKeeper(
        means.database,
        operator=setup.operator,
        target=setup.name,
        endpoint=endpoint,
        client_id=setup.client_id or "",
        client_secret=setup.client_secret or "",
        refresh_token=setup.refresh_token,
        telemetry=means.telemetry,
        clock=clock,
        guard=setup.guard,
    )
