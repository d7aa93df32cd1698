"""What `meter check` says of the HTTP listener."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meter.cli.checked import Checked, check_listener
from meter.clock import now
from meter.config import ConfigFault, load_settings
from tests.authority import DAY, authority, server_pair
from tests.cli.command import meter

FILES = "METER_HTTP_TLS__CERT_FILE", "METER_HTTP_TLS__KEY_FILE"


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Certificate and key of a sound pair, as the settings name them."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for variable, path, content in zip(FILES, files, server_pair(authority()), strict=True):
        path.write_text(content)
        monkeypatch.setenv(variable, str(path))
    return files


def checked() -> Checked:
    return check_listener(load_settings())


@pytest.mark.parametrize(
    ("http", "state"),
    [("127.0.0.1:1", "ok"), ("[::1]:1", "ok"), ("localhost:1", "ok"), ("0.0.0.0:1", "warning"), ("[::]:1", "warning"),
     ("192.168.1.2:1", "warning"), ("meter.example:1", "warning")],
)  # fmt: skip
def test_plain_http_is_said_beyond_this_machine(monkeypatch: pytest.MonkeyPatch, http: str, state: str) -> None:
    monkeypatch.setenv("METER_HTTP", http)
    assert checked().state == state


@pytest.mark.usefixtures("given")
async def test_a_sound_pair_is_told_with_its_names(monkeypatch: pytest.MonkeyPatch, empty_database_url: str) -> None:
    monkeypatch.setenv("METER_HTTP", "0.0.0.0:1")
    monkeypatch.setenv("METER_DATABASE_URL", empty_database_url)
    parts = {part["part"]: part for part in json.loads((await meter("check", "--json")).stdout)}
    assert parts["listener"]["state"] == "ok"
    assert "names 127.0.0.1; ends " in parts["listener"]["detail"]


@pytest.mark.parametrize(
    ("days", "state", "word"), [(-1, "fault", "ended on"), (3, "warning", "ends in 2 days"), (89, "ok", "TLS;")]
)
def test_when_it_ends_is_told_in_time(given: tuple[Path, Path], days: int, state: str, word: str) -> None:
    for path, content in zip(given, server_pair(authority(), ends_at=now() + days * DAY), strict=True):
        path.write_text(content)
    found = checked()
    assert found.state == state
    assert word in (found.detail or "")


def test_a_certificate_of_the_future_is_a_fault(given: tuple[Path, Path]) -> None:
    for path, content in zip(given, server_pair(authority(), ends_at=now() + 100 * DAY), strict=True):
        path.write_text(content)
    assert "begins on" in (checked().detail or "")


def test_a_key_that_does_not_fit_and_what_is_no_pem_are_faults(given: tuple[Path, Path]) -> None:
    certificate, key = given
    own = key.read_text()
    for path, content, word in (
        (key, server_pair(authority())[1], "does not fit"),
        (key, "hush", "METER_HTTP_TLS__KEY: is no private key"),
        (certificate, "hush", "METER_HTTP_TLS__CERT: holds no certificate"),
    ):
        key.write_text(own)
        path.write_text(content)
        found = checked()
        assert found.state == "fault"
        assert word in (found.detail or "")
        assert "hush" not in (found.detail or "")


def test_a_file_that_is_not_there_or_half_a_pair_is_named(
    given: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given[1].unlink()
    with pytest.raises(ConfigFault, match=r"METER_HTTP_TLS__KEY_FILE: cannot read .*key\.pem"):
        load_settings()
    monkeypatch.delenv(FILES[1])
    with pytest.raises(ConfigFault, match=r"METER_HTTP_TLS: has METER_HTTP_TLS__CERT alone"):
        load_settings()
