"""QuickBooks Online: tokens that change, entities with SyncTokens, the query language, batches, limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.targets.fakes.base import Fake, Handler, Held, Posted, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.limits import Window
from tests.targets.fakes.oauth import Tokens
from tests.targets.fakes.quickbooks_query import QueryFault, matching, parse
from tests.targets.fakes.quickbooks_rules import NAMED, SALES, Broken, Json, check, with_sums

REALM = "9130347596842384"
TOKEN_PATH = "/oauth2/v1/tokens/bearer"
KINDS = ("JournalEntry", *SALES, "RefundReceipt", "Customer", "Vendor", "Account", "Class", "Department", "Item",
         "TaxCode", "TaxRate", "Payment")  # fmt: skip
_BY_PATH = {kind.lower(): kind for kind in KINDS}
_BATCH_MAX, _REQUEST_ID_MAX = 30, 50


def fault(code: str, detail: str, *, message: str = "", kind: str = "ValidationFault") -> Json:
    """Return a Fault in QuickBooks' shape."""
    return {"Fault": {"Error": [{"Message": message or detail, "Detail": detail, "code": code}], "type": kind}}


class FakeQuickBooks(Fake):
    """One company. A `requestid` repeats what was answered for `keys_kept`, which Intuit does not document.

    `limited` counts 10 requests a second, 500 and 40 batches a minute by the fake's clock, which only a test moves.
    `unique_doc_numbers` is a company's setting: a second entity of a kind under a DocNumber is refused with 6140.
    """

    keys_kept = timedelta(hours=4)

    def __init__(
        self, *, clock: Clock | None = None, check_request: RequestCheck | None = None, limited: bool = False,
        strict_refresh: bool = False, unique_doc_numbers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, check_request=check_request)
        self.entities: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}
        self.tokens = Tokens(
            clock=self.clock, access_for=timedelta(hours=1), refresh_for=timedelta(days=100),
            grace=timedelta(hours=24), strict=strict_refresh,
        )  # fmt: skip
        self._unique = unique_doc_numbers
        self._limited = limited
        self._per_second = Window(self.clock, 10, timedelta(seconds=1))
        self._per_minute = Window(self.clock, 500, timedelta(minutes=1))
        self._batches = Window(self.clock, 40, timedelta(minutes=1))

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        company = f"/v3/company/{REALM}"
        return [
            ("POST", TOKEN_PATH, self.tokens.answer),
            ("GET", f"{company}/companyinfo/{REALM}", self._company),
            ("GET", f"{company}/query", lambda call: self._queried(call.parameter("query"))),
            ("POST", f"{company}/query", lambda call: self._queried(call.body.decode())),
            ("POST", f"{company}/batch", self._batch),
            ("POST", f"{company}/{{kind}}", self._write),
            ("GET", f"{company}/{{kind}}/{{id}}", self._read),
        ]

    def fault(self, status: int) -> Answer:
        if status == 401:
            detail = {"message": "message=AuthenticationFailed; errorCode=003200; statusCode=401", "code": "3200",
                      "detail": "Token expired"}  # fmt: skip
            return Answer(
                status=401, content={"warnings": None, "fault": {"error": [detail], "type": "AUTHENTICATION"}}
            )
        if status == 429:
            said = fault("3001", "The request limit was reached.", message="ThrottleExceeded", kind="THROTTLE")
            return Answer(status=429, content=said)
        said = fault("10000", "An application error has occurred while processing your request", kind="SystemFault")
        return Answer(status=status, content=said)

    def malformed(self, why: str) -> Answer:
        return Answer(status=400, content=fault("2010", why, message="Request has invalid or unsupported property"))

    def is_checked(self, call: Call) -> bool:
        return call.path != TOKEN_PATH

    def admit(self, call: Call) -> None:
        if call.path == TOKEN_PATH:
            return
        if not self.tokens.good(call.headers.get("authorization", "")):
            raise Refuse(self.fault(401))
        if len(call.parameter("requestid")) > _REQUEST_ID_MAX:
            raise Refuse(self.malformed(f"a requestid has {_REQUEST_ID_MAX} characters at most"))
        if self._limited:
            batch = call.path.endswith("/batch")
            if not (self._per_second.take() and self._per_minute.take() and (not batch or self._batches.take())):
                raise Refuse(self.fault(429))

    def key_of(self, call: Call) -> tuple[str, str] | None:
        key = call.parameter("requestid")
        # Whatever comes under a known id gets what came before: nothing says that QuickBooks compares.
        return (key, "") if key and call.method == "POST" else None

    def add(self, kind: str, **fields: Any) -> str:
        """Let an entity exist; return its id."""
        return str(self._created(kind, fields)["Id"])

    def by_hand(self, kind: str, id: str, changes: Mapping[str, Any] | None) -> None:
        """Change fields of an entity as a person in the web interface would; None deletes it."""
        if changes is None:
            del self.entities[kind][id]
        else:
            self._replace(kind, self.entities[kind][id] | dict(changes))

    def books(self) -> tuple[Held, ...]:
        held = []
        for kind in ("JournalEntry", *SALES):
            sign = -1 if kind == "CreditMemo" else 1
            for one in self.entities[kind].values():
                tax = Decimal(one.get("TxnTaxDetail", {}).get("TotalTax", 0))
                held.append(Held(
                    id=one["Id"], kind=kind, reference=one.get("DocNumber", ""), tax=sign * tax,
                    customer=one.get("CustomerRef", {}).get("value", ""), amount=sign * (one["TotalAmt"] - tax),
                    currency=one.get("CurrencyRef", {}).get("value", ""), details={"note": one.get("PrivateNote", "")},
                ))  # fmt: skip
        return tuple(held)

    def postings(self) -> tuple[Posted, ...]:
        """Return the lines of all journal entries, with the ids of account, customer, class and department."""
        return tuple(
            Posted(
                entry=one["Id"], reference=one.get("DocNumber", ""), date=one["TxnDate"],
                account=detail["AccountRef"]["value"],
                amount=Decimal(line["Amount"]) * (1 if detail["PostingType"] == "Debit" else -1),
                customer=detail.get("Entity", {}).get("EntityRef", {}).get("value", ""),
                dimensions=tuple(detail[name]["value"] for name in ("ClassRef", "DepartmentRef") if name in detail),
            )
            for one in self.entities["JournalEntry"].values()
            for line in one["Line"] if (detail := line.get("JournalEntryLineDetail")) is not None
        )  # fmt: skip

    def _now(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%S+00:00")

    def _said(self, content: Json) -> Answer:
        return Answer(content=content | {"time": self._now()})

    def _company(self, _: Call) -> Answer:
        return self._said({"CompanyInfo": {"Id": "1", "CompanyName": "Fake", "domain": "QBO", "sparse": False}})

    def _kind(self, call: Call) -> str:
        kind = _BY_PATH.get(call.parts["kind"])
        if kind is None:
            raise Refuse(Answer(status=404, content=fault("600", f"{call.parts['kind']} is not served")))
        return kind

    def _read(self, call: Call) -> Answer:
        kind = self._kind(call)
        if call.parts["id"] not in self.entities[kind]:
            raise Refuse(Answer(status=400, content=fault("610", "Object Not Found")))
        return self._said({kind: self.entities[kind][call.parts["id"]]})

    def _write(self, call: Call) -> Answer:
        kind = self._kind(call)
        try:
            return self._said({kind: self._written(kind, call.json(), call.parameter("operation"))})
        except Broken as broken:
            return Answer(status=400, content=fault(broken.code, broken.detail) | {"time": self._now()})

    def _written(self, kind: str, sent: Json, operation: str) -> Json:
        """Return what became of an entity. Raises Broken."""
        if "Id" not in sent:
            return self._created(kind, sent)
        old = self.entities[kind].get(sent["Id"])
        if old is None:
            raise Broken("610", "Object Not Found")
        if sent.get("SyncToken") != old["SyncToken"]:
            raise Broken("5010", f"Stale Object Error : SyncToken is {old['SyncToken']}, not {sent.get('SyncToken')}")
        if operation == "delete":
            del self.entities[kind][old["Id"]]
            return {"Id": old["Id"], "status": "Deleted", "domain": "QBO"}
        if operation == "void":
            lines = [line | {"Amount": Decimal(0)} for line in old["Line"] if "SalesItemLineDetail" not in line]
            note = " - ".join(filter(None, ("Voided", old.get("PrivateNote"))))
            return self._replace(kind, old | {"Line": lines, "TxnTaxDetail": {}, "PrivateNote": note})
        base = old if sent.get("sparse") else {name: old[name] for name in ("Id", "SyncToken", "MetaData", "domain")}
        new = {**base, **sent}
        check(kind, new, self._known)
        return self._replace(kind, new)

    def _known(self, kind: str, id: str) -> Json | None:
        return self.entities[kind].get(id)

    def _created(self, kind: str, sent: Json) -> Json:
        check(kind, sent, self._known)
        number, name = sent.get("DocNumber"), NAMED.get(kind, "Name")
        if self._unique and number and any(one.get("DocNumber") == number for one in self.entities[kind].values()):
            raise Broken("6140", f"Duplicate Document Number Error : {number} was used before")
        if sent.get(name) and any(one.get(name) == sent[name] for one in self.entities[kind].values()):
            raise Broken("6240", f"Duplicate Name Exists Error : {sent[name]}")
        lines = {"Line": [{"Id": str(n), **line} for n, line in enumerate(sent["Line"])]} if "Line" in sent else {}
        defaults = {"TxnDate": self._now()[:10]} if "Line" in sent else {"Active": True}
        if kind in {"Class", "Department"}:
            defaults["FullyQualifiedName"] = sent["Name"]
        entity = with_sums(kind, {**defaults, **sent, **lines}) | {
            "Id": str(self.new_number()), "SyncToken": "0", "domain": "QBO", "sparse": False,
            "MetaData": {"CreateTime": self._now(), "LastUpdatedTime": self._now()},
        }  # fmt: skip
        self.entities[kind][entity["Id"]] = entity
        return entity

    def _replace(self, kind: str, new: Json) -> Json:
        changed = with_sums(kind, new) | {
            "SyncToken": str(int(new["SyncToken"]) + 1), "sparse": False,
            "MetaData": new["MetaData"] | {"LastUpdatedTime": self._now()},
        }  # fmt: skip
        self.entities[kind][new["Id"]] = changed
        return changed

    def _queried(self, text: str) -> Answer:
        try:
            return self._said({"QueryResponse": self._found(text)})
        except QueryFault as wrong:
            return Answer(status=400, content=fault("4000", str(wrong), message="Error parsing query"))

    def _found(self, text: str) -> Json:
        query = parse(text)
        kind = _BY_PATH.get(query.entity.lower())
        if kind is None:
            raise QueryFault(f"Metadata not found for Entity: {query.entity}")
        held = list(self.entities[kind].values())
        if not any(field == "Active" for field, _, _ in query.conditions):
            held = [one for one in held if one.get("Active", True)]
        found = matching(query, held)
        if query.counts:
            return {"totalCount": len(found)}
        shown = found[query.start - 1 :][: query.most]
        return {kind: shown, "startPosition": query.start, "maxResults": len(shown)} if shown else {}

    def _batch(self, call: Call) -> Answer:
        items = call.json()["BatchItemRequest"]
        if len(items) > _BATCH_MAX:
            raise Refuse(self.malformed(f"a batch has {_BATCH_MAX} items at most"))
        return self._said({"BatchItemResponse": [{"bId": one["bId"]} | self._batched(one) for one in items]})

    def _batched(self, item: Json) -> Json:
        try:
            if "Query" in item:
                return {"QueryResponse": self._found(item["Query"])}
            kind = next(name for name in KINDS if name in item)
            return {kind: self._written(kind, item[kind], item.get("operation", "create"))}
        except Broken as broken:
            return fault(broken.code, broken.detail)
        except QueryFault as wrong:
            return fault("4000", str(wrong))
