from __future__ import annotations

from typing import Any

from meter.model.catalog import Site
from meter.model.directory import Claim, Link
from meter.model.event import UsageEvent
from meter.rating.resolve import (
    Operational,
    Placed,
    Placement,
    Unresolved,
    Waiting,
    membership,
    place,
    place_refund,
    subscription_at,
)
from tests.rating.world import event, plan, space, span, subscription, t

BADGE = "badge:04A2991B"


def placed(what: UsageEvent, **people: Any) -> Placement:
    where = space(plan(), **people)
    return place(what, directory=where.directory, catalogs=where.catalogs)


def entry(at: str, by: str | None = BADGE) -> UsageEvent:
    return event("e1", "door.access", at, {"granted": True}, by=by)


def sale(settlement: str, by: str | None = None, site: str = "berlin") -> UsageEvent:
    data = {"order": "o1", "currency": "EUR", "lines": [], "total": "0", "settlement": settlement}
    return event("s1", "pos.sale", "11-02", data, by=by, site=site)


def test_a_claimed_identity_is_its_member_in_the_members_account() -> None:
    found = placed(entry("11-02"), claims=[Claim(identity=BADGE, member="ada")])
    assert found == Placed(account="acme", member="ada")


def test_of_claims_that_cover_the_instant_the_latest_start_wins_whatever_their_order() -> None:
    first = Claim(identity=BADGE, member="bob", span=span("01-01"))
    second = Claim(identity=BADGE, member="ada", span=span("06-01"))
    for claims in ([first, second], [second, first]):
        assert placed(entry("11-02"), claims=claims) == Placed(account="acme", member="ada")
        assert placed(entry("05-31"), claims=claims) == Placed(account="acme", member="bob")


def test_of_claims_with_one_start_the_greatest_member_id_wins() -> None:
    claims = [Claim(identity=BADGE, member=who, span=span("06-01")) for who in ("bob", "ada")]
    assert placed(entry("11-02"), claims=claims) == Placed(account="acme", member="bob")


def test_a_claim_without_a_start_ranks_by_the_identitys_first_event() -> None:
    claims = [Claim(identity=BADGE, member="ada"), Claim(identity=BADGE, member="bob", span=span("06-01"))]
    later = {BADGE: t("07-01")}
    sooner = {BADGE: t("05-01")}
    assert placed(entry("11-02"), claims=claims, first_events=later) == Placed(account="acme", member="ada")
    assert placed(entry("11-02"), claims=claims, first_events=sooner) == Placed(account="acme", member="bob")


def test_a_claim_without_a_start_covers_an_event_earlier_than_any_before() -> None:
    claims = [Claim(identity=BADGE, member="ada")]
    assert placed(entry("03-02"), claims=claims, first_events={BADGE: t("05-01")}) == Placed(
        account="acme", member="ada"
    )


def test_a_claim_ends_before_its_end() -> None:
    claims = [Claim(identity=BADGE, member="ada", span=span("01-01", "11-02 12:00"))]
    assert placed(entry("11-02 12:00"), claims=claims) == Unresolved(identity=BADGE)
    assert placed(entry("11-02 11:59"), claims=claims) == Placed(account="acme", member="ada")


def test_a_claim_begins_with_its_start_also_where_the_one_before_has_ended() -> None:
    claims = [
        Claim(identity=BADGE, member="bob", span=span("01-01", "06-01")),
        Claim(identity=BADGE, member="ada", span=span("11-02 12:00")),
    ]
    assert placed(entry("11-02 12:00"), claims=claims) == Placed(account="acme", member="ada")
    assert placed(entry("11-02 11:59"), claims=claims) == Unresolved(identity=BADGE)


def test_an_identity_that_nobody_claims_is_unresolved() -> None:
    assert placed(entry("11-02")) == Unresolved(identity=BADGE)


def test_a_member_identity_needs_no_claim_but_a_member() -> None:
    assert placed(entry("11-02", by="member:ada")) == Placed(account="acme", member="ada")
    assert placed(entry("11-02", by="member:eve")) == Unresolved(identity="member:eve")


def test_a_member_between_accounts_is_unresolved() -> None:
    links = [Link(member="ada", account="acme", span=span("01-01", "06-01"))]
    assert placed(entry("11-02", by="member:ada"), links=links) == Unresolved(identity="member:ada")


