"""What all of Xero's interface shares: tokens, tenants, limits, keys, pages, validation of many at a time."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tests.targets.fakes.base import Fake, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.limits import Window
from tests.targets.fakes.oauth import Tokens
from tests.targets.fakes.xero_where import WhereFault, parse

API = "/api.xro/2.0"
TOKEN_PATH = "/connect/token"
TENANT = "70784a63-d24b-46a9-a4db-0e70a274b056"
_PAGE = 100
_AT_A_TIME_MAX = 5
_KEY_CHARACTERS_MAX = 128
Json = dict[str, Any]


def when(moment: datetime) -> str:
    """Return a time in Xero's JSON."""
    return f"/Date({int(moment.timestamp() * 1000)}+0000)/"


def day(text: str) -> str:
    """Return a date in Xero's JSON."""
    return when(datetime.fromisoformat(text[:10]).replace(tzinfo=UTC))


class XeroCore(Fake):
    """One tenant. Keys are kept six minutes. Limits count always, by the fake's clock, which only a test moves."""

    keys_kept = timedelta(minutes=6)

    def __init__(
        self, *, clock: Clock | None = None, check_request: RequestCheck | None = None, strict_refresh: bool = False,
        minute_max: int = 60, day_max: int = 5000,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, check_request=check_request)
        self.tokens = Tokens(
            clock=self.clock, access_for=timedelta(minutes=30), refresh_for=timedelta(days=60),
            grace=timedelta(minutes=30), strict=strict_refresh, client_credentials=True,
        )  # fmt: skip
        self.minute = Window(self.clock, minute_max, timedelta(minutes=1))
        self.day = Window(self.clock, day_max, timedelta(days=1))

    def fault(self, status: int) -> Answer:
        if status == 429:
            return self._limited("minute", 60)
        if status == 401:
            content = {"Type": None, "Title": "Unauthorized", "Status": 401, "Detail": "TokenExpired"}
            return Answer(status=401, content=content)
        content = {"ErrorNumber": status, "Type": "Fault", "Message": f"Something failed with {status} at Xero."}
        return Answer(status=status, content=content)

    def malformed(self, why: str) -> Answer:
        content = {"ErrorNumber": 14, "Type": "PostDataInvalidException", "Message": why}
        return Answer(status=400, content=content)

    def is_checked(self, call: Call) -> bool:
        return call.path.startswith(API)

    def admit(self, call: Call) -> None:
        if call.path == TOKEN_PATH:
            return
        if not self.tokens.good(call.headers.get("authorization", "")):
            raise Refuse(self.fault(401))
        if not call.path.startswith(API):
            return
        if call.headers.get("xero-tenant-id") != TENANT:
            content = {"Type": None, "Title": "Forbidden", "Status": 403, "Detail": "AuthenticationUnsuccessful"}
            raise Refuse(Answer(status=403, content=content))
        if self.in_flight > _AT_A_TIME_MAX:
            raise Refuse(self._limited("concurrent", 1))
        for name, window in (("minute", self.minute), ("day", self.day)):
            if window.remaining() == 0:
                raise Refuse(self._limited(name, window.retry_after_s()))
        self.minute.take()
        self.day.take()

    def _limited(self, problem: str, after_s: int) -> Answer:
        headers = {"X-Rate-Limit-Problem": problem, "Retry-After": str(after_s), **self._left()}
        return Answer(status=429, body=b"", headers=headers)

    def _left(self) -> dict[str, str]:
        return {
            "X-DayLimit-Remaining": str(self.day.remaining()),
            "X-MinLimit-Remaining": str(self.minute.remaining()),
            "X-AppMinLimit-Remaining": "9999",
        }

    def key_of(self, call: Call) -> tuple[str, str] | None:
        key = call.headers.get("idempotency-key")
        if key is None or call.method == "GET":
            return None
        if len(key) > _KEY_CHARACTERS_MAX:
            raise Refuse(self.malformed(f"an Idempotency-Key has {_KEY_CHARACTERS_MAX} characters at most"))
        return key, f"{call.method} {call.path}\n{call.body.decode()}"

    def said(self, content: Json) -> Answer:
        """Return an answer with what is left of the limits."""
        about = {"Id": self.new_id(), "Status": "OK", "ProviderName": "Fake", "DateTimeUTC": when(self.clock.now())}
        return Answer(content=about | content, headers=self._left())

    def new_id(self) -> str:
        """Return a UUID, the same in every run."""
        return str(uuid.UUID(int=self.new_number(), version=4))

    def page(self, name: str, call: Call, held: Iterable[Json], shown: Callable[[Json, bool], Json]) -> Answer:
        """Return the objects asked for. Lines come only with a page: a list without one is a summary."""
        try:
            wanted = parse(call.parameter("where"))
        except WhereFault as wrong:
            raise Refuse(self.malformed(str(wrong))) from wrong
        since = call.headers.get("if-modified-since", "")
        found = [one for one in held if wanted(one) and (not since or one["changed"] > _moment(since))]
        if call.parameter("order").upper().endswith("DESC"):
            found.reverse()
        number, size = call.parameter("page"), int(call.parameter("pageSize", str(_PAGE)))
        if not number:
            return self.said({name: [shown(one, False) for one in found]})
        start = (int(number) - 1) * size
        pages = {"page": int(number), "pageSize": size, "pageCount": -(-len(found) // size), "itemCount": len(found)}
        return self.said({"pagination": pages, name: [shown(one, True) for one in found[start : start + size]]})

    @abstractmethod
    def trying(self) -> AbstractContextManager[None]:
        """Return a context that takes back what is done inside."""

    def many(self, name: str, call: Call, take: Callable[[Json], tuple[Json, list[str]]]) -> Answer:
        """Return what became of each object sent: all or nothing, unless summarizeErrors=false.

        `take` returns the object as it is answered, with what is wrong with it.
        """
        sent = call.json()
        objects: list[Json] = sent.get(name, [sent])
        if call.parameter("summarizeErrors", "true") == "true":
            self._refuse_if_any_is_wrong(objects, take)
        answered = []
        for one in objects:
            shown, wrong = take(one)
            status = {"StatusAttributeString": "ERROR" if wrong else "OK", "HasErrors": bool(wrong)}
            faults = {"ValidationErrors": [{"Message": fault} for fault in wrong]} if wrong else {}
            answered.append(shown | status | faults)
        return self.said({name: answered})

    def _refuse_if_any_is_wrong(self, objects: list[Json], take: Callable[[Json], tuple[Json, list[str]]]) -> None:
        with self.trying():
            taken = [take(one) for one in objects]
        if any(wrong for _, wrong in taken):
            elements = [
                {**one, "ValidationErrors": [{"Message": fault} for fault in wrong]}
                for one, (_, wrong) in zip(objects, taken, strict=True) if wrong
            ]  # fmt: skip
            message = "A validation exception occurred"
            content = {"ErrorNumber": 10, "Type": "ValidationException", "Message": message, "Elements": elements}
            raise Refuse(Answer(status=400, content=content, headers=self._left()))


def _moment(text: str) -> datetime:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def changed_by(object_: Mapping[str, Any], clock: Clock) -> Json:
    """Return an object that was changed now."""
    return {**object_, "changed": clock.now()}
