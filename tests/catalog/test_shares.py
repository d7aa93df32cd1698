"""Shares of revenue as the catalog has them, and which of them a line gets."""

from __future__ import annotations

from decimal import Decimal

from meter.catalog.build import catalog_from_body
from meter.model.catalog import RevenueShare
from meter.model.charge import Share
from tests.catalog.reading import HEAD, METER, load

TEXT = (
    HEAD
    + METER
    + """sites: {berlin: {}, hamburg: {}}
revenue_share:
  - {match: {meter: pages}, party: landlord, share: "0.30"}
  - {match: {site: hamburg}, party: landlord, share: "0.2", basis: net, role: agent}
  - {match: {meter: membership, site: berlin}, party: landlord, share: 1}
  - {match: {meter: pos}, party: bar, share: 0.5, role: principal}
  - {party: brand, share: "0.05"}
"""
)


def test_they_are_read_in_their_order_and_what_is_not_said_fits_anything() -> None:
    found = load(TEXT).catalog.revenue_shares
    assert found == (
        RevenueShare(party="landlord", share=Decimal("0.30"), meter="pages"),
        RevenueShare(party="landlord", share=Decimal("0.2"), role="agent", site="hamburg"),
        RevenueShare(party="landlord", share=Decimal(1), meter="membership", site="berlin"),
        RevenueShare(party="bar", share=Decimal("0.5"), meter="pos"),
        RevenueShare(party="brand", share=Decimal("0.05")),
    )
    loaded = load(TEXT)
    assert catalog_from_body(loaded.body, version=2, effective=None).revenue_shares == found
    assert load(HEAD).catalog.revenue_shares == ()


def test_a_line_has_the_first_of_each_party_that_fits_its_meter_and_its_site() -> None:
    catalog = load(TEXT).catalog
    brand = Share(party="brand", share=Decimal("0.05"), role="principal")

    def shares(meter: str, site: str) -> list[tuple[str, str, str]]:
        found = catalog.shares_of(meter, site)
        assert found[-1] == brand
        return [(share.party, str(share.share), share.role) for share in found[:-1]]

    assert shares("pages", "hamburg") == [("landlord", "0.30", "principal")]
    assert shares("other", "hamburg") == [("landlord", "0.2", "agent")]
    assert shares("membership", "berlin") == [("landlord", "1", "principal")]
    assert shares("pos", "hamburg") == [("landlord", "0.2", "agent"), ("bar", "0.5", "principal")]
    assert shares("other", "berlin") == shares("membership", "") == []
