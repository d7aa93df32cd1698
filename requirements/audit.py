"""Known advisories for what the locks pin: `make audit`. Exit 1 where one is not explained, 0 where nobody answers too.

Asks OSV (through pip-audit, which the locks do not carry: it is no part of what runs or is tested).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TOOL: Final = "pip-audit==2.10.1"
_TIMEOUT_S: Final = 600
# An advisory that does not touch us, by its id, with the reason. Take it out with the pin that it is about.
EXPLAINED: Final[dict[str, str]] = {}


def found(report: str) -> list[str]:
    """Return each advisory that is not explained, a line each. Raises ValueError where this is no report."""
    lines = []
    for package in json.loads(report)["dependencies"]:
        for one in package.get("vulns", ()):
            if not {one["id"], *one.get("aliases", ())} & EXPLAINED.keys():
                fixed = ", ".join(one.get("fix_versions") or ["no version yet"])
                lines.append(f"{package['name']} {package['version']}: {one['id']}, mended in {fixed}")
    return lines


def main() -> int:
    """Audit every lock; what is pinned in several is asked for once, for they agree (tests/house/test_locks.py)."""
    uv = Path(sys.executable).with_name("uv")
    asked = subprocess.run(
        [uv, "tool", "run", "--from", TOOL, "pip-audit", "--vulnerability-service", "osv", "--format", "json",
         "--progress-spinner", "off", "--disable-pip", "--require-hashes", "--requirement", HERE / "dev.txt"],
        capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    try:
        lines = found(asked.stdout)
    except (ValueError, KeyError, TypeError):
        said = (asked.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        print(f"not audited: no advisory source is reachable from here ({said})")
        return 0
    print("\n".join(lines) or "no known advisory for anything that the locks pin")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
