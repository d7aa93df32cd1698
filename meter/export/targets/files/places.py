"""Where files go: a directory, or an S3-compatible store. An object is there whole or not at all, under its name."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from meter.export import durable
from meter.export.contract import Barred, Retry, Uncertain
from meter.export.http import BARRING, CONNECT_TIMEOUT_S, REASON_CHARS_MAX, TIMEOUT_S, barred
from meter.export.redact import Secrets
from meter.export.targets.spec import Setup
from meter.model.errors import BadInput
from meter.transport.outgoing import Forbidden

if TYPE_CHECKING:
    from obstore.store import S3Config  # not there at run time

S3: Final = "s3"
# What the client says in words, as it keeps no status apart (obstore 0.12).
_STATUS: Final = re.compile(r"status code: (\d{3})")
_UNCONNECTED: Final = "kind: Connect,"
_ACCESS: Final = "check base_url, the key and who may write there"
_SLOW_DOWN: Final = "<Code>SlowDown</Code>"
# A store takes 10,000 parts of a file, so 160 GB; and so many of them are in memory at once.
PART_BYTES: Final = 16 * 1024 * 1024
PARTS_MAX: Final = 4


class PlaceFault(Exception):
    """The place did not do what it was asked; `outcome` says what that makes of an item."""

    def __init__(self, outcome: Retry | Barred | Uncertain) -> None:
        """Keep the outcome."""
        super().__init__(outcome.reason)
        self.outcome = outcome


class Place(Protocol):
    """Objects by name, slashes between folders. Every method raises PlaceFault."""

    async def write(self, name: str, content: bytes) -> None:
        """Have the object there, and stay there, when this returns; what was there under the name is replaced."""
        ...

    async def holds(self, name: str) -> bool:
        """Tell whether the object is there, and stays there."""
        ...

    async def read(self, name: str) -> bytes:
        """Return an object's content."""
        ...

    def names(self, folder: str) -> AsyncIterator[str]:
        """Give the names of the objects in a folder."""
        ...

    async def delete(self, name: str) -> None:
        """Remove an object."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """How an S3-compatible store is reached. `endpoint` "": AWS. No fault shows any of `secrets`."""

    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = None
    secrets: tuple[str | None, ...] = ()


class Directory:
    """A directory of this machine, or one that is mounted."""

    def __init__(self, root: Path) -> None:
        """Keep the place; it is made when something is first written."""
        self.root = root
        # Two processes may write one object, where one of them was taken for dead.
        self._writer = f".{uuid4().hex[:8]}"

    async def write(self, name: str, content: bytes) -> None:
        """See Place: the object is on the disk."""
        await asyncio.to_thread(self._write, self.root / name, content)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            durable.make_directory(path.parent)
            durable.replace(path, content, writer=self._writer)
            for left in path.parent.glob(f"{path.name}.*.draft"):  # by a process that died over it
                left.unlink(missing_ok=True)
        except OSError as error:
            raise _local_fault(error) from error

    async def holds(self, name: str) -> bool:
        """See Place."""
        return await asyncio.to_thread(self._holds, self.root / name)

    def _holds(self, path: Path) -> bool:
        try:
            if not path.is_file():
                return False
            # Whoever wrote it may have died before the name was flushed.
            durable.flush(path.parent)
        except OSError as error:
            raise _local_fault(error) from error
        return True

    async def read(self, name: str) -> bytes:
        """See Place."""
        try:
            return await asyncio.to_thread((self.root / name).read_bytes)
        except OSError as error:
            raise _local_fault(error) from error

    async def names(self, folder: str) -> AsyncIterator[str]:
        """See Place."""
        try:
            found = await asyncio.to_thread(os.listdir, self.root / folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _local_fault(error) from error
        for name in sorted(found):
            yield f"{folder}/{name}"

    async def delete(self, name: str) -> None:
        """See Place."""
        try:
            await asyncio.to_thread((self.root / name).unlink)
        except OSError as error:
            raise _local_fault(error) from error


def _local_fault(error: OSError) -> PlaceFault:
    where = f": {error.filename}" if error.filename else ""
    return PlaceFault(Retry(f"{error.strerror or error}{where}"[:REASON_CHARS_MAX]))


class Bucket:
    """A bucket of S3, or of a store that speaks its language."""

    def __init__(self, store: S3Store, secrets: Secrets) -> None:
        """Connect to nothing yet. No fault shows any of `secrets`."""
        self._store = store
        self._secrets = secrets

    async def write(self, name: str, content: bytes) -> None:
        """See Place."""
        try:
            await obstore.put_async(self._store, name, content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error

    async def holds(self, name: str) -> bool:
        """See Place."""
        try:
            await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error
        return True

    async def read(self, name: str) -> bytes:
        """See Place."""
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error

    async def names(self, folder: str) -> AsyncIterator[str]:
        """See Place."""
        try:
            async for page in obstore.list(self._store, prefix=folder):
                for found in page:
                    yield found["path"]
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error

    async def delete(self, name: str) -> None:
        """See Place."""
        try:
            await obstore.delete_async(self._store, name)
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error

    async def folders(self) -> list[str]:
        """Return the names of the folders at the top. Raises PlaceFault."""
        try:
            found = await obstore.list_with_delimiter_async(self._store)
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error
        return sorted(prefix.rpartition("/")[2] for prefix in found["common_prefixes"])

    async def upload(self, name: str, path: Path) -> None:
        """Have a file's content there under `name`, in parts where it is large. Raises PlaceFault."""
        try:
            await obstore.put_async(self._store, name, path, chunk_size=PART_BYTES, max_concurrency=PARTS_MAX)
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error

    async def download(self, name: str, path: Path) -> None:
        """Write an object's content to a new file, readable by its owner only. Raises PlaceFault."""
        try:
            found = await obstore.get_async(self._store, name)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                async for chunk in found.stream(min_chunk_size=PART_BYTES):
                    await asyncio.to_thread(file.write, chunk)
        except (BaseError, OSError) as error:
            raise _s3_fault(error, self._secrets) from error


