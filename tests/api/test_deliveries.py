from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.deliveries import retry_dead
from meter.store.lanes import Change, free_lane, hold_lane, record
from meter.store.outbox import OutboxItem, add_items
from meter.store.tables import api_keys
from tests.api.conftest import Api
from tests.booked import OPERATOR
from tests.export.books import entry, items_of


async def fill(api: Api) -> None:
    async with api.db.begin() as conn:
        await add_items(conn, items_of(*(entry(f"ch_{n}") for n in range(5))))
        await record(
            conn,
            OPERATOR,
            [
                Change(id=1, state="delivered", remote_id="in_1"),
                Change(id=2, state="dead", fault="no such customer"),
            ],
        )


async def asked_by(api: Api) -> dict[str, str]:
    """Return who had deliveries made again by hand, as the list tells it."""
    found = (await api.get("/v1/deliveries")).json["deliveries"]
    return {one["id"]: one["asked_by"] for one in found if one["asked_by"] is not None}


async def test_the_list_is_paged_newest_first_and_can_be_narrowed(api: Api) -> None:
    await fill(api)
    first = (await api.get("/v1/deliveries?limit=3")).json
    rest = (await api.get(f"/v1/deliveries?limit=3&cursor={first['next']}")).json
    assert [one["id"] for one in first["deliveries"] + rest["deliveries"]] == ["5", "4", "3", "2", "1"]
    assert rest["next"] is None
    [dead] = (await api.get("/v1/deliveries?state=dead&target=ledger")).json["deliveries"]
    assert (dead["id"], dead["fault"], dead["due"], dead["delivered"]) == ("2", "no such customer", None, None)
    assert "payload" not in dead
    assert (await api.get("/v1/deliveries?target=xero")).json == {"deliveries": [], "next": None}


async def test_one_is_shown_with_what_was_sent(api: Api) -> None:
    await fill(api)
    shown = (await api.get("/v1/deliveries/1")).json
    assert (shown["state"], shown["remote_id"]) == ("delivered", "in_1")
    assert shown["delivered"].endswith("Z")
    assert shown["payload"]["entries"][0]["postings"][0] == {"account": "assets:receivable", "amount": "0.15"}


async def test_a_payload_that_is_no_json_is_shown_as_text(api: Api) -> None:
    item = OutboxItem(operator=OPERATOR, target="t", operation="form", batch="b", key="k", payload=b"amount=1&x=\xff")
    async with api.db.begin() as conn:
        await add_items(conn, [item])
    assert (await api.get("/v1/deliveries/1")).json["payload"] == "amount=1&x=\ufffd"


async def test_a_dead_one_is_sent_again_as_a_revision_once(api: Api) -> None:
    await fill(api)
    woken = api.services.booked.next()
    answer = await api.call("POST", "/v1/deliveries/2/retry")
    assert (answer.status, answer.json["id"], answer.json["revision"], answer.json["state"]) == (201, "6", 1, "pending")
    assert woken.is_set()
    for delivery, state in (("2", "superseded"), ("1", "delivered"), ("3", "pending")):
        again = await api.call("POST", f"/v1/deliveries/{delivery}/retry")
        assert (again.status, again.json["code"]) == (409, "conflict")
        assert f"is {state}" in again.json["detail"]


async def test_a_dead_one_is_made_anew_and_stays_dead_while_something_is_unresolved(api: Api) -> None:
    await fill(api)
    unmet: list[str | None] = ["acme has no customer"]

    async def renew(_conn: AsyncConnection, item: OutboxItem) -> tuple[bytes, str | None]:
        return b'{"entries": []}', unmet[0]

    with_renew = replace(api.services, renew=renew)
    async with api.db.begin() as conn:
        left = await retry_dead(conn, OPERATOR, [2], by="command line", renew=with_renew.renew)
    assert (left.made, left.left) == ([], {2: "acme has no customer"})
    assert (await api.get("/v1/deliveries/2")).json["fault"] == "acme has no customer"
    unmet[0] = None
    async with api.db.begin() as conn:
        [made] = (await retry_dead(conn, OPERATOR, [2], by="command line", renew=with_renew.renew)).made
    assert (await api.get(f"/v1/deliveries/{made}")).json["payload"] == {"entries": []}


