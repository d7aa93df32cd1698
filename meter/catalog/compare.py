"""What differs between two bodies of a catalog, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meter.catalog.build import SECTIONS
from meter.model.event import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionChange:
    """A section that differs: the ids of its entries that are new, different or gone; none for a single value."""

    section: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def section_changes(before: Mapping[str, Json], after: Mapping[str, Json]) -> tuple[SectionChange, ...]:
    """Return the sections that differ, in the order of the contract."""
    return tuple(
        _section(name, before.get(name), after.get(name)) for name in SECTIONS if before.get(name) != after.get(name)
    )


def _section(name: str, before: Json, after: Json) -> SectionChange:
    old, new = before or {}, after or {}
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return SectionChange(section=name)
    return SectionChange(
        section=name,
        added=tuple(key for key in new if key not in old),
        changed=tuple(key for key in new if key in old and old[key] != new[key]),
        removed=tuple(key for key in old if key not in new),
    )
