"""Wi-Fi sessions: a start, cumulative interims and a stop, as an accounting server reports them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

from meter.simulate.dice import Dice, digest
from meter.simulate.event import MINUTE_MS, SECOND_MS, Happening
from meter.simulate.population import Space
from meter.simulate.visits import Visit

DEVICE: Final = "wifi/controller"
# Half an hour between interims keeps Wi-Fi from drowning every other kind of event.
_INTERIM_MS: Final = 30 * MINUTE_MS
_LOST_STOP: Final = 3
# In percent: phones that show a made-up address that day.
_PRIVATE_ADDRESS: Final = 6
_ACCESS_POINTS: Final = ("ap-1", "ap-2", "ap-3")
# Mean bytes a second to the member while a laptop or a phone is connected; a day of it makes one to five GB.
_LAPTOP_RATE: Final = 120_000
_PHONE_RATE: Final = 25_000


def wifi_events(visit: Visit, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield the sessions of one visit: a laptop that stays or comes along at lunch, a phone that always comes along."""
    dice = Dice(seed, day, visit.badge, "wifi")
    if visit.member is None:
        if dice.chance(50):
            yield from _session(dice, _random_mac(dice), visit.arrival, visit.departure, _PHONE_RATE)
        return
    whole = ((visit.arrival, visit.departure),)
    for device, mac in enumerate(visit.member.macs):
        phone = device > 0
        shown = _random_mac(dice) if phone and dice.chance(_PRIVATE_ADDRESS) else mac
        for start, end in visit.spans if phone or dice.chance(50) else whole:
            yield from _session(dice, shown, start, end, _PHONE_RATE if phone else _LAPTOP_RATE)


def passing_devices(space: Space, day: date, *, seed: int) -> Iterator[Happening]:
    """Yield a probing device of the street: it joins, moves nothing and is gone."""
    dice = Dice(seed, day, space.site.id, "passing")
    if dice.chance(40):
        start = dice.between(space.site.opens, space.site.closes - 30) * MINUTE_MS
        yield from _session(dice, _random_mac(dice), start, start + dice.between(5, 20) * MINUTE_MS, 10)


def _random_mac(dice: Dice) -> str:
    """Return an address such as phones make up to stay unknown: nobody has claimed it."""
    return "mac:" + "-".join(["d6", *(f"{dice.between(0, 255):02x}" for _ in range(5))])


def _session(dice: Dice, mac: str, start: int, end: int, rate: int) -> Iterator[Happening]:
    begin = start + dice.between(20, 240) * SECOND_MS + dice.between(0, 999)
    finish = end - dice.between(10, 120) * SECOND_MS
    if finish <= begin:
        return
    session = {"session": digest(mac, begin, dice.between(0, 1 << 30))}
    radio = {"ap": dice.pick(_ACCESS_POINTS), "nas": "controller"}

    def reading(at_ms: int, status: str) -> Happening:
        seconds = (at_ms - begin) // SECOND_MS
        counted = {"status": status, "seconds": seconds, "bytes_in": total_in, "bytes_out": total_out}
        data = session | counted | radio
        return Happening(at_ms=at_ms, device=DEVICE, type="wifi.session", subject=mac, data=data)

    total_in = total_out = 0
    yield reading(begin, "start")
    reported = begin
    while reported < finish:
        step = min(_INTERIM_MS + dice.between(0, 4 * SECOND_MS), finish - reported)
        reported += step
        received = step * dice.between(0, 2 * rate) // SECOND_MS
        total_in += received
        total_out += received // dice.between(6, 30)
        last = reported >= finish
        if last and dice.chance(_LOST_STOP):
            return
        yield reading(reported, "stop" if last else "interim")
