"""What is wrong with a catalog, and where: every fault at once, each with file, line and path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meter.model.errors import BadInput
from meter.model.likeness import did_you_mean

# Enough to mend a file in one go; a file of another kind would have one for every line.
ISSUES_MAX: Final = 500
# Each looks at some thousand names.
SUGGESTIONS_MAX: Final = 50
_ISSUES_IN_DETAIL: Final = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said. `line` counts from 1; None where the text has none of its own (a JSON body)."""

    file: str
    line: int | None
    path: str


@dataclass(frozen=True, slots=True)
class Issue:
    """A fault or a warning at a place; flat, as it leaves in JSON."""

    file: str
    line: int | None
    path: str
    message: str

    @property
    def text(self) -> str:
        """Return `file:line: path: message`, as compilers write it."""
        line = "" if self.line is None else f":{self.line}"
        file = f"{self.file}{line}: " if self.file else ""
        path = f"{self.path}: " if self.path else ""
        return f"{file}{path}{self.message}"


class CatalogError(BadInput):
    """A catalog or an entry of the directory that cannot be taken; `issues` holds every fault that was found.

    `bad_catalog`: its content is wrong; `bad_json`, `bad_yaml`: it cannot be read to begin with.
    """

    default_code = "bad_catalog"

    def __init__(self, issues: Sequence[Issue], *, code: str | None = None) -> None:
        """Keep the issues; the message shows the first few."""
        self.issues = tuple(issues)
        shown = "; ".join(issue.text for issue in self.issues[:_ISSUES_IN_DETAIL])
        more = len(self.issues) - _ISSUES_IN_DETAIL
        super().__init__(shown + (f"; and {more} more" if more > 0 else ""), code=code)


class Faults:
    """Collects faults and warnings while a catalog is read, so that all of them can be told at once."""

    def __init__(self, *, stored: bool = False) -> None:
        """Start without any. `stored`: what is read was taken before, by a version that knew fewer faults."""
        self._stored = stored
        self.issues: list[Issue] = []
        self.warnings: list[Issue] = []
        self._suggestions_left = SUGGESTIONS_MAX

    def add(self, place: Place, message: str) -> None:
        """Record a fault; beyond `ISSUES_MAX` they are no longer kept."""
        if len(self.issues) < ISSUES_MAX:
            self.issues.append(Issue(place.file, place.line, place.path, message))

    def warn(self, place: Place, message: str) -> None:
        """Record something that is accepted but does less than it says."""
        if len(self.warnings) < ISSUES_MAX:
            self.warnings.append(Issue(place.file, place.line, place.path, message))

    def refuse(self, place: Place, message: str) -> None:
        """Record a fault that an earlier version did not know: what is stored stays readable, with a warning.

        Whoever refuses something puts the nearest thing that can be rated in its place.
        """
        if self._stored:
            self.warn(place, message)
        else:
            self.add(place, message)

    def suggestion(self, name: str, known: Sequence[str]) -> str:
        """Return ` (did you mean ...?)` where one of `known` looks like `name`, else nothing."""
        if not self._suggestions_left:
            return ""
        self._suggestions_left -= 1
        return did_you_mean(name, known)

    def settle(self) -> None:
        """Raise CatalogError if there was any fault."""
        if self.issues:
            raise CatalogError(self.issues)