def test_of_links_the_latest_start_wins_then_the_greatest_account() -> None:
    links = [
        Link(member="ada", account="beta", span=span("06-01")),
        Link(member="ada", account="acme", span=span("06-01")),
        Link(member="ada", account="walk-in"),
    ]
    assert placed(entry("11-02", by="member:ada"), links=links) == Placed(account="beta", member="ada")


def test_an_event_without_a_subject_is_operational() -> None:
    assert placed(entry("11-02", by=None)) == Operational()


def test_heartbeats_voids_and_amendments_are_operational_whoever_sends_them() -> None:
    for kind in ("edge.heartbeat", "event.voided", "event.amended"):
        assert placed(event("x", kind, "11-02", {}, by="member:ada")) == Operational()


def test_a_paid_sale_of_an_unknown_guest_goes_to_the_walk_in_account() -> None:
    assert placed(sale("paid")) == Placed(account="walk-in", member=None)
    assert placed(sale("paid", by="card:9")) == Placed(account="walk-in", member=None)
    assert placed(sale("paid", by="card:9"), claims=[Claim(identity="card:9", member="ada")]) == Placed(
        account="acme", member="ada"
    )


def test_a_paid_sale_where_the_site_has_no_walk_in_account_is_unresolved() -> None:
    terms = {"sites": {"berlin": Site(id="berlin", name="Berlin", timezone="Europe/Berlin", walk_in="nobody")}}
    assert placed(sale("paid", site="hamburg")) == Unresolved(identity=None)
    assert placed(sale("paid"), terms=terms) == Unresolved(identity=None)


def test_a_sale_on_account_without_a_known_member_is_unresolved() -> None:
    assert placed(sale("account")) == Unresolved(identity=None)
    assert placed(sale("account", by="card:9")) == Unresolved(identity="card:9")


def test_membership_joins_what_several_links_give_and_leaves_out_what_another_account_won() -> None:
    links = [
        Link(member="ada", account="acme", span=span("01-01", "03-01")),
        Link(member="ada", account="acme", span=span("03-01", "09-01")),
        Link(member="ada", account="beta", span=span("05-01", "06-01")),
    ]
    where = space(plan(), links=links)
    assert membership("ada", "acme", where.directory) == (span("01-01", "05-01"), span("06-01", "09-01"))
    assert membership("ada", "beta", where.directory) == (span("05-01", "06-01"),)
    assert membership("eve", "acme", where.directory) == ()


def test_membership_through_a_link_without_a_start_has_none() -> None:
    away = Link(member="ada", account="acme", span=span(None, "03-01"))
    again = Link(member="ada", account="acme", span=span("06-01"))
    where = space(plan(), links=[away, again])
    assert membership("ada", "acme", where.directory) == (span(None, "03-01"), span("06-01"))
    alone = space(plan(), links=[away])
    assert membership("ada", "acme", alone.directory) == (span(None, "03-01"),)
    assert membership("ada", "beta", alone.directory) == ()


def test_the_members_own_subscription_goes_before_the_accounts() -> None:
    own = subscription(id="own", member="ada", span=span("11-01", "11-10"))
    where = space(plan(), subscriptions=[subscription(), own])

    def held(member: str | None, at: str) -> str | None:
        found = subscription_at(account="acme", member=member, instant=t(at), directory=where.directory)
        return None if found is None else found.id

    assert held("ada", "11-02") == "own"
    assert held("ada", "11-10") == "sub"
    assert held("bob", "11-02") == "sub"
    assert held(None, "11-02") == "sub"
    assert subscription_at(account="beta", member=None, instant=t("11-02"), directory=where.directory) is None


def refunded(what: UsageEvent | None, **people: Any) -> Placement | Waiting:
    where = space(plan(), **people)
    return place_refund(what, directory=where.directory, catalogs=where.catalogs)


def test_a_refund_is_where_its_sale_is_whoever_it_says_it_is_for() -> None:
    claims = [Claim(identity="card:9", member="ada")]
    assert refunded(sale("account", by="card:9"), claims=claims) == Placed(account="acme", member="ada")
    assert refunded(sale("paid")) == Placed(account="walk-in", member=None)
    assert placed(event("r", "pos.refund", "11-02", {}, by="member:ada")) == Operational()


def test_a_refund_waits_while_its_sale_is_unknown_or_nobodys() -> None:
    assert refunded(None) == Waiting()
    assert refunded(sale("account")) == Waiting()
