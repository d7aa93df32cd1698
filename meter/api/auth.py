"""Who calls and what they may: bearer keys, scopes, restrictions."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final

from aiohttp import web

from meter.api.rates import UNKNOWN_PER_S, Rates, TooFast, network_of
from meter.api.routing import ANY, Route
from meter.api.services import Services
from meter.clock import monotonic_s
from meter.model.errors import BadInput
from meter.store.keys import SECRET_CHARS, Principal, find_principal, note_use, secret_hash

# A revoked key works so much longer on a gateway that has just seen it, where the hint of it was lost; without this
# each call costs one more query.
CACHE_TTL_S: Final = 5.0
CACHED_KEYS_MAX: Final = 1024


class Authenticator:
    """Finds out who calls. Remembers keys that it found for a few seconds, never those that it did not find."""

    def __init__(self, services: Services) -> None:
        """Keep the parts; nothing is read before the first call."""
        self._services = services
        self._admin = Principal(key="METER_ADMIN_KEY", scopes=frozenset({"admin"}))
        self._seen: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        # Good once; looked up again like any other, but not refused for what others of its address do.
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._changed = services.keys.next()
        self._rates = Rates(services.settings.http_rate)
        self._unknown = Rates(UNKNOWN_PER_S)

    async def admit(self, request: web.Request, route: Route) -> Principal | None:
        """Return who calls, None on an open route. Raises BadInput (`unauthorized`, `forbidden`, `too_fast`)."""
        if route.scope is None:
            return None
        principal = await self._identify(_bearer(request), network_of(request.remote))
        wait_s = self._rates.take(principal.key)
        if wait_s:
            self._services.telemetry.http_throttled("key")
            rate = self._services.settings.http_rate
            raise TooFast(f"this key may call {rate} times a second (METER_HTTP_RATE); wait a little", wait_s=wait_s)
        operation = f"{route.method} {route.path}"
        if route.scope != ANY and not principal.may(route.scope):
            message = (
                f"this key has {', '.join(sorted(principal.scopes))}; {route.method} {route.path} needs {route.scope}"
            )
            raise BadInput(message, code="forbidden")
        if principal.restriction is not None and principal.restriction not in route.open_to:
            message = f"{operation} is about every {principal.restriction}; this key is restricted to one"
            raise BadInput(message, code="forbidden")
        return principal

    async def _identify(self, secret: str, network: str) -> Principal:
        hashed = secret_hash(secret)
        # The admin key works while the database does not, so it is compared first.
        if hmac.compare_digest(hashed, secret_hash(self._services.admin_key())):
            return self._admin
        known = self._remembered(hashed)
        if known is not None:
            return known
        if len(secret) == SECRET_CHARS:
            wait_s = 0.0 if hashed in self._proven else self._unknown.take(network)
            if wait_s:
                self._services.telemetry.http_throttled("unknown_key")
                raise TooFast("too many calls with keys that are not known here; wait a little", wait_s=wait_s)
            operator = await self._services.operator()
            if operator is not None:
                at, changed = self._services.clock(), self._services.keys.next()
                async with self._services.db.begin() as conn:
                    found = await find_principal(conn, operator, hashed, at=at)
                    if found is not None:
                        await note_use(conn, operator, found[0].key, at=at)
                if found is not None:
                    principal, ends = found
                    if changed.is_set():  # it may be the one that was revoked since it was read
                        return principal
                    self._remember(
                        hashed, principal, for_s=CACHE_TTL_S if ends is None else (ends - at).total_seconds()
                    )
                    return principal
        message = "this key is not known here, was revoked or has ended; meter keys create makes one"
        raise BadInput(message, code="unauthorized")

    def _remembered(self, hashed: bytes) -> Principal | None:
        if self._changed.is_set():  # one was revoked, or is to end, here or on another gateway
            self._changed = self._services.keys.next()
            self._seen.clear()
        entry = self._seen.get(hashed)
        if entry is None:
            return None
        until, principal = entry
        if monotonic_s() >= until:
            del self._seen[hashed]
            return None
        return principal

    def _remember(self, hashed: bytes, principal: Principal, *, for_s: float) -> None:
        self._seen[hashed] = (monotonic_s() + min(for_s, CACHE_TTL_S), principal)
        self._seen.move_to_end(hashed)
        self._proven[hashed] = None
        self._proven.move_to_end(hashed)
        for known in (self._seen, self._proven):
            while len(known) > CACHED_KEYS_MAX:
                known.popitem(last=False)


def _bearer(request: web.Request) -> str:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise BadInput("send a key as Authorization: Bearer mk_...; meter keys create makes one", code="unauthorized")
    return secret


def keep_to_account(principal: Principal, account: str) -> None:
    """Raise BadInput (`forbidden`) unless the key may see everything of `account`.

    Judged before any look-up, so that the answer tells nothing of whether the account exists.
    """
    if principal.site is not None or principal.account not in (None, account):
        raise BadInput(f"this key is not for account {account[:60]!r}", code="forbidden")
