"""The agent's settings: one tree from file, environment and secrets' files; every fault at once, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from edge.app import bounds_of
from edge.config.faults import ConfigFault, variable_of
from edge.config.loading import load_settings
from edge.config.settings import EdgeSettings, FileSettings, ReaderSettings, SourceSettings

FILE = """
site = "berlin"
heartbeat_s = 10

[gateway]
mqtt_url = "mqtts://berlin:secret@meter.example:8883"

[spool]
bytes_max = 67108864

[sources.kisi.main]
secrets = ["s1"]

[sources.esp-rfid.front-door]
secrets = ["s9"]
options = {door = "front"}
"""
LEAST = {"METER_EDGE_SITE": "berlin", "METER_EDGE_GATEWAY__HTTP_URL": "https://meter.example"}


def load(tmp_path: Path, text: str = FILE, environment: Mapping[str, str] | None = None) -> EdgeSettings:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    return load_settings(environment={"METER_EDGE_CONFIG": str(path), **(environment or {})})


def faults(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path, text, environment)
    return caught.value.detail.splitlines()


def test_a_file_is_read_as_a_whole(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert (found.id, found.heartbeat_s, found.spool.bytes_max) == ("berlin-edge", 10, 67_108_864)
    assert found.spool.keep_days == 35
    assert found.sources["kisi"]["main"].secrets == ["s1"]
    assert found.sources["esp-rfid"]["front-door"].options == {"door": "front"}


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    told = {
        "METER_EDGE_HEARTBEAT_S": "60",
        "METER_EDGE_SOURCES__ESP_RFID__FRONT_DOOR__TIMEZONE": "Europe/Berlin",
        "METER_EDGE_SOURCES__KISI__MAIN__SECRETS": '["s2", "s3"]',
    }
    found = load(tmp_path, environment=told)
    assert found.heartbeat_s == 60
    assert found.sources["esp-rfid"]["front-door"].timezone == "Europe/Berlin"
    assert found.sources["kisi"]["main"].secrets == ["s2", "s3"]


def test_the_least_that_is_needed() -> None:
    found = load_settings(environment=LEAST)
    assert found.gateway.http_url == "https://meter.example"


def test_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("k-1\n")
    found = load_settings(environment=LEAST | {"METER_EDGE_GATEWAY__API_KEY_FILE": str(secret)})
    assert found.gateway.api_key == "k-1"
    missing = LEAST | {"METER_EDGE_GATEWAY__API_KEY_FILE": str(tmp_path / "none")}
    with pytest.raises(ConfigFault, match="METER_EDGE_GATEWAY__API_KEY_FILE"):
        load_settings(environment=missing)


def test_the_name_of_a_certificate_s_file_is_a_setting() -> None:
    found = load_settings(environment=LEAST | {"METER_EDGE_GATEWAY__CA_FILE": "/etc/ca.pem"})
    assert found.gateway.ca_file == "/etc/ca.pem"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = 'heartbeats = 3\n[spool]\nbytes_max = "many"\n[sources.kisi.a]\nsecrets = 3\n'
    found = "\n".join(faults(tmp_path, text, {"METER_EDGE_LOG_LEVEL": "loud"}))
    for name in ("SITE", "HEARTBEATS", "SPOOL__BYTES_MAX", "SOURCES__KISI__A__SECRETS", "LOG_LEVEL"):
        assert f"METER_EDGE_{name}: " in found
    assert "did you mean heartbeat_s?" in found


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"METER_EDGE_SITE": "ber/lin"}, "METER_EDGE_SITE"),
        ({"METER_EDGE_EDGE": "no spaces"}, "METER_EDGE_EDGE"),
        ({"METER_EDGE_SPOOL__BYTES_MAX": "10"}, "METER_EDGE_SPOOL__BYTES_MAX"),
        ({"METER_EDGE_HEARTBEAT_S": "0"}, "METER_EDGE_HEARTBEAT_S"),
        ({"METER_EDGE_SOURCES": "kisi"}, "METER_EDGE_SOURCES"),
        ({"METER_EDGE_GATEWAY": "x"}, "METER_EDGE_GATEWAY"),
    ],
)
def test_what_cannot_be_meant_is_named(environment: dict[str, str], named: str) -> None:
    told = {name: value for name, value in LEAST.items() if not name.startswith(f"{named}__")} | environment
    with pytest.raises(ConfigFault, match=named):
        load_settings(environment=told)


def test_what_is_set_as_a_whole_has_no_parts_set_beside_it() -> None:
    told = LEAST | {"METER_EDGE_SPOOL": '{"bytes_max": 67108864}'}
    assert load_settings(environment=told).spool.bytes_max == 67_108_864
    with pytest.raises(ConfigFault, match="METER_EDGE_SPOOL__KEEP_DAYS: what it is part of is set as a whole"):
        load_settings(environment=told | {"METER_EDGE_SPOOL__KEEP_DAYS": "7"})
    with pytest.raises(ConfigFault, match="METER_EDGE_SPOOL__BYTES_MAX: Expected `int`"):
        load_settings(environment=LEAST | {"METER_EDGE_SPOOL": '{"bytes_max": "many"}'})


def test_no_way_to_the_gateway_is_a_fault() -> None:
    with pytest.raises(ConfigFault, match="METER_EDGE_GATEWAY: needs mqtt_url or http_url"):
        load_settings(environment={"METER_EDGE_SITE": "berlin"})


def test_a_file_that_is_named_and_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="there is no file"):
        load_settings(environment={"METER_EDGE_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigFault, match=r"edge\.toml"):
        load(tmp_path, "site = ")


def variables(kind: type[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each setting's variable, VENDOR and NAME for names that are chosen, and its default as the document shows it."""
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        hint, below = hints[field.name], (*path, field.name)
        sections = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        if sections and get_origin(hint) not in {list, dict}:
            yield from variables(sections[0], below)
        elif field.name == "sources":
            yield from variables(SourceSettings, (*below, "VENDOR", "NAME"))
        elif field.name in {"files", "readers"}:
            yield from variables(FileSettings if field.name == "files" else ReaderSettings, (*below, "NAME"))
        elif field.required:
            yield variable_of(*below), "needed"
        else:
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            shown = default if isinstance(default, str) else msgspec.json.encode(default).decode()
            yield variable_of(*below), "none" if default in (None, []) else f"`{shown}`"


