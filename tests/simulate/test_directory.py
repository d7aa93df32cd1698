"""The people that the simulation knows are the people that the catalog knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meter.catalog.load import read_catalog_text
from meter.examples import example_catalog, example_tariff
from meter.simulate import directory, directory_text, population

ROOT = Path(__file__).parents[2]


def test_the_example_ends_with_the_people_of_the_default_simulation() -> None:
    assert example_catalog().endswith(directory_text(sites=1, members=40))


def test_the_example_at_the_top_is_the_one_in_the_package() -> None:
    assert (ROOT / "examples" / "northside.yaml").read_text(encoding="utf-8") == example_catalog()
    assert (ROOT / "examples" / "northside.yaml").is_symlink(), "two files would drift apart"


@pytest.mark.parametrize(("sites", "members"), [(1, 1), (1, 40), (13, 95), (500, 2)])
def test_the_text_says_what_the_data_says(sites: int, members: int) -> None:
    assert yaml.safe_load(directory_text(sites=sites, members=members)) == directory(sites=sites, members=members)


def test_a_larger_population_only_adds() -> None:
    small, large = directory(sites=2, members=15), directory(sites=14, members=60)
    for section in ("sites", "accounts", "members"):
        assert small[section].items() <= large[section].items()


def catalog(sites: int, members: int) -> dict[str, Any]:
    loaded = yaml.safe_load(example_tariff() + directory_text(sites=sites, members=members))
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize(("sites", "members"), [(1, 40), (14, 60)])
def test_every_name_in_the_catalog_exists(sites: int, members: int) -> None:
    whole = catalog(sites, members)
    for site in whole["sites"].values():
        assert site["walk_in"] in whole["accounts"]
        assert site["tax"] in whole["taxes"]
    holders = [*whole["accounts"].values(), *whole["members"].values()]
    subscriptions = [entry for holder in holders for entry in holder.get("subscriptions", [])]
    assert {entry["plan"] for entry in subscriptions} == set(whole["plans"])
    assert len({entry["id"] for entry in subscriptions}) == len(subscriptions)
    for member in whole["members"].values():
        assert member["account"] in whole["accounts"]
    for grant in whole["grants"]:
        assert grant["account"] in whole["accounts"]
        assert grant.get("member", "ada") in whole["members"]
        assert set(grant["meters"]) <= set(whole["meters"])
    for plan in whole["plans"].values():
        assert set(plan["prices"]) <= set(whole["meters"])
        assert {meter for grant in plan.get("grants", []) for meter in grant["meters"]} <= set(whole["meters"])


def test_nobody_shares_an_identity() -> None:
    identities = [
        name for member in directory(sites=100, members=200)["members"].values() for name in member["identities"]
    ]
    assert len(set(identities)) == len(identities)


def test_members_are_those_of_the_population() -> None:
    people = {member.id: member for space in population(sites=3, members=25) for member in space.members}
    listed = directory(sites=3, members=25)["members"]
    assert listed.keys() == people.keys()
    for member_id, member in people.items():
        mine = {member.badge, member.user, member.email, member.square, *member.macs}
        assert set(listed[member_id]["identities"]) == mine


@pytest.mark.parametrize(("sites", "members"), [(1, 40), (14, 30)])
def test_the_catalog_reads_without_a_fault_or_a_warning(sites: int, members: int) -> None:
    text = example_tariff() + directory_text(sites=sites, members=members)
    assert read_catalog_text([("northside.yaml", text)]).warnings == ()
