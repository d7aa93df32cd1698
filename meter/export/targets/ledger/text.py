"""Entries as plain text, for Beancount and for hledger: names, declarations, transactions. Pure.

Everything that comes from outside is cleaned on its way: what a format could take for syntax is written as %XX, the
bytes of its UTF-8. So no name can end a line, open a comment or pose as a mark of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Final
from unicodedata import category

from meter.model.journal import JournalEntry
from meter.model.money import minor_unit_places

# Accounts are opened on a day before anything can be booked: a late delivery may carry an earlier day than the first.
OPENED: Final = "1970-01-01"
# Beancount knows letters by its own Unicode tables; those of Latin-1 and Latin Extended-A are in all of them.
_LETTERS_BELOW: Final = 0x180
_COMPONENT_CHARS_MAX: Final = 60
_CURRENCY: Final = re.compile(r"[A-Z]{2,12}", re.ASCII)
_UNSAFE: Final = frozenset("%")
# What ends a name, a value or a description of hledger's, or begins a comment there.
_UNSAFE_ACCOUNT: Final = frozenset('%;"()[]{}')
# Two blanks end a name of hledger's; those around it are none of it.
_BLANKS: Final = re.compile("(?<= ) +|^ +| +$")
_UNSAFE_PAYEE: Final = frozenset('%;|"()')
_UNSAFE_TEXT: Final = frozenset("%;|")
_UNSAFE_TAG: Final = frozenset("%;,")
# Of an entry that is not the one of a charge.
_OWN_ID: Final = "entry"
_TAGS: Final = ("charge", "account", "member", "site", "meter", "kind", "tax", "corrects", "currency")


def clean(text: str, unsafe: frozenset[str] = _UNSAFE) -> str:
    """Return `text` on one line: what is not printable, and every character of `unsafe` (with `%` in it), as %XX."""
    if text.isprintable() and unsafe.isdisjoint(text):
        return text
    return "".join(char if char.isprintable() and char not in unsafe else _percent(char) for char in text)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=4096)
def commodity(currency: str) -> str:
    """Return a currency as both formats take it bare: capital letters. Others get a name of such, made from theirs."""
    if _CURRENCY.fullmatch(currency):
        return currency
    return "X" + "".join(chr(ord("A") + byte % 26) for byte in _digest(currency)[:11])


def amount_text(amount: Decimal, currency: str) -> str:
    """Return `amount` without exponent and with at least the places of the currency's minor unit."""
    text = format(amount, "f")
    places = minor_unit_places(currency)
    if text[-1 - places : -places] == ".":
        return text
    whole, _, fraction = text.partition(".")
    return text if len(fraction) >= places else f"{whole}.{fraction:0<{places}}"


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=4096)
def beancount_account(name: str) -> str:
    """Return an account as Beancount spells it: `income:print-pages` is `Income:Print-pages`.

    A part that cannot be spelled so keeps what can, and gets a mark made from its name, so that two never become one.
    """
    return ":".join(_beancount_part(part) for part in name.split(":"))


def _beancount_part(part: str) -> str:
    kept = "".join(char if _is_plain(char) else "-" for char in part)[:_COMPONENT_CHARS_MAX]
    first = kept[:1].upper()
    if not (len(first) == 1 and _is_plain(first) and category(first) in {"Lu", "Nd"}):
        first = f"X{kept[:1]}"
    spelled = first + kept[1:]
    # The first letter's case alone is no other name: the catalog writes it small, Beancount large.
    if kept == part and spelled[:1].lower() == part[:1].lower():
        return spelled
    return f"{spelled}-x{_digest(part).hex()[:8]}"


def _is_plain(char: str) -> bool:
    if char.isascii():
        return char.isalnum() or char == "-"
    return ord(char) < _LETTERS_BELOW and category(char) in {"Lu", "Ll"}


@lru_cache(maxsize=4096)
def hledger_account(name: str) -> str:
    """Return an account as hledger reads it: any text without a second blank, a comment's start or brackets."""
    return _name(name, _UNSAFE_ACCOUNT)