def test_the_document_lists_every_setting_with_its_default() -> None:
    document = (Path(__file__).parents[2] / "docs" / "edge.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(METER_EDGE_[A-Z_]+)` \| (.*?) \|", document, re.MULTILINE))
    assert listed == dict(variables(EdgeSettings))


def test_a_ballast_that_the_spool_would_refuse_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"METER_EDGE_SPOOL__BALLAST_BYTES: is 0; at least 8388608"):
        load(tmp_path, environment={"METER_EDGE_SPOOL__BALLAST_BYTES": "0"})


def test_a_size_is_either_named_or_a_spool_opens_with_it(tmp_path: Path) -> None:
    """One truth: what the settings let through the spool takes."""
    for size, ballast in product(
        (0, 16 << 20, (48 << 20) - 1, 48 << 20, (80 << 20) - 1, 80 << 20), (16 << 20, 32 << 20)
    ):
        told = {"METER_EDGE_SPOOL__BYTES_MAX": str(size), "METER_EDGE_SPOOL__BALLAST_BYTES": str(ballast)}
        if size < 2 * ((8 << 20) + ballast):
            with pytest.raises(ConfigFault, match=rf"METER_EDGE_SPOOL__BYTES_MAX: is {size}; at least \d+"):
                load(tmp_path, environment=told)
        else:
            assert bounds_of(load(tmp_path, environment=told)).bytes_max == size
