"""Errors as problem details (RFC 9457): one status for each code, and nothing told of our own faults."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final

import msgspec
from aiohttp import web

from meter.api.rates import TooFast
from meter.api.routing import Handler, Model
from meter.log import log
from meter.model.errors import BadInput, MeterError, Unavailable

PROBLEM: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2

# Codes of BadInput that are not a plain 400.
STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "unauthorized": 401,
    "bad_signature": 401,
    "forbidden": 403,
    "unknown_code": 403,
    "code_expired": 403,
    "edge_revoked": 403,
    "not_found": 404,
    "not_acceptable": 406,
    "no_catalog": 409,
    "conflict": 409,
    "not_retryable": 409,
    "too_large": 413,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "bad_body": 422,
    "bad_catalog": 422,
    "invalid": 422,
    "unknown_meter": 422,
    "too_fast": 429,
    "too_many_waiting": 429,
    "too_many_attempts": 429,
}
# Codes of Unavailable whose detail speaks of the caller's own request and of no part of ours.
_TOLD: Final = frozenset({"no_catalog", "no_ingest", "overloaded", "commit_pending"})
_TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    401: "Who are you?",
    403: "Not with this key",
    404: "There is no such thing",
    405: "Not with this method",
    406: "No such representation",
    408: "The request took too long to arrive",
    409: "Not in this state",
    413: "The body is too large",
    415: "Not in this format",
    422: "The content is wrong",
    429: "Too many at once",
    500: "The gateway failed",
    503: "Try again shortly",
}


class Problem(Model, omit_defaults=True):
    """A problem (RFC 9457): `code` for machines, `detail` for people, `issues` where there are many faults."""

    title: str
    status: int
    code: str
    detail: str = ""
    type: str = "about:blank"
    issues: list[dict[str, Any]] | None = None
    error_id: str | None = None


def problem_answer(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the problem as a response."""
    return web.Response(body=msgspec.json.encode(problem), status=problem.status, content_type=PROBLEM, headers=headers)


def answer_of(error: BaseException) -> web.Response:
    """Return what the caller is told of `error`: all of their faults, none of ours."""
    if isinstance(error, BadInput):
        status = STATUS_OF_CODE.get(error.code, 400)
        headers = {}
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="meter"'
        if status == 429:
            headers["Retry-After"] = str(error.retry_after_s if isinstance(error, TooFast) else RETRY_AFTER_S)
        issues = getattr(error, "issues", None)
        problem = Problem(
            title=_TITLES.get(status, "The request is wrong"),
            status=status,
            code=error.code,
            detail=error.detail,
            issues=[_issue(issue) for issue in issues] if issues else None,
        )
        return problem_answer(problem, headers)
    if isinstance(error, Unavailable):
        # Which host does not answer is for the log; the caller needs to know that trying again can help.
        # A flood that is pushed back must not fill the log; the requests are counted by their status.
        (log.debug if error.code == "overloaded" else log.warning)(
            "request_unavailable", code=error.code, detail=error.detail
        )
        detail = error.detail if error.code in _TOLD else "a part of the gateway does not answer; try again"
        problem = Problem(title=_TITLES[503], status=503, code=error.code, detail=detail)
        return problem_answer(problem, {"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, web.HTTPException) and error.status >= 400:
        return _of_http(error)
    error_id = token_hex(8)
    log.error("request_failed", error_id=error_id, exc_info=error)
    code = error.code if isinstance(error, MeterError) else "internal"
    detail = f"this is the gateway's fault; its log names it under {error_id}"
    return problem_answer(Problem(title=_TITLES[500], status=500, code=code, detail=detail, error_id=error_id))


def _issue(issue: Any) -> dict[str, Any]:
    converted = msgspec.to_builtins(issue)
    return converted if isinstance(converted, dict) else {"message": str(converted)}


def _of_http(error: web.HTTPException) -> web.Response:
    status = error.status
    headers = {
        name: error.headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate") if name in error.headers
    }
    codes = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "too_large"}
    details = {
        404: "nothing is served at this path; /openapi.json lists what is",
        405: f"this path answers to {headers.get('Allow', 'other methods')}",
        413: "bodies may have 1 MiB, decompressed; send smaller batches",
    }
    code = codes.get(status, "http_error")
    problem = Problem(title=_TITLES.get(status, error.reason), status=status, code=code, detail=details.get(status, ""))
    return problem_answer(problem, headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem details, as long as nothing of an answer was sent."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer_of(error)
    except Exception as error:  # the last line: whatever it is, the caller gets an answer and the log the reason
        if request.writer.output_size:
            # The head is out already: only a broken connection tells the reader that the rest is missing.
            log.error("stream_failed", exc_info=error)
            raise
        return answer_of(error)
