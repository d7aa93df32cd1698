"""The command line: `meter COMMAND --help` tells the rest.

Exit codes: 0 done, 1 failed (try again, or look), 2 wrong usage or invalid input.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from meter import __version__
from meter.cli.commands import COMMANDS
from meter.cli.running import known
from meter.log import configure_logging
from meter.model.errors import BadInput, MeterError


class _Commands(TyperGroup):
    """Loads the command that runs, and no other: all of them take more than a second on a small machine."""

    def __init__(self, **given: Any) -> None:
        named = {name: TyperCommand(name, help=place.help) for name, place in COMMANDS.items()}
        super().__init__(**(given | {"commands": named}))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, left = super().resolve_command(ctx, args)
        return name, None if name is None else _loaded(name), left


def _loaded(name: str) -> Any:
    place = COMMANDS[name]
    found = getattr(import_module(f"meter.cli.{place.module}"), place.attribute)
    if isinstance(found, typer.Typer):
        return known(typer.main.get_group(found), f"meter {name}")
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return known(typer.main.get_command(alone), f"meter {name}")


app = typer.Typer(
    name="meter",
    help="Usage metering gateway for coworking operators.",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"meter {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=lambda wanted: _version(wanted=wanted), is_eager=True, help="The version."),
    ] = False,
) -> None:
    """Usage metering gateway for coworking operators."""


def _run() -> None:
    """Run the command, and have written all that it prints. Raises BrokenPipeError where nobody reads it."""
    try:
        app()
    finally:
        sys.stdout.flush()


def main() -> None:
    """Run the command line; say every error in a line for people, without a traceback."""
    # What a command works with may have something to tell: not among its output, which a machine may read.
    configure_logging("warning")
    try:
        _run()
    except BrokenPipeError:
        # Whoever read has had enough (`meter charges | head`). What is left unwritten must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MeterError as error:
        _say(error)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _say(error: MeterError) -> None:
    from meter.cli.common import err  # noqa: PLC0415 -- the command has loaded it, `meter --help` goes without

    err.print(f"[red]error[/red] ({error.code}): ", end="")
    err.print(error.detail, markup=False, highlight=False, soft_wrap=True)
