"""Sources as the settings configure them: each with its vendor, its setup and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from meter.config import WebhookSettings, variable_of
from meter.model.likeness import did_you_mean
from meter.sources.registry import VENDORS
from meter.sources.setups import ConfiguredSource, configured
from meter.sources.spec import Setup, Vendor


class Sources:
    """Every configured source of a vendor that is read; `faults` are those of all, unknown vendors included."""

    def __init__(self, settings: Mapping[str, Mapping[str, WebhookSettings]]) -> None:
        """Read the settings; nothing is raised for their faults."""
        self.on_change: list[Callable[[], None]] = []
        self.read(settings)

    def read(self, settings: Mapping[str, Mapping[str, WebhookSettings]]) -> None:
        """Know the sources by these settings from now on, and tell `on_change`."""
        self._sources: dict[tuple[str, str], ConfiguredSource] = {}
        self.faults: list[str] = []
        for vendor_name, named in settings.items():
            vendor = VENDORS.get(vendor_name)
            if vendor is None:
                place, known = variable_of("webhooks", vendor_name), ", ".join(sorted(VENDORS))
                meant = did_you_mean(vendor_name, sorted(VENDORS))
                fault = f"{place}: no webhooks of this vendor are received{meant}; of these they are: {known}"
                self.faults.append(fault)
                continue
            for name, given in named.items():
                source = _source(vendor_name, vendor, name, given)
                self._sources[vendor_name, name] = source
                self.faults.extend(source.faults)
        for tell in self.on_change:
            tell()

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
    setup = Setup(
        vendor=vendor_name,
        name=name,
        site=given.site or "",
        secrets=tuple(secret.get_secret_value() for secret in given.secrets),
        url=given.url,
        timezone=given.timezone,
        api_base=given.api_base,
        api_key=None if given.api_key is None else given.api_key.get_secret_value(),
    )
    place = variable_of("webhooks", vendor_name, name)
    return configured(vendor, setup, given.options, place=place, every_s=given.every_s, apply_drafts=given.apply)
