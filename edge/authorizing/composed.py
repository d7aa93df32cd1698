"""The parts of asking before acting, as the settings have them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from edge.authorizing.book import Limits
from edge.authorizing.desk import Desk
from edge.authorizing.gateway import AskedGateway
from edge.authorizing.teller import Figures, Teller
from edge.clock import Clock
from edge.config.settings import EdgeSettings
from edge.spool.keeper import Keeper
from edge.uplink.timekeeper import Timekeeper
from meter.model.money import ZERO, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Where devices ask, whom it asks, and what tells the gateway later; without a gateway's URL there is no answer."""

    desk: Desk
    gateway: AskedGateway | None
    teller: Teller | None
    site_risk: Decimal

    async def close(self) -> None:
        """Close every connection."""
        if self.gateway is not None:
            await self.gateway.close()

    @property
    def work(self) -> list[Teller]:
        """Return what runs beside."""
        return [] if self.teller is None else [self.teller]

    async def catch_up(self) -> None:
        """Tell the gateway what there is to tell before events follow, or find that it does not answer."""
        if self.teller is not None:
            await self.teller.catch_up()

    @property
    def _figures(self) -> Figures:
        return Figures() if self.teller is None else self.teller.figures

    def status(self) -> Mapping[str, Any]:
        """Return how answers stand, for heartbeats and people on site."""
        figures = self._figures
        return {
            "untold": figures.untold,
            "refused": figures.refused,
            "risk": {currency: plain(value) for currency, value in sorted(figures.risk.items())},
            "risk_used": plain(_share(max(figures.risk.values(), default=ZERO), self.site_risk)),
        }

    def faults(self) -> list[str]:
        """Return what a person should know."""
        return [f"the gateway will not have an answer that was given here: {one}" for one in self._figures.refusals]


def asking_of(
    settings: EdgeSettings, *, keeper: Keeper, timekeeper: Timekeeper, clock: Clock, tls: ssl.SSLContext | None
) -> Asking:
    """Return the parts. Call it inside a running loop."""
    url, offline = settings.gateway.http_url, settings.offline
    gateway = teller = None
    if url is not None:
        gateway = AskedGateway(url, key=settings.gateway.api_key, tls=tls, within_s=offline.answer_within_s)
        teller = Teller(keeper, gateway, timekeeper=timekeeper, clock=clock)
    limits = Limits(
        account=offline.account_risk, site=offline.site_risk, known_for=timedelta(seconds=offline.known_for_s)
    )
    desk = Desk(
        keeper,
        gateway,
        site=settings.site,
        limits=limits,
        clock=clock,
        offset_ms=timekeeper.offset_ms,
        gave=_nothing if teller is None else teller.wake,
    )
    return Asking(desk=desk, gateway=gateway, teller=teller, site_risk=offline.site_risk)


def _share(used: Decimal, limit: Decimal) -> Decimal:
    """Return which share of a limit is in use; all of one that was lowered to nothing."""
    return min(used / limit, Decimal(1)).quantize(Decimal("0.001")) if limit else Decimal(bool(used))


def _nothing() -> None:
    """Do nothing: there is nobody to tell."""
