"""docs/sources.md, made from the registry: what of each vendor is read, and how it is configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from meter.sources.options import option_table
from meter.sources.registry import VENDORS
from meter.sources.spec import Area, Vendor

_AREAS: Final[Mapping[Area, str]] = {
    "pos": "Tills",
    "doors": "Doors",
    "printers": "Printers",
    "wifi": "Wi-Fi",
    "spaces": "Bookings, members and plans",
    "billing": "Invoices and payments",
}
_INTRODUCTION: Final = """\
# Sources

What the systems of a space send, and what becomes of it. This page is made from the registry in `meter/sources` (`make
docs`). **done**: read, with tests of every law in decision [0011](decisions/0011-sources.md); **partly**: read as far
as the note says; **not**: acknowledged, counted as `ignored`, and nothing else.

A source is configured as `[webhooks.VENDOR.NAME]` ([settings.md](settings.md)) and receives at `/hooks/VENDOR/NAME`;
what comes over MQTT is mapped by the catalog's `mqtt:` section ([catalog.md](catalog.md)). *Needs* names the settings
without which nothing could arrive. A vendor that signs nothing shows the source's secret as a bearer token or as
`?token=`. Vendors' own settings go into `options`. What each calls a person is in [identities.md](identities.md), what
events hold in [catalog.md](catalog.md).

A body that shows the secret is answered 2xx once it is stored, also where nothing could be made of it, for sending it
again would not help: the answer says what became of each event (Brivo's and FreeRADIUS' are empty). `meter rejections
list` has what could not be read; once the settings are mended, `meter rejections retry` reads it again. Files of a
vendor with *lines* are read from `path`, by `meter import FILE --source VENDOR/NAME` ([import.md](import.md)), or
posted whole once the source has `secrets`:
`curl --data-binary @FILE 'http://127.0.0.1:8080/hooks/papercut/office?token=...'`.

| vendor | by | kinds of messages |
| --- | --- | --- |
"""


def page() -> str:
    """Return the whole page, in Markdown."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for area in _AREAS:
        for name, vendor in _of(area):
            yield f"| {vendor.title} (`{name}`) | {', '.join(_ways(vendor))} | {_state(vendor)} |\n"
    for area, heading in _AREAS.items():
        of_area = _of(area)
        if of_area:
            yield f"\n## {heading}\n"
        for name, vendor in of_area:
            yield from _section(name, vendor)


def _of(area: Area) -> list[tuple[str, Vendor]]:
    return [(name, vendor) for name, vendor in sorted(VENDORS.items()) if vendor.area == area]


def _ways(vendor: Vendor) -> list[str]:
    ways = []
    if vendor.hook is not None:
        ways.append("webhook")
    if vendor.fetches:
        ways.append("fetch")
    if vendor.feeds:
        ways.append("poll")
    if vendor.decoders:
        ways.append("MQTT")
    if vendor.lines is not None:
        ways.append("lines")
    return ways or ["UDP"]


def _state(vendor: Vendor) -> str:
    states = Counter(covered.state for covered in vendor.covers)
    return ", ".join(f"{states[state]} {state}" for state in ("done", "partly", "not") if states[state])


def _section(name: str, vendor: Vendor) -> Iterator[str]:
    yield f"\n### {name}\n\n{vendor.title}: {', '.join(_ways(vendor))}."
    if vendor.needs:
        yield f" Needs {', '.join(f'`{need}`' for need in sorted(vendor.needs))}."
    if vendor.decoders:
        yield f" Decoders: {', '.join(f'`{decoder}`' for decoder in sorted(vendor.decoders))}."
    for feed, described in sorted(vendor.feeds.items()):
        yield f" Polled for `{feed}` every {described.every_s} s unless `every_s` is set."
    yield f" Facts: {vendor.facts}.\n\n| what | state | becomes | note |\n| --- | --- | --- | --- |\n"
    for covered in vendor.covers:
        becomes = f"`{covered.becomes}`" if covered.becomes else ""
        yield f"| {covered.what} | {covered.state} | {becomes} | {covered.note} |\n"
    yield from option_table(vendor.options)
