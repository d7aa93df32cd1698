"""`make audit` passes where somebody looked at everything and found nothing, and never else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
assert _SPEC is not None
assert _SPEC.loader is not None
audit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)

LOCK = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
CLEAN = [{"name": name, "version": "1", "vulns": []} for name in sorted(audit.pinned(LOCK))]
ADVISORY = {"id": "PYSEC-2026-1", "fix_versions": ["2"], "aliases": ["CVE-2026-1"], "description": "bad"}


def answered(tmp_path: Path, out: str, said: str = "", code: int = 0) -> int:
    """What becomes of what the auditor writes (a program in its place: advisories are others' and change daily)."""
    (tmp_path / "out").write_text(out, encoding="utf-8")
    (tmp_path / "said").write_text(said, encoding="utf-8")
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/said >&2\nexit {code}\n", encoding="utf-8")
    program.chmod(0o700)
    ended: int = audit.main(program)
    return ended


def report(packages: list[dict[str, Any]]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_everything_looked_at_and_nothing_found_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(CLEAN) > 50
    assert answered(tmp_path, report(CLEAN)) == 0
    assert "no known advisory" in capsys.readouterr().out


def test_an_advisory_fails_unless_it_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = report([{**CLEAN[0], "vulns": [ADVISORY]}, *CLEAN[1:]])
    assert answered(tmp_path, told, code=1) == 1
    assert f"{CLEAN[0]['name']} 1: PYSEC-2026-1, mended in 2" in capsys.readouterr().out
    monkeypatch.setitem(audit.EXPLAINED, "CVE-2026-1", "not called")
    assert answered(tmp_path, told, code=1) == 0


@pytest.mark.parametrize(
    "out",
    [
        "",
        "no JSON",
        "{}",
        report([]),
        report(CLEAN[1:]),
        report([{"name": CLEAN[0]["name"], "skip_reason": "not on the index"}, *CLEAN[1:]]),
    ],
)
def test_what_nobody_looked_at_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str) -> None:
    assert answered(tmp_path, out, "a trace\nConnectionError: api.osv.dev", code=1) == 2
    shown = capsys.readouterr()
    assert "no known advisory" not in shown.out
    assert "NOT AUDITED" in shown.err
    assert "ConnectionError: api.osv.dev" in shown.err or "nobody looked at" in shown.err


def test_without_the_program_nothing_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(tmp_path / "uv") == 2
    assert "NOT AUDITED" in capsys.readouterr().err
