"""What the options of targets have in common: our names for theirs, and what is wrong with them. Pure."""

from __future__ import annotations

from typing import Any, Final

from meter.export.targets.spec import Setup

# What `tax_codes` calls lines without tax.
UNTAXED: Final = "none"
# A year: whoever gives more time to pay has written something else.
TERMS_DAYS: Final = range(367)


def names(setup: Setup, option: str) -> dict[str, str]:
    """Return an option that gives the target's names for ours; a name may be written as a number."""
    given: Any = setup.options[option]
    return {ours: str(theirs) for ours, theirs in given.items()}


def unnamed(setup: Setup, *options: str) -> list[str]:
    """Return what is wrong with options that give ids for our names."""
    given: dict[str, Any] = dict(setup.options)
    return [
        f"options.{option}: {ours!r} needs an id as a string"
        for option in options
        for ours, theirs in given[option].items()
        if not isinstance(theirs, str) or not theirs
    ]


def outside(setup: Setup, option: str, allowed: range) -> list[str]:
    """Return what is wrong with a number that is not one of `allowed`."""
    given = setup.options[option]
    return [] if given in allowed else [f"options.{option}: is {given}; it goes from {allowed[0]} to {allowed[-1]}"]
