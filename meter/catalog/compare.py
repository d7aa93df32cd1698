"""What differs between two bodies of a catalog, section by section, and what of a body no bill depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from meter.catalog.build import SECTIONS
from meter.model.event import Json

# How topics are decoded is stored with their events, names are shown to people, and limits answer whoever asks before
# acting (decision 0016): a field is named here only where neither rating nor the journal reads it.
_UNBILLED_OF_BODY: Final = frozenset(("mqtt",))
_UNBILLED_OF_PLAN: Final = frozenset(("name", "limits"))
_UNBILLED_OF_GRANT: Final = frozenset(("overage",))
_UNBILLED_OF_SITE: Final = frozenset(("name",))


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


def billed_part(body: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the body without what no bill depends on."""
    part = _without(body, _UNBILLED_OF_BODY)
    plans = {name: _without(plan, _UNBILLED_OF_PLAN) for name, plan in (body.get("plans") or {}).items()}
    for plan in plans.values():
        if plan.get("grants"):
            plan["grants"] = [_without(grant, _UNBILLED_OF_GRANT) for grant in plan["grants"]]
    sites = {name: _without(site, _UNBILLED_OF_SITE) for name, site in (body.get("sites") or {}).items()}
    return part | {"plans": plans, "sites": sites}


def _without(entry: Mapping[str, Json], fields: Collection[str]) -> dict[str, Json]:
    return {name: value for name, value in (entry or {}).items() if name not in fields}
