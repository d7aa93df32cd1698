"""Every named point stands in the list of its program, and once in its code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge import failpoints as of_the_agent
from meter import failpoints as of_the_gateway

ROOT = Path(__file__).parents[2]
_REACHED = re.compile(r'failpoints\.reach\(\s*"(\w+)"')


@pytest.mark.parametrize(("package", "names"), [("meter", of_the_gateway.NAMES), ("edge", of_the_agent.NAMES)])
def test_every_point_is_listed_and_stands_once_in_the_code(package: str, names: tuple[str, ...]) -> None:
    found = [
        name for path in sorted((ROOT / package).rglob("*.py")) for name in _REACHED.findall(path.read_text("utf-8"))
    ]
    assert sorted(found) == sorted(names)


def test_nothing_is_armed_until_a_test_does_so() -> None:
    reached: list[str] = []
    points = of_the_gateway.Failpoints(["here", "there"])
    points.reach("here")
    points.arm("here", lambda: reached.append("here"))
    points.reach("there")
    points.reach("here")
    points.disarm()
    points.reach("here")
    assert reached == ["here"]
    with pytest.raises(KeyError):
        points.arm("nowhere", lambda: None)
