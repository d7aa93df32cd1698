"""What is due by the server's clock, whatever that clock does (decision 0014)."""

from __future__ import annotations

from typing import Final

# Nothing is ever told to wait longer than this. So what is due later was written before the clock was set back, and
# would stand still until it has caught up.
WAIT_S_MAX: Final = 300.0


def due(column: str, *, clock: str = "clock_timestamp()") -> str:
    """Return the SQL condition that what is due at `column` may be worked on now."""
    return f"({column} <= {clock} OR {column} > {clock} + interval '{WAIT_S_MAX:g} seconds')"
