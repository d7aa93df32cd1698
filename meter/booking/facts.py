"""The facts that a fold needs, loaded once a version."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from meter.model.catalog import CatalogTimeline
from meter.model.directory import Directory
from meter.store.booking import share_facts_version
from meter.store.catalogs import load_catalogs
from meter.store.directory import facts_version, load_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Catalog and directory at one version."""

    version: int
    catalogs: CatalogTimeline
    directory: Directory


class FactsCache:
    """The facts of one operator, loaded again when their version has changed."""

    def __init__(self, operator: str) -> None:
        """Start with nothing loaded."""
        self._operator = operator
        self._facts: Facts | None = None

    async def current(self, connection: AsyncConnection) -> Facts | None:
        """Return the facts, which cannot change until the transaction ends; None before the first catalog."""
        return await self._of(connection, await share_facts_version(connection, self._operator))

    async def glance(self, connection: AsyncConnection) -> Facts | None:
        """Return the facts without keeping anyone from changing them: for answers that come without end.

        Loaded while they change they may be a little newer than their version, until the next look.
        """
        return await self._of(connection, await facts_version(connection, self._operator))

    async def _of(self, connection: AsyncConnection, version: int | None) -> Facts | None:
        if version is None:
            return None
        if self._facts is None or self._facts.version != version:
            catalogs = await load_catalogs(connection, self._operator)
            if catalogs is None:
                return None
            directory = await load_directory(connection, self._operator)
            self._facts = Facts(version=version, catalogs=catalogs, directory=directory)
        return self._facts
