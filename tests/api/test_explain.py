import re
from pathlib import Path
from typing import Any

from msgspec.structs import replace as with_
from sqlalchemy import text

from meter.rating.state import STATE_FORMAT
from meter.store.booking import checkpoints_before
from meter.store.readers import charge_by_id
from tests.api.conftest import Gateway
from tests.booked import a_charge, a_fee
from tests.booking.space import CATALOG, amend, event, pages, sale, void
from tests.rating.arithmetic import adds_up

HALL = "berlin/print/hall"


async def _explain(gateway: Gateway, charge: str) -> Any:
    answer = await gateway.api.get(f"/v1/charges/{charge}/explain")
    assert answer.status == 200, answer.text
    return answer.json


async def test_the_arithmetic_is_whole_and_agrees(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 80), pages("2", "02T10:00", 75, paper="A4"))
    first, second = await gateway.charges()
    told = await _explain(gateway, second["id"])
    assert told["recomputed"] == {"agrees": True, "amount": "2.705", "quantity": "75"}
    assert adds_up(told)
    [grant] = told["grants"]
    names = ("grant", "unit", "granted", "before", "amount", "after")
    assert [grant[name] for name in names] == ["acme-flex/pages/2026-03", "page", "100", "20", "20", "0"]
    price = told["price"]
    assert (price["id"], price["model"], price["note"]) == ("mono", "graduated", None)
    assert (price["before"], price["after"]) == (
        {"quantity": "0", "amount": "0"},
        {"quantity": "55", "amount": "2.705"},
    )
    names = ("above", "up_to", "units", "unit_price", "flat", "amount")
    assert [[step[name] for name in names] for step in price["steps"]] == [
        ["0", "50", "50", "0.05", "0", "2.5"],
        ["50", None, "5", "0.041", "0", "0.205"],
    ]
    [event] = told["events"]
    assert event["data"] == {
        "printer": "hall",
        "job": "2",
        "impressions": 75,
        "status": "completed",
        "paper": "A4",
    }
    assert told["resolution"]["member"] == "ada"
    assert [link["id"] for link in told["chain"]] == [second["id"]]
    assert (await _explain(gateway, first["id"]))["grants"][0]["after"] == "20"


async def test_the_document_names_every_part(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 80))
    [charge] = await gateway.charges()
    document = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    section = document.partition("## Explaining a charge")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(await _explain(gateway, charge["id"]))


async def test_text_is_for_people(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 120))
    [charge] = await gateway.charges()
    answer = await gateway.api.get(f"/v1/charges/{charge['id']}/explain", headers={"Accept": "text/plain"})
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "20 page x 0.05 = 1" in answer.text
    assert "the same" in answer.text


async def test_a_fee_is_explained_without_an_event(gateway: Gateway) -> None:
    fee = a_fee()
    await gateway.api.book(fee)
    told = await _explain(gateway, fee.id)
    assert (told["events"], told["resolution"], told["meter"], told["amount"]) == ([], None, "membership", "199")
    text = await gateway.api.get(f"/v1/charges/{fee.id}/explain", headers={"Accept": "text/plain"})
    assert "10 month of plan flex-10: 199 EUR" in text.text
    of_site = await gateway.api.key("usage:read", site="berlin")
    assert (await gateway.api.get(f"/v1/charges/{fee.id}/explain", key=of_site)).status == 404


async def test_every_link_of_a_correction_names_the_chain(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 120))
    await gateway.space.take(
        amend("a", "03T09:00", "1", HALL, {"printer": "hall", "job": "1", "impressions": 130, "status": "completed"})
    )
    charges = await gateway.charges()
    assert [charge["role"] for charge in charges] == ["original", "reversal", "replacement"]
    for charge in charges:
        told = await _explain(gateway, charge["id"])
        assert [link["id"] for link in told["chain"]] == [c["id"] for c in charges]
        assert told["recomputed"]["agrees"] is True


async def test_a_voided_line_agrees_that_nothing_is_left(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 120))
    await gateway.space.take(void("v", "03T09:00", "1", HALL))
    for charge in await gateway.charges():
        told = await _explain(gateway, charge["id"])
        assert told["recomputed"] == {"agrees": True, "amount": None, "quantity": None}


