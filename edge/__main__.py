"""meter-edge: the agent on site (contract, Commands)."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge import app, check
from edge.config.loading import data_directory, load_settings
from edge.config.settings import EdgeSettings
from edge.spool import errors
from meter import __version__
from meter.log import configure_logging, log
from meter.model.errors import BadInput, MeterError, Unavailable

# sysexits.h: a setting is wrong; something that was needed is not there; a fault of ours.
_BAD_SETTINGS: Final = os.EX_CONFIG
_UNAVAILABLE: Final = os.EX_UNAVAILABLE
_BROKEN: Final = os.EX_SOFTWARE


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or as sysexits.h names what is wrong."""
    asked = _parser().parse_args(arguments)
    try:
        if "url" in asked:  # enroll makes the settings that the others need
            return _enroll(asked)
        settings = load_settings()
        configure_logging(settings.log_level)
        return int(asked.action(settings, asked))
    except errors.SpoolFailed as error:
        log.error("spool_failed", detail=error.detail)
        errors.leave()
    except MeterError as error:
        sys.stderr.write(f"{error.detail}\n")
        if isinstance(error, BadInput):
            return _BAD_SETTINGS
        return _UNAVAILABLE if isinstance(error, Unavailable) else _BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meter-edge", description="Keeps a site's events until the gateway has them.")
    parser.add_argument("--version", action="version", version=f"meter-edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="collect, keep and send until stopped")
    run.set_defaults(action=_run)
    look = commands.add_parser("check", help="look at settings, spool and the way to the gateway")
    look.set_defaults(action=_check)
    enroll = commands.add_parser("enroll", help="become an agent of the gateway, with a code from meter edges enroll")
    enroll.add_argument("url", metavar="URL", help="where the gateway is: https://meter.example")
    enroll.add_argument("code", metavar="CODE", help="what meter edges enroll has printed")
    enroll.add_argument("--ca-file", metavar="F", type=Path, help="whom to trust there (PEM), beside nobody else")
    enroll.add_argument("--force", action="store_true", help="although this machine is enrolled already")
    enroll.add_argument("--insecure", action="store_true", help="over http, where everyone on the way reads the keys")
    spool = commands.add_parser("spool", help="what is kept here, and what of it the gateway has")
    spool.set_defaults(action=_spool)
    return parser


def _enroll(asked: argparse.Namespace) -> int:
    from edge.enrolment.enroll import enroll  # noqa: PLC0415 -- loads cryptography, which the agent has no room for

    data_dir = data_directory()
    work = enroll(
        asked.url,
        asked.code,
        data_dir=data_dir,
        ca_file=asked.ca_file,
        insecure=asked.insecure,
        force=asked.force,
    )
    enrolled = asyncio.run(work)
    sys.stdout.write(f"{enrolled.edge} of {enrolled.site} is enrolled; its keys are in {data_dir}\n")
    load_settings()
    return 0


def _run(settings: EdgeSettings, _asked: argparse.Namespace) -> int:
    asyncio.run(app.run(settings))
    return 0


def _check(settings: EdgeSettings, _asked: argparse.Namespace) -> int:
    findings = asyncio.run(check.check(settings))
    for finding in findings:
        sys.stdout.write(f"{'ok   ' if finding.good else 'FAULT'} {finding.about}: {finding.detail}\n")
    return 0 if all(finding.good for finding in findings) else 1


def _spool(settings: EdgeSettings, _asked: argparse.Namespace) -> int:
    for name, value in asyncio.run(check.spool_figures(settings)).items():
        sys.stdout.write(f"{name:<12} {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
