"""What a kind of target is: the words in which each one is described (decision 0014).

Setup ──▶ Kind.shape   what it makes of what was booked (meter.export.gather)
Setup ──▶ Kind.open    how it sends, looks up and says what it holds (an Exporter)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

from meter.export.contract import Exporter
from meter.export.gather.customers import Customers
from meter.export.gather.shape import Shape
from meter.export.gather.spans import Grain
from meter.export.targets.gaps import Needs
from meter.model.event import Json
from meter.sources.spec import Option
from meter.store.engine import Database
from meter.telemetry import Telemetry
from meter.transport.outgoing import Guard

Mode: TypeAlias = Literal["invoices", "journals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One configured target. `options` holds every option of its kind, defaults filled in.

    `company` is the account at the vendor: a QuickBooks realm, a Xero tenant, a Square location, a subdomain. `start`:
    nothing of days or periods before it is sent. What comes late for a sum that was sent is collected for `late_s`
    seconds. `customers` says whose customer each account is. `data_dir` is where local files go. `guard` says where
    its calls may lead.
    """

    operator: str
    name: str
    kind: str
    data_dir: Path
    base_url: str | None = None
    mode: Mode | None = None
    grain: Grain | None = None
    start: date | None = None
    late_s: int = 0
    company: str | None = None
    api_key: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, Json] = field(default_factory=dict)
    customers: Customers = field(default_factory=lambda: Customers(target="", keys=(), rivals={}))
    guard: Guard = field(default_factory=Guard)

    @property
    def known_secrets(self) -> tuple[str | None, ...]:
        """Return what no answer and no log may show."""
        return self.api_key, self.client_secret, self.refresh_token, *self.secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a target works with beside its setup: a database for its tokens, and where it tells what happens."""

    database: Database
    telemetry: Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of target. `about` is a sentence or two for its documentation, with a link to a page of its own.

    `modes` and `grains` are those that it can be set to, the default first; empty: it has none.
    `needs` names the fields of Setup without which nothing could be sent. `customer` is the key of an account's
    `external` ids that names its customer there (None: it has none). `invoices` tells whether it bills members in a
    mode, `books` whether it keeps double-entry books. `faults` says what else is wrong with a setup, a line each.
    `needs_names` says which names of ours a setup must give the target's own for.
    `past`: a new target of the kind gets everything that was ever booked, not only what is booked from now on.
    `never_resent`: why nothing that was delivered is sent again by hand, and what to do instead ("": it may be).
    """

    title: str
    facts: str
    about: str = ""
    shape: Callable[[Setup], Shape]
    open: Callable[[Setup, Means], Exporter]
    modes: tuple[Mode, ...] = ()
    grains: tuple[Grain, ...] = ()
    needs: frozenset[str] = frozenset()
    options: Mapping[str, Option] = field(default_factory=dict)
    customer: str | None = None
    invoices: Callable[[Setup], bool] = lambda _setup: False
    books: bool = False
    needs_names: Callable[[Setup], Needs] = lambda _setup: Needs()
    past: bool = False
    never_resent: str = ""
    faults: Callable[[Setup], list[str]] = lambda _setup: []