async def test_it_says_so_where_it_would_differ_today(gateway: Gateway) -> None:
    """The facts were changed and nobody has rated again yet."""
    await gateway.space.take(pages("1", "02T09:00", 120))
    await gateway.space.apply(CATALOG.replace('"0.05"', '"0.06"') + "effective: 2026-01-01\n")
    [charge] = await gateway.charges()
    told = await _explain(gateway, charge["id"])
    assert told["recomputed"] == {"agrees": False, "amount": "1.2", "quantity": "120"}
    assert "DIFFERS" in str(told["text"])
    await gateway.space.rate()
    told = await _explain(gateway, charge["id"])
    assert told["recomputed"]["agrees"] is True


async def test_a_checkpoint_changes_the_cost_and_not_the_words(gateway: Gateway) -> None:
    await gateway.space.take(*[pages(f"{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 3) for n in range(300)])
    last = (await gateway.charges())[-1]
    async with gateway.api.db.begin() as conn:
        charge = await charge_by_id(conn, "northside", last["id"])
        assert charge is not None
        found = await checkpoints_before(conn, "northside", {"acme": charge.line.key.time}, state_format=STATE_FORMAT)
    told = await _explain(gateway, last["id"])
    async with gateway.api.db.begin() as conn:
        await conn.execute(text("DELETE FROM checkpoints"))
    assert found, "there was a checkpoint to begin with"
    assert await _explain(gateway, last["id"]) == told
    assert told["recomputed"]["agrees"] is True


async def test_a_guest_has_an_explanation_too(gateway: Gateway) -> None:
    await gateway.space.take(sale("s", "02T09:00", "3.50"))
    [charge] = await gateway.charges()
    told = await _explain(gateway, charge["id"])
    assert told["resolution"]["member"] is None
    assert told["recomputed"]["agrees"] is True


async def test_what_is_not_ones_own_is_not_there(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 120))
    [charge] = await gateway.charges()
    api, path = gateway.api, f"/v1/charges/{charge['id']}/explain"
    assert (await api.get(path, key=await api.key("usage:read", account="acme"))).status == 200
    assert (await api.get(path, key=await api.key("usage:read", site="berlin"))).status == 200
    foreign = [
        await api.get(path, key=await api.key("usage:read", account="solo")),
        await api.get(path, key=await api.key("usage:read", site="hamburg")),
        await api.get("/v1/charges/ch_none/explain"),
        await api.get("/v1/charges/%00/explain"),
    ]
    assert [answer.status for answer in foreign] == [404] * 4
    assert foreign[0].body == foreign[2].body  # nothing tells what exists from what does not


async def test_an_account_that_is_gone_is_still_explained(gateway: Gateway) -> None:
    """Booked once, and no longer in the directory."""
    await gateway.space.take(pages("1", "02T09:00", 10))
    async with gateway.api.db.begin() as conn:
        charge = await charge_by_id(conn, "northside", (await gateway.charges())[0]["id"])
    assert charge is not None
    orphan = a_charge(with_(charge.line, account="gone"))
    await gateway.api.book(orphan)
    told = await _explain(gateway, orphan.id)
    assert told["recomputed"] == {"agrees": False, "amount": None, "quantity": None}


async def test_it_goes_back_before_a_checkpoint_that_did_not_know_of_a_refund(gateway: Gateway) -> None:
    """A refund has come in and nobody has rated it yet: the checkpoint behind its sale kept nothing of the sale."""
    bodies = [pages(f"{n}", f"{2 + n // 20:02}T{n % 20:02}:10", 3) for n in range(300)]
    await gateway.space.take(sale("s", "01T09:00", "3.50", "badge:ADA1", "account"), *bodies)
    last = (await gateway.charges())[-1]
    async with gateway.api.db.begin() as conn:
        charge = await charge_by_id(conn, "northside", last["id"])
        assert charge is not None
        [base] = (
            await checkpoints_before(conn, "northside", {"acme": charge.line.key.time}, state_format=STATE_FORMAT)
        ).values()
    assert base.position.id != "s"
    of = {"source": "berlin/pos/bar", "order": "s"}
    data = {"refund": "r", "sale": of, "currency": "EUR", "status": "completed", "amount": "1.00"}
    just_before = charge.line.key.time.strftime("%dT%H:00")
    await gateway.space.accept([event("pos.refund", "r", just_before, None, "berlin/pos/bar", data)])
    told = await _explain(gateway, last["id"])
    assert told["recomputed"]["agrees"]
    assert adds_up(told)
