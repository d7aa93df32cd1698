"""What an enrolment leaves in the data directory.

    <data_dir>/enrolled.json          the settings of the gateway; it comes last, by rename
               enrolled/<code's hash>/ key.pem                    made first; it never leaves
                                       certificate.pem, renewal.json, trust.pem

All of it is its owner's alone: whoever has the data directory, also where root enrols.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from edge.spool.files import sync_directory
from meter.model.code import as_drawn
from meter.model.errors import BadInput

ENROLLED: Final = "enrolled.json"
_BYTES_MAX: Final = 64 * 1024


class Renewal(msgspec.Struct, frozen=True):
    """Until when the certificate beside it is good, and from when on another is asked for."""

    expires: datetime
    renew: datetime


class GatewaySaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands in the settings' section `gateway`."""

    http_url: str
    api_key: str
    cert_file: str
    key_file: str
    mqtt_url: str | None = None
    ca_file: str | None = None


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """Who this machine is: the weakest source of the settings. `code`: the hash of the one that was used."""

    code: str
    site: str
    edge: str
    gateway: GatewaySaid


def hash_of(code: str) -> str:
    """Return what tells one enrolment from another, and nothing of its code."""
    return sha256(as_drawn(code).encode()).hexdigest()[:16]


def enrolled_in(data_dir: Path) -> Enrolled | None:
    """Return who this machine is; None where it is not enrolled. Raises BadInput where nobody can tell."""
    path = data_dir / ENROLLED
    try:
        with path.open("rb") as opened:
            return msgspec.json.decode(opened.read(_BYTES_MAX), type=Enrolled)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}; run as the user that owns it, or enroll again with --force"
        raise BadInput(message, code="bad_enrolment") from error


def renewal_beside(certificate: Path) -> Path:
    """Return where it is written when a certificate ends."""
    return certificate.with_name("renewal.json")


@contextmanager
def as_owner(data_dir: Path) -> Iterator[None]:
    """Act as whoever has the data directory, or the one that it will be made in, where this is root.

    What lies there is that user's: a link that it made must lead nowhere that it could not go itself. For steps without
    an await: it is the whole process that acts so.
    """
    if os.geteuid() != 0:
        yield
        return
    there = next(path for path in (data_dir.absolute(), *data_dir.absolute().parents) if path.exists()).stat()
    group, groups = os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(there.st_gid)
    os.seteuid(there.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def make_directory(data_dir: Path, name: str) -> Path:
    """Return the directory of an enrolment. Raises OSError."""
    for path in (data_dir, data_dir / "enrolled", data_dir / "enrolled" / name):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700, parents=path == data_dir)
            sync_directory(path.parent)
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, on disk when this returns. Raises OSError."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
