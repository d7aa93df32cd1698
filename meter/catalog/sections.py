"""The sections that are neither meters, plans nor people: taxes, sites, topics, credits, shares."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from meter.catalog.entry import Entry
from meter.catalog.ledger import ledger_account_at
from meter.catalog.prices import read_dimensions
from meter.model.catalog import CreditRate, Meter, RevenueShare, Site, Tax, TopicMap
from meter.model.charge import SalesRole
from meter.model.money import ONE, ZERO, plain
from meter.rating.calendar import MEMBERSHIP
from meter.rating.sale import POS
from meter.sources.options import options_of
from meter.sources.registry import DECODERS, VENDORS, vendor_of_decoder

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00", re.ASCII)
_TOPIC_BYTES_MAX: Final = 1024
# What earns revenue without a meter of the catalog's.
_EARNING: Final = frozenset({MEMBERSHIP, POS})


def read_taxes(section: Entry | None) -> Mapping[str, Tax]:
    """Return the taxes by id."""
    found: dict[str, Tax] = {}
    for name, entry in () if section is None else section.names():
        entry.need("rate", "a fraction, like 0.19 for 19 %")
        rate = entry.number("rate") or ZERO
        if rate > ONE:
            entry.fault("rate", f"is {rate}; rates are fractions: 19 % is 0.19")
        inclusive = entry.flag("inclusive") or False
        found[name] = Tax(name=name, rate=rate, inclusive=inclusive, account=ledger_account_at(entry, "account"))
        entry.done()
    return found


def read_sites(section: Entry | None, *, taxes: Collection[str], timezone: str) -> Mapping[str, Site]:
    """Return the sites by id."""
    found: dict[str, Site] = {}
    for name, entry in () if section is None else section.names():
        closes = entry.text("closes")
        if closes is not None and not _CLOCK.fullmatch(closes):
            entry.fault("closes", f'is {closes[:40]!r}; write the local time of closing, like "22:00"')
        found[name] = Site(
            id=name,
            name=entry.text("name") or name,
            timezone=entry.timezone("timezone") or timezone,
            closes=closes,
            ledger_class=entry.text("ledger_class"),
            tax=entry.reference("tax", taxes, "tax"),
            walk_in=entry.id("walk_in"),
        )
        entry.done()
    return found


def read_topics(root: Entry, sites: Collection[str]) -> tuple[TopicMap, ...]:
    """Return the mapping of other MQTT topics."""
    found: list[TopicMap] = []
    for entry in root.entries("mqtt"):
        entry.need("topic", "an MQTT topic filter")
        entry.need("decoder", "what the messages are, like zigbee2mqtt")
        entry.need("site", "the site that the messages belong to")
        topic = entry.text("topic") or ""
        if "topic" in entry and not _is_filter(topic):
            entry.fault("topic", f"{topic[:60]!r} is no MQTT topic filter; + and # stand alone between slashes, # last")
        decoder, site = entry.text("decoder") or "", entry.reference("site", sites, "site") or ""
        options = entry.plain("options") if entry.is_map("options") else {}
        if decoder in DECODERS:
            vendor = VENDORS.get(vendor_of_decoder(decoder))
            for fault in options_of({} if vendor is None else vendor.options, options)[1]:
                entry.fault("options", fault)
        elif "decoder" in entry:
            entry.warn("decoder", f"nothing is read by {decoder[:60]!r}; there are {', '.join(sorted(DECODERS))}")
        found.append(
            TopicMap(
                topic=topic,
                decoder=decoder,
                site=site,
                name=entry.id("name"),
                timezone=entry.timezone("timezone"),
                options=options,
            )
        )
        entry.done()
    return tuple(found)


def _is_filter(topic: str) -> bool:
    """Tell whether `topic` is a valid filter (MQTT 5, section 4.7.1)."""
    levels = topic.split("/")
    whole = all(level in {"+", "#"} or not set(level) & set("+#") for level in levels)
    return bool(topic) and whole and "#" not in levels[:-1] and len(topic.encode()) <= _TOPIC_BYTES_MAX


def read_credit_rates(root: Entry, meters: Mapping[str, Meter]) -> Mapping[str, tuple[CreditRate, ...]]:
    """Return the rates at which credit covers units, by meter."""
    section = root.entry("credits")
    rates = None if section is None else section.entry("rates")
    if section is not None:
        section.done()
    if rates is None:
        return {}
    found: dict[str, tuple[CreditRate, ...]] = {}
    for name in rates.keys():  # noqa: SIM118 -- an Entry is no dict
        rates.check_reference(name, meters, "meter", rates.at(name))
        given = rates.entries(name)
        if name in meters and given:
            found[name] = tuple(_credit_rate(entry, meters[name]) for entry in given)
    return found


def _credit_rate(entry: Entry, meter: Meter) -> CreditRate:
    entry.need("rate", "credits for one unit")
    rate = entry.number("rate", above=ZERO) or ONE
    match = entry.entry("match")
    entry.done()
    return CreditRate(rate=rate, match={} if match is None else read_dimensions(match, meter))


def read_shares(root: Entry, *, meters: Collection[str], sites: Collection[str]) -> tuple[RevenueShare, ...]:
    """Return the shares of revenue that belong to others, in their order."""
    found: list[RevenueShare] = []
    entries = root.entries("revenue_share")
    for entry in entries:
        meter = site = None
        match = entry.entry("match")
        if match is not None:
            meter = match.reference("meter", {*meters, *_EARNING}, "meter")
            site = match.reference("site", sites, "site")
            match.done()
        entry.need("party", "who receives the share")
        party = entry.id("party") or ""
        entry.need("share", "a fraction, like 0.12")
        share = entry.number("share") or ZERO
        if share > ONE:
            entry.fault("share", f"is {share}; shares are fractions: 12 % is 0.12")
        entry.word("basis", ("net",))
        role: SalesRole = "agent" if entry.word("role", ("principal", "agent")) == "agent" else "principal"
        found.append(RevenueShare(party=party, share=share, role=role, meter=meter, site=site))
        entry.done()
    _refuse_more_than_all(entries, found)
    return tuple(found)


# Stands for every name that no entry has; none of a meter or a site is empty.
_ANY_OTHER: Final = ""


def _refuse_more_than_all(entries: Sequence[Entry], shares: Sequence[RevenueShare]) -> None:
    """Record a fault of each share with which the parties of one line get more than all of it.

    A line has one meter and one site, and of each party the first entry that fits both: so every line can be seen here.
    """
    told: set[int] = set()
    for meter in dict.fromkeys([*(one.meter or _ANY_OTHER for one in shares), _ANY_OTHER]):
        of_meter = [(place, one) for place, one in enumerate(shares) if one.fits(meter, one.site or _ANY_OTHER)]
        for site in dict.fromkeys([*(one.site or _ANY_OTHER for _, one in of_meter), _ANY_OTHER]):
            firsts: dict[str, tuple[int, RevenueShare]] = {}
            for place, one in of_meter:
                if one.fits(meter, site):
                    firsts.setdefault(one.party, (place, one))
            total = sum((one.share for _, one in firsts.values()), ZERO)
            # One share alone that is more than all of it has a fault of its own.
            if total <= ONE or len(firsts) == 1 or (last := max(place for place, _ in firsts.values())) in told:
                continue
            told.add(last)
            where = (meter or "a meter that no entry names") + (f" at {site}" if site else "")
            parties = ", ".join(firsts)
            whole = f"with it {parties} together get {plain(total * 100)} % of {where}"
            entries[last].refuse("share", f"{whole}; lower a share, or narrow a match")
