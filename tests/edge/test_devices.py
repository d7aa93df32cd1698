"""Which devices were heard: those heard last, and no more than are kept."""

from __future__ import annotations

from datetime import timedelta

from edge.devices import DEVICES_MAX, Devices
from meter.model.instant import EPOCH


def test_each_is_counted_and_the_last_heard_is_first() -> None:
    devices = Devices()
    for number, (source, readable) in enumerate([("a", True), ("b", True), ("a", False), ("a", True)]):
        devices.heard("http", source, at=EPOCH + timedelta(seconds=number), readable=readable)
    assert [(one.source, one.taken, one.refused) for one in devices.all()] == [("a", 2, 1), ("b", 1, 0)]
    assert devices.all()[0].last == EPOCH + timedelta(seconds=3)


def test_who_was_silent_for_longest_goes() -> None:
    devices = Devices()
    for number in range(DEVICES_MAX):
        devices.heard("http", str(number), at=EPOCH, readable=True)
    devices.heard("http", "0", at=EPOCH, readable=True)
    devices.heard("http", "new", at=EPOCH, readable=True)
    kept = {one.source for one in devices.all()}
    assert len(kept) == DEVICES_MAX
    assert {"0", "new"} <= kept
    assert "1" not in kept


def test_a_name_is_no_longer_than_a_line() -> None:
    devices = Devices()
    devices.heard("http", "x" * 100_000, at=EPOCH, readable=False)
    assert len(devices.all()[0].source or "") == 200
