"""Where backups stand: a directory, or an S3-compatible store. One without its manifest is none."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from meter.backup.manifest import MANIFEST, Manifest, decoded, encoded, read_manifest
from meter.config import StoreSettings
from meter.export.durable import flush
from meter.export.targets.files.places import Bucket, Directory, PlaceFault, StoreAccess, place_at
from meter.model.errors import BadInput, Unavailable

NAMED: Final = re.compile(r"meter-\d{8}T\d{12}Z")
# A part of 16 MiB over a line of 1 Mbit/s.
TIMEOUT_S: Final = 180.0


class Shelf(ABC):
    """A place with backups. `staging` is where one is made. Every method raises Unavailable (`backup_place`)."""

    staging: Path

    @abstractmethod
    async def put(self, draft: Path, manifest: Manifest) -> None:
        """Have the whole backup there, its manifest last."""

    @abstractmethod
    async def names(self) -> list[str]:
        """Return the names of what may be backups, the oldest first; those cut off on the way included."""

    @abstractmethod
    async def manifest(self, name: str) -> Manifest | None:
        """Return a backup's manifest; None: there is none, so it is no backup. Raises BadInput (`bad_backup`)."""

    @abstractmethod
    async def get(self, name: str, manifest: Manifest, to: Path) -> Path:
        """Return a directory with the backup's files, unchecked: where they stand, or new below `to`."""

    @abstractmethod
    async def remove(self, name: str) -> None:
        """Remove a backup, its manifest first."""

    async def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` backups, and what was cut off before these; return the names."""
        whole = [name for name in await self.names() if await self.manifest(name) is not None]
        kept = whole[-keep:]
        gone = [name for name in await self.names() if kept and name < kept[0]]
        for name in gone:
            await self.remove(name)
        return gone

    async def newest(self) -> str | None:
        """Return the name of the newest backup; None: there is none."""
        for name in reversed(await self.names()):
            if await self.manifest(name) is not None:
                return name
        return None


class DirectoryShelf(Shelf):
    """A directory of this machine, or one that is mounted: made there under another name, and renamed."""

    def __init__(self, root: Path) -> None:
        """Keep the place; it is made with the first backup."""
        self.staging = root.absolute()

    async def put(self, draft: Path, manifest: Manifest) -> None:
        """See Shelf. Raises OSError."""
        moved(draft, self.staging / manifest.name)

    async def names(self) -> list[str]:
        """See Shelf."""
        try:
            return sorted(path.name for path in self.staging.iterdir() if NAMED.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise place_fault(str(self.staging), error) from error

    async def manifest(self, name: str) -> Manifest | None:
        """See Shelf."""
        try:
            return read_manifest(self.staging / name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise place_fault(str(self.staging), error) from error

    async def get(self, name: str, manifest: Manifest, to: Path) -> Path:  # noqa: ARG002 -- another shelf must copy
        """See Shelf."""
        return self.staging / name

    async def remove(self, name: str) -> None:
        """See Shelf."""
        try:
            (self.staging / name / MANIFEST).unlink(missing_ok=True)
            flush(self.staging / name)
            shutil.rmtree(self.staging / name)
        except OSError as error:
            raise place_fault(str(self.staging), error) from error


class BucketShelf(Shelf):
    """A bucket: made on this machine's disk below `staging`, then sent."""

    def __init__(self, bucket: Bucket, staging: Path) -> None:
        """Connect to nothing yet."""
        self._bucket = bucket
        self.staging = staging

    async def put(self, draft: Path, manifest: Manifest) -> None:
        """See Shelf."""
        try:
            for file in manifest.files:
                await self._bucket.upload(f"{manifest.name}/{file.name}", draft / file.name)
            await self._bucket.write(f"{manifest.name}/{MANIFEST}", encoded(manifest))
        except PlaceFault as error:
            raise place_fault("the store", error) from error

    async def names(self) -> list[str]:
        """See Shelf."""
        try:
            return sorted(name for name in await self._bucket.folders() if NAMED.fullmatch(name))
        except PlaceFault as error:
            raise place_fault("the store", error) from error

    async def manifest(self, name: str) -> Manifest | None:
        """See Shelf."""
        path = f"{name}/{MANIFEST}"
        try:
            if not await self._bucket.holds(path):
                return None
            return decoded(await self._bucket.read(path), where=path)
        except PlaceFault as error:
            raise place_fault("the store", error) from error

    async def get(self, name: str, manifest: Manifest, to: Path) -> Path:
        """See Shelf. Raises OSError."""
        folder = to / name
        for file in manifest.files:
            path = folder / file.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                if await self._bucket.holds(f"{name}/{file.name}"):  # what is missing is named with the other faults
                    await self._bucket.download(f"{name}/{file.name}", path)
            except PlaceFault as error:
                raise place_fault("the store", error) from error
        return folder

    async def remove(self, name: str) -> None:
        """See Shelf."""
        try:
            found = [one async for one in self._bucket.names(name)]
            for one in sorted(found, key=lambda path: not path.endswith(f"/{MANIFEST}")):
                await self._bucket.delete(one)
        except PlaceFault as error:
            raise place_fault("the store", error) from error


def shelf_at(url: str, settings: StoreSettings, *, staging: Path) -> Shelf:
    """Return the shelf that `url` names; what goes to a store is made in `staging`. Raises BadInput."""
    place = place_at(url, store_access(settings), timeout_s=TIMEOUT_S)
    match place:
        case Directory(root=root):
            return DirectoryShelf(root)
        case Bucket():
            return BucketShelf(place, staging)
        case None:
            message = f"{url} is no place; write a directory or s3://bucket/prefix"
            raise BadInput(message, code="bad_backup_place")


async def find(url: str, settings: StoreSettings, *, staging: Path) -> tuple[Shelf, str, Manifest]:
    """Return a backup with its shelf: the one that `url` names, or the newest of the shelf that it names.

    Raises BadInput (`no_backup`, `bad_backup`), Unavailable.
    """
    above, _, name = url.rstrip("/").rpartition("/")
    if NAMED.fullmatch(name):
        shelf = shelf_at(above or ".", settings, staging=staging)
    else:
        shelf = shelf_at(url, settings, staging=staging)
        name = await shelf.newest() or ""
    manifest = await shelf.manifest(name) if name else None
    if manifest is None:
        raise BadInput(f"{url} holds no whole backup; one without {MANIFEST} was never finished", code="no_backup")
    return shelf, name, manifest


def store_access(settings: StoreSettings) -> StoreAccess:
    """Return how the store of the settings is reached."""
    secret = None if settings.secret_key is None else settings.secret_key.get_secret_value()
    return StoreAccess(
        endpoint=settings.endpoint,
        region=settings.region,
        access_key=settings.access_key,
        secret_key=secret,
        secrets=(secret,),
    )


def moved(draft: Path, to: Path) -> None:
    """Have a directory and all that is in it on the disk under another name."""
    for path in (*draft.rglob("*"), draft):
        flush(path)
    draft.rename(to)
    flush(to.parent)


def place_fault(where: str, error: Exception) -> Unavailable:
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    message = f"{where} does not do as asked: {reason}; check the address, METER_STORE and who may write there"
    return Unavailable(message, code="backup_place")
