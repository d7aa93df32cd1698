"""docs/api.md tells what is served."""

import re
from pathlib import Path

from meter.api import app as app_module
from meter.api import auth, charges
from meter.api.app import ROUTES
from meter.api.problems import STATUS_OF_CODE
from meter.api.routing import Limit
from tests.api.conftest import Api

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


async def test_the_table_has_every_route_with_its_scope_and_restrictions(api: Api) -> None:
    rows = re.findall(r"^\| `(\w+) (/\S*)` \| `?([\w:]+)`? \| ([\w, ]*)\|", DOCUMENT, re.MULTILINE)
    told = {(method, path): (scope, restrictions.strip()) for method, path, scope, restrictions in rows}
    assert told == {
        (route.method, route.path): (
            route.scope or "open",
            ", ".join(kind for kind in ("site", "account") if kind in route.open_to),
        )
        for route in api.app[ROUTES]
    }


def test_every_status_of_a_code_is_told() -> None:
    told = {int(status) for row in re.findall(r"^\| ([\d, ]+) \|", DOCUMENT, re.MULTILINE) for status in row.split(",")}
    assert set(STATUS_OF_CODE.values()) <= told


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"At most {charges.WAITING_MAX} callers wait" in DOCUMENT
    assert f"`limit`** is {charges.LIMIT_DEFAULT} unless given" in DOCUMENT
    assert "at most 1000" in DOCUMENT
    assert "le=1000" in repr(Limit)
    assert f"within {auth.CACHE_TTL_S:.0f} seconds" in DOCUMENT
    assert f"longer than {app_module.BODY_DEADLINE_S:.0f} s" in DOCUMENT
    assert f"wait={charges.WAIT_MAX_S}" in DOCUMENT