def _name(text: str, unsafe: frozenset[str]) -> str:
    return _BLANKS.sub(lambda blanks: _percent(blanks[0]), clean(text, unsafe))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One format. `declares_in_main`: accounts are declared once in the main file, not in each file that uses them.

    `include` takes a month's directory; `head` a site and a day.
    """

    name: str
    suffix: str
    main_head: str
    declares_in_main: bool
    include: Callable[[str], str]
    head: Callable[[str, date], str]
    account: Callable[[str], str]
    declarations: Callable[[JournalEntry], tuple[str, ...]]
    entry: Callable[[JournalEntry], str]


def _place(site: str) -> str:
    return f"Site {clean(site)}" if site else "No site"


_ESCAPED: Final = frozenset('"\\')

# --- Beancount --------------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    text = clean(text)
    if _ESCAPED.isdisjoint(text):
        return f'"{text}"'
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _beancount_head(site: str, day: date) -> str:
    # Beancount minds the plugins of the file that it is given and of no other: checked alone, this file opens its own
    # accounts; within the main file, what that one opens has to do.
    return f'; {_place(site)}, {day}. Appended to, never rewritten.\nplugin "beancount.plugins.auto_accounts"\n'


def _beancount_declarations(entry: JournalEntry) -> tuple[str, ...]:
    return (
        f"{OPENED} commodity {commodity(entry.currency)}",
        *(f"{OPENED} open {beancount_account(posting.account)}" for posting in entry.postings),
    )


def _beancount_entry(entry: JournalEntry) -> str:
    lines = [f"{entry.day} * {_quoted(entry.dimensions.get('account', ''))} {_quoted(entry.narration)}"]
    lines += [f"  {key}: {_quoted(value)}" for key, value in _tags(entry)]
    return "\n".join([*lines, *_postings(entry, beancount_account, indent="  ")]) + "\n"


BEANCOUNT: Final = Dialect(
    name="beancount",
    suffix=".beancount",
    main_head='; Everything that was booked. Lines are added, files are never rewritten.\noption "title" "Usage"\n',
    declares_in_main=True,
    include=lambda month: f'include "{month}/*.beancount"',
    head=_beancount_head,
    account=beancount_account,
    declarations=_beancount_declarations,
    entry=_beancount_entry,
)

# --- hledger ----------------------------------------------------------------------------------------------------------


def _hledger_head(site: str, day: date) -> str:
    tags = "".join(f"tag {tag}\n" for tag in _TAGS)
    return f"; {_place(site)}, {day}. Appended to, never rewritten.\ndecimal-mark .\n{tags}"


def _payee(entry: JournalEntry) -> str:
    return _name(entry.dimensions.get("account", "") or "-", _UNSAFE_PAYEE)


def _hledger_declarations(entry: JournalEntry) -> tuple[str, ...]:
    return (
        f"commodity 1000.{'0' * minor_unit_places(entry.currency)} {commodity(entry.currency)}",
        f"payee {_payee(entry)}",
        # Files begun by an earlier version declare the other tags alone.
        *((f"tag {_OWN_ID}",) if _id_tag(entry) == _OWN_ID else ()),
        *(f"account {hledger_account(posting.account)}" for posting in entry.postings),
    )


def _hledger_entry(entry: JournalEntry) -> str:
    tags = ", ".join(f"{key}:{clean(value, _UNSAFE_TAG)}" for key, value in _tags(entry))
    lines = [f"{entry.day} * {_payee(entry)} | {clean(entry.narration, _UNSAFE_TEXT)}", f"    ; {tags}"]
    return "\n".join([*lines, *_postings(entry, hledger_account, indent="    ")]) + "\n"


HLEDGER: Final = Dialect(
    name="hledger",
    suffix=".journal",
    main_head="; Everything that was booked. Lines are added, files are never rewritten.\n",
    declares_in_main=False,
    include=lambda month: f"include {month}/*.journal",
    head=_hledger_head,
    account=hledger_account,
    declarations=_hledger_declarations,
    entry=_hledger_entry,
)


def _postings(entry: JournalEntry, account: Callable[[str], str], *, indent: str) -> list[str]:
    currency = commodity(entry.currency)
    return [
        f"{indent}{account(posting.account)}  {amount_text(posting.amount, entry.currency)} {currency}"
        for posting in entry.postings
    ]


def _tags(entry: JournalEntry) -> list[tuple[str, str]]:
    """Return the metadata of an entry: its charge or own id, then its dimensions in a fixed order; only known ones."""
    tags = [(_id_tag(entry), entry.id)]
    tags += [(tag, entry.dimensions[tag]) for tag in _TAGS if entry.dimensions.get(tag)]
    if commodity(entry.currency) != entry.currency:
        tags.append(("currency", entry.currency))
    return tags


def _id_tag(entry: JournalEntry) -> str:
    return "charge" if entry.kind == "charge" and "charge" not in entry.dimensions else _OWN_ID
