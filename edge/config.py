"""Settings of the agent: the only place that reads the environment and the configuration file.

Sources, strongest first: `METER_EDGE_*` variables (`__` for nesting, JSON for lists and tables), files named by
`..._FILE` (secrets), `meter-edge.toml` in the working directory (or where `METER_EDGE_CONFIG` says), the defaults here.
Every fault is reported at once, by name. docs/edge.md lists them; a test keeps the two equal.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from meter.model.errors import BadInput
from meter.model.event import Json

_PREFIX: Final = "METER_EDGE_"
_FILE_SUFFIX: Final = "_FILE"
CONFIG_FILE: Final = "meter-edge.toml"
_SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}", re.ASCII)
_EDGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}", re.ASCII)
_SECRET_BYTES_MAX: Final = 64 * 1024


class ConfigFault(BadInput):
    """The settings do not hold: `detail` names each fault on a line of its own."""

    default_code = "bad_settings"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together."""


class GatewaySettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway is, and how it knows us."""

    mqtt_url: str | None = None
    """`mqtt://user:password@host:port` or `mqtts://`; unset: over HTTP only."""
    http_url: str | None = None
    """`https://host`: where MQTT is barred."""
    api_key: str | None = None
    """With what HTTP is asked."""
    ca_file: str | None = None
    """Whom to trust (PEM); unset: the system's authorities."""
    cert_file: str | None = None
    """The agent's certificate (PEM)."""
    key_file: str | None = None
    """The key of that."""


class SpoolSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept, and for how long."""

    bytes_max: int = 1024 * 1024 * 1024
    """Bytes of the spool's file at most."""
    events_max: int = 2_000_000
    """Events at most, acknowledged ones included."""
    keep_days: int = 35
    """Days for which acknowledged events are kept for replay."""
    ballast_bytes: int = 16 * 1024 * 1024
    """Bytes that are given up when the disk is full, so that what is acknowledged can still be let go."""


class SourceSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a vendor's whose webhooks come here, as the gateway has them."""

    secrets: list[str] = []
    """The signing keys; two may be active while one is being replaced."""
    url: str | None = None
    """The URL as registered with the vendor, where the vendor signs it."""
    timezone: str = "UTC"
    """The IANA zone of the vendor's times that name none."""
    options: dict[str, Any] = {}
    """The vendor's own settings."""


class FileSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log that grows: CUPS' page_log, PaperCut's print logs."""

    vendor: str
    """Whose lines they are: cups, papercut."""
    path: str
    """The file, its name a pattern where a day has one each; rotated ones beside it are read, too."""
    timezone: str = "UTC"
    """The IANA zone of times that name none."""
    options: dict[str, Any] = {}
    """The vendor's own settings."""


class TopicSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages on the site's own broker, read as the catalog's `mqtt` section says."""

    topic: str
    """The filter."""
    decoder: str
    """What the messages are, like zigbee2mqtt."""
    name: str | None = None
    """Part of the events' source; unset: the topic's last word."""
    timezone: str = "UTC"
    """The IANA zone of devices that name none."""
    options: dict[str, Any] = {}
    """The decoder's own settings."""


class BrokerSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The site's own broker: readers, Zigbee2MQTT, Shelly."""

    url: str
    """`mqtt://user:password@host:port` or `mqtts://` of the site's own broker; unset: there is none."""
    ca_file: str | None = None
    """Whom to trust there (PEM); unset: the system's authorities."""
    topics: list[TopicSettings] = []
    """What is read besides CloudEvents on `spaces/SITE/KIND/DEVICE`."""


