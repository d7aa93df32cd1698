"""Settings as a test tells them, through the environment like everyone's."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.config.loading import load_settings
from edge.config.settings import EdgeSettings

# Port 9 discards: nobody answers there.
_LEAST: Final = {"site": "berlin", "gateway": {"http_url": "http://127.0.0.1:9"}, "http": "127.0.0.1:9"}


def environment_of(**told: Any) -> dict[str, str]:
    """Return the variables of settings for the site berlin, with what is told besides."""
    return {
        f"METER_EDGE_{name.upper()}": value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in (_LEAST | told).items()
    }


def told_settings(**told: Any) -> EdgeSettings:
    """Return settings for the site berlin, with what is told besides. Raises ConfigFault."""
    return load_settings(environment=environment_of(**told))
