"""Drafts of the directory from booking systems: whose ids are ours with a prefix, and what a plan is called here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from meter.model.event import Json
from meter.model.wire import Parsed
from meter.sources.make import draft
from meter.sources.spec import Option, Setup

# Vendors under whose name an account keeps its id there.
_EXTERNAL: Final = frozenset(("cobot", "officernd", "nexudus"))


def people_options(vendor: str) -> Mapping[str, Option]:
    """Return the settings of every source of drafts."""
    return {
        "prefix": Option(
            default=f"{vendor}-", about="What stands before the vendor's ids to make ours of accounts and members."
        ),
        "plans": Option(
            default={},
            about="Our plan for each of the vendor's, by its id or name; one that is not named here keeps its name.",
        ),
    }


def our_id(setup: Setup, id: str) -> str:
    """Return our id of an account, member or subscription of the vendor's."""
    return f"{setup.options['prefix']}{id}"


def our_plan(setup: Setup, *names: str | None) -> str | None:
    """Return our plan for the first of the vendor's names that is mapped; else its name, which may be unknown here."""
    plans: Mapping[str, Json] = setup.options["plans"]
    given = [name for name in names if name is not None]
    mapped = [plans[name] for name in given if isinstance(plans.get(name), str)]
    return mapped[0] if mapped else given[-1] if given else None


def account_draft(setup: Setup, id: str, *, name: str | None, time: datetime, note: str = "") -> Parsed:
    """Return what the vendor says of an account."""
    external = {setup.vendor: id} if setup.vendor in _EXTERNAL else {}
    body = {"name": name, **external}
    return draft(setup, kind="account", id=our_id(setup, id), body=_given(body), time=time, note=note)


def member_draft(
    setup: Setup,
    id: str,
    *,
    account: str,
    name: str | None,
    email: str | None,
    time: datetime,
    identities: tuple[str, ...] = (),
) -> Parsed:
    """Return what the vendor says of a member, who is seen as `vendor:id` and by e-mail; `account` is the vendor's."""
    seen = [f"{setup.vendor}:{id}", *identities, *([] if email is None else [f"email:{email}"])]
    body = {"name": name, "email": email, "account": our_id(setup, account), "identities": seen}
    return draft(setup, kind="member", id=our_id(setup, id), body=_given(body), time=time)


def subscription_draft(
    setup: Setup,
    id: str,
    *,
    plan: str,
    account: str | None = None,
    member: str | None = None,
    start: str | None,
    end: str | None,
    time: datetime,
) -> Parsed:
    """Return what the vendor says of a membership; an end that is None takes back one that was told before."""
    holder = {"account": account} if account is not None else {"member": member}
    named = {kind: None if whose is None else our_id(setup, whose) for kind, whose in holder.items()}
    body = {**_given({**named, "plan": plan, "from": start}), "to": end}
    return draft(setup, kind="subscription", id=our_id(setup, id), body=body, time=time)


def _given(body: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in body.items() if value is not None}
