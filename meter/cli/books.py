"""`meter check --deep`: what is stored held against itself, its seals and a fresh fold of everything."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal, NamedTuple

from rich.progress import Progress

from meter.backup.keeping import Evidences
from meter.booking.audit import Audit, audit
from meter.booking.movements import thin
from meter.booking.preview import AccountPreview
from meter.booking.ties import ties
from meter.cli.audit import heads_kept
from meter.cli.common import connect, err, require_operator
from meter.clock import now
from meter.config import load_settings
from meter.model.errors import MeterError
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store.audit import SumFault
from meter.store.safekeeping import newest_backup
from meter.store.unread import UnreadChange, UnreadValue
from meter.store.verify import verify

# As the alert has it.
BACKUP_AGE_MAX: Final = timedelta(days=2)


class Found(NamedTuple):
    """A thing that was checked; `detail` is what is wrong with it, or to be said of it."""

    part: str
    state: Literal["ok", "warning", "fault"]
    detail: str | None = None


async def check_deep() -> list[Found]:
    """Return each thing that was checked, the books last."""
    told = [*await _check_ties(), await _check_seals(), *await _check_folds()]
    faults = [Found(part, "ok" if fault is None else "fault", fault) for part, fault in told]
    return [await _check_backup(), *await _check_evidence(), *await _check_movements(), *faults]


async def _check_movements() -> list[Found]:
    days = load_settings().privacy.movements_days
    if days is None:
        return []
    async with connect() as database:
        operator = await require_operator(database)
        # A day more than is allowed: it is done some times a day.
        late = await thin(database.begin, operator, before=now() - timedelta(days=days + 1), write=False)
    if not late.thinned:
        return [Found("movements", "ok")]
    told = f"{late.thinned} came more than {days} days ago and are whole; see `movements_kept` in the gateway's log"
    return [Found("movements", "warning", f"{told}, or run `meter privacy movements` as the owner of the tables")]


async def _check_evidence() -> list[Found]:
    settings = load_settings()
    if settings.evidence.to is None:
        return []
    kept = Evidences(settings.evidence.to, settings.store, staging=settings.data_dir / ".evidence")
    try:
        newest = await kept.newest()
    except MeterError as error:
        return [Found("evidence", "warning", error.detail)]
    if newest is None:
        return [Found("evidence", "warning", f"{settings.evidence.to} holds no whole export; meter evidence export")]
    if (age := now() - newest) > timedelta(days=settings.evidence.every_days + 1):
        told = f"the newest export is of {instant_text(newest)}, {age.days} days old; meter evidence export"
        return [Found("evidence", "warning", told)]
    return [Found("evidence", "ok")]


async def _check_backup() -> Found:
    async with connect() as database, database.begin() as connection:
        newest = await newest_backup(connection)
    if newest is None:
        return Found("backup", "warning", "none was made of this database; see docs/backups.md")
    if (age := now() - newest) > BACKUP_AGE_MAX:
        return Found(
            "backup", "warning", f"the newest is of {instant_text(newest)}, {age.days} days old; meter backup TO"
        )
    return Found("backup", "ok")


async def _check_ties() -> list[tuple[str, str | None]]:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("comparing what is stored", total=None)
        async with connect() as database:
            operator = await require_operator(database)
            found = ties(database, operator, checked=lambda events: bar.update(task, completed=events))
            return [(one.name, one.fault) async for one in found]


async def _check_seals() -> tuple[str, str | None]:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("verifying blocks", total=None)
        async with connect() as database:
            operator = await require_operator(database)
            found = await verify(
                database,
                operator,
                heads=await heads_kept(None, operator),
                checked=lambda blocks: bar.update(task, completed=blocks),
            )
    if not found.faults:
        return "seals", None
    more = f", and {len(found.faults) - 1} more" if len(found.faults) > 1 else ""
    return "seals", (
        f"what is kept for good is not as it was sealed: {found.faults[0]}{more}; `meter audit verify` names each. "
        "After a restore from before the newest head begin another file of heads (METER_AUDIT__HEADS), keep the old one"
    )


async def _check_folds() -> list[tuple[str, str | None]]:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("folding accounts", total=None)
        async with connect() as database:
            operator = await require_operator(database)
            found = await audit(
                database,
                operator,
                at=now(),
                checked=lambda done, total: bar.update(task, completed=done, total=total),
            )
    return _told(found)


def _told(found: Audit) -> list[tuple[str, str | None]]:
    waiting = ""
    if found.waiting.events or found.waiting.requests:
        waiting = (
            f"; {found.waiting.events} events and {found.waiting.requests} requests wait to be rated: check again then"
        )
    told = [(f"books of {one.account}", f"{_difference(one)}{waiting}") for one in found.differing]
    told += [(f"unread of {one.account}", f"{_listing(one)}{waiting}") for one in found.unread]
    told += [(f"sums of {fault.account}", _sum(fault)) for fault in found.sums]
    return [*told] or [(f"books of {found.accounts} accounts", None)]


def _difference(one: AccountPreview) -> str:
    if one.fault is not None:
        return f"cannot be folded: {one.fault}"
    first = one.differences[0]
    stands = "nothing" if first.standing is None else plain(first.standing.line.amount)
    now_is = "nothing" if first.line is None else plain(first.line.amount)
    lines = len(one.differences)
    return (
        f"{lines} line{' differs' if lines == 1 else 's differ'} by {plain(one.net)} {one.currency}; the first, "
        f"{first.key.meter} of {instant_text(first.key.time)} ({first.key.id}), is booked with {stands} and comes to "
        f"{now_is}"
    )


def _listing(change: UnreadChange) -> str:
    gone, fresh = ({one.key: one for one in values} for values in (change.gone, change.fresh))
    differing = sorted(gone.keys() | fresh.keys())
    time, source, id, meter, _ = first = differing[0]
    listed, found = (_said(values.get(first)) for values in (gone, fresh))
    entries = len(differing)
    return (
        f"{entries} entr{'y differs' if entries == 1 else 'ies differ'}; the first, {meter} of {instant_text(time)} "
        f"({source} {id}), is listed with {listed} and comes to {found}"
    )


def _said(value: UnreadValue | None) -> str:
    return "nothing" if value is None else f"{value.code}: {value.reason}"


def _sum(fault: SumFault) -> str:
    return (
        f"period of {instant_text(fault.period_start)}, {fault.what}: booked {plain(fault.booked)}, "
        f"the lines come to {plain(fault.expected)}"
    )
