"""The one door of the site: what collectors read goes into the spool, and what cannot be read is kept for people.

    collector ─▶ events, refusals ─▶ items ─▶ keeper: one commit ─▶ results, for the device to see

Nothing is answered before the commit. Full, the spool refuses and the device is told so.
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec

from edge.clock import Clock, Reading
from edge.devices import Devices
from edge.spool.errors import Full
from edge.spool.keeper import Keeper
from edge.spool.records import BODY_BYTES_MAX, PUT_BYTES_MAX, PUT_EVENTS_MAX, ROW_BYTES, Item, Settles
from meter.model import card_number
from meter.model.card_less import card_less
from meter.model.doubt import TIME_FLAG
from meter.model.errors import BadInput
from meter.model.wire import ATTRIBUTES_MAX, EDGE_TIME, Parsed, Refusal, WireEvent
from meter.sources.make import refused
from meter.transport.looking import looked

Status: TypeAlias = Literal["accepted", "rejected"]

# Of what cannot be read so much goes along: an event may have four times as many bytes, a person reads fewer.
REFUSED_BYTES_MAX: Final = 64 * 1024
_DETAIL_CHARS_MAX: Final = 1_000
# A device that repeats the same nonsense every second is told so every time, and spooled once.
_KNOWN_REFUSALS_MAX: Final = 1_000
REFUSAL: Final = "edge.refusal"


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event, said after the commit; `code` and `detail` where it cannot be taken as it is."""

    id: str | None
    source: str | None
    status: Status
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something came from: the route, topic or file, and its content type.

    `same_clock`: what sent it reads the agent's own clock, as a log on this machine does.
    """

    name: str
    content_type: str | None = None
    same_clock: bool = False


class Intake:
    """Puts what collectors read into the spool. `devices` are who was heard.

    `turned_away` counts how often somebody was told that there is no room: who comes again is counted again.
    """

    def __init__(self, keeper: Keeper, *, site: str, edge: str, clock: Clock) -> None:
        """Take nothing yet."""
        self._keeper = keeper
        self._site = site
        self._edge = edge
        self._clock = clock
        self._pending: dict[object, datetime] = {}
        self._known_refusals: OrderedDict[bytes, None] = OrderedDict()
        self._refusing_since: datetime | None = None
        self.turned_away = 0
        self.devices = Devices()

    async def keep(
        self, items: Sequence[Parsed], *, origin: Origin, positions: Mapping[str, str] | None = None
    ) -> list[Result]:
        """Return what became of each item, after the commit of all, with the positions of whoever read them.

        Raises Full and Unavailable: the device keeps all of it, of which the first may be stored where it is more than
        one put takes. Raises SpoolFailed.
        """
        heard = self._clock.read()
        origin = replace(origin, name=card_number.masked_text(origin.name))
        looked_at = await looked(lambda: [card_less(item) for item in items], (item.body for item in items))
        judged = [self._judged(item, origin) for item in looked_at]
        made: list[Item] = []
        digests: dict[bytes, None] = {}
        for item in judged:
            if isinstance(item, WireEvent):
                stamped = _is_stamped(item, origin)
                made.append(Item(body=item.body.strip(), heard=heard, stamped=stamped, settles=_settles(item)))
                continue
            digest = sha256(f"{item.code} {origin.name} ".encode() + item.body).digest()
            if digest not in self._known_refusals and digest not in digests:
                digests[digest] = None
                made.append(self._refusal(item, digest, origin, heard))
        portions = list(_portions(made)) or [()]
        for portion in portions[:-1]:
            await self._put(portion, None, heard)
        if made or positions:
            await self._put(portions[-1], positions, heard)
        for digest in digests:
            self._known_refusals[digest] = None
            if len(self._known_refusals) > _KNOWN_REFUSALS_MAX:
                self._known_refusals.popitem(last=False)
        for item in judged:
            self.devices.heard(origin.name, item.source, at=heard.wall, readable=isinstance(item, WireEvent))
        return [_result(item) for item in judged]

    async def _put(self, made: Sequence[Item], positions: Mapping[str, str] | None, heard: Reading) -> None:
        pending = object()
        self._pending[pending] = heard.wall
        try:
            await self._keeper.put(made, positions)
        except Full:
            self.turned_away += 1
            self._refusing_since = self._refusing_since or heard.wall
            raise
        else:
            self._refusing_since = None
        finally:
            del self._pending[pending]

    def complete_until(self) -> datetime:
        """Return up to when, by the wall clock, everything that came is in the spool."""
        waiting = [*self._pending.values(), *filter(None, [self._refusing_since])]
        return min(waiting, default=self._clock.read().wall)

    def _judged(self, item: Parsed, origin: Origin) -> Parsed:
        """Return the item, or why this agent cannot carry it."""
        if isinstance(item, Refusal):
            return item
        if item.site != self._site:
            message = f"source begins with the site {item.site}; this agent carries events of {self._site}"
            return refused(BadInput(message, code="wrong_site"), item.body)
        attributes = item.attributes or {}
        if item.edge is not None or EDGE_TIME in attributes:
            message = "edge and edgetime are an agent's marks, and this agent's are its own; leave them out"
            return refused(BadInput(message, code="bad_attribute"), item.body)
        # Of the agent's marks these two count as extensions at the gateway, whose refusal the device would not hear of.
        marks = (item.time is None) + (_is_stamped(item, origin) and TIME_FLAG not in attributes)
        if len(attributes) + marks > ATTRIBUTES_MAX:
            message = (
                f"the event has {len(attributes)} extensions, and the agent may add {marks}; at most {ATTRIBUTES_MAX} "
                "are kept"
            )
            return refused(BadInput(message, code="bad_attribute"), item.body)
        if len(item.body) > BODY_BYTES_MAX:
            message = f"the event has {len(item.body)} bytes; at most {BODY_BYTES_MAX} are taken"
            return refused(BadInput(message, code="event_too_large"), item.body)
        return item

    def _refusal(self, item: Refusal, digest: bytes, origin: Origin, heard: Reading) -> Item:
        data: dict[str, Any] = {
            "code": item.code,
            "detail": item.detail[:_DETAIL_CHARS_MAX],
            "origin": origin.name,
            "body_base64": b64encode(item.body[:REFUSED_BYTES_MAX]).decode(),
        }
        if origin.content_type is not None:
            data["content_type"] = origin.content_type
        envelope = {
            "specversion": "1.0",
            "id": f"refused-{digest.hex()[:32]}",
            "source": f"{self._site}/edge/{self._edge}",
            "type": REFUSAL,
            "data": data,
        }
        return Item(body=msgspec.json.encode(envelope), heard=heard, stamped=True)


def _portions(made: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Give the items in puts: one message of a megabyte may hold many thousand, each of which takes more here."""
    portion: list[Item] = []
    size = 0
    for item in made:
        needed = len(item.body) + ROW_BYTES
        if portion and (len(portion) == PUT_EVENTS_MAX or size + needed > PUT_BYTES_MAX // 2):
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += needed
    if portion:
        yield portion


def _is_stamped(item: WireEvent, origin: Origin) -> bool:
    """Tell whether the event's time is the agent's clock's."""
    return origin.same_clock or item.time is None


def _settles(item: WireEvent) -> Settles | None:
    """Return the authorization that the event names (docs/api.md)."""
    name = (item.attributes or {}).get("authorization")
    return None if name is None else Settles(str(name), item.source, item.id)


def _result(item: Parsed) -> Result:
    if isinstance(item, Refusal):
        return Result(id=item.id, source=item.source, status="rejected", code=item.code, detail=item.detail)
    return Result(id=item.id, source=item.source, status="accepted")
