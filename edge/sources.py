"""The agent's sources, as its settings have them."""

from __future__ import annotations

from edge.config import ConfigFault, EdgeSettings, variable_of
from meter.sources.registry import VENDORS
from meter.sources.setups import ConfiguredSource, configured
from meter.sources.spec import Setup


def configured_sources(settings: EdgeSettings) -> list[ConfiguredSource]:
    """Return every source. Raises ConfigFault with everything that is wrong with them."""
    found, faults = [], []
    for vendor_name, named in settings.sources.items():
        vendor = VENDORS.get(vendor_name)
        if vendor is None:
            known = ", ".join(sorted(VENDORS))
            faults.append(f"{variable_of('sources', vendor_name)}: no such vendor; there are {known}")
            continue
        for name, given in named.items():
            setup = Setup(
                vendor=vendor_name,
                name=name,
                site=settings.site,
                secrets=tuple(given.secrets),
                url=given.url,
                timezone=given.timezone,
            )
            place = variable_of("sources", vendor_name, name)
            source = configured(vendor, setup, given.options, place=place)
            faults.extend(source.faults)
            if vendor.hook is None and vendor.lines is None:
                faults.append(f"{place}: this vendor posts nothing, and nothing else is heard on site")
            found.append(source)
    if faults:
        raise ConfigFault("\n".join(faults))
    return found
