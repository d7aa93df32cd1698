"""The catalog's sections as a tree to a `Catalog`, whether they come from files or from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.issues import Faults, Place
from meter.catalog.meters import MeterEntry, read_meters
from meter.catalog.nodes import node_of
from meter.catalog.plans import PlanContext, read_plans
from meter.catalog.sections import check_credits, check_shares, read_ledger, read_sites, read_taxes, read_topics
from meter.model.catalog import Catalog
from meter.model.event import Json

# What a version of the catalog consists of. The other sections are the directory's.
SECTIONS: Final = (
    *("operator", "currency", "timezone", "default_plan", "sites", "taxes", "meters", "plans"),
    *("credits", "revenue_share", "mqtt", "ledger"),
)


@dataclass(frozen=True, slots=True)
class ReadCatalog:
    """A catalog and what the directory's entries may name of it."""

    catalog: Catalog
    context: PlanContext


def read_catalog(root: Entry, *, version: int, effective: datetime | None) -> ReadCatalog:
    """Return the catalog that `root` holds; faults are recorded, and what this version does not rate is left out."""
    root.need("operator", "the business that runs the spaces, like northside")
    root.need("currency", "an ISO 4217 code, like EUR")
    root.need("timezone", "the operator's IANA zone, like Europe/Berlin")
    operator, currency = root.id("operator") or "", root.currency("currency") or "XXX"
    timezone = root.timezone("timezone") or "UTC"
    taxes = read_taxes(root.entry("taxes"))
    meters: Mapping[str, MeterEntry] = read_meters(root.entry("meters"))
    context = PlanContext(meters, taxes, currency)
    sites = read_sites(root.entry("sites"), taxes=taxes, timezone=timezone)
    plans = read_plans(root.entry("plans"), context)
    check_credits(root, meters)
    check_shares(root, meters=meters, sites=sites)
    catalog = Catalog(
        operator=operator,
        version=version,
        effective=effective,
        currency=currency,
        timezone=timezone,
        default_plan=root.reference("default_plan", plans, "plan"),
        sites=sites,
        taxes=taxes,
        meters={name: meter.meter for name, meter in meters.items() if meter.rated},
        plans=plans,
        topics=read_topics(root, sites),
        ledger_accounts=read_ledger(root),
    )
    return ReadCatalog(catalog, context)


def read_body(body: Mapping[str, Json], *, version: int, effective: datetime | None) -> ReadCatalog:
    """Return the catalog of a stored body and what entries may name of it. Raises CatalogError."""
    faults = Faults()
    file = f"catalog version {version}"
    root = Entry(node_of(dict(body), file=file, faults=faults), Place(file, None, ""), faults)
    found = read_catalog(root, version=version, effective=effective)
    root.done()
    faults.settle()
    return found


def catalog_from_body(body: Mapping[str, Json], *, version: int, effective: datetime | None) -> Catalog:
    """Return the catalog of a stored body. Raises CatalogError where it does not hold."""
    return read_body(body, version=version, effective=effective).catalog
