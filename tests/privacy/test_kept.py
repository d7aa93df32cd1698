"""What erasing leaves is left for a reason that holds: wherever the product itself writes, no person is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import CheckConstraint, Column, Table, Text, UniqueConstraint, select

from meter.store.kept import Why, kept_columns
from meter.store.tables import metadata
from tests.booked import OPERATOR
from tests.booking.asking import Asking
from tests.booking.space import Space, event, open_space, pages, sale
from tests.cli.command import machine
from tests.export.test_gatherer import gatherer, leased
from tests.owning import as_owner
from tests.privacy.test_erase import OWN, found_in
from tests.privacy.test_export import BADGE, MAC, MAIL, MEMBER, NAME, PEOPLE

KEPT: Final = [
    (table, table.c[name], why) for table in metadata.sorted_tables for name, why in kept_columns(table).items()
]
# What a column of these reasons is called: it says nothing of people that is not in this list.
CALLED: Final = {
    Why.ACCOUNT: {"account", "closing_account"},
    Why.CATALOG: {
        *("bought_tax", "credit", "currency", "debit", "event_type", "grant", "meter", "plan", "price", "site"),
        *("subscription", "tax_name", "type", "unit"),
    },
    Why.SETTING: {"edge", "nas", "target", "vendor"},
    Why.VENDOR: {"remote_id"},
    Why.WORD: {
        *("channel", "code", "feed", "kind", "operation", "overage", "part", "role", "settlement", "state", "status"),
    },
}
# Names of connections, which stand in settings: beside their vendor.
CONNECTIONS: Final = {"drafts", "feeds", "fetches"}
# What a row of ours is pointed at by, and where it is known by that.
POINTS: Final = {
    "api_keys.client": "api_keys.id",
    "authorizations.key": "api_keys.id",
    "charges.corrects": "charges.id",
    "deferrals.charge": "charges.id",
    "draws.charge": "charges.id",
    "api_key_uses.key": "api_keys.id",
}
# Made by us of what they are about: hashes, or accounts with meters, targets and days.
MADE: Final = {
    *("api_keys.id", "charges.id", "deferrals.chain", "entries.id", "export_buckets.name", "export_buckets.stream"),
    *("invoices.invoice", "outbox.batch", "outbox.key", "outbox.stream"),
}
# The fields that may stand in JSON that is kept; lists of pairs are keys of events.
FIELDS: Final = {
    "accounts.replaced": {"currency", "timezone", "anchor_day", "until"},
    "charges.events": set(),
    "charges.shares": {"party", "share", "role", "amount"},
}


def of(table: Table, column: Column[Any]) -> str:
    return f"{table.name}.{column.name}"


@pytest.mark.parametrize(("table", "column", "why"), KEPT, ids=lambda one: getattr(one, "name", str(one)))
def test_the_reason_fits_the_column(table: Table, column: Column[Any], why: Why) -> None:
    """A wrong entry is JSON, a text of somebody's, or known by another name than what its reason is about."""
    place = of(table, column)
    if why is Why.SHAPE:
        assert place in FIELDS
        return
    if place == "catalogs.body":  # the catalog itself, without members
        return
    assert isinstance(column.type, Text), "JSON and bytes have room for anybody"
    match why:
        case Why.EVENT:
            assert is_key_of_event(table, column)
        case Why.ROW:
            target = POINTS.get(place, place)
            assert target in MADE
            assert known_by(target)
        case Why.SETTING if column.name == "name":
            assert table.name in CONNECTIONS
        case _:
            assert column.name in CALLED[why]
    if why is Why.WORD and (allowed := [one for one in checks(table) if one.name and str(one.name) == column.name]):
        assert " IN (" in str(allowed[0].sqltext)


def is_key_of_event(table: Table, column: Column[Any]) -> bool:
    """Tell whether it is one half of an event's key, with the other half beside it; or an asker's own id."""
    if of(table, column) == "authorizations.id":
        return column.primary_key
    halves = {
        "source": {"id", "event_id", "name", "session"},
        "id": {"source"},
        "event_id": {"source", "time", "changed_at"},
    }
    halves |= {"settled_source": {"settled_id"}, "settled_id": {"settled_source"}}
    halves |= {"behind_source": {"behind_id"}, "behind_id": {"behind_source"}}
    return bool(halves.get(column.name, set()) & set(table.c.keys()))


