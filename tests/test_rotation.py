"""Which parts of the settings change without a restart, and which do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meter.config import ConfigFault, Settings, load_settings
from meter.rotation import SecretWatch, check_may_change, renewed, secrets_in, with_secrets_of
from meter.telemetry import Telemetry


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("METER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def given(key: str, *, log_level: str = "info", identity: str = "i" * 16) -> Settings:
    target = {"kind": "stripe", "api_key": key, "base_url": f"https://{key}.example"}
    hook = {"secrets": [key], "site": key}
    return Settings.model_validate(
        {
            "admin_key": key, "log_level": log_level, "identity_key": identity, "targets": {"stripe": target},
            "webhooks": {"kisi": {"main": hook}}, "mqtt_url": f"mqtt://u:{key}@broker",
        }
    )  # fmt: skip


def test_secrets_are_taken_and_nothing_else() -> None:
    old, new = given("old"), given("new", log_level="error", identity="j" * 16)
    merged = with_secrets_of(old, new)
    told = dict(secrets_in(merged))
    assert told.pop(("identity_key",)) == "i" * 16
    assert told.pop(("mqtt_url",)) == "mqtt://u:new@broker"
    assert set(told.values()) == {"new"}
    assert len(told) == 3
    assert (merged.log_level, merged.targets["stripe"].base_url) == ("info", "https://old.example")
    assert merged.webhooks["kisi"]["main"].site == "old"
    assert dict(secrets_in(old))[("admin_key",)] == "old"


def test_what_was_made_with_a_key_keeps_it() -> None:
    with pytest.raises(ConfigFault, match="METER_IDENTITY_KEY"):
        check_may_change(given("k"), given("k", identity="j" * 16))
    check_may_change(given("old"), given("new"))


def test_a_gateway_does_not_move_to_another_server() -> None:
    one, other = (Settings.model_validate({"database_url": f"postgresql://u:p@{host}/db"}) for host in ("a", "b"))
    with pytest.raises(ConfigFault, match="METER_DATABASE_URL"):
        check_may_change(one, other)


async def test_a_bad_file_holds_up_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("ADMIN_KEY", "old"), ("DATABASE_URL", "postgresql://u:old@h/d")):
        (tmp_path / name).write_text(value)
        monkeypatch.setenv(f"METER_{name}_FILE", str(tmp_path / name))
    told: list[Settings] = []
    watch = SecretWatch(load_settings(), changed=told.append, telemetry=Telemetry())
    await watch.look()
    assert told == []
    (tmp_path / "ADMIN_KEY").write_text("new")
    (tmp_path / "DATABASE_URL").write_text("mysql://u:new@h/d")
    await watch.look()
    assert [dict(secrets_in(one))[("admin_key",)] for one in told] == ["new"]
    assert dict(secrets_in(watch.settings))[("database_url",)] == "postgresql://u:old@h/d"
    (tmp_path / "DATABASE_URL").unlink()
    await watch.look()
    (tmp_path / "DATABASE_URL").write_text("postgresql://u:new@h/d")
    await watch.look()
    assert dict(secrets_in(watch.settings))[("database_url",)] == "postgresql://u:new@h/d"


async def test_what_changed_while_it_started_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old")
    monkeypatch.setenv("METER_ADMIN_KEY_FILE", str(tmp_path / "key"))
    settings, told = load_settings(), list[Settings]()
    (tmp_path / "key").write_text("new")
    watch = SecretWatch(settings, changed=told.append, telemetry=Telemetry())
    await watch.look()
    assert len(told) == 1


async def test_work_begins_anew_at_the_event_and_ends_with_its_fault() -> None:
    event, runs = asyncio.Event(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            raise LookupError
        event.set()
        await asyncio.Event().wait()

    with pytest.raises(LookupError):
        await renewed(event, run)
    assert runs == 3
