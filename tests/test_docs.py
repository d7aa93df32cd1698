"""What the documents tell a user to type, to set and to look at is there; the README's commands run as they stand."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from typer.core import TyperGroup
from typer.exceptions import TyperException

from edge.__main__ import command_line
from edge.config.loading import load_settings
from edge.config.settings import EdgeSettings
from edge.sources import configured_logs
from meter.catalog.load import read_catalog_text
from meter.cli import app
from meter.config import Settings
from meter.examples import example_catalog
from meter.store.acting import gateway_role
from meter.telemetry import Telemetry
from tests.gateway import RunningGateway
from tests.tools import need_tool

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "meter/**/*.md",
        "edge/**/*.md",
        "bench/*.md",
        "chaos/*.md",
        "examples/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
# Read by others than the settings; the file that reads it.
OTHER_VARIABLES: Final = {
    "METER_CONFIG": "meter/config.py",
    "METER_DIFFERENTIAL": "tests/reference/test_differential.py",
    "METER_DIFFERENTIAL_FOLD": "tests/reference/test_fold.py",
    "METER_LAWS": "tests/rating/test_laws.py",
    "METER_TEST_BACKLOG": "tests/edge/e2e/test_backlog.py",
    "METER_TEST_FUZZ": "tests/fuzz/test_openapi.py",
    "METER_TEST_DELIVERIES": "tests/targets/test_faults.py",
    "METER_TEST_FULL_DISKS": "tests/edge/spool/test_full_disk.py",
    "METER_TEST_IMAGES": "tests/edge/spool/test_power.py",
    "METER_TEST_KILLS": "tests/edge/spool/test_kill.py",
    "METER_TEST_LONG": "tests/rows/sizes.py",
    "METER_TEST_MANIPULATIONS": "tests/evidence/test_seals.py",
    "METER_TEST_REQUIRE": "tests/tools.py",
    "METER_TEST_SEALED_EVENTS": "tests/evidence/test_seals.py",
    "METER_TEST_SEED": "tests/targets/test_faults.py",
    "METER_TEST_SPECS": "tests/specs.py",
    "METER_TEST_WAY_EVENTS": "tests/edge/e2e/test_faults.py",
    "METER_TEST_WAY_KILLS": "tests/edge/e2e/test_kill.py",
}

document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> Iterator[str]:
    """Everything between backticks, and each line of the blocks, continued lines joined."""
    blocks = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    for block in blocks.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", blocks.sub("", text)))


def typed(text: str, program: str) -> Iterator[list[str]]:
    """The arguments of each command line of `program`, up to a pipe or a redirection."""
    for line in code(text):
        if found := re.match(rf"\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?{program} (.*)", line):
            yield shlex.split(re.split(r" [|>#]|;", found[1])[0])


def parse(command: Any, arguments: list[str], context: Any) -> None:
    """Parse as the command line does; placeholders stand for values, and what is only named needs no arguments."""
    _, left, _ = command.make_parser(context).parse_args(list(arguments))
    if not isinstance(command, TyperGroup):
        assert left == [], f"{context.command_path} does not take {left}"
    elif left:
        name, found, rest = command.resolve_command(context, left)
        below: Any = found  # or it has raised
        parse(below, rest, typer.Context(below, parent=context, info_name=name))


def parse_meter(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    parse(command, arguments, typer.Context(command, info_name="meter"))


def parse_edge(arguments: list[str]) -> None:
    command_line().parse_args(arguments)


@document
def test_every_command_line_can_be_typed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    in_containers = [
        words[words.index("gateway") + 1 :] for words in typed(text, "docker compose run") if "gateway" in words
    ]
    for arguments in [*typed(text, "meter"), *in_containers]:
        parse_meter(arguments)


@pytest.mark.parametrize("arguments", ["charge", "charges --acount acme", "balance acme extra", "rejections lst"])
def test_a_command_line_that_cannot_be_typed_is_noticed(arguments: str) -> None:
    with pytest.raises((TyperException, AssertionError)):
        parse_meter(arguments.split())


@document
def test_every_command_line_of_the_agent_can_be_typed(path: Path) -> None:
    for line in code(path.read_text(encoding="utf-8")):
        for found in re.finditer(r"(?<![\w./-])meter-edge ((?:run|check|spool|enroll)\b.*)", line):
            words = shlex.split(re.split(r" [|>#]|[;)`]", found[1])[0])
            is_named = words[0] == "enroll" and all(word.startswith("-") for word in words[1:])
            parse_edge([*words, "URL", "CODE"] if is_named else words)


@pytest.mark.parametrize("arguments", ["spool reply", "spool replay --until 3", "check all", "enroll https://x"])
def test_a_command_line_of_the_agent_that_cannot_be_typed_is_noticed(arguments: str) -> None:
    with pytest.raises(SystemExit):
        parse_edge(arguments.split())


@document
def test_every_make_target_exists(path: Path) -> None:
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    for words in typed(path.read_text(encoding="utf-8"), "make"):
        targets = {word for word in words if "=" not in word and word != "..."}
        assert targets <= set(declared[1].split()), words


@document
def test_every_variable_is_a_setting(path: Path) -> None:
    for name in re.findall(r"\bMETER_[A-Z](?:_?[A-Z])*(?:__[A-Z_]+)*", path.read_text(encoding="utf-8")):
        if elsewhere := OTHER_VARIABLES.get(name):
            assert name in (ROOT / elsewhere).read_text(), name
        elif f"{name}_".startswith("METER_EDGE_"):
            setting = name.removeprefix("METER_EDGE").lstrip("_").split("__")[0].removesuffix("_FILE").lower()
            assert setting in {*EdgeSettings.__struct_fields__, "config", ""}, name
        else:
            setting = name.removeprefix("METER_").split("__")[0].removesuffix("_FILE").lower()
            assert setting in Settings.model_fields, name


@document
def test_every_metric_is_exposed(path: Path) -> None:
    exposed = {family.name for family in Telemetry().registry.collect()}
    roles = {gateway_role("meter"), "meter_serve"}
    for name in set(re.findall(r"`(meter_[a-z_]+)", path.read_text(encoding="utf-8"))) - roles:
        assert re.sub(r"_(total|bucket|sum|count)$", "", name) in exposed, name


@document
def test_every_link_and_every_named_file_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, heading = target.partition("#")
            assert (path.parent / file).exists(), target
            assert not heading, f"{target}: link to the file, headings move"
    for name in re.findall(
        r"`((?:meter|edge|docs|deploy|examples|requirements|tests|bench|chaos)/[\w./-]+\.(?:py|md|yaml|sh))`", text
    ):
        assert (ROOT / name).exists(), name


def test_the_catalogs_page_shows_catalogs_that_are_accepted() -> None:
    text = (ROOT / "docs" / "catalog.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```yaml\n(operator:.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert shown
    for example in shown:
        assert read_catalog_text([("catalog", example)]).warnings == ()


def test_every_document_that_is_named_anywhere_is_there() -> None:
    own = [path for folder in ("meter", "edge", "tests", "docs") for path in (ROOT / folder).rglob("*")]
    documents = [f"/{path.relative_to(ROOT).as_posix()}" for path in DOCUMENTS]
    dangling = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in own
        if path.suffix in {".py", ".md", ".yaml", ".sql", ".toml"}
        for name in re.findall(r"[\w./-]*\w\.md\b", path.read_text(encoding="utf-8"))
        if not any(document.endswith("/" + name.lstrip("./")) for document in documents)
    }
    assert dangling == set()


def test_every_package_says_what_it_owns() -> None:
    packages = [ROOT / "edge", *sorted(path.parent for path in (ROOT / "meter").glob("*/__init__.py"))]
    assert len(packages) > 10
    assert [package.name for package in packages if not (package / "README.md").exists()] == []


def test_every_command_and_every_option_has_a_help_text() -> None:
    def silent(command: Any, context: Any) -> Iterator[str]:
        if not command.get_short_help_str():
            yield context.command_path
        for parameter in command.params:
            if not getattr(parameter, "help", None):
                yield f"{context.command_path} {parameter.name}"
        for below in command.commands if isinstance(command, TyperGroup) else ():
            _, child, _ = command.resolve_command(context, [below])
            yield from silent(child, typer.Context(child, parent=context, info_name=below))

    command = typer.main.get_command(app)
    assert list(silent(command, typer.Context(command, info_name="meter"))) == []


def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with() -> None:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="meter")
    for name, listed in command.commands.items():  # type: ignore[attr-defined]
        found = command.resolve_command(context, [name])[1]  # type: ignore[attr-defined]
        assert found.name == name
        assert " ".join(found.help.split("\n\n")[0].split()) == listed.help


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = "import sys; from meter.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "meter.cli" in loaded
    assert not loaded & {"sqlalchemy", "pydantic", "aiohttp", "stripe", "pysnmp", "meter.config"}


def readme_block(*, containing: str) -> str:
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    (block,) = [block for block in blocks if containing in block]
    return str(block)


def test_the_readme_shows_the_example_as_it_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    excerpt, whole = yaml.safe_load(shown), yaml.safe_load(example_catalog())
    assert excerpt["meters"].items() <= whole["meters"].items()
    team, real = excerpt["plans"]["team"], whole["plans"]["team"]
    assert team["fee"] == real["fee"]
    assert all(grant in real["grants"] for grant in team["grants"])
    assert team["prices"].items() <= real["prices"].items()


def test_the_readmes_settings_of_an_agent_are_accepted(tmp_path: Path) -> None:
    [shown] = re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    config = tmp_path / "meter-edge.toml"
    config.write_text(shown)
    enrolled = {"METER_EDGE_SITE": "berlin", "METER_EDGE_GATEWAY__HTTP_URL": "https://meter.example"}
    settings = load_settings(environment={"METER_EDGE_CONFIG": str(config), **enrolled})
    assert configured_logs(settings)
    assert settings.tokens[0] in readme_block(containing="127.0.0.1:8490")


async def test_the_readmes_commands_run_beside_a_gateway(data_dir: Path) -> None:
    curl = need_tool("curl")
    (data_dir / "data").mkdir()
    catalog = ROOT / "examples" / "northside.yaml"

    async def shell(script: str) -> str:
        """What the README's lines print, run where it says."""
        here = script.replace("http://127.0.0.1:8080", gateway.addresses.http)
        here = here.replace(".venv/bin/meter", f"{sys.executable} -m meter").replace("curl -s", f"{curl} -s")
        process = await asyncio.create_subprocess_exec(
            "sh", "-eu", "-c", here, cwd=data_dir, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, faults = await process.communicate()
        assert process.returncode == 0, faults.decode()
        return printed.decode()

    async with RunningGateway(data_dir / "data", arguments=("--catalog", str(catalog))) as gateway:
        send = readme_block(containing="curl -s")
        for status in ("accepted", "duplicate"):
            assert re.findall(r'"status": ?"(\w+)"', await shell(send)) == [status, status]
        await gateway.settled(events=2)
        *fees, charge = json.loads(await shell(".venv/bin/meter charges --account acme --json"))["charges"]
        assert {fee["meter"] for fee in fees} == {"membership"}
        # A second or less is a quarter of an hour, at 3.00 an hour 0.75; here the team has hours left.
        assert (charge["member"], charge["meter"], charge["covered"]) == ("ada", "presence", "0.25")
        looked = await shell(readme_block(containing="meter charges"))
        assert charge["id"] in looked
        # A fee stands on its day in the account's zone, in a narrow window below its name.
        assert re.search(r"fees: membership team[^:]*? \d{4}-\d\d-01 ", looked)
        assert "Computed again" in await shell(f".venv/bin/meter explain {charge['id']}")
