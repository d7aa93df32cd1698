"""Targets as the settings configure them: each with its kind, its setup and what is wrong with it; and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from meter.config import Settings, TargetSettings, variable_of
from meter.export.gather.customers import Customers
from meter.export.targets.registry import KINDS
from meter.export.targets.spec import Kind, Setup
from meter.sources.options import options_of
from meter.transport.outgoing import Guard

# What goes into each request's Authorization, of which there can be but one.
_AUTHORISING: Final = frozenset({"api_key", "client_id"})
_NEEDED: Final = {"company": "company (the account at the vendor)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredTarget:
    """A target that is enabled; `faults` names each setting that keeps it from working, a line each.

    What several may not do beside one another is a fault of each of them.
    """

    kind: Kind
    setup: Setup
    faults: tuple[str, ...] = ()


class Targets:
    """Every enabled target, by name. `faults` are those of all, each once."""

    def __init__(
        self,
        settings: Mapping[str, TargetSettings],
        *,
        operator: str,
        data_dir: Path,
        guard: Guard = Guard(),  # noqa: B008 -- it never changes
    ) -> None:
        """Read the settings; nothing is raised for their faults."""
        named = {name: given for name, given in sorted(settings.items()) if given.enabled}
        keys = {name: _customer_keys(name, KINDS[given.kind]) for name, given in named.items()}
        made = {
            name: _target(name, given, operator=operator, data_dir=data_dir, guard=guard)
            for name, given in named.items()
        }
        invoicing = {name for name, target in made.items() if target.kind.invoices(target.setup)}
        self._targets: dict[str, ConfiguredTarget] = {}
        for name, target in made.items():
            rivals = {other: keys[other] for other in invoicing if other != name} if name in invoicing else {}
            customers = Customers(target=name, keys=keys[name], rivals=rivals)
            self._targets[name] = _with(target, customers)
        for names, fault in _together(list(self._targets.values())):
            for name in names:
                target = self._targets[name]
                self._targets[name] = replace(target, faults=(*target.faults, fault))
        self.faults = list(dict.fromkeys(fault for target in self._targets.values() for fault in target.faults))

    def __iter__(self) -> Iterator[ConfiguredTarget]:
        """Return the targets that are enabled, by name."""
        return iter(self._targets.values())

    def get(self, name: str) -> ConfiguredTarget | None:
        """Return a target."""
        return self._targets.get(name)


def targets_of(settings: Settings, *, operator: str) -> Targets:
    """Return the targets that a gateway's settings name."""
    guard = Guard.of(private=settings.outgoing.private, plaintext=settings.outgoing.plaintext)
    return Targets(settings.targets, operator=operator, data_dir=settings.data_dir, guard=guard)


def _customer_keys(name: str, kind: Kind) -> tuple[str, ...]:
    return (name,) if kind.customer is None else tuple(dict.fromkeys((name, kind.customer)))


def _target(name: str, given: TargetSettings, *, operator: str, data_dir: Path, guard: Guard) -> ConfiguredTarget:
    kind, place = KINDS[given.kind], variable_of("targets", name)
    options, wrong = options_of(kind.options, given.options)
    faults = [f"{place}__OPTIONS: {fault}" for fault in wrong]
    for field, known in (("mode", kind.modes), ("grain", kind.grains)):
        chosen = getattr(given, field)
        if chosen is not None and chosen not in known:
            those = f"it is one of {', '.join(known)}" if known else f"a target of kind {given.kind} has none"
            faults.append(f"{place}__{field.upper()}: is {chosen}; {those}")
    secrets = [secret.get_secret_value() for secret in given.secrets]
    setup = Setup(
        operator=operator,
        name=name,
        kind=given.kind,
        data_dir=data_dir,
        base_url=given.base_url,
        mode=given.mode if given.mode in kind.modes else next(iter(kind.modes), None),
        grain=given.grain if given.grain in kind.grains else next(iter(kind.grains), None),
        start=given.start,
        late_s=given.late_s,
        company=given.company,
        api_key=None if given.api_key is None else given.api_key.get_secret_value() or None,
        client_id=given.client_id,
        client_secret=None if given.client_secret is None else given.client_secret.get_secret_value() or None,
        refresh_token=None if given.refresh_token is None else given.refresh_token.get_secret_value() or None,
        secrets=tuple(secret for secret in secrets if secret.strip()),
        options=options,
        guard=guard,
    )
    missing = [field.name for field in fields(Setup) if field.name in kind.needs and not getattr(setup, field.name)]
    if missing:
        listed = ", ".join(_NEEDED.get(name, name) for name in missing)
        faults.append(f"{place}: a target of kind {given.kind} needs {listed}")
    if kind.needs & _AUTHORISING and _has_login(setup.base_url):
        faults.append(
            f"{place}__BASE_URL: has a login in it, and a target of kind {given.kind} says by a key of its own who it "
            "is; take user and password out of the address"
        )
    faults += [f"{place}: {fault}" for fault in kind.faults(setup)]
    return ConfiguredTarget(kind=kind, setup=setup, faults=tuple(faults))


def _has_login(base_url: str | None) -> bool:
    try:
        parts = urlsplit(base_url or "")
    except ValueError:  # no address at all, which is found where it is asked
        return False
    return parts.username is not None or parts.password is not None


def _with(target: ConfiguredTarget, customers: Customers) -> ConfiguredTarget:
    return replace(target, setup=replace(target.setup, customers=customers))


def _together(targets: list[ConfiguredTarget]) -> Iterator[tuple[list[str], str]]:
    """Give what is wrong with targets beside one another, with their names: revenue that would be told twice."""
    ledgers = [target.setup.name for target in targets if target.setup.kind == "ledger"]
    if len(ledgers) > 1:
        listed = " and ".join(ledgers)
        yield ledgers, f"METER_TARGETS: {listed} are ledgers, and would write the same files; keep one"
    books = [target.setup for target in targets if target.kind.books]
    if len({setup.mode for setup in books}) > 1:
        listed = ", ".join(f"{setup.name} ({setup.mode})" for setup in books)
        fault = (
            f"METER_TARGETS: {listed} keep books in different modes; the same revenue is told as invoices or as "
            "journals, never as both: set one mode"
        )
        yield [setup.name for setup in books], fault
    seen: dict[tuple[str, str | None, str], str] = {}
    for target in targets:
        setup = target.setup
        # What has no account at a vendor is known by its address, and may be told different things there.
        known_by = setup.company or setup.api_key or (setup.base_url and str(setup.options.get("dataset")))
        if known_by is None:
            continue
        place = (setup.kind, setup.base_url, known_by)
        first = seen.setdefault(place, setup.name)
        if first != setup.name:
            fault = f"METER_TARGETS: {first} and {setup.name} are one and the same {setup.kind}; keep one of them"
            yield [first, setup.name], fault
