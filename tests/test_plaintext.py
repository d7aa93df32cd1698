"""Credentials of the database and the broker do not cross the open net in plaintext; inside, nobody is asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from meter.config import Settings
from meter.model.errors import BadInput
from meter.plaintext import plaintext_faults, require_tls

DATABASE, BROKER = "postgresql://u:hush@{}/meter", "mqtt://u:hush@{}:1883"


async def faults(address: str, **given: object) -> list[str]:
    async def lookup(_host: str, _port: int) -> Sequence[str]:
        return [address]

    return await plaintext_faults(Settings.model_validate(given), lookup=lookup)


@pytest.mark.parametrize("host", ["db.example", "8.8.8.8"])
async def test_beyond_the_site_each_setting_is_named_with_its_remedy(host: str) -> None:
    found = await faults("8.8.8.8", database_url=DATABASE.format(host), mqtt_url=BROKER.format(host))
    assert [text.partition(":")[0] for text in found] == ["METER_DATABASE_URL", "METER_MQTT_URL"]
    assert "ssl=verify-full" in found[0]
    assert "mqtts://" in found[1]
    assert "hush" not in "".join(found)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "172.18.0.3", "192.168.1.2", "100.64.1.1", "::1", "fd12::1"]
)
async def test_inside_nobody_is_asked(address: str) -> None:
    assert not await faults(address, database_url=DATABASE.format("db"), mqtt_url=BROKER.format("mqtt.example"))


async def test_tls_or_a_word_permits_it() -> None:
    secure = {
        "database_url": DATABASE.format("db.example") + "?ssl=verify-full",
        "mqtt_url": "mqtts://u:hush@m.example",
    }
    assert not await faults("8.8.8.8", **secure)
    assert await faults("8.8.8.8", database_url=DATABASE.format("db.example") + "?ssl=prefer")
    plain = {"database_url": DATABASE.format("db.example"), "mqtt_url": BROKER.format("m.example")}
    assert not await faults("8.8.8.8", **plain, outgoing={"plaintext": ["db.example", "M.example"]})
    assert not await faults("8.8.8.8", **plain, outgoing={"private": ["8.8.8.0/24"]})


async def test_a_name_that_is_not_found_is_told_by_who_connects() -> None:
    async def lookup(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    settings = Settings.model_validate({"mqtt_url": BROKER.format("m.example")})
    assert not await plaintext_faults(settings, lookup=lookup)


async def test_the_start_refuses() -> None:
    with pytest.raises(BadInput, match="METER_MQTT_URL") as caught:
        await require_tls(Settings.model_validate({"mqtt_url": BROKER.format("8.8.8.8")}))
    assert caught.value.code == "plaintext"
