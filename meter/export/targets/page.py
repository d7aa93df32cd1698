"""docs/targets.md, made from the registry: which kinds of targets there are, and how each is configured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meter.export.targets.registry import KINDS
from meter.export.targets.spec import Kind
from meter.sources.options import option_table

_INTRODUCTION: Final = """\
# Targets

Where what is booked goes. This page is made from the registry in `meter/export/targets` (`make docs`). A target is
configured as `[targets.NAME]` ([settings.md](settings.md)); *needs* names the settings without which nothing could be
sent, and a kind's own settings go into `options`. The first of the modes and grains is the default.

What is sent is frozen before it is sent, has a key that derives from what it says, and is looked up at the target
wherever the outcome is not known ([decision 0014](decisions/0014-delivery.md)): nothing is lost, and nothing is billed
twice. A charge reaches a target in the *grain* that is set: each by itself, or summed by hour, day or billing period.

A line of an invoice says what, where, when and how much: `Print pages, Berlin Mitte, 2026-11-02: 34 pages, 4 covered by
credit`, `Flex 10, 2026-11-01 to 2026-11-30`. The names are the catalog's (of a meter its id, as words), the days and
periods of invoices the account's own, by its zone, the last one included: a correction names the period that it
corrects. Journals have the operator's days. Instants that programs read are in UTC, and their ends are exclusive.

```sh
meter check                             # does every target answer, and has it a name for all that the catalog names?
meter deliveries                        # what was sent, what waits, what was refused and why
meter deliveries retry --all            # what was refused, again, with today's catalog and directory
meter reconcile NAME --since 2026-11-01 # what the target really holds; exit code 1 where it differs
meter deliveries resend --missing --target NAME # what was deleted there, once more; asked for first, so never twice
```

An account is billed by one target at most: the one that it names a customer of (`accounts.acme.stripe: cus_1` in the
catalog). Where it names several, the first target by name bills it, and `meter check` says so; where it names none, its
lines wait as dead deliveries that say what to set. Sales that were paid at a till are never invoiced. No line leaves
with a member's name or address.

`meter check` tells what would become dead deliveries before it does: taxes, meters and sites of the catalog that the
settings name no code for (a fault), tax rates and classes that are others there, or are not there (a fault, asked of
the vendor), accounts that nobody bills and sites without a class beside others that have one (a warning).

What reconciling finds missing is sent again by `meter deliveries resend`, all of it or by number (also
`POST /v1/deliveries/ID/resend`): a further revision under a key of its own, for which the target is asked before a byte
leaves. The ledger's files and Stripe's meters, which know things by the key alone, are sent nothing again; each says
what to do instead.

A new target is sent what is booked from its first start on. With `start = 2026-11-01` when it first runs it is also
sent what was booked before, of days and billing periods from that day on; a `start` that is given later sends nothing
of the past, and `meter check` says so.

A target goes on only as what it began: with another kind, mode, `company` or `dataset` it is refused and sends nothing
until they are set back, for it would count its place among charges as one among entries, or credit in one company's
books what it told another's. What it shall be from now on is a target under another name, with `start` on the first day
that is not told yet; let the old one deliver what waits first. A grain may change: sums that were begun are sent as
they are. A target under another name is a new one that has sent nothing: with a `start` it would send again, and bill
twice, what one before it sent to the same account there.

| kind | what it is | modes | grains | needs |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Return the whole page, in Markdown."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for name, kind in sorted(KINDS.items()):
        needs = ", ".join(f"`{need}`" for need in sorted(kind.needs))
        yield f"| `{name}` | {kind.title} | {_words(kind.modes)} | {_words(kind.grains)} | {needs} |\n"
    for name, kind in sorted(KINDS.items()):
        yield from _section(name, kind)


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(words)


def _section(name: str, kind: Kind) -> Iterator[str]:
    yield f"\n## {name}\n\n{kind.title}. {kind.about}"
    if kind.customer is not None:
        yield f" Accounts name their customer as `{kind.customer}`, or by the target's own name."
    yield f" Facts: {kind.facts}.\n"
    yield from option_table(kind.options)
