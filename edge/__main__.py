"""meter-edge: the agent on site (contract, Commands)."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from edge import app, check, spooled
from edge.config.loading import data_directory, load_settings
from edge.config.settings import EdgeSettings
from edge.spool import errors
from edge.spool.records import Stretch
from edge.uplink.recall import Wanted
from meter import __version__
from meter.log import configure_logging, log
from meter.model.errors import BadInput, MeterError, Unavailable
from meter.model.instant import EPOCH, parse_instant

# sysexits.h: a setting is wrong; something that was needed is not there; a fault of ours.
_BAD_SETTINGS: Final = os.EX_CONFIG
_UNAVAILABLE: Final = os.EX_UNAVAILABLE
_BROKEN: Final = os.EX_SOFTWARE
# What a setting names may be there in a moment: an address while the machine starts, a disk that is mounted late or has
# gone read-only. Whoever is told that a setting is wrong starts no agent again.
_NOT_YET: Final = frozenset(("port_taken", "spool_directory"))
# As far as SQLite counts.
_SEQUENCE_MAX: Final = 2**63 - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or as sysexits.h names what is wrong."""
    asked = command_line().parse_args(arguments)
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
        if isinstance(error, Unavailable) or error.code in _NOT_YET:
            return _UNAVAILABLE
        return _BAD_SETTINGS if isinstance(error, BadInput) else _BROKEN


def command_line() -> argparse.ArgumentParser:
    """Return what can be typed."""
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
    replay = spool.add_subparsers(metavar="COMMAND").add_parser(
        "replay", help="send again what the gateway acknowledged and lost: all that is kept here, or some of it"
    )
    replay.set_defaults(action=_replay, parser=replay)
    replay.add_argument("--since", metavar="TIME", type=_instant, help="acknowledged since (RFC 3339, with an offset)")
    replay.add_argument("--boot", metavar="B", type=int, help="of this boot")
    replay.add_argument("--from", metavar="N", type=int, dest="first", help="from this sequence of the boot on")
    replay.add_argument("--to", metavar="M", type=int, dest="last", help="up to this one")
    return parser


def _instant(given: str) -> datetime:
    try:
        return parse_instant(given, what="TIME")
    except BadInput as error:
        raise argparse.ArgumentTypeError(error.detail) from error


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
    for name, value in asyncio.run(spooled.spool_figures(settings)).items():
        sys.stdout.write(f"{name:<12} {value}\n")
    return 0


def _replay(settings: EdgeSettings, asked: argparse.Namespace) -> int:
    if asked.boot is None and (asked.first is not None or asked.last is not None):
        asked.parser.error("--from and --to are sequences of a boot: name it with --boot")
    if asked.boot is not None and asked.since is not None:
        asked.parser.error("--since and --boot are two ways to say what: give one of them")
    if asked.boot is None:
        wanted = Wanted(since=asked.since or EPOCH)
    else:
        wanted = Wanted(stretches=[Stretch(asked.boot, asked.first or 1, asked.last or _SEQUENCE_MAX)])
    found = asyncio.run(spooled.replay(settings, wanted))
    when = "now" if found.running else "when the agent runs"
    sys.stdout.write(
        f"{found.replayed.events} events are sent again {when}; {found.replayed.spooled} wait in all. "
        "What the gateway has of them stays as it is.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
