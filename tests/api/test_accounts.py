from decimal import Decimal

from tests.api.conftest import Gateway
from tests.booking.space import pages


async def test_balances_say_what_is_left_in_the_order_of_drawing(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "02T09:00", 25), pages("2", "03T09:00", 50))
    answer = await gateway.api.get("/v1/accounts/acme/balances?at=2026-03-02T09:00:00Z")
    assert answer.json == {
        "account": "acme",
        "at": "2026-03-02T09:00:00Z",
        "grants": [
            {
                "id": "acme-flex/pages/2026-03",
                "origin": "plan",
                "scope": ["print-pages"],
                "member": None,
                "unit": "page",
                "amount": "100",
                "used": "25",
                "remaining": "75",
                "effective": "2026-02-28T23:00:00Z",
                "expires": "2026-03-31T22:00:00Z",
                "priority": 100,
            }
        ],
    }
    later = await gateway.api.get("/v1/accounts/acme/balances?at=2026-03-31T00:00:00Z")
    assert [grant["remaining"] for grant in later.json["grants"]] == ["25"]
    before = await gateway.api.get("/v1/accounts/acme/balances?at=2026-03-02T08:59:59Z")
    assert [grant["used"] for grant in before.json["grants"]] == ["0"]


async def test_without_an_instant_it_is_now_and_late_events_count(gateway: Gateway) -> None:
    await gateway.space.take(pages("1", "31T21:00", 25))
    now = await gateway.api.get("/v1/accounts/acme/balances")
    assert [grant["id"] for grant in now.json["grants"]] == ["acme-flex/pages/2026-06"]
    at = "/v1/accounts/acme/balances?at=2026-03-31T22:00:00Z"
    assert [grant["id"] for grant in (await gateway.api.get(at)).json["grants"]] == ["acme-flex/pages/2026-04"]
    await gateway.space.take(pages("0", "01T08:00", 90))
    march = (await gateway.api.get("/v1/accounts/acme/balances?at=2026-03-31T21:59:59Z")).json["grants"]
    assert [Decimal(grant["used"]) for grant in march] == [Decimal(100)]  # the reversal gave back what it reversed


async def test_only_accounts_that_are_there_and_ones_own(gateway: Gateway) -> None:
    api = gateway.api
    assert (await api.get("/v1/accounts/nobody/balances")).status == 404
    mine = await api.key("usage:read", account="acme")
    assert (await api.get("/v1/accounts/acme/balances", key=mine)).status == 200
    others, nobodys = [await api.get(f"/v1/accounts/{name}/balances", key=mine) for name in ("solo", "nobody")]
    assert (others.status, nobodys.status) == (403, 403)  # and nothing about which of them exists
    of_site = await api.key("usage:read", site="berlin")
    assert (await api.get("/v1/accounts/acme/balances", key=of_site)).status == 403
    assert (await api.get("/v1/accounts/acme/balances?at=now")).status == 400
