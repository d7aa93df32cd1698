"""Making backups: whole ones or none, found out where they are damaged, on a disk and in a store."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from meter.backup import make
from meter.backup.make import make_backup
from meter.backup.manifest import MANIFEST, Manifest
from meter.backup.places import BucketShelf, DirectoryShelf, Shelf, find, shelf_at
from meter.backup.restore import restore, unpack_cluster
from meter.backup.source import STATE, Source
from meter.config import StoreSettings
from meter.embedded.postgres import EmbeddedPostgres
from meter.embedded.restored import BASE
from meter.model.errors import BadInput, Unavailable
from meter.store.engine import Database
from meter.store.safekeeping import newest_backup
from tests.edge.spool.test_full_disk import namespace
from tests.targets.fakes.s3 import FakeS3

KEY = StoreSettings(access_key="AKIDFAKE", secret_key=SecretStr("a-secret-that-is-long-enough"))


@pytest.fixture
def source(database_url: str, pg_server: EmbeddedPostgres, session_dir: Path) -> Source:
    """A test's database, on the session's server."""
    state = session_dir / "postgres" / "state.json"
    return Source(url=database_url, copy_url=pg_server.admin_url, embedded=True, secrets={STATE: state})


@pytest.fixture
def shelf(data_dir: Path) -> DirectoryShelf:
    return DirectoryShelf(data_dir / "kept")


@pytest_asyncio.fixture
async def store() -> AsyncIterator[FakeS3]:
    async with FakeS3() as fake:
        yield fake


def in_store(store: FakeS3, data_dir: Path, *, key: StoreSettings = KEY, bucket: str = "lake") -> Shelf:
    settings = key.model_copy(update={"endpoint": store.url})
    return shelf_at(f"s3://{bucket}/meter/backups", settings, staging=data_dir / ".backup")


def left_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


# --- damage -----------------------------------------------------------------------------------------------------------


def _cut(folder: Path) -> None:
    os.truncate(folder / BASE, (folder / BASE).stat().st_size - 1)


def _flipped(folder: Path) -> None:
    content = bytearray((folder / BASE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / BASE).write_bytes(content)


def _missing(folder: Path) -> None:
    (folder / "backup_manifest").unlink()


def _no_passwords(folder: Path) -> None:
    (folder / STATE).write_text("{}")


def _manifest_cut(folder: Path) -> None:
    os.truncate(folder / MANIFEST, 100)


def _file_changed(folder: Path) -> None:
    """Damage that our own checksums agree with, as of a disk that was bad while the backup was made."""
    unpacked = bytearray(gzip.decompress((folder / BASE).read_bytes()))
    place = unpacked.index(b"PG_VERSION") + 512
    unpacked[place] ^= 1
    (folder / BASE).write_bytes(gzip.compress(bytes(unpacked), 1))
    manifest = json.loads((folder / MANIFEST).read_text())
    for file in manifest["files"]:
        content = (folder / file["name"]).read_bytes()
        file |= {"size": len(content), "sha256": sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_cut, "base.tar.gz has "),
        (_flipped, "base.tar.gz is not what was written"),
        (_missing, "backup_manifest is missing"),
        (_no_passwords, "postgres.json has 2 bytes"),
        (_manifest_cut, "cannot be read as a backup's manifest"),
        (_file_changed, 'checksum mismatch for file "PG_VERSION"'),
    ],
)
async def test_a_damaged_backup_is_named_and_nothing_is_restored(
    source: Source, shelf: DirectoryShelf, data_dir: Path, damage: Callable[[Path], None], named: str
) -> None:
    manifest = await make_backup(source, shelf, keep=None)
    damage(shelf.staging / manifest.name)
    with pytest.raises((BadInput, Unavailable)) as refused:
        await _restored(str(shelf.staging), data_dir)
    assert named in refused.value.detail
    if (data_dir / "new").exists():
        assert left_of(data_dir / "new") == set()


async def _restored(url: str, data_dir: Path) -> None:
    shelf, _, manifest = await find(url, StoreSettings(), staging=data_dir)
    await restore(shelf, manifest, data_dir / "new", anew=())


async def test_nothing_is_restored_over_a_database(source: Source, shelf: DirectoryShelf, data_dir: Path) -> None:
    manifest = await make_backup(source, shelf, keep=None)
    (data_dir / "new" / "postgres").mkdir(parents=True)
    with pytest.raises(BadInput, match="nothing is overwritten"):
        await restore(shelf, manifest, data_dir / "new", anew=())
    assert left_of(data_dir / "new") == {"postgres"}


async def test_a_cluster_of_ones_own_is_unpacked_whole(source: Source, shelf: DirectoryShelf, data_dir: Path) -> None:
    manifest = await make_backup(source, shelf, keep=None)
    epoch = await unpack_cluster(shelf, manifest, data_dir / "cluster")
    assert epoch == 1
    assert {"PG_VERSION", "pg_wal", "base"} <= left_of(data_dir / "cluster")
    with pytest.raises(BadInput, match="there already"):
        await unpack_cluster(shelf, manifest, data_dir / "cluster")


# --- whole or not at all ----------------------------------------------------------------------------------------------


async def test_a_backup_is_known_with_its_age_and_private(
    source: Source, shelf: DirectoryShelf, database: Database
) -> None:
    manifest = await make_backup(source, shelf, keep=None)
    async with database.begin() as connection:
        assert await newest_backup(connection) == manifest.started_at
    folder = shelf.staging / manifest.name
    assert {path.name for path in folder.iterdir()} == {BASE, "backup_manifest", STATE, MANIFEST}
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert [file.name for file in manifest.files if file.secret] == [STATE]
    assert await shelf.newest() == manifest.name


async def test_so_many_are_kept_as_asked_for(source: Source, shelf: DirectoryShelf) -> None:
    names = [(await make_backup(source, shelf, keep=2)).name for _ in range(3)]
    assert await shelf.names() == names[1:]
    # What was cut off while it was removed goes with the next.
    (shelf.staging / names[1] / MANIFEST).unlink()
    names.append((await make_backup(source, shelf, keep=2)).name)
    assert await shelf.names() == names[2:]


async def test_one_backup_at_a_time(source: Source, shelf: DirectoryShelf) -> None:
    with make.draft_in(shelf.staging, "meter-20260302T000000000000Z", what="backup"):
        with pytest.raises(Unavailable, match=r"another backup to .+ is under way"):
            await make_backup(source, shelf, keep=None)
        assert left_of(shelf.staging) == {".draft-meter-20260302T000000000000Z"}


async def test_a_killed_backup_is_none_and_leaves_no_program(
    source: Source, shelf: DirectoryShelf, data_dir: Path
) -> None:
    env = {**os.environ, "METER_DATABASE_URL": f"{source.copy_url.rpartition('/')[0]}/{source.url.rpartition('/')[2]}"}
    command = [sys.executable, "-m", "meter", "backup", str(shelf.staging), "--data-dir", str(data_dir)]
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        while not list(shelf.staging.glob(".draft-*/*")):  # noqa: ASYNC110 -- another process tells nobody
            await asyncio.sleep(0.001)
    process.kill()
    await process.wait()
    assert await shelf.newest() is None
    async with asyncio.timeout(30):
        while await _walsenders(source):  # noqa: ASYNC110 -- another process tells nobody
            await asyncio.sleep(0.05)
    manifest = await make_backup(source, shelf, keep=None)
    assert left_of(shelf.staging) == {manifest.name}


async def _walsenders(source: Source) -> int:
    connection = await asyncpg.connect(source.copy_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pg_stat_replication"))
    finally:
        await connection.close()


def test_a_full_disk_keeps_nothing(source: Source, data_dir: Path) -> None:
    url = f"{source.copy_url.rpartition('/')[0]}/{source.url.rpartition('/')[2]}"
    command = [sys.executable, "-m", "meter", "backup", str(data_dir), "--data-dir", "/nonexistent"]
    mounted = 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && "$@"; code=$?; ls -A "$0"; exit $code'
    done = subprocess.run(
        [*namespace(), "sh", "-c", mounted, str(data_dir), str(data_dir), *command],
        env={**os.environ, "METER_DATABASE_URL": url}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout.split() == [".lock"]


# --- a store ----------------------------------------------------------------------------------------------------------


async def test_a_store_gives_back_what_it_was_given(source: Source, store: FakeS3, data_dir: Path) -> None:
    shelf = in_store(store, data_dir)
    names = [(await make_backup(source, shelf, keep=2)).name for _ in range(3)]
    assert await shelf.names() == names[1:]
    assert left_of(data_dir / ".backup") == set()
    settings = KEY.model_copy(update={"endpoint": store.url})
    for url, name in (("s3://lake/meter/backups/", names[2]), (f"s3://lake/meter/backups/{names[1]}", names[1])):
        found, _, manifest = await find(url, settings, staging=data_dir)
        assert manifest.name == name
        assert await unpack_cluster(found, manifest, data_dir / f"of-{name}") == 1
    key = f"meter/backups/{names[2]}/{BASE}"
    store.by_hand(key, store.objects[key].content[:-1])
    with pytest.raises(BadInput, match=r"base\.tar\.gz has \d+ bytes"):
        await unpack_cluster(shelf, await _manifest(shelf, names[2]), data_dir / "bad")
    store.by_hand(key, None)
    with pytest.raises(BadInput, match=r"base\.tar\.gz is missing"):
        await unpack_cluster(shelf, await _manifest(shelf, names[2]), data_dir / "bad")


async def _manifest(shelf: Shelf, name: str) -> Manifest:
    found = await shelf.manifest(name)
    assert found is not None
    return found


async def test_an_upload_that_is_cut_off_is_no_backup(source: Source, store: FakeS3, data_dir: Path) -> None:
    shelf = in_store(store, data_dir)
    store.fail_next(500, committed=True, path="/postgres.json")
    with pytest.raises(Unavailable, match="the store does not do as asked"):
        await make_backup(source, shelf, keep=1)
    assert len(await shelf.names()) == 1
    assert await shelf.newest() is None
    assert left_of(data_dir / ".backup") == set()
    made = await make_backup(source, shelf, keep=1)
    assert await shelf.names() == [made.name]


@pytest.mark.parametrize(
    ("key", "bucket"),
    [(KEY.model_copy(update={"access_key": "AKIDOTHER"}), "lake"), (KEY, "sea")],
    ids=["another's key", "no such bucket"],
)
async def test_a_store_that_lets_nobody_in_is_said_and_shows_no_key(
    source: Source, store: FakeS3, data_dir: Path, key: StoreSettings, bucket: str
) -> None:
    shelf = in_store(store, data_dir, key=key, bucket=bucket)
    with pytest.raises(Unavailable, match=r"the store does not do as asked: .*40[34]") as refused:
        await make_backup(source, shelf, keep=None)
    assert "a-secret-that-is-long-enough" not in refused.value.detail
    assert isinstance(shelf, BucketShelf)
    assert left_of(data_dir / ".backup") == set()


async def test_what_is_large_goes_in_parts(store: FakeS3, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.export.targets.files.places.PART_BYTES", 5 * 1024 * 1024)
    path = data_dir / "large"
    path.write_bytes(os.urandom(12 * 1024 * 1024))
    shelf = in_store(store, data_dir)
    assert isinstance(shelf, BucketShelf)
    await shelf._bucket.upload("large", path)
    await shelf._bucket.download("large", data_dir / "again")
    assert (data_dir / "again").read_bytes() == path.read_bytes()
    assert store.parts == 3
