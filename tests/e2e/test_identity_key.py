"""Gateways of one database hash identities with one key: another does not start, and says which setting it lacks."""

from __future__ import annotations

import asyncio

import pytest

from meter.app import Gateway, Parts
from meter.config import Settings
from meter.model.errors import BadInput
from meter.model.hashing import IdentityHasher
from tests.booking.space import open_space


def gateway(database_url: str, key: bytes) -> Gateway:
    parts = Parts(database_url=database_url, mqtt_url=None)
    hasher = IdentityHasher({"mac"}, lambda: key)
    settings = Settings(http="127.0.0.1:0")
    return Gateway(settings, parts, roles=("api",), admin_key="k" * 32, hasher=hasher)


async def test_a_gateway_with_another_key_does_not_start(database_url: str) -> None:
    async def serve(key: bytes) -> None:
        stop = asyncio.Event()

        async def ready(_addresses: object) -> None:
            stop.set()

        await gateway(database_url, key).run(stop=stop, ready=ready)

    async with open_space(database_url):
        await serve(b"the key of the first")
        await serve(b"the key of the first")
        with pytest.raises(BadInput, match="METER_IDENTITY_KEY") as caught:
            await serve(b"the key of another")
        assert caught.value.code == "identity_key_mismatch"
