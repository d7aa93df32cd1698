"""What a test may skip for want of a program, CI has promised."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Of the test of `need_tool` itself.
_ELSEWHERE = {"no-such-program"}


def test_every_tool_that_a_test_can_do_without_is_required_in_ci() -> None:
    asked = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"need_tool\(\"([^\"]+)\"\)", path.read_text(encoding="utf-8"))
    }
    promised = re.search(r"METER_TEST_REQUIRE=(\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert promised is not None
    assert asked - _ELSEWHERE <= set(promised[1].split(","))
    assert asked > _ELSEWHERE
