"""`meter check --deep`: the books, and what no meter could count, held against a fresh fold of everything."""

from __future__ import annotations

from rich.progress import Progress

from meter.booking.audit import Audit, audit
from meter.booking.preview import AccountPreview
from meter.cli.common import connect, err, require_operator
from meter.clock import now
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.store.audit import SumFault
from meter.store.unread import UnreadChange, UnreadValue


async def check_books() -> list[tuple[str, str | None]]:
    """Return each thing that was checked with what is wrong with it, None where nothing is."""
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
