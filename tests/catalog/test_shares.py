"""Shares of revenue as the catalog has them, and which of them a line gets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.catalog.build import catalog_from_body
from meter.catalog.issues import CatalogError
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
  - {match: {meter: membership, site: berlin}, party: landlord, share: "0.95"}
  - {match: {meter: pos}, party: bar, share: 0.5, role: principal}
  - {party: brand, share: "0.05"}
"""
)


def test_they_are_read_in_their_order_and_what_is_not_said_fits_anything() -> None:
    found = load(TEXT).catalog.revenue_shares
    assert found == (
        RevenueShare(party="landlord", share=Decimal("0.30"), meter="pages"),
        RevenueShare(party="landlord", share=Decimal("0.2"), role="agent", site="hamburg"),
        RevenueShare(party="landlord", share=Decimal("0.95"), meter="membership", site="berlin"),
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
    assert shares("membership", "berlin") == [("landlord", "0.95", "principal")]
    assert shares("pos", "hamburg") == [("landlord", "0.2", "agent"), ("bar", "0.5", "principal")]
    assert shares("other", "berlin") == shares("membership", "") == []


@pytest.mark.parametrize(
    ("entries", "place", "says"),
    [
        (
            ["{match: {meter: pages}, party: a, share: '0.6'}", "{match: {site: berlin}, party: b, share: '0.5'}"],
            1,
            "a, b together get 110 % of pages at berlin",
        ),
        (["{party: a, share: '0.6'}", "{party: b, share: '0.5'}"], 1, "110 % of a meter that no entry names"),
        (
            [
                "{match: {meter: pages}, party: a, share: '0.2'}",
                "{party: a, share: '0.9'}",
                "{party: b, share: '0.3'}",
            ],
            2,
            "120 % of a meter that no entry names",
        ),
    ],
)
def test_the_parties_of_one_line_get_no_more_than_all_of_it(entries: list[str], place: int, says: str) -> None:
    text = HEAD + METER + "sites: {berlin: {}}\nrevenue_share:\n"
    with pytest.raises(CatalogError) as refused:
        load(text + "".join(f"  - {entry}\n" for entry in entries))
    [issue] = refused.value.issues
    assert issue.path == f"revenue_share[{place}].share"
    assert says in issue.message


def test_what_never_meets_on_one_line_is_not_added_up() -> None:
    first = "{match: {meter: pages, site: berlin}, party: a, share: '0.9'}"
    same = "{match: {meter: pages}, party: a, share: '0.8'}"
    elsewhere = "{match: {meter: pages, site: hamburg}, party: b, share: '0.2'}"
    other = "{match: {meter: pos}, party: c, share: 1}"
    text = HEAD + METER + "sites: {berlin: {}, hamburg: {}}\nrevenue_share:\n"
    load(text + "".join(f"  - {entry}\n" for entry in (first, same, elsewhere, other)))


def test_a_version_that_is_stored_already_stays_readable() -> None:
    body = load(TEXT).body
    shares = [{"party": party, "share": "0.7"} for party in ("a", "b")]
    catalog = catalog_from_body({**body, "revenue_share": shares}, version=2, effective=None)
    assert len(catalog.shares_of("pages", "berlin")) == 2
