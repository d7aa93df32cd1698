"""Vendors' own settings: defaults filled in, what is wrong with what was given, and a table of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from meter.model.event import Json
from meter.sources.spec import Option

_NAMES = {bool: "true or false", int: "an integer", str: "a string", list: "an array", dict: "an object"}


def options_of(known: Mapping[str, Option], given: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Return every known option with its value, and a fault for each given one that is unknown or of another kind.

    What is at fault keeps its default.
    """
    options: dict[str, Json] = {name: option.default for name, option in known.items()}
    faults = []
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            faults.append(f"{name}: no such option; there are {', '.join(sorted(known)) or 'none'}")
        elif type(value) is not type(option.default):
            faults.append(f"{name}: needs {_NAMES[type(option.default)]}")
        elif option.choices and value not in option.choices:
            faults.append(f"{name}: is none of {', '.join(option.choices)}")
        else:
            options[name] = value
    return options, faults


def option_table(options: Mapping[str, Option]) -> Iterator[str]:
    """Give the lines of a table of options in Markdown, behind an empty one; none where there are no options."""
    if options:
        yield "\n| option | default | what it is |\n| --- | --- | --- |\n"
    for name, option in options.items():
        default = msgspec.json.encode(option.default).decode()
        choices = f" One of {', '.join(f'`{choice}`' for choice in option.choices)}." if option.choices else ""
        yield f"| `{name}` | `{default}` | {option.about}{choices} |\n"
