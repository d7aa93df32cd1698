"""Known advisories for what the locks pin: `make audit`. Exit 1 where one is not explained, 2 where nobody could look.

Asks OSV (through pip-audit, which the locks do not carry: it is no part of what runs or is tested).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TOOL: Final = "pip-audit==2.10.1"
_TIMEOUT_S: Final = 600
ADVISORY: Final = 1
UNKNOWN: Final = 2
# An advisory that does not touch us, by its id, with the reason. Take it out with the pin that it is about.
EXPLAINED: Final[dict[str, str]] = {}


def pinned(lock: str) -> set[str]:
    """Return the names of what a lock pins on every platform."""
    pins = (line.split(" ", 1) for line in lock.splitlines() if "==" in line and not line.startswith(" "))
    return {pin.split("==")[0].split("[")[0] for pin, rest in pins if not rest.startswith(";")}


def found(report: str, wanted: AbstractSet[str]) -> tuple[list[str], list[str]]:
    """Return each advisory that is not explained, a line each, and which of `wanted` nobody looked at.

    Raises ValueError, KeyError, TypeError where this is no report.
    """
    lines, looked_at = [], set()
    for package in json.loads(report)["dependencies"]:
        if "skip_reason" in package:
            continue
        looked_at.add(package["name"])
        for one in package["vulns"]:
            if not {one["id"], *one.get("aliases", ())} & EXPLAINED.keys():
                fixed = ", ".join(one.get("fix_versions") or ["no version yet"])
                lines.append(f"{package['name']} {package['version']}: {one['id']}, mended in {fixed}")
    return lines, sorted(wanted - looked_at)


def main(uv: Path) -> int:
    """Audit every lock; what is pinned in several is asked for once, for they agree (tests/house/test_locks.py)."""
    lock = HERE / "dev.txt"
    try:
        asked = subprocess.run(
            [uv, "tool", "run", "--from", TOOL, "pip-audit", "--vulnerability-service", "osv", "--format", "json",
             "--progress-spinner", "off", "--disable-pip", "--require-hashes", "--requirement", lock],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
        lines, left = found(asked.stdout, pinned(lock.read_text(encoding="utf-8")))
    except subprocess.TimeoutExpired:
        return _not_audited(f"no answer within {_TIMEOUT_S} s")
    except (ValueError, KeyError, TypeError):
        return _not_audited((asked.stderr.strip().splitlines() or ["no reason given"])[-1][:200])
    except OSError as error:
        return _not_audited(str(error))
    if lines:
        print("\n".join(lines))
        return ADVISORY
    if left:
        return _not_audited(f"nobody looked at {len(left)} of it: {', '.join(left[:5])}")
    print("no known advisory for anything that the locks pin")
    return 0


def _not_audited(why: str) -> int:
    print(f"NOT AUDITED: no advisory source answered for all that the locks pin ({why})", file=sys.stderr)
    print("Run `make audit` where https://api.osv.dev and the package index can be reached.", file=sys.stderr)
    return UNKNOWN


if __name__ == "__main__":
    sys.exit(main(Path(sys.executable).with_name("uv")))