class EdgeSettings(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, with its default and unit."""

    site: str
    """The site; every event's source begins with it."""
    edge: str | None = None
    """The agent's id; unset: `{site}-edge`."""
    data_dir: str = "/var/lib/meter-edge"
    """Where the spool, keys and certificates live."""
    http: str = "127.0.0.1:8490"
    """HOST:PORT for devices on the site's network."""
    tokens: list[str] = []
    """What devices show as a bearer token; none: only devices on this machine are heard."""
    heartbeat_s: int = 30
    """Seconds between two heartbeats."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    gateway: GatewaySettings = GatewaySettings()
    spool: SpoolSettings = SpoolSettings()
    sources: dict[str, dict[str, SourceSettings]] = {}
    """Sources by vendor and name."""
    broker: BrokerSettings | None = None
    """The site's own broker."""
    files: dict[str, FileSettings] = {}
    """Logs by name."""

    @property
    def id(self) -> str:
        """Return the agent's id."""
        return self.edge or f"{self.site}-edge"


def load_settings(
    *, environment: Mapping[str, str] | None = None, overrides: Mapping[str, Json] | None = None
) -> EdgeSettings:
    """Return the settings. Raises ConfigFault with every fault."""
    environment = os.environ if environment is None else environment
    tree = _file(environment)
    faults: list[str] = []
    for path, value in _variables(environment, faults):
        _put(tree, path, value)
    for name, value in (overrides or {}).items():
        tree[name] = value
    settings = _section(EdgeSettings, tree, (), faults)
    if not faults:
        faults.extend(_contradictions(settings))
    if faults:
        raise ConfigFault("\n".join(faults))
    found: EdgeSettings = settings
    return found


def variable_of(*path: str) -> str:
    """Return the environment's name of a setting, by its place in the tree of settings."""
    return _PREFIX + "__".join(path).upper().replace("-", "_")


def _file(environment: Mapping[str, str]) -> dict[str, Json]:
    named = environment.get(_PREFIX + "CONFIG")
    path = Path(named or CONFIG_FILE)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return {}
        raise ConfigFault(f"{_PREFIX}CONFIG: there is no file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigFault(f"{path}: {error}") from error


def _variables(environment: Mapping[str, str], faults: list[str]) -> Iterator[tuple[list[str], str]]:
    """Give the settings of the environment, those in files read; what is unreadable is a fault."""
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name == _PREFIX + "CONFIG":
            continue
        path = name.removeprefix(_PREFIX).lower().split("__")
        if name.endswith(_FILE_SUFFIX) and path[-1] not in {"ca_file", "cert_file", "key_file"}:
            try:
                with Path(environment[name]).open("rb") as opened:
                    value = opened.read(_SECRET_BYTES_MAX).decode().strip()
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{name}: {error}")
                continue
            path[-1] = path[-1].removesuffix(_FILE_SUFFIX.lower())
            yield path, value
        else:
            yield path, environment[name]


def _put(tree: dict[str, Json], path: Sequence[str], value: str) -> None:
    for part in path[:-1]:
        below = tree.setdefault(_key(tree, part), {})
        if not isinstance(below, dict):
            return
        tree = below
    tree[_key(tree, path[-1])] = value


def _key(tree: Mapping[str, Json], part: str) -> str:
    """Return the name that the file has for a part of a variable, in which a hyphen is an underscore."""
    return next((name for name in tree if name.lower().replace("-", "_") == part), part)


def _section(kind: type[Any], given: Json, path: tuple[str, ...], faults: list[str]) -> Any:
    """Return a section, each of its settings judged by itself."""
    if not isinstance(given, dict):
        faults.append(f"{variable_of(*path)}: needs a table")
        return None
    hints, values = get_type_hints(kind), {}
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in given.keys() - known.keys():
        near = get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        faults.append(f"{variable_of(*path, name)}: no such setting; {remedy}")
    for name, field in known.items():
        if name in given:
            values[name] = _value(hints[name], given[name], (*path, name), faults)
        elif field.required:
            faults.append(f"{variable_of(*path, name)}: is not set")
    return None if faults else kind(**values)


def _value(hint: Any, given: Json, path: tuple[str, ...], faults: list[str]) -> Any:
    sections = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, _Section)]
    if get_origin(hint) is dict and isinstance(given, dict) and get_args(hint)[1] is not Any:
        of = get_args(hint)[1]
        return {name: _value(of, below, (*path, name), faults) for name, below in given.items()}
    if sections and get_origin(hint) is not list and isinstance(given, dict):
        return _section(sections[0], given, path, faults)
    try:
        if isinstance(given, str) and (sections or get_origin(hint) in {list, dict}):
            given = msgspec.json.decode(given)
        return msgspec.convert(given, hint, strict=False)
    except msgspec.MsgspecError as error:
        faults.append(f"{variable_of(*path)}: {error}")
        return None


def _contradictions(settings: EdgeSettings) -> Iterator[str]:
    """Give what is wrong with settings that can be read each by itself."""
    if not _SITE.fullmatch(settings.site):
        yield f"{variable_of('site')}: {settings.site!r} is no site; send 1 to 64 of A-Z a-z 0-9 . _ ~ -"
    if not _EDGE.fullmatch(settings.id):
        yield f"{variable_of('edge')}: {settings.id!r} is no id; send 1 to 128 of A-Z a-z 0-9 . _ ~ : -"
    if settings.gateway.mqtt_url is None and settings.gateway.http_url is None:
        yield f"{variable_of('gateway')}: needs mqtt_url or http_url: where events go; enroll writes them"
    for name, least in (("bytes_max", 16 * 1024 * 1024), ("events_max", 1_000), ("keep_days", 0), ("ballast_bytes", 0)):
        if getattr(settings.spool, name) < least:
            yield f"{variable_of('spool', name)}: is {getattr(settings.spool, name)}; at least {least}"
    if settings.heartbeat_s < 5:
        yield f"{variable_of('heartbeat_s')}: is {settings.heartbeat_s}; at least 5"
    _, colon, port = settings.http.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        yield f"{variable_of('http')}: {settings.http!r} is not HOST:PORT, like 127.0.0.1:8490"
