"""An ask as a device sends it: the same body as the gateway takes, judged the same way as far as it can be here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from meter.model.catalog import by_value
from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.identity import normalise_identity
from meter.model.money import ZERO, parse_decimal, plain
from meter.model.strict_json import exact_json, strict_json

# As the gateway has them (docs/api.md): what it would take is taken here, and nothing else.
_EXPIRES_S: Final = 300
_EXPIRES_S_MAX: Final = 86_400
_DATA_BYTES_MAX: Final = 8_192

_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class _Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    id: _Name
    site: _Name
    meter: _Name
    member: _Name | None = None
    identity: str | None = None
    quantity: str = "1"
    dimensions: dict[str, Any] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    expires_s: Annotated[int, msgspec.Meta(ge=1, le=_EXPIRES_S_MAX)] = _EXPIRES_S


_BODY: Final = msgspec.json.Decoder(_Body, float_hook=Decimal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Somebody (`identity`, kind:value) wants `quantity` of a meter, in its unit. Reserved for `expires_s` seconds."""

    id: str
    identity: str
    site: str
    meter: str
    quantity: Decimal
    expires_s: int
    dimensions: Mapping[str, Json]
    data: Mapping[str, Json]

    @property
    def about(self) -> str:
        """Return a text equal for asks that one word of the gateway's is good for: they differ in quantity only."""
        return by_value([self.identity, self.site, self.meter, self.dimensions, self.data])

    @property
    def digest(self) -> bytes:
        """Return what a repetition is told from another ask by."""
        return sha256(by_value([self.about, self.quantity, self.expires_s]).encode()).digest()

    def body(self) -> bytes:
        """Return it as the gateway takes it."""
        told: dict[str, Json] = {
            "id": self.id,
            "identity": self.identity,
            "site": self.site,
            "meter": self.meter,
            "quantity": plain(self.quantity),
            "expires_s": self.expires_s,
            "dimensions": dict(self.dimensions),
            "data": dict(self.data),
        }
        return exact_json({name: value for name, value in told.items() if value != {}}).encode()


def read_ask(body: bytes, *, site: str) -> Ask:
    """Return the ask in a body, for this site. Raises BadInput with the gateway's codes."""
    if b"\\u0000" in body:
        raise BadInput("the body holds a NUL character (\\u0000); leave it out", code="bad_body")
    try:
        given = _BODY.decode(body)
    except msgspec.ValidationError as error:
        raise BadInput(f"body: {error}", code="bad_body") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {error}", code="bad_json") from error
    if (given.member is None) == (given.identity is None):
        raise BadInput("the ask must name one of `member` and `identity`", code="bad_body")
    if given.site != site:
        raise BadInput(f"this agent answers for site {site}, not for {given.site[:60]!r}", code="forbidden")
    # Again and strictly: numbers as they are written, no deeper than an event may be.
    strict = strict_json(body)
    data = strict.get("data", {})
    if len(exact_json(data).encode()) > _DATA_BYTES_MAX:
        raise BadInput(f"`data` has more than {_DATA_BYTES_MAX} bytes; send what the price reads", code="bad_body")
    quantity = parse_decimal(given.quantity, what="quantity")
    if quantity <= ZERO:
        raise BadInput("the quantity must be above 0; leave it out for 1", code="invalid")
    return Ask(
        id=given.id,
        identity=normalise_identity(given.identity if given.identity is not None else f"member:{given.member}"),
        site=given.site,
        meter=given.meter,
        quantity=quantity,
        expires_s=given.expires_s,
        dimensions=strict.get("dimensions", {}),
        data=data,
    )


def conflict(id: str) -> BadInput:
    """Return what is said to another ask under a known id."""
    return BadInput(f"the id {id[:60]!r} stands for another ask; give each ask an id of its own", code="conflict")
