"""Settings: sources and their order, faults all at once, and a document that lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meter.config import ConfigFault, Settings, WebhookSettings, listen_address, load_settings
from meter.ingest.setups import Sources

DOCUMENT = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("METER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_document_lists_every_setting_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `METER_([A-Z_]+)` \| (.*?) \|", DOCUMENT, re.MULTILINE))
    assert {name.lower() for name in listed} == set(Settings.model_fields)
    settings = load_settings()
    for name in ("data_dir", "mqtt", "http", "log_level", "max_age_days", "rating_shards"):
        assert listed[name.upper()] == f"`{getattr(settings, name)}`"


def test_the_strongest_source_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text('http = "127.0.0.1:1"\nmax_age_days = 10\nlog_level = "error"\n')
    (tmp_path / "days").write_text("20\n")
    monkeypatch.setenv("METER_MAX_AGE_DAYS_FILE", str(tmp_path / "days"))
    monkeypatch.setenv("METER_HTTP", "127.0.0.1:2")
    settings = load_settings(http="127.0.0.1:3")
    assert (settings.http, settings.max_age_days, settings.log_level) == ("127.0.0.1:3", 20, "error")
    assert load_settings().http == "127.0.0.1:2"


def test_a_secret_comes_from_a_file_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    monkeypatch.setenv("METER_ADMIN_KEY_FILE", str(tmp_path / "key"))
    settings = load_settings()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "hush"
    assert "hush" not in repr(settings)


def test_a_targets_secret_comes_from_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    monkeypatch.setenv("METER_TARGETS__STRIPE__KIND", "stripe")
    monkeypatch.setenv("METER_TARGETS__STRIPE__API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("METER_WEBHOOKS__KISI__MAIN__API_KEY_FILE", str(tmp_path / "key"))
    settings = load_settings()
    for secret in (settings.targets["stripe"].api_key, settings.webhooks["kisi"]["main"].api_key):
        assert secret is not None
        assert secret.get_secret_value() == "hush"
    assert "hush" not in repr(settings)


def test_the_ledger_is_there_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_TARGETS__STRIPE_METERS__BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("METER_TARGETS__BOOKS__KIND", "xero")
    targets = load_settings().targets
    assert {name: target.kind for name, target in targets.items()} == {
        "ledger": "ledger",
        "stripe-meters": "stripe-meters",
        "books": "xero",
    }
    monkeypatch.setenv("METER_TARGETS__LEDGER__ENABLED", "false")
    assert not load_settings().targets["ledger"].enabled


def test_every_fault_is_named_at_once_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_MAX_AGE_DAYS", "-1")
    monkeypatch.setenv("METER_LOG_LEVEL", "chatty")
    monkeypatch.setenv("METER_DATABSE_URL", "postgresql://u:hush@h/d")
    monkeypatch.setenv("METER_DATABASE_URL", "mysql://u:hush@h/d")
    monkeypatch.setenv("METER_MQTT_URL", "mqtt://u:hush@:1883")
    monkeypatch.setenv("METER_HTTP", "8080")
    monkeypatch.setenv("METER_MQTT", "here:there")
    monkeypatch.setenv("METER_TARGETS", '{"ledger": {"kind": "paper"}}')
    with pytest.raises(ConfigFault) as caught:
        load_settings()
    faults = caught.value.detail
    named = (
        "MAX_AGE_DAYS",
        "LOG_LEVEL",
        "DATABSE_URL",
        "DATABASE_URL",
        "MQTT_URL",
        "HTTP",
        "MQTT",
        "TARGETS__LEDGER__KIND",
    )
    assert len(faults.splitlines()) == len(named)
    for name in named:
        assert f"METER_{name}: " in faults
    assert "hush" not in faults


@pytest.mark.parametrize("text", ["a.yaml, b.yaml", '["a.yaml", "b.yaml"]'])
def test_a_list_is_json_or_words_with_commas(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METER_CATALOG", text)
    assert load_settings().catalog == [Path("a.yaml"), Path("b.yaml")]


@pytest.mark.parametrize(("name", "text"), [("METER_CATALOG", "[oops"), ("METER_TARGETS", "{oops")])
def test_what_cannot_be_read_at_all_is_a_fault(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigFault):
        load_settings()


def test_a_nested_variable_that_is_no_json_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secrets").write_text("hush\n")
    monkeypatch.setenv("METER_TARGETS__CRM__KIND", "webhook")
    monkeypatch.setenv("METER_TARGETS__CRM__SECRETS_FILE", str(tmp_path / "secrets"))
    with pytest.raises(ConfigFault, match=r"^METER_TARGETS__CRM__SECRETS: is not JSON$"):
        load_settings()
    monkeypatch.setenv("METER_TARGETS__CRM__OPTIONS", "{hush")
    with pytest.raises(ConfigFault, match=r"^METER_TARGETS__CRM__OPTIONS: is not JSON$"):
        load_settings()


def test_a_broken_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text("http = [")
    with pytest.raises(ConfigFault, match="TOML"):
        load_settings()


def test_an_unreadable_secret_file_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METER_ADMIN_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigFault, match="METER_ADMIN_KEY_FILE"):
        load_settings()


def test_webhooks_are_read_from_the_environment_with_hyphens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_WEBHOOKS__UNIFI_ACCESS__MAIN_DOOR__SECRETS", '["one", "two"]')
    monkeypatch.setenv("METER_WEBHOOKS__UNIFI_ACCESS__MAIN_DOOR__SITE", "berlin")
    source = load_settings().webhooks["unifi-access"]["main-door"]
    assert [secret.get_secret_value() for secret in source.secrets] == ["one", "two"]
    assert source.site == "berlin"


@pytest.mark.parametrize("text", ["8080", "localhost", "127.0.0.1:http", "127.0.0.1:65536"])
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(ConfigFault, match="METER_HTTP"):
        listen_address(text, setting="METER_HTTP")


def test_an_ipv6_address_is_in_brackets() -> None:
    assert listen_address("[::1]:80", setting="METER_HTTP") == ("::1", 80)


def test_kinds_to_hash_are_kinds_and_their_key_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().hash_identities == ["mac"]
    monkeypatch.setenv("METER_HASH_IDENTITIES", "mac, badge")
    assert load_settings().hash_identities == ["mac", "badge"]
    monkeypatch.setenv("METER_HASH_IDENTITIES", "")
    assert load_settings().hash_identities == []
    monkeypatch.setenv("METER_HASH_IDENTITIES", "mac,member,E mail")
    monkeypatch.setenv("METER_IDENTITY_KEY", "hush")
    with pytest.raises(ConfigFault) as caught:
        load_settings()
    assert "METER_HASH_IDENTITIES: E mail, member: " in caught.value.detail
    assert "METER_IDENTITY_KEY: is shorter than 16 bytes" in caught.value.detail
    assert "hush" not in caught.value.detail


def test_a_kind_of_target_that_was_written_wrong_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_TARGETS__STRPIE__API_KEY", "sk_secret")
    with pytest.raises(ConfigFault) as refused:
        load_settings()
    assert "METER_TARGETS__STRPIE__KIND: " in refused.value.detail
    assert "(did you mean stripe?)" in refused.value.detail
    assert "sk_secret" not in refused.value.detail


def test_a_vendor_that_was_written_wrong_is_guessed() -> None:
    given = {"sqaure": {"till": WebhookSettings.model_validate({"secrets": ["hush"]})}}
    [fault] = Sources(given).faults
    assert "METER_WEBHOOKS__SQAURE: " in fault
    assert "(did you mean square?)" in fault
