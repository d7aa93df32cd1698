"""Prism serves a vendor's OpenAPI document: what breaks it is refused with the violation, what fits gets an example."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meter.embedded.broker import EmbeddedBroker
from meter.embedded.child import Child, Program
from meter.embedded.partdir import LOOPBACK, choose_port, is_free
from meter.embedded.runas import RunAs
from tests.contract.judged import VIOLATIONS, Sent, Verdict
from tests.contract.served import resolved
from tests.tools import need_tool

_LOCKED = Path(__file__).with_name("prism")
_INSTALL_S_MAX = 300  # some 20 s where the network is well
_ANSWER_S_MAX = 30  # milliseconds when alone; the machine may be busy
_NOT_PASSED_ON = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date"})


def installed() -> list[str]:
    """Return the beginning of Prism's command line, installed once for each lock in the user's cache directory.

    Without Node the test is skipped, and without the registry too, unless METER_TEST_REQUIRE promises npm.
    """
    node = need_tool("node")
    lock = hashlib.sha256((_LOCKED / "package-lock.json").read_bytes()).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = caches / "meter-tests" / f"prism-{lock}"
    if not home.exists():
        _install(need_tool("npm"), home)
    return [node, str(home / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js")]


def _install(npm: str, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=home.parent))
    try:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(_LOCKED / name, draft)
        done = subprocess.run(
            [npm, "ci"], cwd=draft, capture_output=True, text=True, timeout=_INSTALL_S_MAX, check=False
        )
        if done.returncode != 0:
            how = pytest.fail if "npm" in os.environ.get("METER_TEST_REQUIRE", "").split(",") else pytest.skip
            how(f"npm ci cannot install Prism: {done.stderr.strip()[-2000:]}")
        try:
            draft.rename(home)  # whole or not at all
        except OSError:
            if not home.exists():
                raise  # else another session was faster
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@asynccontextmanager
async def prism(document: Mapping[str, Any], home: Path) -> AsyncIterator[PrismJudge]:
    """Serve the document in the context; `home` is the directory for its file and log. Large ones take seconds."""
    command = installed()
    file = _written(document, home)
    port = choose_port(LOOPBACK, given=None, remembered=None)
    child = Child(
        Program(
            name="prism",
            argv=[*command, "mock", "--host", LOOPBACK, "--port", str(port), "--errors", "-v", "error", str(file)],
            cwd=home,
            log=home / "log",
            run_as=RunAs(),
            stop=EmbeddedBroker.stop_signals,
        )
    )
    child.start()
    try:
        while is_free(LOOPBACK, port):
            assert await child.ended(within_s=0.1) is None, child.obituary()
        yield PrismJudge(port, document)
    finally:
        await child.stop()


def _written(document: Mapping[str, Any], home: Path) -> Path:
    home.mkdir()
    file = home / "document.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


class PrismJudge:
    """Asks Prism for the verdict, and refuses besides what Prism overlooks: unknown parameters of the query."""

    def __init__(self, port: int, document: Mapping[str, Any]) -> None:
        self._port, self._document = port, document

    def __call__(self, sent: Sent) -> Verdict:
        unknown = sorted({name for name, _ in sent.query_pairs} - self._query_names(sent))
        if unknown:
            return _refused(400, tuple(f"request.query has no parameter {name}" for name in unknown))
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=_ANSWER_S_MAX)
        try:
            headers = {name: value for name, value in sent.headers.items() if name.lower() not in _NOT_PASSED_ON}
            connection.request(sent.method, f"{sent.path}?{sent.query}".rstrip("?"), sent.body or None, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _NOT_PASSED_ON}
        violations = _violations(kept, body)
        if violations:
            kept = {name: value for name, value in kept.items() if name.lower() != VIOLATIONS} | _named(violations)
        return Verdict(status=answer.status, headers=kept, body=body, violations=violations)

    def _query_names(self, sent: Sent) -> set[str]:
        names = {name for name, _ in sent.query_pairs}
        for template, operations in sorted(self._document["paths"].items(), key=lambda item: item[0].count("{")):
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, sent.path) and sent.method.lower() in operations:
                operation = operations[sent.method.lower()]
                listed = [*operations.get("parameters", []), *operation.get("parameters", [])]
                return {one["name"] for one in map(self._resolved, listed) if one["in"] == "query"}
        return names  # no such operation: Prism says so

    def _resolved(self, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = resolved(self._document, parameter["$ref"]) if "$ref" in parameter else parameter
        return found


def _violations(headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    by_name = {name.lower(): value for name, value in headers.items()}
    listed = json.loads(by_name.get(VIOLATIONS, "[]"))
    if not listed and by_name.get("content-type", "").startswith("application/problem+json"):
        problem = json.loads(body)
        # Where the document has no answer for a wrong request, the list is in Prism's own.
        listed = problem.get("validation") or [{"location": [problem["title"]], "message": problem["detail"]}]
    return tuple(f"{'.'.join(one['location'])}: {one['message']}" for one in listed)


def _named(violations: tuple[str, ...]) -> dict[str, str]:
    return {VIOLATIONS: json.dumps(violations)}


def _refused(status: int, violations: tuple[str, ...]) -> Verdict:
    headers = {"Content-Type": "application/problem+json", **_named(violations)}
    body = json.dumps({"status": status, "title": "Invalid request", "detail": "; ".join(violations)}).encode()
    return Verdict(status=status, headers=headers, body=body, violations=violations)
