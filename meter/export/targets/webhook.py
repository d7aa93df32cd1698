"""Webhooks as the Standard Webhooks specification has them: what was booked, to an address of the operator's choice.

A receiver takes each webhook-id once, so whatever may have arrived is sent again the same. It cannot be asked.
Source: Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, folder spec), 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any, Final, Literal

import msgspec
from standardwebhooks import Webhook
from yarl import URL

from meter.clock import Clock, Ticks, monotonic_s, now
from meter.export.charge_json import ChargeJson
from meter.export.contract import Absent, Barred, Finding, Limits, Outcome, Refused, Retry
from meter.export.entry_json import EntryJson, entry_json
from meter.export.gather.at_once import Entries
from meter.export.gather.charges import Charges
from meter.export.gather.shape import Shape
from meter.export.http import TIMEOUT_S, Answer, Channel, Fault, outcome_of, retry_after_s
from meter.export.payload import ChargeBatch, JournalBatch, thawed
from meter.export.streams import one_by_one
from meter.export.targets.spec import Kind, Setup
from meter.model.errors import BadInput, Unavailable
from meter.model.instant import instant_text
from meter.model.texts import InstantText
from meter.sources.spec import Option
from meter.store.outbox import OutboxItem, item_key

VERSION: Final = 1
# About 100 kB: a receiver's server takes a megabyte, its function may be given less.
CHARGES_MAX: Final = 100
ENTRIES_MAX: Final = 100
# Receivers keep the ids that they have seen: the same webhook-id may be sent again at any time.
LIMITS: Final = Limits(items_max=64, in_flight=4, keys_kept_s=math.inf)
# What the specification allows, in bytes.
SECRET_BYTES: Final = range(24, 65)
_PREFIX: Final = "whsec_"
# A receiver that said that it is gone is asked again after so long, in case that it did not mean it.
GONE_S: Final = 3600.0
_GONE: Final = "set base_url to where the receiver is now, or enabled = false"
_ACCESS: Final = "check base_url and secrets against what the receiver expects of us"


class ChargesData(msgspec.Struct, kw_only=True):
    """Charges of one account, in booking order. `batch` names them: the same charges, the same batch."""

    version: Literal[1]
    operator: str
    batch: str
    charges: list[ChargeJson]


class ChargesBooked(msgspec.Struct, kw_only=True):
    """Charges were booked; `timestamp` is when the newest of them was."""

    type: Literal["charges.booked"]
    timestamp: InstantText
    data: ChargesData


class EntriesData(msgspec.Struct, kw_only=True):
    """Journal entries of one day and site, in the order in which they were made."""

    version: Literal[1]
    operator: str
    batch: str
    entries: list[EntryJson]


class JournalPosted(msgspec.Struct, kw_only=True):
    """Entries were added to the books; `timestamp` is the beginning of their day, in UTC."""

    type: Literal["journal.posted"]
    timestamp: InstantText
    data: EntriesData


# What can be sent, for the API's document.
EVENTS: Final[Mapping[str, type[msgspec.Struct]]] = {"charges.booked": ChargesBooked, "journal.posted": JournalPosted}


def body_of(item: OutboxItem) -> bytes:
    """Return what is posted: a pure function of the item. Raises msgspec.MsgspecError, BadInput."""
    content: Any = thawed(item.operation, item.payload)
    data: dict[str, Any] = {"version": VERSION, "operator": item.operator, "batch": item.batch}
    match content:
        case ChargeBatch():
            event, moment = "charges.booked", content.booked_at
            data["charges"] = content.charges
        case JournalBatch():
            event, moment = "journal.posted", datetime.combine(content.day, time(), tzinfo=UTC)
            data["entries"] = [entry_json(entry) for entry in content.entries]
        case _:
            raise BadInput(f"a webhook tells charges or entries, not {item.operation}", code="bad_operation")
    return msgspec.json.encode({"type": event, "timestamp": instant_text(moment), "data": data})


def webhook_id(item: OutboxItem) -> str:
    """Return the id by which receivers know the message again: the key of the batch's first revision.

    A batch never changes here. What is sent again under another key, because nobody knows what became of it or because
    it was refused, is the same message.
    """
    return item_key(operator=item.operator, target=item.target, operation=item.operation, batch=item.batch, revision=0)


def headers_of(message_id: str, body: bytes, secrets: Sequence[str], moment: datetime) -> dict[str, str]:
    """Return the headers: one signature for each secret that is active, the newest first."""
    signatures = [Webhook(secret).sign(message_id, moment, body.decode()) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def outcome_from(answer: Answer) -> Outcome:
    """Return what an answer makes of an item.

    One that is gone (410) is to be sent nothing more, says the specification: what is for it waits for a person. So it
    does where the receiver does not know us (401, 403), for it sees one sender alone: that is said of all messages.
    """
    if answer.status == 410:
        return Barred(f"answered 410: the receiver is gone; {_GONE}", _GONE, status=410, after_s=GONE_S)
    outcome = outcome_of(answer.status, answer.headers, answer.body, access=_ACCESS)
    after_s = retry_after_s(answer.headers)
    if answer.status == 503 and after_s is not None:
        # It may have taken it all the same: that costs nothing, the webhook-id stays.
        return Retry(f"answered 503, Retry-After {after_s:.0f} s", after_s=after_s, throttled=True)
    return outcome


class WebhookTarget:
    """One receiver. Accounts are told side by side, each in the order of booking."""

    limits = LIMITS

    def __init__(
        self,
        setup: Setup,
        *,
        clock: Clock = now,
        monotonic: Ticks = monotonic_s,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect to nothing yet. Make it inside a running loop."""
        url = URL(setup.base_url or "")
        # A Channel asks below its address; this is one address, with its query and without a slash at its end.
        self._path = f"./{url.raw_path_qs.lstrip('/')}"
        # Whoever knows the address may post to it.
        secrets = [*setup.known_secrets, url.raw_path_qs, url.path_qs, *url.query.values()]
        self._channel = Channel(
            str(url.with_path("/")), LIMITS, secrets=secrets, timeout_s=timeout_s, clock=monotonic, guard=setup.guard
        )
        self._secrets = setup.secrets
        self._clock = clock

    async def send(self, items: Sequence[OutboxItem]) -> Sequence[Outcome]:
        """Post each item."""
        return await one_by_one(items, self._send_one, LIMITS)

    async def _send_one(self, item: OutboxItem) -> Outcome:
        try:
            body = body_of(item)
        except (msgspec.MsgspecError, BadInput) as error:
            return Refused(f"cannot be told: {error}")
        headers = headers_of(webhook_id(item), body, self._secrets, self._clock())
        answer = await self._channel.request("POST", self._path, headers=headers, body=body)
        return outcome_from(answer)

    async def look_up(self, items: Sequence[OutboxItem]) -> Sequence[Finding]:
        """Say that nothing is held: a receiver cannot be asked, and takes the same webhook-id but once."""
        return [Absent()] * len(items)

    async def check(self) -> None:
        """Return where the receiver answers to HEAD, with whatever it says of that. Raises Unavailable."""
        try:
            answer = await self._channel.request("HEAD", self._path)
        except Fault as error:
            raise Unavailable(f"no answer: {error}; check base_url and the network", code="target_silent") from error
        if answer.status == 410 or answer.status >= 500:
            message = f"the receiver answered {answer.status}; mend it there, or set another base_url"
            raise Unavailable(message, code="target_down")

    async def close(self) -> None:
        """Close every connection."""
        await self._channel.close()


