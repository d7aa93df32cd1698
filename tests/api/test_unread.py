import pytest

from tests.api.conftest import Gateway
from tests.booking.uncounted import NO_START, SINCE_JANUARY, door, scan


@pytest.fixture
async def listed(gateway: Gateway) -> Gateway:
    await gateway.space.apply(SINCE_JANUARY)
    await gateway.space.take(
        scan("1", "02T09:00", 1, "many"),
        door("2", "03T12:00", "out"),
        scan("3", "01T09:00", "", subject="badge:EFE1"),
    )
    return gateway


async def test_what_no_meter_could_count_with_why(listed: Gateway) -> None:
    assert (await listed.api.get("/v1/unread")).json == {
        "unread": [
            {
                "code": "unread",
                "account": "acme",
                "meter": "scans",
                "event": {"source": "berlin/scanner/hall", "id": "1"},
                "element": 1,
                "time": "2026-03-02T09:00:00Z",
                "reason": "parts.pages is 'many', not a number",
            },
            {
                "code": "orphan",
                "account": "acme",
                "meter": "presence",
                "event": {"source": "berlin/door/main", "id": "2"},
                "element": 0,
                "time": "2026-03-03T12:00:00Z",
                "reason": NO_START,
            },
            {
                "code": "unread",
                "account": "solo",
                "meter": "scans",
                "event": {"source": "berlin/scanner/hall", "id": "3"},
                "element": 0,
                "time": "2026-03-01T09:00:00Z",
                "reason": "parts.pages is '', not a number",
            },
        ],
        "next": None,
    }


async def ids(gateway: Gateway, query: str = "", **options: str) -> list[str]:
    page = (await gateway.api.get(f"/v1/unread{query}", **options)).json
    return [item["event"]["id"] for item in page["unread"]]


async def test_filters_and_restricted_keys(listed: Gateway) -> None:
    assert await ids(listed, "?account=solo") == ["3"]
    assert await ids(listed, "?meter=scans") == ["1", "3"]
    assert await ids(listed, "?meter=presence&account=solo") == []
    of_account = await listed.api.key("usage:read", account="solo")
    assert await ids(listed, key=of_account) == ["3"]
    assert (await listed.api.get("/v1/unread?account=acme", key=of_account)).status == 403
    for site, expected in (("berlin", ["1", "2", "3"]), ("ber", []), ("hamburg", [])):
        assert await ids(listed, key=await listed.api.key("usage:read", site=site)) == expected


async def test_pages_hold_still_while_entries_come_and_go(listed: Gateway) -> None:
    first = (await listed.api.get("/v1/unread?limit=1")).json
    await listed.space.take(door("in", "03T11:00", "in"), scan("0", "01T09:00", "x"))
    second = (await listed.api.get(f"/v1/unread?limit=1&cursor={first['next']}")).json
    assert [item["event"]["id"] for item in (*first["unread"], *second["unread"])] == ["1", "3"]
    last = (await listed.api.get(f"/v1/unread?limit=1&cursor={second['next']}")).json
    assert last == {"unread": [], "next": None}


@pytest.mark.parametrize("cursor", ["n", "nonsense", "nWzEsMl0", "n" + "A" * 40, "nW10", "é"])
async def test_a_cursor_of_another_make_is_refused(listed: Gateway, cursor: str) -> None:
    answer = await listed.api.get(f"/v1/unread?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (400, "bad_cursor")
