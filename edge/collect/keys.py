"""What a card reader types: keys of a keyboard, or characters of a serial port, up to the end of a number. Pure.

A number that is longer than any card's is none, and what was typed of one when the reader fell silent is dropped.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

# badge_from reads at most 32 bytes; twice as many digits, with something between each two.
NUMBER_CHARS_MAX: Final = 128

# struct input_event of linux/input.h: a native timeval of two longs, then type, code and value.
EVENT: Final = struct.Struct("@llHHi")
_EV_SYN: Final = 0
_EV_KEY: Final = 1
_SYN_DROPPED: Final = 3
_PRESSED: Final = 1
# linux/input-event-codes.h. Readers are keyboards of the American layout, whatever the machine's is.
_ENTER: Final = frozenset((28, 96))
_SHIFT: Final = frozenset((42, 54))
_CHARS: Final = {
    **dict(zip(range(2, 12), "1234567890", strict=True)),
    **dict(zip(range(16, 26), "QWERTYUIOP", strict=True)),
    **dict(zip(range(30, 39), "ASDFGHJKL", strict=True)),
    **dict(zip(range(44, 51), "ZXCVBNM", strict=True)),
    **dict(zip((82, 79, 80, 81, 75, 76, 77, 71, 72, 73), "0123456789", strict=True)),  # the keypad
    12: "-",
    39: ";",
    51: ",",
    52: ".",
    53: "/",
    57: " ",
}
_SHIFTED: Final = {39: ":"}
# What frames a number on serial lines: STX, ETX and the line's ends.
_ENDS: Final = b"\r\n\x03"
_STX: Final = 0x02


class Typed(Protocol):
    """Makes numbers of what a device gives."""

    @property
    def half(self) -> bool:
        """Tell whether a number has begun and not ended."""

    def feed(self, data: bytes) -> list[str]:
        """Return the numbers that ended in `data`."""

    def drop(self) -> None:
        """Forget what was typed of a number."""


class _Number:
    """A number as far as it was typed."""

    def __init__(self) -> None:
        self._chars: list[str] = []

    @property
    def half(self) -> bool:
        """Tell whether a number has begun and not ended."""
        return bool(self._chars)

    def drop(self) -> None:
        """Forget what was typed."""
        self._chars.clear()

    def type(self, char: str) -> None:
        """Take one character; what is too long stays so up to its end."""
        if len(self._chars) <= NUMBER_CHARS_MAX:
            self._chars.append(char)

    def end(self) -> list[str]:
        """Return the number, if it is one."""
        number = "".join(self._chars).strip()
        self._chars.clear()
        return [number] if 0 < len(number) <= NUMBER_CHARS_MAX else []


class Keys(_Number):
    """Reads the events of a Linux input device."""

    def __init__(self) -> None:
        """Nothing is pressed."""
        super().__init__()
        self._rest = b""
        self._shifted: set[int] = set()

    def drop(self) -> None:
        """Forget what was typed, and what is held down."""
        super().drop()
        self._shifted.clear()

    def feed(self, data: bytes) -> list[str]:
        """Return the numbers that ended in these events."""
        data = self._rest + data
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        numbers: list[str] = []
        for _sec, _usec, kind, code, value in EVENT.iter_unpack(data[:whole]):
            if kind == _EV_SYN and code == _SYN_DROPPED:
                self.drop()  # the kernel has thrown keys away
            elif kind == _EV_KEY and code in _SHIFT:
                (self._shifted.discard if value == 0 else self._shifted.add)(code)
            elif kind == _EV_KEY and value == _PRESSED:
                if code in _ENTER:
                    numbers += self.end()
                elif code in _CHARS:
                    self.type(_SHIFTED.get(code, _CHARS[code]) if self._shifted else _CHARS[code])
        return numbers


class Characters(_Number):
    """Reads the characters of a serial port."""

    def feed(self, data: bytes) -> list[str]:
        """Return the numbers that ended in these characters."""
        numbers: list[str] = []
        for byte in data:
            if byte in _ENDS:
                numbers += self.end()
            elif byte == _STX:
                self.drop()
            else:
                self.type(chr(byte) if 0x20 <= byte < 0x7F else "\N{REPLACEMENT CHARACTER}")
        return numbers
