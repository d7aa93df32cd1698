"""Programs that only some machines have: a test that needs one is skipped there, and fails where it was promised."""

import os
import shutil

import pytest

# Servers are often outside an ordinary user's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def need_tool(name: str) -> str:
    """The program's path. Without it the test is skipped, or fails if METER_TEST_REQUIRE (comma-separated) names it."""
    if found := shutil.which(name, path=_PATH):
        return found
    if name in os.environ.get("METER_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{name} is not installed, and METER_TEST_REQUIRE promises it", pytrace=False)
    pytest.skip(f"{name} is not installed: `.ci/run` installs it on Debian")
