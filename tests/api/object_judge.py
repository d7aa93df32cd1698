"""Asks every operation with every key, and judges what it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

from meter.store.keys import SCOPES
from tests.api.conftest import ADMIN_KEY, Answer
from tests.api.object_examples import NEEDED, Operation, Params, bodies_of, objects_of, operations, query_objects
from tests.api.objects import Caller, Of, World

# Whose it was, what was sent, what came.
Judged: TypeAlias = list[tuple[Of | None, dict[str, Any], Answer]]

# What restricted keys may ask at all. Whatever else lets one in fails here.
OPEN: Final[Mapping[str, frozenset[str]]] = {
    "POST /v1/events": frozenset({"site"}),
    "GET /v1/clock": frozenset({"site", "account"}),
    "GET /v1/edges/{site}/{edge}/stored": frozenset({"site"}),
    "GET /v1/charges": frozenset({"site", "account"}),
    "GET /v1/charges/{id}/explain": frozenset({"site", "account"}),
    "GET /v1/accounts/{id}/balances": frozenset({"account"}),
    "GET /v1/accounts/{id}/statement": frozenset({"account"}),
    "GET /v1/accounts/{id}/invoices": frozenset({"account"}),
    "POST /v1/authorizations": frozenset({"site", "account"}),
    "GET /v1/authorizations": frozenset({"site", "account"}),
    "GET /v1/authorizations/{id}": frozenset({"site", "account"}),
    "DELETE /v1/authorizations/{id}": frozenset({"site", "account"}),
    "GET /v1/unresolved": frozenset({"site"}),
    "GET /v1/unread": frozenset({"site", "account"}),
    "GET /v1/doubtful": frozenset({"site"}),
    "GET /v1/rejections": frozenset({"site"}),
    "GET /v1/rejections/{id}": frozenset({"site"}),
    "GET /v1/edges": frozenset({"site"}),
    "POST /v1/edges/{site}/{edge}/certificate": frozenset({"site"}),
}
# Who gets nothing of an object that is theirs: a certificate is given to the agent's own key, asked below.
NOT_EVEN_OWN: Final = {"POST /v1/edges/{site}/{edge}/certificate": 404}
_PLACE: Final = re.compile(r"\{(\w+)\}")


@dataclass(kw_only=True)
class Judge:
    """Asks, and keeps what was wrong."""

    world: World
    faults: list[str] = field(default_factory=list)
    asked: int = 0

    async def ask(  # noqa: PLR0917 -- a request
        self, operation: Operation, key: str | None, params: Params, query: Params, body: Any = None, kind: str = "",
        accept: str = "*/*", method: str = "",
    ) -> Answer:  # fmt: skip
        path = path_of(operation, params)
        query = NEEDED.get(operation.name, {}) | query
        headers = {"Accept": accept} | ({"Content-Type": kind} if body is not None else {})
        content = None if body is None else json.dumps(body).encode()
        self.asked += 1
        asked = path + (f"?{urlencode(query)}" if query else "")
        return await self.world.api.call(
            method or operation.method, asked, key=key, headers=headers, data=content, allow_redirects=False
        )

    def check(self, holds: object, what: str) -> None:
        if not holds:
            self.faults.append(what)

    def tells_nothing(self, answer: Answer, words: list[str], sent: str, what: str) -> None:
        """Check that none of `words` is in the answer, but for those that the request brought."""
        told = answer.text + repr(sorted((k, v) for k, v in answer.headers.items() if k != "Date"))
        for word in words:
            self.check(word in sent or word not in told, f"{what} is told of {word!r}: {answer.status} {told[:200]}")
        self.check(answer.status < 500, f"{what}: {answer.status}")


def path_of(operation: Operation, params: Params) -> str:
    """The operation's path to an object."""
    return _PLACE.sub(lambda found: quote(params[found[1]], safe=""), operation.path)


