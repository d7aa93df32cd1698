"""The command line: `meter COMMAND --help` tells the rest.

Exit codes: 0 done, 1 failed (try again, or look), 2 wrong usage or invalid input.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from meter import __version__
from meter.cli import (
    authorizations,
    catalog,
    closing,
    counters,
    deliveries,
    doubtful,
    drafts,
    edges,
    gateway,
    identities,
    importing,
    invoices,
    journal,
    keys,
    members,
    reading,
    rejections,
    rerate,
    simulate,
    sources,
    statement,
    targets,
    unread,
    unresolved,
)
from meter.cli.common import err
from meter.log import configure_logging
from meter.model.errors import BadInput, MeterError

app = typer.Typer(
    name="meter",
    help="Usage metering gateway for coworking operators.",
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


app.command()(gateway.up)
app.command()(gateway.serve)
app.command()(gateway.migrate)
app.command()(gateway.check)
app.command()(catalog.apply)
app.command()(catalog.plan)
app.command("import")(importing.import_files)
app.command()(reading.charges)
app.command()(reading.balance)
app.command()(reading.explain)
app.command()(statement.statement)
app.command()(closing.close)
app.command()(rerate.rerate)
app.add_typer(rejections.app)
app.add_typer(unresolved.app)
app.add_typer(drafts.app)
app.add_typer(identities.app)
app.add_typer(members.app)
app.add_typer(authorizations.app)
app.command()(unread.unread)
app.command()(doubtful.doubtful)
app.command()(counters.counters)
app.add_typer(sources.app)
app.add_typer(edges.app)
app.add_typer(journal.app)
app.add_typer(deliveries.app)
app.command("reconcile")(targets.show_reconciliation)
app.command()(invoices.invoices)
app.add_typer(keys.app)
app.command()(simulate.simulate)


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
    except BadInput as error:
        err.print(f"[red]error[/red] ({error.code}): ", end="")
        err.print(error.detail, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except MeterError as error:
        err.print(f"[red]error[/red] ({error.code}): ", end="")
        err.print(error.detail, markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