def known_by(place: str) -> bool:
    """Tell whether rows are found by the column: alone it is what a query begins with, behind the operator."""
    table = metadata.tables[place.partition(".")[0]]
    name = place.partition(".")[2]
    keys = [{column.name for column in table.primary_key.columns}]
    keys += [{c.name for c in one.columns} for one in table.constraints if isinstance(one, UniqueConstraint)]
    keys += [set(index.columns.keys()) for index in table.indexes]
    return any(name in key for key in keys) or name in {"invoice", "stream"}


def checks(table: Table) -> Iterator[CheckConstraint]:
    return (one for one in table.constraints if isinstance(one, CheckConstraint))


# Wherever a sender, a vendor or an asker may put her, but for what an event is called.
EVERY_WAY: Final = f"{NAME} {MAIL} {MEMBER} {BADGE} {MAC}"


async def filled(space: Space) -> None:
    about = {"door": NAME, "granted": True, "direction": "in", "note": EVERY_WAY}
    wifi = {"session": f"{MAC} of {NAME}", "seconds": 9, "bytes_in": 9, "nas": "ap-lobby", "note": EVERY_WAY}
    draft = {"vendor": "cobot", "name": "main", "kind": "member", "id": f"badge:{BADGE}", "note": NAME}
    told = [
        pages("p1", "02T08:00", 130, f"badge:{BADGE}", job_owner=NAME, printer=EVERY_WAY),
        pages("p2", "02T09:00", 130, "badge:EFE1", job_owner=NAME),
        sale("s1", "05T10:00", "3.50", f"mac:{MAC}", "account"),
        event("door.access", "d1", "03T09:00", f"member:{MEMBER}", "berlin/door/main", about),
        event("wifi.session", "w1", "03T10:00", f"mac:{MAC}", "berlin/wifi/roof", wifi | {"status": "start"}),
        event("wifi.session", "w2", "03T11:00", f"mac:{MAC}", "berlin/wifi/roof", wifi | {"status": "stop"}),
        event(
            "directory.draft",
            "r1",
            "03T12:00",
            None,
            "berlin/office",
            draft | {"body": {"name": NAME, "by": EVERY_WAY}},
        ),
        pages("u1", "04T08:00", 1, "badge:4EAF", job_owner=NAME),
        event("print.job", "x1", "04T08:00", f"badge:{BADGE}", "berlin/print/hall", {"printer": EVERY_WAY}),
    ]
    flagged = json.loads(pages("f1", "04T09:00", 5, f"badge:{BADGE}")) | {"timeflag": f"{NAME} said so"}
    await space.accept([*told, json.dumps(flagged).encode()])
    conflict = pages("p1", "02T08:00", 131, f"badge:{BADGE}", job_owner=MAIL)
    await space.take(conflict)
    await Asking(space).ask("door", identity=f"badge:{BADGE}", data={"note": EVERY_WAY})
    async with leased(space) as lease:
        gathering = gatherer(space)
        while (await gathering.step(lease)).more:
            pass
    space.new_worker()


async def test_no_person_is_in_what_is_kept(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every column of every table that the ways in fill, kept or not, is without her afterwards."""
    monkeypatch.setenv("METER_DATABASE_URL", database_url)
    catalog = OWN.replace("{name: Solo,", "{name: Solo, stripe: cus_1,").replace(
        "{name: ACME,", "{name: ACME, stripe: cus_2,"
    )
    async with open_space(database_url, catalog + PEOPLE) as space:
        await filled(space)
        async with as_owner(space.database) as owner:
            named = {one.partition(":")[0] for one in await found_in(owner)}
        assert named >= {
            *("authorizations.data", "authorizations.identity", "charges.dimensions", "doubtful_times.flag"),
            *("drafts.body", "drafts.id", "drafts.note", "entries.dimensions", "events.data", "events.subject"),
            *("identities.identity", "member_accounts.member", "members.name", "rejections.body", "rejections.stands"),
            *("wifi_readings.session", "wifi_due.name"),
        }
        told = await machine("privacy", "erase", MEMBER, "--yes")
        assert told["left"] == []
        async with as_owner(space.database) as owner:
            assert await found_in(owner) == []


async def test_what_is_kept_as_json_has_fields_of_ours_alone(database_url: str) -> None:
    async with open_space(database_url, OWN + PEOPLE) as space:
        await filled(space)
        async with as_owner(space.database) as owner:
            for place, fields in FIELDS.items():
                table = metadata.tables[place.partition(".")[0]]
                column = table.c[place.partition(".")[2]]
                for [value] in await owner.execute(select(column).where(table.c.operator == OPERATOR)):
                    for one in value or []:
                        assert set(one) <= fields if isinstance(one, dict) else len(one) == 2, (place, value)
