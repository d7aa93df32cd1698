"""The agent's sources, as its settings have them."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path

from edge.config import ConfigFault, EdgeSettings, variable_of
from meter.model.errors import BadInput
from meter.model.instant import EPOCH
from meter.sources.registry import VENDORS
from meter.sources.setups import ConfiguredSource, configured
from meter.sources.spec import Lines, Setup


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


def configured_logs(settings: EdgeSettings) -> list[tuple[Path, ConfiguredSource]]:
    """Return each log's path and how its lines are read. Raises ConfigFault with everything that is wrong with them."""
    found, faults = [], []
    for name, given in settings.files.items():
        place, path = variable_of("files", name), Path(given.path)
        vendor = VENDORS.get(given.vendor)
        if vendor is None or vendor.lines is None:
            known = ", ".join(sorted(name for name, one in VENDORS.items() if one.lines is not None))
            faults.append(f"{place}__VENDOR: {given.vendor!r} writes no log that is read here; there are {known}")
            continue
        if not path.is_absolute() or has_magic(str(path.parent)):
            faults.append(f"{place}__PATH: {given.path!r} is no full path; only its last part may be a pattern")
        if given.options.get("read") == "table":
            faults.append(f"{place}__OPTIONS: read: a table does not grow; poll its files as a source")
        setup = Setup(vendor=given.vendor, name=name, site=settings.site, timezone=given.timezone)
        source = configured(vendor, setup, given.options, place=place)
        faults.extend(source.faults)
        if not source.faults:
            try:
                vendor.lines(source.setup, Lines(name=path.name, lines=(), received_at=EPOCH))
            except BadInput as error:
                faults.append(f"{place}__OPTIONS: {error.detail}")
        found.append((path, source))
    if faults:
        raise ConfigFault("\n".join(faults))
    return found
