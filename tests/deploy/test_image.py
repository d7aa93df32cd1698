"""The Dockerfile, held to what its build would be given."""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.parts import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def _copied() -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()]


def _reaches_the_build(path: str) -> bool:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = True
    for rule in rules:
        if rule and not rule.startswith("#") and fnmatch(path.partition("/")[0], rule.lstrip("!")):
            kept = rule.startswith("!")
    return kept


def test_only_what_the_dockerfile_copies_reaches_the_build() -> None:
    assert all((REPOSITORY / source).exists() and _reaches_the_build(source) for source in _copied())
    kept_out = ("deploy", "data", "meter-data", "meter.toml", ".env", ".git", "tests", "docs")
    assert not any(_reaches_the_build(path) for path in kept_out)


def test_the_image_runs_as_nobody_in_particular_and_names_no_index() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"https?://|index-url|find-links", DOCKERFILE)
    steps = re.findall(r"pip install(?:.*\\\n)*.*", DOCKERFILE)
    assert len(steps) == 2
    assert all("--require-hashes" in step or "--no-index" in step for step in steps)


def test_the_gateway_installs_from_what_the_image_is_given(tmp_path: Path) -> None:
    for source in _copied():
        target = tmp_path / "src" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / source, target)
    step = re.findall(r"pip install((?:.*\\\n)*.*) \.$", DOCKERFILE, re.MULTILINE)[-1]
    arguments = step.replace("\\\n", " ").split()
    assert "--no-index" in arguments
    installed = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", *arguments, "--root-user-action=ignore"]
    subprocess.run([*command, "--target", installed, "."], cwd=tmp_path / "src", check=True, capture_output=True)
    assert (installed / "bin" / "meter").exists()
    assert (installed / "meter" / "store" / "migrations" / "env.py").exists()
    assert (installed / "meter" / "examples" / "northside.yaml").exists()
    assert (installed / "edge" / "__init__.py").exists()
