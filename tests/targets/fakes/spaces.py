"""Cobot, OfficeRnD and Nexudus: one-off charges of members. None of them knows an idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.targets.fakes.base import Fake, Handler, Held, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.oauth import Tokens

Json = dict[str, Any]
_OFFICERND_PAGE = 50


class _Space(Fake):
    """A platform that holds charges of members by id; a test says which members there are."""

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self.members: set[str] = set()
        self.charges: dict[str, Json] = {}

    def fault(self, status: int) -> Answer:
        return Answer(status=status, content={"message": f"Something failed with {status}."})

    def admit(self, call: Call) -> None:
        if not call.headers.get("authorization", "").startswith("Bearer ") and "token" not in call.path:
            raise Refuse(self.fault(401))

    def by_hand(self, id: str, changes: Mapping[str, Any] | None) -> None:
        """Change fields of a charge as a person in the web interface would; None deletes it."""
        if changes is None:
            del self.charges[id]
        else:
            self.charges[id].update(changes)

    def invoice_all(self) -> None:
        """Let the platform have billed all it holds: it is no longer among what is to be billed."""
        for charge in self.charges.values():
            charge["invoiced"] = True

    def known(self, member: str) -> str:
        """Return the member's id. Raises Refuse (404)."""
        if member not in self.members:
            raise Refuse(self.fault(404))
        return member

    def new_hex(self) -> str:
        """Return 32 hexadecimal digits, the same in every run."""
        return uuid.UUID(int=self.new_number(), version=4).hex


class FakeCobot(_Space):
    """Amounts are text in major units without tax, dates have slashes. What is below zero is a credit."""

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            ("GET", "/api/space", lambda _: Answer(content={"name": "Fake", "currency": "EUR"})),
            ("POST", "/api/memberships/{id}/charges", self._create),
            ("GET", "/api/memberships/{id}/charges/recent", self._recent),
            ("GET", "/api/charges", self._list),
        ]

    def books(self) -> tuple[Held, ...]:
        return tuple(
            Held(
                id=id, kind="charge", reference=one.get("accounting_code") or "", customer=one["member"],
                amount=(net := Decimal(one["amount"]) * Decimal(one["quantity"])), currency=one["currency"],
                tax=net * Decimal(one["tax_rate"]) / 100, state="invoiced" if one["invoiced"] else "recent",
                details={"description": one["description"]},
            )
            for id, one in self.charges.items()
        )  # fmt: skip

    def _create(self, call: Call) -> Answer:
        asked = call.json()
        missing = {name: ["can't be blank"] for name in ("description", "amount") if not asked.get(name)}
        if missing:
            return Answer(status=422, content={"errors": missing})
        charge = {
            "id": self.new_hex(), "description": asked["description"], "amount": str(asked["amount"]),
            "charged_at": asked.get("charged_at", f"{self.clock.now():%Y/%m/%d}"), "currency": "EUR",
            "quantity": asked.get("quantity", "1.0"), "accounting_code": asked.get("accounting_code"),
            "tax_rate": asked.get("tax_rate", "0.0"),
            "member": self.known(call.parts["id"]), "invoiced": False,
        }  # fmt: skip
        self.charges[charge["id"]] = charge
        return Answer(status=201, content=self._shown(charge))

    def _recent(self, call: Call) -> Answer:
        member = self.known(call.parts["id"])
        open_ = [one for one in self.charges.values() if one["member"] == member and not one["invoiced"]]
        return Answer(content=[self._shown(one) for one in open_])

    def _list(self, call: Call) -> Answer:
        start, end = (_day(call.parameter(name)) for name in ("from", "to"))
        wanted = [one for one in self.charges.values() if start <= _day(one["charged_at"]) <= end]
        # The documented answer has no tax rate here.
        return Answer(content=[self._shown(one, without=("tax_rate",)) for one in wanted])

    @staticmethod
    def _shown(charge: Json, without: tuple[str, ...] = ()) -> Json:
        hidden = {"invoiced", "member", *without}
        return {name: one for name, one in charge.items() if name not in hidden} | {"membership_id": charge["member"]}


