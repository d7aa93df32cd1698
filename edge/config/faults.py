"""How what is wrong with the settings is told: each fault by the name that its setting has in the environment."""

from __future__ import annotations

from typing import Final

from meter.model.errors import BadInput

PREFIX: Final = "METER_EDGE_"


class ConfigFault(BadInput):
    """The settings do not hold: `detail` names each fault on a line of its own."""

    default_code = "bad_settings"


def variable_of(*path: str) -> str:
    """Return the environment's name of a setting, by its place in the tree of settings."""
    return PREFIX + "__".join(path).upper().replace("-", "_")
