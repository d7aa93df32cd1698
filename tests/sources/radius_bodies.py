"""RADIUS accounting of one session, in the forms in which it comes."""

import json
from collections.abc import Mapping
from typing import Any

# 2026-03-02T08:05:09Z.
AT = 1772438709
INTERIM: Mapping[str, Any] = {
    "Acct-Status-Type": "Interim-Update",
    "Acct-Session-Id": "5F6A0001",
    "User-Name": "ada@acme.example",
    "NAS-IP-Address": "192.0.2.7",
    "NAS-Identifier": "ap-lobby",
    "NAS-Port": 3,
    "Calling-Station-Id": "AA-BB-CC-DD-EE-01",
    "Called-Station-Id": "00-10-A4-23-19-C0:Guests",
    "Acct-Session-Time": 600,
    "Acct-Input-Octets": 1000,
    "Acct-Output-Octets": 5,
    "Acct-Output-Gigawords": 1,
    "Event-Timestamp": AT,
    "Acct-Delay-Time": 0,
}
_STRINGS = {"Acct-Status-Type", "Event-Timestamp"}


def attributes(**changes: Any) -> dict[str, Any]:
    """The interim's attributes; `_` stands for `-`, a change to None leaves one out."""
    made = {**INTERIM, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in made.items() if value is not None}


def version_3(**changes: Any) -> bytes:
    """As rlm_rest of version 3 writes them."""
    made = {
        name: {"type": "integer" if isinstance(value, int) else "string", "value": [value]}
        for name, value in attributes(**changes).items()
    }
    return json.dumps(made).encode()