class FakeOfficeRnD(_Space):
    """Version 2: prices are numbers in major units, lists have pages of 50. Tokens last an hour."""

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self.tokens = Tokens(
            clock=self.clock, access_for=timedelta(hours=1), refresh_for=timedelta(0), client_credentials=True
        )

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        fees = "/{base:.*}/fees"  # whatever the organisation's address is
        return [
            ("POST", "/oauth/token", self._token),
            ("POST", fees, self._create),
            ("GET", fees, self._list),
            ("GET", f"{fees}/{{id}}", lambda call: Answer(content=self._fee(self._one(call)))),
        ]

    def admit(self, call: Call) -> None:
        if "token" not in call.path and not self.tokens.good(call.headers.get("authorization", "")):
            raise Refuse(self.fault(401))

    def books(self) -> tuple[Held, ...]:
        return tuple(
            Held(
                id=id, kind="fee", reference=one.get("source") or "", customer=one["member"] or one["company"],
                amount=Decimal(str(one["price"])) * Decimal(str(one["quantity"])), details={"name": one["name"]},
                state="invoiced" if one["invoiced"] else "open",
            )
            for id, one in self.charges.items()
        )  # fmt: skip

    def _token(self, call: Call) -> Answer:
        # The documentation knows the credentials in the body alone.
        return self.tokens.answer(call) if b"client_secret=" in call.body else Answer(status=401, content={})

    def _create(self, call: Call) -> Answer:
        asked = call.json()
        whole = {"name", "price", "issueDate", "location"} <= asked.keys() and asked.keys() & {"member", "company"}
        if not whole or isinstance(asked["price"], str):
            return Answer(status=400, content={"message": "name, price, issueDate, location or whose it is"})
        fee = {
            "quantity": 1,
            "refundable": False,
            "isPersonal": False,
            "company": None,
            "member": None,
            "source": None,
            **asked,
        }
        fee |= {
            "_id": self.new_hex()[-24:],
            "createdAt": f"{self.clock.now():%Y-%m-%dT%H:%M:%S.000Z}",
            "invoiced": False,
        }
        self.known(fee["member"] or fee["company"])
        self.charges[fee["_id"]] = fee
        return Answer(status=201, content=self._fee(fee))

    @staticmethod
    def _fee(fee: Json) -> Json:
        return {name: value for name, value in fee.items() if name != "invoiced"}

    def _one(self, call: Call) -> Json:
        if call.parts["id"] not in self.charges:
            raise Refuse(self.fault(404))
        return self.charges[call.parts["id"]]

    def _list(self, call: Call) -> Answer:
        asked = dict(call.query)
        wanted = [
            one for one in self.charges.values()
            if all(one[name] == asked[name] for name in ("member", "company", "source") if name in asked)
            and asked.get("issueDate[$gte]", "") <= one["issueDate"][:10] <= asked.get("issueDate[$lte]", "9999")
        ]  # fmt: skip
        if not (asked.get("$cursorNext") or "0").isdecimal():
            raise Refuse(self.fault(400))
        start, most = int(asked.get("$cursorNext") or 0), min(int(asked.get("$limit", 50)), _OFFICERND_PAGE)
        shown = [self._fee(one) for one in wanted[start : start + most]]
        more = {"cursorNext": str(start + most) if start + most < len(wanted) else None}
        return Answer(content={"rangeStart": start + 1, "rangeEnd": start + len(shown), "results": shown} | more)


