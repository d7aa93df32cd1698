"""Tokens that expire and change: what a vendor's token endpoint remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call


@dataclass(slots=True)
class _Refresh:
    until: datetime
    replaced_by: str | None = None
    used: bool = False


@dataclass(slots=True, kw_only=True)
class Tokens:
    """A refresh gives a new refresh token; the old one stays good for `grace`, so that a lost answer is asked again.

    `strict`: an old one is refused as soon as the one that replaced it was used.
    """

    clock: Clock
    access_for: timedelta
    refresh_for: timedelta
    grace: timedelta = timedelta(0)
    strict: bool = False
    client_credentials: bool = False
    refresh: dict[str, _Refresh] = field(default_factory=dict)
    access: dict[str, datetime] = field(default_factory=dict)

    def first(self) -> str:
        """Return a refresh token, as the operator's consent gives it."""
        return self._new_refresh()

    def issue_access(self) -> str:
        """Return an access token, good from now on."""
        token = f"access-{len(self.access)}"
        self.access[token] = self.clock.now() + self.access_for
        return token

    def good(self, authorization: str) -> bool:
        """Return whether a request with this header comes with a token that has not expired."""
        return self.access.get(authorization.removeprefix("Bearer "), self.clock.now()) > self.clock.now()

    def answer(self, call: Call) -> Answer:
        """Return what the token endpoint says."""
        asked = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        if not (call.headers.get("authorization", "").startswith("Basic ") or "client_secret" in asked):
            return Answer(status=401, content={"error": "invalid_client"})
        if asked.get("grant_type") == "client_credentials" and self.client_credentials:
            return self._granted(None)
        if asked.get("grant_type") != "refresh_token":
            return Answer(status=400, content={"error": "unsupported_grant_type"})
        given = asked.get("refresh_token", "")
        known = self.refresh.get(given)
        if known is None or known.until <= self.clock.now() or (self.strict and self._superseded(known)):
            return Answer(status=400, content={"error": "invalid_grant", "error_description": "Token invalid"})
        known.used = True
        known.replaced_by = self._new_refresh()
        known.until = min(known.until, self.clock.now() + self.grace)
        return self._granted(known.replaced_by)

    def _superseded(self, known: _Refresh) -> bool:
        return known.replaced_by is not None and self.refresh[known.replaced_by].used

    def _new_refresh(self) -> str:
        token = f"refresh-{len(self.refresh)}"
        self.refresh[token] = _Refresh(self.clock.now() + self.refresh_for)
        return token

    def _granted(self, refresh: str | None) -> Answer:
        content = {"access_token": self.issue_access(), "token_type": "bearer"}
        spans = {"expires_in": int(self.access_for.total_seconds())}
        if refresh is None:
            return Answer(content=content | spans)
        spans["x_refresh_token_expires_in"] = int(self.refresh_for.total_seconds())
        return Answer(content=content | spans | {"refresh_token": refresh})
