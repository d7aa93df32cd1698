"""What all of Stripe's interface shares: errors, keys, parameters, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from urllib.parse import urlencode

from tests.targets.fakes.base import Fake
from tests.targets.fakes.forms import decode
from tests.targets.fakes.http import Answer, Call, Refuse

_ERROR_TYPES = {401: "invalid_request_error", 429: "rate_limit_error", 409: "idempotency_error"}
_LIST_DEFAULT, _LIST_MAX = 10, 100
_KEY_CHARACTERS_MAX = 255
Json = dict[str, Any]


def error(status: int, message: str, *, kind: str = "invalid_request_error", **facts: str) -> Answer:
    """Return an error in Stripe's shape; `facts` are its code and param."""
    return Answer(status=status, content={"error": {"type": kind, "message": message, **facts}})


def refuse(message: str, **facts: str) -> Refuse:
    """Return a 400 for the caller to raise."""
    return Refuse(error(400, message, **facts))


def missing(kind: str, id: str, param: str) -> Refuse:
    """Return the 404 for an object that does not exist."""
    return Refuse(error(404, f"No such {kind}: '{id}'", code="resource_missing", param=param))


def whole(text: str, param: str) -> int:
    """Return an integer parameter. Raises Refuse."""
    try:
        return int(text)
    except ValueError:
        raise refuse(f"Invalid integer: {text}", param=param, code="parameter_invalid_integer") from None


def fraction(text: str, param: str, *, places_max: int = 12) -> Decimal:
    """Return a decimal parameter, in plain notation as Stripe wants it. Raises Refuse."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    exponent = value.as_tuple().exponent
    if not value.is_finite() or "E" in text.upper() or not isinstance(exponent, int) or -exponent > places_max:
        raise refuse(f"Invalid decimal: {text}; must contain at maximum {places_max} decimal places.", param=param)
    return value


@dataclass(slots=True)
class Shelf:
    """The objects of one kind, in the order of creation."""

    kind: str
    prefix: str
    objects: dict[str, Json] = field(default_factory=dict)

    def one(self, id: str, param: str = "id") -> Json:
        """Return an object. Raises Refuse (404)."""
        if id not in self.objects:
            raise missing(self.kind, id, param)
        return self.objects[id]


class StripeCore(Fake):
    """Keys as in Stripe's v1: a day, errors included, for POST only, with the path as part of the parameters."""

    keys_kept = timedelta(hours=24)
    keeps_errors = True
    replay_headers: ClassVar[dict[str, str]] = {"Idempotent-Replayed": "true"}

    def fault(self, status: int) -> Answer:
        kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        headers = {"Stripe-Should-Retry": "true"} if status in {409, 429} or status >= 500 else {}
        message = f"Something failed with {status} at Stripe."
        return Answer(status=status, content={"error": {"type": kind, "message": message}}, headers=headers)

    def malformed(self, why: str) -> Answer:
        return error(400, why)

    def is_checked(self, call: Call) -> bool:
        return call.path.startswith("/v1/")

    def admit(self, call: Call) -> None:
        bearer = call.headers.get("authorization", "")
        if not bearer.startswith("Bearer "):
            raise Refuse(error(401, "You did not provide an API key."))
        if call.path.startswith("/v1/") and not bearer.startswith("Bearer sk_"):
            raise Refuse(error(401, f"Invalid API Key provided: {bearer[7:11]}***"))

    def key_of(self, call: Call) -> tuple[str, str] | None:
        key = call.headers.get("idempotency-key")
        if call.method != "POST" or key is None:
            return None
        if len(key) > _KEY_CHARACTERS_MAX:
            raise refuse(f"Idempotency keys have {_KEY_CHARACTERS_MAX} characters at most.")
        return key, f"{call.path}\n{sorted(call.body.decode().split('&'))}"

    def key_misused(self, key: str) -> Answer:
        message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        return error(400, f"{message} Try using a key other than '{key}'.", kind="idempotency_error")

    def key_in_use(self, key: str) -> Answer:
        message = f"There is currently another in-progress request using this Idempotent Key: {key}."
        return error(409, message, kind="idempotency_error", code="idempotency_key_in_use")

    def new_id(self, prefix: str) -> str:
        """Return an id as Stripe gives it."""
        return f"{prefix}_{self.new_number():024d}"

    def made(self, shelf: Shelf, **fields: Any) -> Json:
        """Put a new object on the shelf; return it."""
        object_: Json = {"id": self.new_id(shelf.prefix), "object": shelf.kind, "livemode": False, **fields}
        shelf.objects[object_["id"]] = object_
        return object_


def parameters(call: Call) -> Json:
    """Return what a request says in its form, or in its query."""
    return decode(urlencode(call.query) if call.method in {"GET", "DELETE"} else call.body.decode())


def page(url: str, objects: Iterable[Json], asked: Mapping[str, Any]) -> Answer:
    """Return the list that was asked for, the newest first."""
    newest = list(objects)[::-1]
    limit = whole(asked.get("limit", str(_LIST_DEFAULT)), "limit")
    if not 1 <= limit <= _LIST_MAX:
        raise refuse(f"A list has 1 to {_LIST_MAX} objects, not {limit}.", param="limit")
    ids = [one["id"] for one in newest]
    for param in ("starting_after", "ending_before"):
        if param in asked and asked[param] not in ids:
            raise missing("object", asked[param], param)
    if "ending_before" in asked:
        before = newest[: ids.index(asked["ending_before"])]
        shown, more = before[-limit:], len(before) > limit
    else:
        rest = newest[ids.index(asked["starting_after"]) + 1 :] if "starting_after" in asked else newest
        shown, more = rest[:limit], len(rest) > limit
    return Answer(content={"object": "list", "url": url, "has_more": more, "data": shown})


def created_within(one: Json, asked: Mapping[str, Any], param: str = "created") -> bool:
    """Return whether the object's time is in the range that the list was asked for."""
    bounds = asked.get(param, {})
    if not isinstance(bounds, dict):
        return bool(one[param] == whole(bounds, param))
    tests = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
    return all(tests[name](one[param], whole(bound, param)) for name, bound in bounds.items())
