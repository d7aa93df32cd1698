"""What a gateway leaves in its data directory for the commands beside it: its addresses, and a key it made."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from meter.certificates import new_key
from meter.model.errors import BadInput

_ADDRESSES: Final = "gateway.json"
_ADMIN_KEY: Final = "admin.key"
_KEY_PREFIX: Final = "mk_"
_IDENTITY_KEY: Final = "identity.key"
_EDGE_CA_KEY: Final = "edge-ca.key"


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of a running gateway answer. The database's URL holds a password: the file is private."""

    http: str
    mqtt: str | None
    database: str
    pid: int


def write_addresses(data_dir: Path, addresses: Addresses) -> None:
    """Leave the addresses where `read_addresses` finds them."""
    _write_private(data_dir / _ADDRESSES, msgspec.json.encode(addresses))


def forget_addresses(data_dir: Path) -> None:
    """Take the addresses away: nobody answers there any more."""
    (data_dir / _ADDRESSES).unlink(missing_ok=True)


def read_addresses(data_dir: Path) -> Addresses | None:
    """Return the addresses of the gateway on this data directory; None where none runs."""
    try:
        return msgspec.json.decode((data_dir / _ADDRESSES).read_bytes(), type=Addresses)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        message = f"{data_dir / _ADDRESSES} cannot be read: {error}; use the user that runs the gateway"
        raise BadInput(message, code="bad_data_dir") from error


def admin_key(data_dir: Path) -> str:
    """Return the administrator's key of this data directory; made once, readable by its owner only."""
    return _made_once(data_dir / _ADMIN_KEY, make=lambda: _random(_KEY_PREFIX), setting="METER_ADMIN_KEY")


def identity_key(data_dir: Path) -> str:
    """Return the key with which identities are hashed; made once, readable by its owner only."""
    return _made_once(data_dir / _IDENTITY_KEY, make=_random, setting="METER_IDENTITY_KEY")


def edge_ca_key(data_dir: Path) -> str:
    """Return the key that signs agents' certificates (PEM); made once, readable by its owner only."""
    return _made_once(data_dir / _EDGE_CA_KEY, make=new_key, setting="METER_EDGES__CA_KEY")


def key_files(data_dir: Path) -> list[Path]:
    """Return those of the keys' files that were made in this data directory."""
    return [path for name in (_ADMIN_KEY, _IDENTITY_KEY, _EDGE_CA_KEY) if (path := data_dir / name).exists()]


def has_identity_key(data_dir: Path) -> bool:
    """Tell whether the key was made in this data directory."""
    return (data_dir / _IDENTITY_KEY).exists()


def _random(prefix: str = "") -> bytes:
    return (prefix + secrets.token_urlsafe(32)).encode()


def _made_once(path: Path, *, make: Callable[[], bytes], setting: str) -> str:
    try:
        if not path.exists():
            made = path.with_suffix(f".{os.getpid()}.new")
            _write_private(made, make())
            # Of two processes that make one at once, both take the first's.
            with suppress(FileExistsError):
                os.link(made, path)
            made.unlink()
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        message = f"{path} cannot be read or made: {error}; use the user that runs the gateway, or set {setting}"
        raise BadInput(message, code="bad_data_dir") from error


def admin_key_path(data_dir: Path) -> Path:
    """Return where the made key is kept."""
    return data_dir / _ADMIN_KEY


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