class FakeNexudus(_Space):
    """Charges, and products sold to a coworker. A refusal has status 200 and WasSuccessful false.

    A token from a user's name and password lasts a week; 409 stands for 429.
    """

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self.password = "secret"
        self.tokens = Tokens(clock=self.clock, access_for=timedelta(days=7), refresh_for=timedelta(0))

    def fault(self, status: int) -> Answer:
        if status == 429:
            return Answer(status=409, headers={"Retry-After": "1"})
        return super().fault(status)

    def admit(self, call: Call) -> None:
        if call.path != "/api/token" and not self.tokens.good(call.headers.get("authorization", "")):
            raise Refuse(self.fault(401))

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        kinds = ("charges", "coworkerproducts")
        return [
            ("POST", "/api/token", self._token),
            *(("POST", f"/api/billing/{kind}", self._create) for kind in kinds),
            *(("GET", f"/api/billing/{kind}", self._list) for kind in kinds),
        ]

    def books(self) -> tuple[Held, ...]:
        return tuple(
            Held(
                id=id, kind=one["kind"], reference=one.get("SystemId") or "", customer=str(one["CoworkerId"]),
                amount=Decimal(str(one.get("TotalAmount") or one.get("Price") or 0)) * one["Quantity"],
                currency="EUR",
                state="invoiced" if one["invoiced"] else "open",
                details={"notes": one.get("Notes") or one.get("Description") or ""},
            )
            for id, one in self.charges.items()
        )  # fmt: skip

    def _token(self, call: Call) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        if asked.get("grant_type") != "password" or not asked.keys() >= {"username", "password"}:
            return Answer(status=400, content={"error": "unsupported_grant_type"})
        if asked["password"] != self.password:
            return Answer(status=400, content={"error": "invalid_grant"})
        granted = {"access_token": self.tokens.issue_access(), "token_type": "bearer", "expires_in": 604_799}
        return Answer(content=granted | {"refresh_token": "8xLOxBtZp8"})

    def _create(self, call: Call) -> Answer:
        asked, kind = call.json(), call.path.rsplit("/", 1)[1]
        own = {"TotalAmount"} if kind == "charges" else {"ProductId", "RepeatCycle"}
        needed = {"CoworkerId", "BusinessId", "Quantity", "DiscountAmount", "CreditAmount"} | own
        wrong = [{"PropertyName": name, "Message": "is required"} for name in sorted(needed - asked.keys())]
        if not wrong and str(asked["CoworkerId"]) not in self.members:
            wrong = [{"PropertyName": "CoworkerId", "Message": "is not found"}]
        if wrong:
            return Answer(content={
                "Status": 500, "Message": "Invalid", "Value": None, "WasSuccessful": False, "Errors": wrong,
            })  # fmt: skip
        id, moment = self.new_number(), f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        self.charges[str(id)] = {
            **asked, "Id": id, "UniqueId": str(uuid.UUID(hex=self.new_hex())), "CreatedOn": moment, "UpdatedOn": moment,
            "kind": kind, "invoiced": False,
        }  # fmt: skip
        return Answer(content={
            "Status": 200, "Message": "Created", "Value": {"Id": id}, "WasSuccessful": True, "Errors": None,
        })  # fmt: skip

    def _list(self, call: Call) -> Answer:
        asked, kind = dict(call.query), call.path.rsplit("/", 1)[1]
        prefix = "Charge" if kind == "charges" else "CoworkerProduct"
        wanted = [
            one for one in self.charges.values()
            if one["kind"] == kind and all(_fits(one, prefix, name, value) for name, value in asked.items())
        ]  # fmt: skip
        number, size = int(asked.get("page", 1)), int(asked.get("size", 25))
        start = (number - 1) * size
        records = [
            {name: value for name, value in one.items() if name not in {"kind", "invoiced"}}
            | {"BusinessCurrencyCode" if kind == "charges" else "ProductCurrencyCode": "EUR"}
            for one in wanted[start : start + size]
        ]
        return Answer(content={
            "Records": records, "CurrentPage": number, "PageSize": size, "TotalItems": len(wanted),
            "TotalPages": -(-len(wanted) // size), "HasNextPage": start + size < len(wanted),
        })  # fmt: skip


def _fits(record: Json, prefix: str, name: str, value: str) -> bool:
    """Return whether a record fits a filter: `Charge_Coworker`, `from_Charge_SaleDate`; others are passed over."""
    bound, _, field = name.rpartition(f"{prefix}_")
    held = str(record.get(field, record.get(f"{field}Id", "")))
    return {"": held == value, "from_": held >= value, "to_": held <= value}[bound] if f"{prefix}_" in name else True


def _day(text: str) -> datetime:
    """Return a day from 2026/11/20 or 2026-11-20."""
    return datetime.fromisoformat(text.replace("/", "-")[:10])
