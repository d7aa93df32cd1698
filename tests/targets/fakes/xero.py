"""Xero: manual journals, sales invoices, credit notes and their allocation, tracking, accounts, tax rates."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

from tests.targets.fakes.base import Handler, Held, Posted, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.xero_core import API, TENANT, TOKEN_PATH, Json, XeroCore, changed_by, day, when
from tests.targets.fakes.xero_rules import (
    Chart,
    faults_in_date,
    faults_in_document,
    faults_in_journal,
    summed,
)

_ID = {"ManualJournals": "ManualJournalID", "Invoices": "InvoiceID", "CreditNotes": "CreditNoteID"}
_NUMBER = {"Invoices": "InvoiceNumber", "CreditNotes": "CreditNoteNumber"}
_LINES = {"ManualJournals": "JournalLines", "Invoices": "LineItems", "CreditNotes": "LineItems"}
_EXTRA = frozenset({"changed"})


class FakeXero(XeroCore):
    """The chart has what the test adds, and the tax type NONE.

    A POST of an invoice under a number that exists changes the invoice; a PUT is refused. A journal has no number.
    """

    def __init__(
        self, *, clock: Clock | None = None, check_request: RequestCheck | None = None, strict_refresh: bool = False,
        minute_max: int = 60, day_max: int = 5000,
    ) -> None:  # fmt: skip
        super().__init__(
            clock=clock, check_request=check_request, strict_refresh=strict_refresh, minute_max=minute_max,
            day_max=day_max,
        )  # fmt: skip
        self.chart = Chart(accounts={}, tax_rates={"NONE": Decimal(0)}, tracking={})
        self.documents: dict[str, dict[str, Json]] = {name: {} for name in _ID}
        self.contacts: dict[str, Json] = {}
        self.base_currency = "EUR"
        self.locked: date | None = None  # the last day of a period that the accountant has closed

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            ("POST", TOKEN_PATH, self.tokens.answer),
            ("GET", "/connections", lambda _: Answer(content=[{"tenantId": TENANT, "tenantType": "ORGANISATION"}])),
            ("GET", f"{API}/Organisation", self._organisation),
            ("GET", f"{API}/Accounts", self._accounts),
            ("GET", f"{API}/TaxRates", self._tax_rates),
            ("GET", f"{API}/TrackingCategories", self._tracking),
            ("PUT", f"{API}/TrackingCategories", self._add_tracking),
            ("PUT", f"{API}/TrackingCategories/{{id}}/Options", self._add_option),
            ("PUT", f"{API}/CreditNotes/{{id}}/Allocations", self._allocate),
            *((method, f"{API}/{name}", self._written) for name in _ID for method in ("PUT", "POST")),
            *(("GET", f"{API}/{name}", self._listed) for name in _ID),
            *(("GET", f"{API}/{name}/{{id}}", self._read) for name in _ID),
            *(("POST", f"{API}/{name}/{{id}}", self._written) for name in _ID),
        ]

    def add_account(self, code: str, *, type: str = "REVENUE", system: str = "") -> None:  # noqa: A002  Xero's word
        """Let an account exist; `system` is DEBTORS, CREDITORS and the like."""
        account = {
            "Code": code,
            "Name": f"Account {code}",
            "Type": type,
            "Status": "ACTIVE",
            "AccountID": self.new_id(),
        }
        self.chart.accounts[code] = account | ({"SystemAccount": system} if system else {})

    def add_tax_rate(self, tax_type: str, percent: str) -> None:
        """Let a tax rate exist."""
        self.chart.tax_rates[tax_type] = Decimal(percent)

    def add_contact(self, name: str) -> str:
        """Let a contact exist; return its id."""
        id = self.new_id()
        self.contacts[id] = {"ContactID": id, "Name": name, "ContactStatus": "ACTIVE"}
        return id

    def add_tracking(self, name: str, *options: str) -> str:
        """Let a tracking category exist; return its id."""
        made = [{"TrackingOptionID": self.new_id(), "Name": one, "Status": "ACTIVE"} for one in options]
        category = {"TrackingCategoryID": self.new_id(), "Name": name, "Status": "ACTIVE", "Options": made}
        self.chart.tracking[name] = category
        return str(category["TrackingCategoryID"])

    def by_hand(self, id: str, changes: Mapping[str, Any] | None) -> None:
        """Change fields of a journal, invoice or credit note as a person in Xero would; None deletes it."""
        for held in self.documents.values():
            if id in held:
                if changes is None:
                    del held[id]
                else:
                    held[id] = changed_by(held[id] | dict(changes), self.clock)
                return
        raise KeyError(id)

    def books(self) -> tuple[Held, ...]:
        return tuple(
            Held(
                id=id, kind=name, reference=one.get(_NUMBER[name], ""), customer=one["Contact"]["ContactID"],
                amount=sign * one["SubTotal"], tax=sign * one["TotalTax"], currency=one.get("CurrencyCode", ""),
                state=one["Status"], details={"reference": one.get("Reference", "")},
            )
            for name, sign in (("Invoices", 1), ("CreditNotes", -1))
            for id, one in self.documents[name].items() if one["Status"] not in {"VOIDED", "DELETED"}
        )  # fmt: skip

    def postings(self) -> tuple[Posted, ...]:
        """Return the lines of all manual journals that are not void or deleted, drafts too."""
        return tuple(
            Posted(
                entry=id, reference=one["Narration"], date=one["Date"][:10], account=line["AccountCode"],
                amount=Decimal(line["LineAmount"]),
                dimensions=tuple(f"{tag['Name']}:{tag['Option']}" for tag in line.get("Tracking", [])),
            )
            for id, one in self.documents["ManualJournals"].items() if one["Status"] in {"DRAFT", "POSTED"}
            for line in one["JournalLines"]
        )  # fmt: skip

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Take back what is done inside."""
        before = copy.deepcopy(self.documents)
        try:
            yield
        finally:
            self.documents = before

    @staticmethod
    def _name(call: Call) -> str:
        return call.path.removeprefix(f"{API}/").split("/")[0]

    def _shown(self, name: str, one: Json, *, whole: bool) -> Json:
        hidden = _EXTRA if whole else _EXTRA | {_LINES[name]}
        shown = {field: value for field, value in one.items() if field not in hidden}
        shown["UpdatedDateUTC"] = when(one["changed"])
        for field in ("Date", "DueDate"):
            if field in one:
                shown[field] = day(one[field])
        return shown

    def _listed(self, call: Call) -> Answer:
        name = self._name(call)
        held = list(self.documents[name].values())
        for parameter, field in (("InvoiceNumbers", "InvoiceNumber"), ("Statuses", "Status"), ("IDs", _ID[name])):
            if wanted := call.parameter(parameter):
                held = [one for one in held if one.get(field) in wanted.split(",")]
        return self.page(name, call, held, lambda one, whole: self._shown(name, one, whole=whole))

    def _read(self, call: Call) -> Answer:
        name, id = self._name(call), call.parts["id"]
        found = [one for one in self.documents[name].values() if id in {one[_ID[name]], one.get(_NUMBER.get(name, ""))}]
        if not found:
            raise Refuse(self.fault(404))
        return self.said({name: [self._shown(name, one, whole=True) for one in found]})

    def _written(self, call: Call) -> Answer:
        name = self._name(call)
        creating = call.method == "PUT"
        units = call.parameter("unitdp")

        def take(sent: Json) -> tuple[Json, list[str]]:
            if "id" in call.parts:
                sent = sent | {_ID[name]: call.parts["id"]}
            return self._taken(name, sent, units, creating=creating)

        return self.many(name, call, take)

    def _taken(self, name: str, sent: Json, units: str, *, creating: bool) -> tuple[Json, list[str]]:
        held, number = self.documents[name], sent.get(_NUMBER.get(name, ""))
        same = next((one for one in held.values() if number and one[_NUMBER[name]] == number), None)
        old = held.get(sent.get(_ID[name], "")) or same
        if creating and old is not None:
            return sent, [f"{_NUMBER.get(name, _ID[name])} must be unique."]
        new = {**self._defaults(name), **(old or {}), **sent}
        wrong = self._faults(name, new, old)
        if wrong:
            return sent, wrong
        if name != "ManualJournals":
            new = summed(new, self.chart, units)
            paid = new.get("AmountPaid", Decimal(0)) + new.get("AmountCredited", Decimal(0))
            left = {"AmountDue": new["Total"] - paid} if name == "Invoices" else {"RemainingCredit": new["Total"]}
            new |= left
        held[new[_ID[name]]] = changed_by(new, self.clock)
        return self._shown(name, held[new[_ID[name]]], whole=True), []

    def _defaults(self, name: str) -> Json:
        today = self.clock.now().date().isoformat()
        made: Json = {_ID[name]: self.new_id(), "Date": today, "Status": "DRAFT"}
        if name == "ManualJournals":
            return made | {"LineAmountTypes": "NoTax", "ShowOnCashBasisReports": True}
        credited = (
            {"AmountPaid": Decimal(0), "AmountCredited": Decimal(0)}
            if name == "Invoices"
            else {"Allocations": list[Json]()}
        )
        return made | credited | {_NUMBER[name]: f"FAKE-{self.new_number():04d}", "CurrencyCode": "EUR"}

    def _faults(self, name: str, new: Json, old: Json | None) -> list[str]:
        if old is not None and old["Status"] in {"VOIDED", "DELETED", "PAID"}:
            return [f"It is {old['Status']} and does not change."]
        if new["Status"] in {"VOIDED", "DELETED"}:
            return []
        wrong = faults_in_date(new, self.locked)
        if name == "ManualJournals":
            return wrong + faults_in_journal(new, self.chart)
        kind = "ACCREC" if name == "Invoices" else "ACCRECCREDIT"
        wrong += [] if new.get("Type") == kind else [f"The Type is {kind}."]
        contact = self.contacts.get(new.get("Contact", {}).get("ContactID", ""))
        if contact is None:
            wrong.append("A Contact must be specified for this type of transaction.")
        else:
            new["Contact"] = contact
        if name == "Invoices" and new["Status"] == "AUTHORISED" and not new.get("DueDate"):
            wrong.append("The DueDate must be specified.")
        return wrong + faults_in_document(new, self.chart)

    def _allocate(self, call: Call) -> Answer:
        note = self.documents["CreditNotes"].get(call.parts["id"])
        if note is None:
            raise Refuse(self.fault(404))
        sent = call.json()
        made = []
        for one in sent.get("Allocations", [sent]):
            invoice = self.documents["Invoices"].get(one.get("Invoice", {}).get("InvoiceID", ""))
            amount = Decimal(one["Amount"])
            if invoice is None or {invoice["Status"], note["Status"]} != {"AUTHORISED"}:
                raise Refuse(self.malformed("The invoice and the credit note are authorised."))
            if not 0 < amount <= min(invoice["AmountDue"], note["RemainingCredit"]):
                raise Refuse(self.malformed("No more is allocated than is due and left."))
            invoice["AmountDue"] -= amount
            invoice["AmountCredited"] += amount
            note["RemainingCredit"] -= amount
            for document, left in ((invoice, "AmountDue"), (note, "RemainingCredit")):
                document.update(changed=self.clock.now(), **({"Status": "PAID"} if document[left] == 0 else {}))
            made.append({
                "AllocationID": self.new_id(), "Amount": amount, "Date": day(one.get("Date", invoice["Date"])),
                "Invoice": {"InvoiceID": invoice["InvoiceID"], "InvoiceNumber": invoice["InvoiceNumber"]},
            })  # fmt: skip
        note["Allocations"] = [*note["Allocations"], *made]
        return self.said({"Allocations": made})

    def _organisation(self, _: Call) -> Answer:
        organisation = {"Name": "Fake", "BaseCurrency": self.base_currency}
        locked = {} if self.locked is None else {"PeriodLockDate": day(self.locked.isoformat())}
        return self.said({"Organisations": [organisation | locked]})

    def _accounts(self, _: Call) -> Answer:
        return self.said({"Accounts": list(self.chart.accounts.values())})

    def _tax_rates(self, _: Call) -> Answer:
        rates = [
            {"Name": name, "TaxType": name, "Status": "ACTIVE", "EffectiveRate": rate, "DisplayTaxRate": rate}
            for name, rate in self.chart.tax_rates.items()
        ]
        return self.said({"TaxRates": rates})

    def _tracking(self, _: Call) -> Answer:
        return self.said({"TrackingCategories": list(self.chart.tracking.values())})

    def _add_tracking(self, call: Call) -> Answer:
        name = call.json()["Name"]
        if name in self.chart.tracking or len(self.chart.tracking) >= 2:
            raise Refuse(self.malformed("There are two tracking categories at most, each with its own name."))
        self.add_tracking(name)
        return self.said({"TrackingCategories": [self.chart.tracking[name]]})

    def _add_option(self, call: Call) -> Answer:
        wanted = call.parts["id"]
        category = next((one for one in self.chart.tracking.values() if one["TrackingCategoryID"] == wanted), None)
        if category is None:
            raise Refuse(self.fault(404))
        name = call.json()["Name"]
        if name in [one["Name"] for one in category["Options"]]:
            raise Refuse(self.malformed("The option exists."))
        option = {"TrackingOptionID": self.new_id(), "Name": name, "Status": "ACTIVE", "TrackingCategoryID": wanted}
        category["Options"].append(option)
        return self.said({"Options": [option]})
