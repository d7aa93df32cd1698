"""Sources as the settings configure them: each with its vendor, its setup and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from meter.config import WebhookSettings, variable_of
from meter.model.errors import BadInput
from meter.model.instant import zone
from meter.sources.options import options_of
from meter.sources.registry import VENDORS
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


class Sources:
    """Every configured source of a vendor that is read; `faults` are those of all, unknown vendors included."""

    def __init__(self, settings: Mapping[str, Mapping[str, WebhookSettings]]) -> None:
        """Read the settings; nothing is raised for their faults."""
        self._sources: dict[tuple[str, str], ConfiguredSource] = {}
        self.faults: list[str] = []
        for vendor_name, named in settings.items():
            vendor = VENDORS.get(vendor_name)
            if vendor is None:
                place, known = variable_of("webhooks", vendor_name), ", ".join(sorted(VENDORS))
                self.faults.append(f"{place}: no webhooks of this vendor are received; of these they are: {known}")
                continue
            for name, given in named.items():
                source = _source(vendor_name, vendor, name, given)
                self._sources[vendor_name, name] = source
                self.faults.extend(source.faults)

    def get(self, vendor: str, name: str) -> ConfiguredSource | None:
        """Return a source."""
        return self._sources.get((vendor, name))

    @property
    def all(self) -> list[ConfiguredSource]:
        """Return every source, those that do not work included."""
        return list(self._sources.values())

    def __iter__(self) -> Iterator[ConfiguredSource]:
        """Return the sources that work, by vendor and name."""
        return (self._sources[key] for key in sorted(self._sources) if not self._sources[key].faults)


def _source(vendor_name: str, vendor: Vendor, name: str, given: WebhookSettings) -> ConfiguredSource:
    place = variable_of("webhooks", vendor_name, name)
    options, wrong = options_of(vendor.options, given.options)
    # A variable that was never filled in is no secret: everybody would know it.
    told = (secret.get_secret_value() for secret in given.secrets)
    setup = Setup(
        vendor=vendor_name,
        name=name,
        site=given.site or "",
        secrets=tuple(secret for secret in told if secret.strip()),
        url=given.url,
        timezone=given.timezone,
        api_base=given.api_base,
        api_key=None if given.api_key is None else given.api_key.get_secret_value() or None,
        options=options,
    )
    faults = [f"{place}__OPTIONS: {fault}" for fault in wrong]
    # In the order in which Setup names them.
    missing = [field.name for field in fields(Setup) if field.name in vendor.needs and not getattr(setup, field.name)]
    if missing:
        needed = [_NEEDED.get(field.name, field.name) for field in fields(Setup) if field.name in vendor.needs]
        listed = " and ".join(filter(None, [", ".join(needed[:-1]), needed[-1]]))
        faults.append(f"{place}: needs {listed}; not set: {', '.join(missing)}")
    try:
        zone(given.timezone)
    except BadInput as error:
        faults.append(f"{place}__TIMEZONE: {error.detail}")
    return ConfiguredSource(
        vendor=vendor, setup=setup, faults=tuple(faults), every_s=given.every_s, apply_drafts=given.apply
    )