def _s3_fault(error: Exception, secrets: Secrets) -> PlaceFault:
    """Return what an error makes of an item: the place is at fault, never the item, so it is tried again."""
    text = secrets.hidden(str(error))
    status = _STATUS.search(text)
    first_line = text.partition("\n")[0]
    said = first_line.rpartition(" - ")[2] if status is None else f"answered {first_line[status.start(1) :]}"
    reason = said[:REASON_CHARS_MAX]
    if status is None:
        return PlaceFault(Retry(reason) if _UNCONNECTED in text else Uncertain(reason))
    if status[1] == "429" or _SLOW_DOWN in text:
        return PlaceFault(Retry(reason, throttled=True))
    if int(status[1]) in BARRING:
        return PlaceFault(barred(reason, _ACCESS, int(status[1])))
    return PlaceFault(Uncertain(reason) if status[1].startswith("5") else Retry(reason))


def place_of(setup: Setup, *, timeout_s: float = TIMEOUT_S) -> Place:
    """Return where the target's files go; a store has `timeout_s` for an answer. Raises BadInput (`bad_target`)."""
    if setup.base_url is None:
        return Directory(setup.data_dir / "files" / setup.name)
    keyed = setup.client_id is not None and setup.client_secret is not None
    access = StoreAccess(
        endpoint=str(setup.options["endpoint"]),
        region=str(setup.options["region"]),
        access_key=setup.client_id if keyed else None,
        secret_key=setup.client_secret if keyed else None,
        secrets=tuple(setup.known_secrets),
    )
    try:
        setup.guard.check_literal(urlsplit(access.endpoint).hostname, secure=not access.endpoint.startswith("http://"))
    except Forbidden as error:
        raise BadInput(f"options.endpoint: {error.strerror}", code="bad_target") from error
    place = place_at(setup.base_url, access, timeout_s=timeout_s)
    if place is None:
        raise BadInput("base_url is no place; write a path, file:///path or s3://bucket/prefix", code="bad_target")
    return place


def place_at(url: str, access: StoreAccess, *, timeout_s: float = TIMEOUT_S) -> Directory | Bucket | None:
    """Return the place that `url` names: a path, `file:///path` or `s3://bucket/prefix`; None: it names none."""
    if "://" not in url:
        return Directory(Path(url))
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.hostname in {None, "localhost"} and parts.path.startswith("/"):
        return Directory(Path(unquote(parts.path)))
    if parts.scheme == S3 and parts.netloc:
        store = _store(access, parts.netloc, unquote(parts.path).strip("/"), timeout_s)
        return Bucket(store, Secrets(access.secrets))
    return None


def _store(access: StoreAccess, bucket: str, prefix: str, timeout_s: float) -> S3Store:
    config: S3Config = {"region": access.region}
    if access.endpoint:
        config["endpoint"] = access.endpoint
    if access.access_key is not None and access.secret_key is not None:
        config["access_key_id"] = access.access_key
        config["secret_access_key"] = access.secret_key
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, timeout_s)),
            "allow_http": access.endpoint.startswith("http://"),
        },
        retry_config={"max_retries": 0},  # retries are the lane's
    )
