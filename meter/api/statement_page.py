"""A statement as a page that its member can read: one file, nothing loaded from anywhere, fit for paper."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined, Template

from meter.api.statement_json import StatementJson
from meter.export.targets.ledger.text import amount_text
from meter.model.money import plain

_PAGE: Final = files("meter.api") / "page"
_STYLE: Final = (_PAGE / "statement.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
# No script at all, this one style and nothing else: a name that got past the escaping would still do nothing.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def statement_page(statement: StatementJson) -> str:
    """Return the page. Every text in it is escaped; days are those of the account's zone."""
    return _template().render(it=statement, style=_STYLE, day=statement.day, last_day=statement.last_day)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["money"] = lambda amount, currency: f"{amount_text(Decimal(amount), currency)} {currency}"
    environment.filters["percent"] = lambda rate: plain(Decimal(rate) * 100)
    return environment.from_string((_PAGE / "statement.html").read_text(encoding="utf-8"))
