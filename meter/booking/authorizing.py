"""Asking before acting: one ask of an account at a time is quoted, decided and kept (decision 0016).

facts ──▶ whose ──▶ the account's lock ──▶ open reservations ──▶ events, folded ──▶ quote ──▶ row

Reservations are read before events: one that is settled in between is seen twice at the worst, never not at all, and is
left out where its event is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.booking.facts import Facts, FactsCache
from meter.booking.standing import Standing, standing_of, used_in
from meter.clock import Clock
from meter.model.catalog import Meter, by_value
from meter.model.errors import BadInput, Unavailable
from meter.model.event import Json
from meter.model.money import ZERO, plain
from meter.rating.quote import UNKNOWN_IDENTITY, Ask, LimitUse, Quote, Reason, limits_on, quote
from meter.rating.resolve import link_at, member_of
from meter.store.authorizations import (
    Authorization,
    digest_of,
    find_authorization,
    keep_authorization,
    lock_account,
    open_reservations,
    settle_by_stored,
    settlements,
)
from meter.store.directory import NO_CATALOG, facts_version
from meter.store.engine import Database
from meter.store.hashing import stored_identity

# Each holds a connection of the pool, and waits with it for others that ask for the same account.
ASKS_MAX: Final = 8
ATTEMPTS: Final = 3
# All of them are rated anew for each ask of the account: about 0.1 s for so many.
RESERVATIONS_MAX: Final = 500


# What an agent that hears nothing says no by: more than it may risk, or nobody it has heard of.
OfflineReason: TypeAlias = Literal["risk_limit", "unknown_offline"]
# An agent's clock is corrected by what it measured of ours.
OFFLINE_AHEAD_MAX: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What an agent on site answered by itself, and when."""

    asked_at: datetime
    allowed: bool
    reasons: tuple[Reason | OfflineReason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for: `identity` (kind:value) wants `quantity` of `meter` at `site`.

    The reservation lasts `expires_s`. `key`: whose key asks; `for_account`: the only account it may ask for. `offline`:
    it is answered already, and told so that what was allowed can be held against what came.
    """

    id: str
    identity: str
    site: str
    meter: str
    quantity: Decimal
    expires_s: int
    key: str
    for_account: str | None = None
    offline: Offline | None = None
    dimensions: Mapping[str, Json] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The authorisation. `repeated`: it was asked for before, and this is what was answered then."""

    authorization: Authorization
    repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Whose an identity is; None: nobody's."""

    account: str | None
    member: str | None


class _OtherFacts(Unavailable):
    """The facts changed while somebody asked; nothing was kept."""

    def __init__(self) -> None:
        super().__init__("the facts keep changing while this is asked; ask again", code="database_contended")


class Authorizer:
    """Answers asks of one operator, any number side by side."""

    def __init__(self, database: Database, operator: str, *, clock: Clock) -> None:
        """Read nothing yet."""
        self._database = database
        self._operator = operator
        self._clock = clock
        self._facts = FactsCache(operator)
        self._turns = asyncio.Semaphore(ASKS_MAX)

    async def ask(self, wanted: Wanted) -> Answered:
        """Return the answer, kept. The same ask under the same id is answered as the first time.

        Raises BadInput: `no_catalog`, `bad_identity`, `unknown_meter`, `invalid` (the quantity, the dimensions),
        `conflict` (another ask has the id), `forbidden` (the account is not the key's), `too_many_waiting`.
        """
        async with self._turns:
            for _ in range(ATTEMPTS):
                # Another ask of the same id and of another account, or of nobody's, came between: it is there now.
                # Or other facts did.
                with suppress(IntegrityError, _OtherFacts):
                    async with self._database.begin() as connection:
                        return await self._ask(connection, wanted)
            async with self._database.begin() as connection:
                return await self._ask(connection, wanted)

    async def _ask(self, connection: AsyncConnection, wanted: Wanted) -> Answered:
        facts = await self._facts.glance(connection)
        if facts is None:
            raise BadInput(NO_CATALOG, code="no_catalog")
        identity = await stored_identity(connection, self._operator, wanted.identity)
        place = _place(identity, facts, self._clock())
        if wanted.for_account is not None and place.account != wanted.for_account:
            raise BadInput("this key is not for the account of whom it asks for", code="forbidden")
        if place.account is not None:
            await lock_account(connection, self._operator, place.account)
        digest = digest_of(_text(wanted, identity))
        known = await find_authorization(connection, self._operator, wanted.id)
        if known is not None:
            if known.digest != digest or known.identity != identity or _contradicts(wanted.offline, known):
                message = f"the id {wanted.id[:60]!r} stands for another ask; give each ask an id of its own"
                raise BadInput(message, code="conflict")
            return Answered(authorization=known, repeated=True)
        # Taken behind the lock, so that asks of an account are in the order of their times.
        at, offline = self._clock(), wanted.offline
        if offline is not None:
            if offline.asked_at > at + OFFLINE_AHEAD_MAX:
                raise BadInput("`offline.asked_at` lies ahead of the clock; look at the agent's", code="invalid")
            at = offline.asked_at
        meter = _checked(wanted, facts, at)
        found = None
        if place.account is not None and place.member is not None and offline is None:
            found = await self._quoted(connection, facts, wanted, place.account, place.member, at)
        new = Authorization(
            id=wanted.id,
            digest=digest,
            account=place.account,
            member=place.member,
            identity=identity,
            site=wanted.site,
            meter=wanted.meter,
            event_type=meter.event,
            quantity=wanted.quantity,
            dimensions=wanted.dimensions,
            data=wanted.data,
            allowed=offline.allowed if offline is not None else found is not None and found.allowed,
            answer=answer_of(found, meter) if offline is None else _told(offline, meter),
            asked_at=at,
            expires_at=at + timedelta(seconds=wanted.expires_s),
            key=wanted.key,
        )
        await self._keep(connection, new, facts)
        if offline is not None:
            subjects = {identity} if place.account is None else facts.directory.subjects_of(place.account)
            new = await settle_by_stored(connection, self._operator, new, subjects={identity, *subjects})
        return Answered(authorization=new, repeated=False)

    async def _keep(self, connection: AsyncConnection, new: Authorization, facts: Facts) -> None:
        """Keep the row. Raises _OtherFacts where it was made by facts that hold no more."""
        await keep_authorization(connection, self._operator, new)
        # Looked at behind the row, for which erasing a member waits: nobody is named who is erased by now (0021).
        if await facts_version(connection, self._operator) != facts.version:
            raise _OtherFacts

    async def _quoted(  # noqa: PLR0917 -- an ask, and whose it is
        self, connection: AsyncConnection, facts: Facts, wanted: Wanted, account: str, member: str, at: datetime
    ) -> Quote:
        reserved = await open_reservations(connection, self._operator, account, at=at, rows_max=RESERVATIONS_MAX)
        if len(reserved) == RESERVATIONS_MAX:
            message = f"the account has {RESERVATIONS_MAX} open reservations; settle or release some"
            raise BadInput(message, code="too_many_waiting")
        standing = await standing_of(connection, self._operator, facts, account, at=at)
        reserved = await self._unseen(connection, reserved, standing)
        ask = Ask(
            id=wanted.id,
            member=member,
            site=wanted.site,
            meter=wanted.meter,
            quantity=wanted.quantity,
            dimensions=wanted.dimensions,
            data=wanted.data,
        )
        used = await used_in(connection, self._operator, standing, limits_on(standing.facts, ask, at))
        return quote(standing.facts, standing.state, ask, at=at, reserved=[_ask_of(one) for one in reserved], used=used)

    async def _unseen(
        self, connection: AsyncConnection, reserved: Sequence[Authorization], standing: Standing
    ) -> list[Authorization]:
        """Leave out the reservations whose events the fold has seen: they were settled since they were read."""
        settled = await settlements(connection, self._operator, [one.id for one in reserved])
        return [one for one in reserved if settled.get(one.id) not in standing.events]


def _place(identity: str, facts: Facts, at: datetime) -> _Place:
    member = member_of(identity, at, facts.directory)
    link = None if member is None else link_at(member, at, facts.directory)
    return _Place(account=None, member=None) if link is None else _Place(account=link.account, member=member)


def _checked(wanted: Wanted, facts: Facts, at: datetime) -> Meter:
    """Return the meter that is asked for. Raises BadInput where the ask makes no sense of it."""
    meter = facts.catalogs.at(at).meters.get(wanted.meter)
    if meter is None:
        raise BadInput(f"there is no meter {wanted.meter[:60]!r} in the catalog", code="unknown_meter")
    names = {".".join(path) for path in meter.group_by}
    strange = sorted(wanted.dimensions.keys() - names)
    if strange:
        offer = ", ".join(sorted(names)) or "none"
        raise BadInput(f"{strange[0][:60]!r} is no dimension of {meter.id}; there are: {offer}", code="invalid")
    if wanted.quantity <= ZERO:
        raise BadInput("the quantity must be above 0; leave it out for 1", code="invalid")
    if meter.aggregate == "unique_days" and wanted.quantity != 1:
        raise BadInput(f"{meter.id} counts a member's days: ask for 1 at a time", code="invalid")
    return meter


def _ask_of(one: Authorization) -> Ask:
    return Ask(
        id=one.id,
        member=one.member or "",
        site=one.site,
        meter=one.meter,
        quantity=one.quantity,
        dimensions=one.dimensions,
        data=one.data,
    )


def _text(wanted: Wanted, identity: str) -> str:
    """Return a text equal for equal asks, numbers by value.

    Who answered is no part of it: an agent that heard nothing in time answers an ask that may have been answered here,
    too, and of both the first stands.
    """
    return by_value(
        [identity, wanted.site, wanted.meter, wanted.quantity, wanted.dimensions, wanted.data, wanted.expires_s]
    )


def _contradicts(told: Offline | None, known: Authorization) -> bool:
    """Tell whether an agent tells another answer than it told before."""
    return told is not None and known.answer.get("offline") is True and known.allowed != told.allowed


def _told(offline: Offline, meter: Meter) -> dict[str, Any]:
    return {"reasons": list(offline.reasons), "warnings": [], "unit": meter.unit, "offline": True}


def answer_of(found: Quote | None, meter: Meter) -> dict[str, Any]:
    """Return what is said of a quote, as JSON with numbers as text; None: nobody answers for the identity."""
    if found is None:
        return {"reasons": [UNKNOWN_IDENTITY], "warnings": []}
    line, left = found.line, found.allowance
    cost = None
    if line is not None:
        tax = line.tax
        cost = {
            "covered": plain(line.covered),
            "billable": plain(line.billable),
            "amount": plain(line.amount),
            "currency": line.currency,
            "tax": None
            if tax is None
            else {"name": tax.name, "rate": _plain(tax.rate), "inclusive": tax.inclusive, "amount": plain(found.tax)},
            "price": line.price,
            "plan": line.plan,
            "draws": [{"grant": one.grant, "unit": one.unit, "amount": plain(one.amount)} for one in line.draws],
        }
    return {
        "reasons": list(found.reasons),
        "warnings": ["soft_limit"] if found.warned else [],
        "unit": meter.unit,
        "cost": cost,
        "left": _plain(found.left),
        "limits": [_limit(use) for use in found.limits],
        "allowance": {
            "covered": plain(left.covered),
            "price": _plain(left.price),
            "currency": left.currency,
            "left": _plain(left.left),
            "left_amount": _plain(left.left_amount),
            "sold_beyond": left.sold_beyond,
        },
    }


def _limit(use: LimitUse) -> dict[str, Any]:
    limit = use.window.limit
    return {
        "of": limit.of,
        "every": limit.every,
        "per": limit.per,
        "hard": _plain(limit.hard),
        "soft": _plain(limit.soft),
        "used": plain(use.used),
        "asked": plain(use.asked),
    }


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
