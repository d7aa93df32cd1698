"""Everything that the locks pin is under a licence that fits beside Apache-2.0; what only tests use is told apart."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Permissive: they ask for their notice, which each wheel carries. Names of SPDX, and of the classifiers before it.
FITS = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache License 2.0", "Apache Software License", "BSD License", "BSD-2-Clause",
        "BSD-3-Clause", "CNRI-Python", "ISC License (ISCL)", "MIT", "MIT License", "MIT-0", "PSF-2.0",
        "Python Software Foundation License",
    }
)  # fmt: skip
# What says it in none of the fields; read in its distribution.
READ = {"pysnmp": "BSD-2-Clause"}
# What changed files of theirs would have to be published with: used as they are, and only where told.
WEAK = {
    "certifi": "MPL-2.0: a list of authorities, with the clients of Stripe and Square and with httpx",
    "pathspec": "MPL-2.0: with hatchling, which builds the package and is no part of it",
}
# Programs beside the tests; nothing of the project is linked with them or carries them along.
TESTS_ONLY = {
    "beancount": "GPL-2.0: reads our ledger files as another program does",
    "hypothesis": "MPL-2.0",
}


def pinned(lock: str) -> set[str]:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\[=]", line)[0] for line in lines if "==" in line and line[0] != " "}


def licences(name: str, told: PackageMetadata) -> set[str]:
    """The licences that hold together; of alternatives the first one that fits."""
    expression = READ.get(name) or (told.get_all("License-Expression") or [""])[0]
    if expression:
        parts = re.split(r"\s+AND\s+", expression.strip("()"))
        return {next((one for one in re.split(r"\s+OR\s+", part) if one in FITS), part) for part in parts}
    listed = [text for text in told.get_all("Classifier") or [] if text.startswith("License ::")]
    named = {text.rpartition("::")[2].strip() for text in listed} - {"OSI Approved"}
    return named or {told["License"].partition("\n")[0] if "License" in told else "unknown"}


@pytest.mark.parametrize("lock", ["run", "edge", "dev"])
def test_every_licence_fits(lock: str) -> None:
    explained = WEAK.keys() | (TESTS_ONLY.keys() if lock == "dev" else set())
    odd: dict[str, set[str]] = {}
    for name in sorted(pinned(lock) - explained):
        try:
            found = licences(name, metadata(name))
        except PackageNotFoundError:  # for another platform or Python
            continue
        if not found <= FITS:
            odd[name] = found - FITS
    assert odd == {}


def test_every_exception_is_still_one() -> None:
    assert pinned("run") >= WEAK.keys()
    assert pinned("dev") >= TESTS_ONLY.keys()
    assert not (pinned("run") | pinned("edge")) & TESTS_ONLY.keys()