def shape(answer: Answer, sent: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an answer says when the words of the request are blotted out."""
    text = answer.text
    for value in sorted(_texts(sent), key=len, reverse=True):
        text = text.replace(value, "*")
    return answer.status, answer.headers.get("Content-Type"), text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif value is not None:
        yield from (str(value), str(value).split("/")[0])


async def strangers(judge: Judge, operation: Operation) -> None:
    """Nobody, a bad key, a key without the scope: told of nothing, whatever is asked for."""
    words = [*judge.world.words]
    for of, params in objects_of(judge.world, operation):
        callers: dict[str, tuple[str | None, int]] = {"nobody": (None, 401), "a bad key": ("mk_" + "A" * 43, 401)}
        if operation.scopes is None:
            callers = {"nobody": (None, 0)}
        elif operation.scopes:
            others = [scope for scope in SCOPES if scope not in {*operation.scopes, "admin"}]
            callers |= {f"a key with {scope}": (await _scoped(judge.world, scope), 403) for scope in others}
        for name, (key, status) in callers.items():
            for _, body, kind in bodies_of(operation):
                answer = await judge.ask(operation, key, params, {}, body, kind)
                what = f"{operation.name} by {name}"
                judge.check(status in {0, answer.status}, f"{what} of {of}: {answer.status}, not {status}")
                judge.tells_nothing(answer, words, json.dumps([params, body]), what)


async def restricted(judge: Judge, operation: Operation, caller: Caller) -> None:
    """A key of one site or account: its own, and of another's as little as of what is not there."""
    world, name = judge.world, f"{operation.name} by {caller.name}"
    let_in = caller.name.split()[0] in OPEN.get(operation.name, ())
    hidden = world.hidden(caller) if operation.scopes is not None else [*world.words]
    judged: Judged = []
    for of, params in objects_of(world, operation):
        for about, body, kind in bodies_of(operation):
            answer = await judge.ask(operation, caller.key, params, {}, body, kind)
            whose = about if about is not None else of
            judge.tells_nothing(answer, hidden, json.dumps([params, body]), f"{name} of {whose}")
            judged.append((whose, {**params, "body": body}, answer))
    if operation.scopes is None:
        return
    if not let_in:
        closed = all(answer.status == 403 for _, _, answer in judged)
        judge.check(closed, f"{name} is let in; if it keeps to the restriction on every object, say so in OPEN")
        return
    compare(judge, operation, caller, judged)
    if operation.method == "GET":
        await lists(judge, operation, caller, hidden)


def compare(judge: Judge, operation: Operation, caller: Caller, judged: Judged) -> None:
    """Check that a key's own objects are there, and that another's are not, in the very same words."""
    name = f"{operation.name} by {caller.name}"
    absent = next((shape(answer, sent) for whose, sent, answer in judged if whose is None), None)
    for whose, sent, answer in judged:
        if whose is None:
            continue
        if caller.owns(whose):
            right = NOT_EVEN_OWN.get(operation.name, 200)
            judge.check(answer.status == right, f"{name} of its own {whose}: {answer.status} {answer.text[:200]}")
            if right == 200:
                judge.check(absent != shape(answer, sent), f"{name}: its own is answered as if it were not there")
        elif caller.compares(whose):
            found = shape(answer, sent)
            judge.check(found == absent, f"{name} can tell {whose} from nothing: {found} and {absent}")


async def lists(judge: Judge, operation: Operation, caller: Caller, hidden: list[str]) -> None:
    """Every form of an answer, every filter, and the cursors that another key was given."""
    own = next(params for of, params in objects_of(judge.world, operation) if of is None or caller.owns(of))
    for media in operation.answers:
        for method in ("GET", "HEAD"):
            answer = await judge.ask(operation, caller.key, own, {}, accept=media, method=method)
            judge.tells_nothing(answer, hidden, json.dumps(own), f"{operation.name} as {media} by {caller.name}")
    for parameter in operation.query:
        absent: tuple[Any, ...] | None = None
        for of, query in reversed(query_objects(judge.world, operation, parameter)):
            answer = await judge.ask(operation, caller.key, own, query)
            what = f"{operation.name}?{urlencode(query)} by {caller.name}"
            judge.tells_nothing(answer, hidden, json.dumps([own, query]), what)
            if of is None:
                absent = shape(answer, query)
            elif caller.compares(of) and not caller.owns(of) and absent is not None:
                found = shape(answer, query)
                judge.check(found == absent, f"{what} can tell it from nothing: {found} and {absent}")
    for key in (ADMIN_KEY, *(other.key for other in judge.world.callers)) if "cursor" in operation.query else ():
        first = await judge.ask(operation, key, own, {"limit": "1"})
        cursor = first.json.get("next") if first.status == 200 else None
        if cursor is not None:
            answer = await judge.ask(operation, caller.key, own, {"cursor": cursor})
            judge.tells_nothing(answer, hidden, cursor, f"{operation.name} with another's cursor by {caller.name}")


async def unrestricted(judge: Judge, operation: Operation) -> None:
    """A key of the operator's, and the administrator: what is there is there for them; the examples are no fiction."""
    if operation.method != "GET" or operation.scopes is None:
        return
    scoped = await _scoped(judge.world, operation.scopes[0] if operation.scopes else "usage:read")
    for key in (scoped, ADMIN_KEY):
        for of, params in objects_of(judge.world, operation):
            answer = await judge.ask(operation, key, params, {})
            if of is not None:
                judge.check(answer.status == 200, f"{operation.name} of {params}: {answer.status} {answer.text[:200]}")
            for parameter in operation.query:
                for _, query in query_objects(judge.world, operation, parameter):
                    again = await judge.ask(operation, key, params, query)
                    right = again.status == 200 or of is None
                    judge.check(right, f"{operation.name}?{urlencode(query)}: {again.status} {again.text[:200]}")


async def _scoped(world: World, scope: str) -> str:
    if scope not in world.api.keys:
        world.api.keys[scope] = await world.api.key(scope)
    return world.api.keys[scope]


async def judged(world: World, only: str = "") -> Judge:
    """Everything, or the operations that begin so."""
    judge = Judge(world=world)
    # Reading first: what a key sends is the key's own, and may be shown to it, whatever it names.
    for operation in sorted(operations(world), key=lambda one: one.method != "GET"):
        if not operation.name.startswith(only):
            continue
        await strangers(judge, operation)
        await unrestricted(judge, operation)
        for caller in world.callers:
            await restricted(judge, operation, caller)
    return judge
