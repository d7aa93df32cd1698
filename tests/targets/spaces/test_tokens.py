"""How tokens of booking systems are asked for, and what ends them."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from meter.export.contract import Barred, Delivered
from meter.model.errors import BadInput
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import NEXUDUS_CASE, OFFICERND_CASE
from tests.targets.driving import one
from tests.targets.spaces.given import Make


@pytest.mark.parametrize("case", [OFFICERND_CASE, NEXUDUS_CASE], ids=lambda case: case.kind)
async def test_a_token_that_ends_loses_nothing(make: Make, case: TargetCase) -> None:
    vendor, target = await make(case)
    made = case.items(3, 1)
    assert isinstance(await one(target.send(made[:1])), Delivered)
    vendor.advance(days=8)
    assert isinstance(await one(target.send(made[1:2])), Delivered)
    assert len(vendor.calls("POST", "/token")) == 2


@pytest.mark.parametrize(
    ("case", "form"),
    [
        (
            OFFICERND_CASE,
            {
                "grant_type": "client_credentials",
                "client_id": "client",
                "client_secret": "secret",
                "scope": "flex.community.fees.create flex.community.fees.read",
            },
        ),
        (NEXUDUS_CASE, {"grant_type": "password", "username": "client", "password": "secret"}),
    ],
    ids=lambda one: one.kind if isinstance(one, TargetCase) else "",
)
async def test_credentials_go_where_the_vendor_reads_them(make: Make, case: TargetCase, form: dict[str, str]) -> None:
    vendor, target = await make(case)
    await target.check()
    [asked] = vendor.calls("POST", "/token")
    assert {name: values[0] for name, values in parse_qs(asked.call.body.decode()).items()} == form
    assert "authorization" not in asked.call.headers


async def test_a_wrong_password_is_said_without_it(make: Make) -> None:
    vendor, target = await make(NEXUDUS_CASE)
    vendor.password = "another"
    with pytest.raises(BadInput, match="check client_id and client_secret") as raised:
        await target.check()
    assert "secret'" not in str(raised.value)
    outcome = await one(target.send(NEXUDUS_CASE.items(1, 1)))
    assert isinstance(outcome, Barred)
    assert "check client_id" in outcome.reason
