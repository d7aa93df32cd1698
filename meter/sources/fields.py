"""Reading what vendors send: JSON fields by dotted path, with refusals that name vendor, path and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NoReturn

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.strict_json import exact_json, strict_json


def bad_payload(message: str) -> BadInput:
    """Return the refusal of a body that is not what its vendor documents."""
    return BadInput(message, code="bad_payload")


class Fields:
    """An object of a vendor's. `path` is where it stands, for errors.

    Readers with a plain name raise BadInput (`bad_payload`) where the field is missing or of another kind; those with
    `opt_` return None where it is missing, null or "".
    """

    __slots__ = ("_path", "_value")

    def __init__(self, value: Json, *, path: str = "") -> None:
        """Raise BadInput (`bad_payload`) unless `value` is an object."""
        self._path = path
        if not isinstance(value, dict):
            raise bad_payload(f"{path or 'the body'} is {_shown(value)}; an object is documented here")
        self._value: Mapping[str, Json] = value

    @classmethod
    def of_json(cls, body: bytes) -> Fields:
        """Return the object in a JSON body. Raises BadInput, as `strict_json` does or `bad_payload`."""
        return cls(strict_json(body))

    def body(self) -> bytes:
        """Return the object as JSON, each number as it is."""
        return exact_json(dict(self._value)).encode()

    def raw(self, path: str) -> Json:
        """Return whatever stands at the dotted path; None where there is nothing."""
        value: Json = self._value
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def _refuse(self, path: str, wanted: str) -> NoReturn:
        place = f"{self._path}.{path}".lstrip(".")
        raise bad_payload(f"{place} is {_shown(self.raw(path))}; {wanted} is documented here")

    def opt_text(self, path: str) -> str | None:
        """Return a string; an integer counts, for vendors number their objects."""
        value = self.raw(path)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self._refuse(path, "a string")
        return str(value)

    def text(self, path: str) -> str:
        """Return a string that is not empty."""
        value = self.opt_text(path)
        return self._refuse(path, "a string") if value is None else value

    def opt_integer(self, path: str) -> int | None:
        """Return an integer, also one written as a string."""
        value = self.raw(path)
        if value is None or value == "":
            return None
        if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= 18:
            value = int(value)
        if isinstance(value, Decimal) and value == value.to_integral_value():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._refuse(path, "an integer")
        return value

    def integer(self, path: str) -> int:
        """Return an integer."""
        value = self.opt_integer(path)
        return self._refuse(path, "an integer") if value is None else value

    def flag(self, path: str) -> bool:
        """Return a boolean; `"true"` and `"false"` count, for some write them as strings."""
        value = self.raw(path)
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return value.lower() == "true"
        return value if isinstance(value, bool) else self._refuse(path, "true or false")

    def opt_object(self, path: str) -> Fields | None:
        """Return an object below this one."""
        value = self.raw(path)
        return None if value is None else Fields(value, path=f"{self._path}.{path}".lstrip("."))

    def object(self, path: str) -> Fields:
        """Return an object below this one."""
        return Fields(self.raw(path), path=f"{self._path}.{path}".lstrip("."))

    def objects(self, path: str) -> Sequence[Fields]:
        """Return an array's objects; none where it is missing."""
        value = self.raw(path)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._refuse(path, "an array")
        place = f"{self._path}.{path}".lstrip(".")
        return [Fields(item, path=f"{place}[{index}]") for index, item in enumerate(value)]


def _shown(value: Json) -> str:
    return "missing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)[:60]
