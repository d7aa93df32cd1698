"""What goes to an S3 store is signed as AWS signs, and what our stand-in answers is what AWS's own client reads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from meter.export.contract import Barred
from meter.export.targets.files.places import PART_BYTES, Bucket, PlaceFault, StoreAccess, place_at
from tests.targets.signed_s3 import REGION, SECRET, SignedS3

# Whatever an address must escape, and what it must not.
NAMES: Final = (
    "charges/2026-11-23.parquet",
    "a b+c/d=e&f",
    "K\u00e4ffchen/\u2615",
    "100%/~_.-/(1)'!*",
    "northside/000000000001-20261123T070000000000Z-00.json",
)


def bucket(store: SignedS3, **changes: Any) -> Bucket:
    given = {"endpoint": store.url, "region": REGION, "access_key": "AKIDFAKE", "secret_key": SECRET}
    place = place_at("s3://lake/meter/of berlin", StoreAccess(**{**given, **changes}))
    assert isinstance(place, Bucket)
    return place


async def test_every_call_is_signed_as_aws_signs_it(tmp_path: Path) -> None:
    large = bytes(range(256)) * (PART_BYTES // 256) + b"more"
    (tmp_path / "large").write_bytes(large)
    async with SignedS3() as store:
        kept = bucket(store)
        for name in NAMES:
            await kept.write(name, name.encode())
            assert await kept.holds(name)
            assert await kept.read(name) == name.encode()
        assert not await kept.holds("absent")
        await kept.upload("files/large", tmp_path / "large")
        assert store.parts == 2
        await kept.download("files/large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == large
        assert [name async for name in kept.names("northside")] == [NAMES[-1]]
        assert "charges" in await kept.folders()
        await kept.delete(NAMES[0])
        assert not await kept.holds(NAMES[0])
        assert store.admitted.keys() >= {"GET", "PUT", "HEAD", "POST"}
        assert {recorded.status for recorded in store.requests} <= {200, 204, 206, 404}


@pytest.mark.parametrize(
    "changes", [{"secret_key": SECRET + "x"}, {"region": "us-east-1"}, {"access_key": "AKIDOTHER"}]
)
async def test_what_is_signed_otherwise_is_let_in_nowhere(changes: dict[str, str]) -> None:
    async with SignedS3() as store:
        kept = bucket(store, **changes)
        with pytest.raises(PlaceFault) as refused:
            await kept.write(NAMES[0], b"x")
        assert isinstance(refused.value.outcome, Barred)
        assert store.objects == {}


async def test_aws_own_client_reads_and_writes_the_same_store() -> None:
    """It holds each answer against AWS's model of the service."""
    async with SignedS3() as store:
        kept = bucket(store)
        for name in NAMES:
            await kept.write(name, name.encode())
        session = Session()
        session.set_credentials("AKIDFAKE", SECRET)
        client = session.create_client(
            "s3", region_name=REGION, endpoint_url=store.url, config=Config(s3={"addressing_style": "path"})
        )
        prefix = "meter/of berlin/"
        listed = await asyncio.to_thread(client.list_objects_v2, Bucket="lake", Prefix=prefix)
        assert {one["Key"] for one in listed["Contents"]} == {prefix + name for name in NAMES}
        assert {one["Size"] for one in listed["Contents"]} == {len(name.encode()) for name in NAMES}
        shown = await asyncio.to_thread(client.list_objects_v2, Bucket="lake", Prefix=prefix, Delimiter="/")
        folders = sorted(one["Prefix"].removeprefix(prefix) for one in shown["CommonPrefixes"])
        assert folders == [f"{name}/" for name in sorted(await kept.folders())]
        for name in NAMES:
            got = await asyncio.to_thread(client.get_object, Bucket="lake", Key=prefix + name)
            assert await asyncio.to_thread(got["Body"].read) == name.encode()
        with pytest.raises(ClientError, match="NoSuchKey"):
            await asyncio.to_thread(client.get_object, Bucket="lake", Key="absent")
        client.close()
