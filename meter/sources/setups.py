"""A configured source: its vendor, its setup, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.instant import zone
from meter.sources.options import options_of
from meter.sources.spec import Setup, Vendor

_NEEDED: Final = {"url": "url (as registered with the vendor)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSource:
    """A source; `faults` names each setting that keeps it from working, a line each."""

    vendor: Vendor
    setup: Setup
    faults: tuple[str, ...] = ()
    every_s: int | None = None
    apply_drafts: bool = False


def configured(
    vendor: Vendor,
    setup: Setup,
    options: Mapping[str, Json],
    *,
    place: str,
    every_s: int | None = None,
    apply_drafts: bool = False,
) -> ConfiguredSource:
    """Return the source with its options filled in, and each fault by the name of its setting below `place`.

    A secret that is blank is none: everybody would know it.
    """
    filled, wrong = options_of(vendor.options, options)
    secrets = tuple(secret for secret in setup.secrets if secret.strip())
    setup = replace(setup, options=filled, secrets=secrets, api_key=setup.api_key or None)
    faults = [f"{place}__OPTIONS: {fault}" for fault in wrong]
    # In the order in which Setup names them.
    missing = [field.name for field in fields(Setup) if field.name in vendor.needs and not getattr(setup, field.name)]
    if missing:
        needed = [_NEEDED.get(field.name, field.name) for field in fields(Setup) if field.name in vendor.needs]
        listed = " and ".join(filter(None, [", ".join(needed[:-1]), needed[-1]]))
        faults.append(f"{place}: needs {listed}; not set: {', '.join(missing)}")
    try:
        zone(setup.timezone)
    except BadInput as error:
        faults.append(f"{place}__TIMEZONE: {error.detail}")
    return ConfiguredSource(
        vendor=vendor, setup=setup, faults=tuple(faults), every_s=every_s, apply_drafts=apply_drafts
    )
