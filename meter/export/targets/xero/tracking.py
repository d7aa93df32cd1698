"""Tracking options: looked up once, and created only where that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from meter.export.contract import Refused, Retry
from meter.export.http import Ends, Fault, outcome_of_question
from meter.export.targets.xero.api import Api
from meter.export.targets.xero.replies import Json, active_options, made


class Tracking:
    """The options of one tracking category, as far as they are known to be there."""

    def __init__(self, api: Api, category: str, *, creates: bool) -> None:
        """Ask nothing yet."""
        self._api = api
        self._category = category
        self._creates = creates
        self._id: str | None = None
        self._options: frozenset[str] = frozenset()
        self._asking = asyncio.Lock()

    async def have(self, names: frozenset[str]) -> None:
        """Return where every one of `names` is an option. Raises Ends (Retry, Refused)."""
        if names <= self._options:
            return
        async with self._asking:
            if names <= self._options:
                return
            self._id, self._options = active_options(await self._api.read("/TrackingCategories"), self._category)
            for name in sorted(names - self._options):
                await self._create(name)

    async def _create(self, name: str) -> None:
        if not self._creates:
            reason = (
                f"Xero has no option {name!r} in the tracking category {self._category!r}; add it there or set "
                "options.create_tracking, then retry the delivery"
            )
            raise Ends(Refused(reason))
        if self._id is None:
            category = await self._made("/TrackingCategories", "TrackingCategories", self._category)
            self._id = str(category.get("TrackingCategoryID"))
        await self._made(f"/TrackingCategories/{self._id}/Options", "Options", name)
        self._options |= {name}

    async def _made(self, path: str, kind: str, name: str) -> Json:
        try:
            one = made(await self._api.write(path, {"Name": name}), kind)
        except Fault as error:
            raise Ends(Retry(str(error))) from error
        if isinstance(one, Mapping):
            return one
        # Whether it is there is found out before the next attempt; of the item nothing was sent.
        raise Ends(outcome_of_question(one))