async def test_the_summary_counts_by_target_and_says_what_is_left_alone(api: Api) -> None:
    await fill(api)
    async with api.db.begin() as conn:
        await hold_lane(conn, OPERATOR, "xero", held_s=30.0, down=False, fault="429")
        await hold_lane(conn, OPERATOR, "ledger", held_s=30.0, down=True, fault="refused")
        await hold_lane(conn, OPERATOR, "ledger", held_s=60.0, down=True, fault="refused again")
    ledger, xero = (await api.get("/v1/deliveries/summary")).json["targets"]
    assert ledger["states"] == {"delivered": 1, "dead": 1, "pending": 3}
    assert ledger["held"]["fault"] == "refused again"
    assert ledger["held"]["failing_since"] < ledger["held"]["until"]
    assert (xero["states"], xero["oldest"], xero["held"]["failing_since"]) == ({}, None, None)
    async with api.db.begin() as conn:
        await free_lane(conn, OPERATOR, "xero")
    assert [one["target"] for one in (await api.get("/v1/deliveries/summary")).json["targets"]] == ["ledger"]


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    for path in ("/v1/deliveries/99", "/v1/deliveries/x", "/v1/deliveries/999999999999999999999"):
        assert (await api.get(path)).status == 404
    assert (await api.call("POST", "/v1/deliveries/99/retry")).status == 404
    assert (await api.get("/v1/deliveries?cursor=x")).json["code"] == "bad_cursor"
    assert (await api.get("/v1/deliveries?state=lost")).status == 400


async def test_only_whole_keys_read_and_only_admin_sends_again(api: Api) -> None:
    await fill(api)
    reader, restricted = await api.key("usage:read"), await api.key("usage:read", site="berlin")
    assert (await api.get("/v1/deliveries", key=reader)).status == 200
    assert (await api.get("/v1/deliveries", key=restricted)).status == 403
    assert (await api.get("/v1/deliveries/1", key=restricted)).status == 403
    assert (await api.call("POST", "/v1/deliveries/2/retry", key=reader)).status == 403


@pytest.mark.parametrize("path", ["/v1/deliveries/2/retry", "/v1/deliveries/1/resend"])
async def test_whose_key_had_it_sent_again_is_kept(api: Api, path: str) -> None:
    await fill(api)
    key = await api.key("admin")
    made = (await api.call("POST", path, key=key)).json
    async with api.db.begin() as conn:
        whose = (await conn.execute(select(api_keys.c.id))).scalar_one()
    assert made["asked_by"] == whose
    assert await asked_by(api) == {made["id"]: whose}


async def test_what_was_lost_is_asked_for_before_it_is_sent_again(api: Api) -> None:
    await fill(api)
    woken = api.services.booked.next()
    answer = await api.call("POST", "/v1/deliveries/1/resend")
    told = answer.json
    assert (answer.status, told["id"], told["revision"], told["state"]) == (201, "6", 1, "uncertain")
    assert woken.is_set()
    for delivery, says in (("1", "was followed by 6"), ("2", "is dead"), ("3", "is pending")):
        again = await api.call("POST", f"/v1/deliveries/{delivery}/resend")
        assert (again.status, again.json["code"]) == (409, "conflict")
        assert says in again.json["detail"]
    assert (await api.call("POST", "/v1/deliveries/99/resend")).status == 404
    reader = await api.key("usage:read")
    assert (await api.call("POST", "/v1/deliveries/1/resend", key=reader)).status == 403


async def test_whose_an_item_is_follows_from_its_stream(api: Api) -> None:
    streams = {"invoice": "acme", "day": "berlin", "usage": "acme/print-pages", "journal": ""}
    async with api.db.begin() as conn:
        for operation, stream in streams.items():
            item = OutboxItem(
                operator=OPERATOR,
                target="t",
                operation=operation,
                batch="b",
                key=operation,
                payload=b"{}",
                stream=stream,
            )
            await add_items(conn, [item])
    listed = (await api.get("/v1/deliveries")).json["deliveries"]
    told = {one["operation"]: (one["account"], one["site"]) for one in listed}
    assert told == {
        "invoice": ("acme", None),
        "day": (None, "berlin"),
        "usage": ("acme", None),
        "journal": (None, None),
    }
