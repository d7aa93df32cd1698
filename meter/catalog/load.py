"""Texts to one validated catalog and a draft of the directory: all faults at once, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from meter.catalog.build import SECTIONS, read_catalog
from meter.catalog.draft import DirectoryDraft
from meter.catalog.entry import Entry, When
from meter.catalog.issues import CatalogError, Faults, Issue, Place
from meter.catalog.nodes import Item, Node, plain_value, read_json, read_yaml
from meter.catalog.people import Known, read_people
from meter.model.catalog import Catalog
from meter.model.event import Json
from meter.model.instant import local_midnight

# A file for each site and one for the plans; beyond that a directory was meant by mistake.
FILES_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCatalog:
    """What files say. `body` holds the catalog's sections as read: what the store keeps of a version.

    `catalog` is built from it, with version 0; `effective` is the instant that the files name, if they do.
    """

    body: Mapping[str, Json]
    catalog: Catalog
    effective: datetime | None
    directory: DirectoryDraft
    warnings: tuple[Issue, ...]


def read_catalog_text(files: Sequence[tuple[str, str]], *, known: Known | None = None) -> LoadedCatalog:
    """Return what `files`, each a name and its YAML text, say together. Raises CatalogError with every fault.

    Those that are no YAML are told first, as `bad_yaml`. `known` names what the store holds already, which entries may
    refer to.
    """
    faults = Faults()
    trees = [read_yaml(text, file=name, faults=faults) for name, text in files[:FILES_MAX]]
    roots = [root for root in trees if root is not None]
    if len(roots) < len(trees):
        raise CatalogError(faults.issues, code="bad_yaml")
    if len(files) > FILES_MAX or not files:
        faults.add(Place("", None, ""), f"{len(files)} files are given; give 1 to {FILES_MAX}")
    faults.settle()
    return _load(roots, known or Known(), faults)


def read_catalog_json(text: str, *, known: Known | None = None) -> LoadedCatalog:
    """Return what a JSON text with the same sections says. Raises CatalogError with every fault, or as `bad_json`."""
    faults = Faults()
    root = read_json(text, file="body", faults=faults)
    faults.settle()
    return _load([root], known or Known(), faults)


def _load(roots: Sequence[Node], known: Known, faults: Faults) -> LoadedCatalog:
    merged = _merge(roots, faults)
    root = Entry(merged, Place(roots[0].file, None, "") if roots else Place("", None, ""), faults)
    effective = root.when("effective")
    found = read_catalog(root, version=0, effective=None)
    catalog = found.catalog
    draft = read_people(root, plans=catalog.plans, credit=found.context, sites=catalog.sites, known=known)
    root.done()
    faults.settle()
    sections = plain_value(merged)
    return LoadedCatalog(
        body={name: sections[name] for name in SECTIONS if name in sections},
        catalog=catalog,
        effective=instant_of(effective, catalog.timezone),
        directory=draft,
        warnings=tuple(faults.warnings),
    )


def instant_of(when: When, timezone: str) -> datetime | None:
    """Return the instant; a date is its midnight in `timezone`."""
    if isinstance(when, date) and not isinstance(when, datetime):
        return local_midnight(when, timezone)
    return when


def _merge(roots: Sequence[Node], faults: Faults) -> Node:
    """Return one map of all sections: maps are joined key by key, lists one after the other, nothing is said twice."""
    merged: dict[str, Item] = {}
    for root in roots:
        if not isinstance(root.value, dict):
            faults.add(Place(root.file, None, ""), "is no map of sections; a catalog begins with `operator: NAME`")
            continue
        for name, item in root.value.items():
            merged[name] = _join(merged[name], item, name, faults) if name in merged else _copy(item)
    return Node(roots[0].file if roots else "", merged)


def _copy(item: Item) -> Item:
    """Return an item whose map or list may be added to."""
    value = item.node.value
    if isinstance(value, dict):
        value = dict(value)
    elif isinstance(value, list):
        value = list(value)
    return Item(item.line, item.label, Node(item.node.file, value))


def _join(first: Item, second: Item, name: str, faults: Faults) -> Item:
    one, two = first.node.value, second.node.value
    if isinstance(one, dict) and isinstance(two, dict):
        for key, item in two.items():
            if key in one:
                before = one[key]
                faults.add(
                    Place(item.node.file, item.line, name + item.label),
                    f"stands already in {before.node.file}, line {before.line}; keep one",
                )
            else:
                one[key] = item
    elif isinstance(one, list) and isinstance(two, list):
        one.extend(two)
    elif name != "operator" or plain_value(first.node) != plain_value(second.node):
        # The operator may stand in each file, so that none is applied to the wrong one.
        place = Place(second.node.file, second.line, name)
        faults.add(place, f"stands already in {first.node.file}, line {first.line}; keep one")
    return first