def _shape(setup: Setup) -> Shape:
    if setup.options["dataset"] == "journal":
        return Entries(entries_max=ENTRIES_MAX)
    return Charges(apart="account", charges_max=CHARGES_MAX)


def _faults(setup: Setup) -> list[str]:
    faults = []
    try:
        url = URL(setup.base_url or "")
        sound = url.scheme in {"http", "https"} and bool(url.host)
    except ValueError:
        sound = False
    if setup.base_url and not sound:
        faults.append("base_url is no address; write https://host/path")
    if any(not _is_secret(secret) for secret in setup.secrets):
        size = f"{SECRET_BYTES.start} to {SECRET_BYTES.stop - 1} bytes"
        faults.append(f"secrets: one is none; write {_PREFIX} and {size} in base64")
    return faults


def _is_secret(text: str) -> bool:
    given = text.removeprefix(_PREFIX).rstrip("=")
    try:
        return len(base64.b64decode(given + "=" * (-len(given) % 4), validate=True)) in SECRET_BYTES
    except (binascii.Error, ValueError):
        return False


WEBHOOK: Final = Kind(
    title="Webhooks",
    facts="Standard Webhooks 1.0.0, and its library for Python",
    about="Charges or entries as they are booked, to an address of yours: [webhook.md](targets/webhook.md).",
    shape=_shape,
    open=lambda setup, _means: WebhookTarget(setup),
    grains=("charge",),
    needs=frozenset({"base_url", "secrets"}),
    options={"dataset": Option(default="charges", about="What is told.", choices=("charges", "journal"))},
    faults=_faults,
)
