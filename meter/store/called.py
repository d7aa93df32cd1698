"""What stands for a person once she is erased: one name for each thing that she was known by, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from secrets import token_hex
from typing import Any, Final

from meter.model.money import plain
from meter.rating.values import segment
from meter.store.personal import AFTER, BEFORE, NAME_CHARS_MIN, VALUE_CHARS_MIN, Known, spelled, word

# What a word begins and ends with, for Python: neighbours may share what stands between them.
_BEFORE: Final = r"(?<![\w.@-])"
_AFTER: Final = r"(?![\w@-])(?!\.[^\W_])"
ERASED: Final = "erased-"
# Shorter numbers that equal a badge's are quantities more often than badges.
_DIGITS_MIN: Final = 6


@dataclass(frozen=True, slots=True)
class Names:
    """`values` as a whole, and `words` within texts, each with what is written instead."""

    values: Mapping[str, str]
    words: tuple[tuple[re.Pattern[str], str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """What is written instead of a person: of each row what is hers by name, and the claims that were hers then.

    `left` are words that the catalog uses too: texts keep them, for replacing them could change what is billed.
    """

    person: Names
    claims: Mapping[str, Names]
    left: tuple[str, ...]

    def names(self, hers: Callable[[str], bool] = lambda _identity: True) -> list[Names]:
        """Return what counts in a row, given which identities were `hers` when it happened."""
        return [self.person, *(names for identity, names in self.claims.items() if hers(identity))]


def instead_of(known: Known, catalog_words: frozenset[str]) -> Instead:
    """Return what is written instead of all that a member is known by; `catalog_words` are in lower case.

    An identity, and a member's id, has one name everywhere, so what was equal stays equal.
    """
    left: dict[str, None] = {}

    def bare(one: str) -> bool:
        """Tell whether a word may be replaced wherever it stands alone."""
        if one.casefold() in catalog_words:
            left[one] = None
            return False
        return True

    claims: dict[str, Names] = {}
    for identity, _, _ in known.claims:
        kind, _, value = identity.partition(":")
        if value.startswith(ERASED) or identity in claims:
            continue
        token = ERASED + token_hex(16) + ("@erased.invalid" if "@" in value else "")
        name = f"{kind}:{token}" if value else token
        words = [(word(identity), name)]
        if len(value) >= VALUE_CHARS_MIN and bare(value):
            words.append((spelled(value), token))
        claims[identity] = Names({identity: name}, _compiled(words))
    values: dict[str, str] = {}
    words = []
    for one in known.people:
        name = one.pseudonym or one.member
        if one.email:
            mail = claims.get(f"email:{one.email}")
            token = mail.values[f"email:{one.email}"][len("email:") :] if mail else f"{name}@erased.invalid"
            values |= {one.email: token, f"email:{one.email}": f"email:{token}"}
            words.append((word(one.email), token))
        if one.member == name:
            continue
        values |= {one.member: name, f"member:{one.member}": f"member:{name}"}
        words.append((word(f"member:{one.member}"), f"member:{name}"))
        words += [(word(way), name) for way in dict.fromkeys((one.member, segment(one.member))) if bare(one.member)]
        if len(one.name) >= NAME_CHARS_MIN and bare(one.name):
            words.append((word(one.name), name))
    return Instead(person=Names(values, _compiled(words)), claims=claims, left=tuple(left))


def _compiled(words: list[tuple[str, str]]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return what PostgreSQL searches for, for Python; the longest first, so that none is cut by another."""
    return tuple(
        (re.compile(told.replace(BEFORE, _BEFORE).replace(AFTER, _AFTER), re.IGNORECASE), name)
        for told, name in sorted(words, key=lambda pair: -len(pair[0]))
    )


def value_without(names: list[Names], value: str) -> str:
    """Return an id without the person."""
    for one in names:
        if value in one.values:
            return one.values[value]
    return text_without(names, value)


def text_without(names: list[Names], told: str) -> str:
    """Return a text without the person."""
    for one in names:
        for pattern, name in one.words:
            told = pattern.sub(name, told)
    return told


def bytes_without(names: list[Names], body: bytes) -> bytes:
    """Return a body without the person; what is no UTF-8 stays what it is."""
    return text_without(names, body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def json_without(names: list[Names], value: Any) -> Any:
    """Return JSON without the person: texts, names of fields, and numbers that are as long as a badge's."""
    match value:
        case str():
            return value_without(names, value)
        case dict():
            return {text_without(names, key): json_without(names, item) for key, item in value.items()}
        case list():
            return [json_without(names, item) for item in value]
        case bool() | None:
            return value
        case int() | Decimal():
            told = plain(Decimal(value))
            written = text_without(names, told) if len(told) >= _DIGITS_MIN else told
            return value if written == told else written
        case _:
            return value


def words_of(value: Any) -> Iterator[str]:
    """Yield every text of a JSON value, names of fields too, in lower case."""
    if isinstance(value, str):
        yield value.casefold()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key.casefold()
            yield from words_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from words_of(item)
