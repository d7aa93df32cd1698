"""The catalog's sections as a tree to a `Catalog`, whether they come from files or from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.issues import Faults, Place
from meter.catalog.ledger import read_ledger
from meter.catalog.meters import read_meters
from meter.catalog.nodes import node_of
from meter.catalog.plans import PlanContext, read_plans
from meter.catalog.sections import (
    read_credit_rates,
    read_shares,
    read_sites,
    read_taxes,
    read_topics,
)
from meter.model.catalog import Catalog, Meter
from meter.model.event import Json
from meter.model.money import TIME_UNITS

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


def read_catalog(root: Entry, *, version: int, effective: datetime | None, account: str | None = None) -> ReadCatalog:
    """Return the catalog that `root` holds; faults are recorded."""
    root.need("operator", "the business that runs the spaces, like northside")
    root.need("currency", "an ISO 4217 code, like EUR")
    root.need("timezone", "the operator's IANA zone, like Europe/Berlin")
    operator, currency = root.id("operator") or "", root.currency("currency") or "XXX"
    timezone = root.timezone("timezone") or "UTC"
    taxes = read_taxes(root.entry("taxes"))
    sites = read_sites(root.entry("sites"), taxes=taxes, timezone=timezone)
    meters = read_meters(root.entry("meters"), sites)
    credit_rates = read_credit_rates(root, meters)
    context = PlanContext(meters, taxes, currency, credit_rates)
    plans = read_plans(root.entry("plans"), context)
    catalog = Catalog(
        operator=operator,
        version=version,
        effective=effective,
        currency=currency,
        timezone=timezone,
        default_plan=root.reference("default_plan", plans, "plan"),
        sites=sites,
        taxes=taxes,
        meters={name: meter for name, meter in meters.items() if _is_measured(meter)},
        plans=plans,
        topics=read_topics(root, sites),
        credit_rates=credit_rates,
        ledger=read_ledger(root, meters=meters, sites=sites, plans=plans),
        revenue_shares=read_shares(root, meters=meters, sites=sites),
        account=account,
    )
    return ReadCatalog(catalog, context)


def _is_measured(meter: Meter) -> bool:
    """Tell whether the meter can be measured: a stored one may be a duration in what is no unit of time."""
    return meter.pairing is None or meter.unit in TIME_UNITS


def read_body(
    body: Mapping[str, Json], *, version: int, effective: datetime | None, account: str | None = None
) -> ReadCatalog:
    """Return the catalog of a stored body and what entries may name of it. Raises CatalogError."""
    faults = Faults(stored=True)
    file = f"catalog version {version}"
    root = Entry(node_of(dict(body), file=file, faults=faults), Place(file, None, ""), faults)
    found = read_catalog(root, version=version, effective=effective, account=account)
    root.done()
    faults.settle()
    return found


def catalog_from_body(
    body: Mapping[str, Json], *, version: int, effective: datetime | None, account: str | None = None
) -> Catalog:
    """Return the catalog of a stored body. Raises CatalogError where it does not hold."""
    return read_body(body, version=version, effective=effective, account=account).catalog
