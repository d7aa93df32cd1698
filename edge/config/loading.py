"""The only place that reads the environment and the configuration file.

Sources, strongest first: `METER_EDGE_*` variables (`__` for nesting, JSON for lists and tables), files named by
`..._FILE` (secrets), `meter-edge.toml` in the working directory (or where `METER_EDGE_CONFIG` says), what `meter-edge
enroll` has left in the data directory, the defaults.
Every fault is reported at once, by name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from edge.config.contradictions import contradictions
from edge.config.faults import PREFIX, ConfigFault, variable_of
from edge.config.settings import EdgeSettings, Section
from edge.enrolment.files import enrolled_in
from meter.model.event import Json

_FILE_SUFFIX: Final = "_FILE"
_CONFIG_FILE: Final = "meter-edge.toml"
_SECRET_BYTES_MAX: Final = 64 * 1024


def load_settings(*, environment: Mapping[str, str] | None = None) -> EdgeSettings:
    """Return the settings. Raises ConfigFault with every fault."""
    tree, faults = _told(os.environ if environment is None else environment)
    faults.extend(_enrolled(tree))
    settings = _section(EdgeSettings, tree, (), faults)
    if not faults:
        faults.extend(contradictions(settings))
    if faults:
        raise ConfigFault("\n".join(faults))
    found: EdgeSettings = settings
    return found


def data_directory() -> Path:
    """Return where what is told about this machine alone is kept, whether the other settings hold or not."""
    return _data_dir(_told(os.environ)[0])


def _data_dir(tree: Mapping[str, Json]) -> Path:
    told = tree.get("data_dir")
    if not isinstance(told, str):
        told = next(field.default for field in msgspec.structs.fields(EdgeSettings) if field.name == "data_dir")
    return Path(told)


def _told(environment: Mapping[str, str]) -> tuple[dict[str, Json], list[str]]:
    """Return what the file and the environment say, and what of it cannot be."""
    tree = _file(environment)
    faults: list[str] = []
    for path, value in _variables(environment, faults):
        if not _put(tree, path, value):
            faults.append(f"{variable_of(*path)}: what it is part of is set as a whole; set it there")
    return tree, faults


def _enrolled(tree: dict[str, Json]) -> Iterator[str]:
    """Add to what is told what this machine was given when it was enrolled; give what contradicts that."""
    enrolled = enrolled_in(_data_dir(tree))
    if enrolled is None:
        return
    for name, given in (("site", enrolled.site), ("edge", enrolled.edge)):
        if tree.setdefault(name, given) != given:
            yield f"{variable_of(name)}: is {tree[name]!r}, and this machine is enrolled as {given!r}; enroll it anew"
    gateway = tree.setdefault("gateway", {})
    if isinstance(gateway, dict):
        for name, given in msgspec.to_builtins(enrolled.gateway).items():
            gateway.setdefault(name, given)


def _file(environment: Mapping[str, str]) -> dict[str, Json]:
    named = environment.get(PREFIX + "CONFIG")
    path = Path(named or _CONFIG_FILE)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return {}
        raise ConfigFault(f"{PREFIX}CONFIG: there is no file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigFault(f"{path}: {error}") from error


def _variables(environment: Mapping[str, str], faults: list[str]) -> Iterator[tuple[list[str], str]]:
    """Give the settings of the environment, those in files read; what is unreadable is a fault."""
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == PREFIX + "CONFIG":
            continue
        path = name.removeprefix(PREFIX).lower().split("__")
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


def _put(tree: dict[str, Json], path: Sequence[str], value: str) -> bool:
    """Return whether the value has found its place: there is none in what is set as a whole."""
    for part in path[:-1]:
        below = tree.setdefault(_key(tree, part), {})
        if not isinstance(below, dict):
            return False
        tree = below
    tree[_key(tree, path[-1])] = value
    return True


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
    sections = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, Section)]
    try:
        if isinstance(given, str) and (sections or get_origin(hint) in {list, dict}):
            given = msgspec.json.decode(given)
        if get_origin(hint) is dict and isinstance(given, dict) and get_args(hint)[1] is not Any:
            of = get_args(hint)[1]
            return {name: _value(of, below, (*path, name), faults) for name, below in given.items()}
        if sections and get_origin(hint) is not list and isinstance(given, dict):
            return _section(sections[0], given, path, faults)
        return msgspec.convert(given, hint, strict=False)
    except msgspec.MsgspecError as error:
        faults.append(f"{variable_of(*path)}: {error}")
        return None
