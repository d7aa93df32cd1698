"""A receiver of Standard Webhooks: it verifies, and takes each webhook-id once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.targets.fakes.base import Fake, Handler, Held, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example secret of the Standard Webhooks specification."""


class FakeReceiver(Fake):
    """`taken` has what came, by webhook-id in the order of first arrival; `repeats` counts the same id again.

    Signatures are verified by the real clock, as the specification's library does. A second secret is for rotation.
    """

    def __init__(
        self, *secrets: str, clock: Clock | None = None, check_request: RequestCheck | None = None, path: str = "/hook"
    ) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self._webhooks = [Webhook(secret) for secret in secrets or (SECRET,)]
        self._path = path
        self.taken: dict[str, Any] = {}
        self.bodies: dict[str, bytes] = {}
        self.repeats = 0
        self.changed: list[str] = []
        self.unverified = 0

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [("POST", self._path, self._take)]

    def fault(self, status: int) -> Answer:
        return Answer(status=status, content={"message": f"Something failed with {status}."})

    def books(self) -> tuple[Held, ...]:
        """Return nothing: what a webhook says is its sender's; look into `taken`."""
        return ()

    def _take(self, call: Call) -> Answer:
        if not any(self._verified(webhook, call) for webhook in self._webhooks):
            self.unverified += 1
            return self.fault(401)
        id = call.headers["webhook-id"]
        if id in self.taken:
            self.repeats += 1
            if self.bodies[id] != call.body:
                self.changed.append(id)
        else:
            self.taken[id], self.bodies[id] = json.loads(call.body), call.body
        return Answer(status=204)

    @staticmethod
    def _verified(webhook: Webhook, call: Call) -> bool:
        try:
            webhook.verify(call.body, dict(call.headers))
        except WebhookVerificationError:
            return False
        return True
