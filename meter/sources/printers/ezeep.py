"""ezeep Blue: webhooks of print jobs that came to an end.

    printjob_succeeded ─▶ print.job completed        printjob_failed ─▶ print.job cancelled

- The vendor signs nothing: a webhook shows HTTP Basic credentials, as they were given when it was registered. A secret
  is `user:password`.
- No document that could be read shows a body: where each field stands is the option `fields`. A path that leads nowhere
  refuses the webhook and names it; nothing is guessed from what else stands there. The first rejection shows the body.
- Without a time in the body the receipt time stands in, flagged as `fallback`. The vendor keeps what could not be
  delivered and sends it again.

Facts: apidocs.ezeep.com (webhooks), November 2026: topics, registration, credentials.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from meter.model.event import Json
from meter.model.instant import parse_instant
from meter.sources.clocks import Timed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest
from meter.sources.printers.jobs import copies_counted, job_event, pages_of
from meter.sources.signature import any_equal, require
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Option, Reading, Setup, Vendor

_SCHEME: Final = "basic "
_STATUS: Final[Mapping[str, str]] = {"printjob_succeeded": "completed", "printjob_failed": "cancelled"}
_FIELDS: Final[Mapping[str, str]] = {
    "topic": "topic",
    "job": "data.job_id",
    "printer": "data.printer_name",
    "user": "data.user_email",
    "pages": "data.pages",
    "copies": "data.copies",
    "color": "data.color",
    "duplex": "data.duplex",
    "paper": "data.paper_format",
    "time": "data.finished_at",
}


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the credentials are an active secret's (RFC 7617)."""
    shown = delivery.headers.get("authorization", "")
    given = shown[len(_SCHEME) :] if shown[: len(_SCHEME)].lower() == _SCHEME else ""
    expected = [b64encode(secret.encode()) for secret in setup.secrets if secret]
    require(any_equal(given, expected), remedy="register the webhook with the source's secret, user:password")


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the job in a webhook; nothing where it is about something else.

    Raises BadInput (`bad_payload`, or as `strict_json` does).
    """
    paths = _paths(setup)
    body = Fields.of_json(delivery.body)
    status = _STATUS.get(body.text(paths["topic"]))
    if status is None:
        return NOTHING
    job, shown = body.text(paths["job"]), body.opt_text(paths["time"])
    pages = body.integer(paths["pages"]) if status == "completed" else body.opt_integer(paths["pages"]) or 0
    copies = body.opt_integer(paths["copies"])
    data: dict[str, Json] = {
        "job": job,
        "printer": body.text(paths["printer"]),
        "impressions": pages * copies_counted(setup, copies),
        "color": _flag(body, paths["color"]),
        "duplex": _flag(body, paths["duplex"]),
        "paper": body.opt_text(paths["paper"]),
        "copies": copies,
        "status": status,
    }
    timed = Timed(None, "fallback") if shown is None else Timed(parse_instant(shown, what=paths["time"]))
    user = _identity(body.opt_text(paths["user"]))
    # A job that failed and then succeeded has been printed, also where both have one time.
    event_id = f"{job}:{1 if status == 'completed' else 0}:{digest(shown, user, data)}"
    return Reading([job_event(setup, id=event_id, timed=timed, subject=user, data=data)])


def _paths(setup: Setup) -> Mapping[str, str]:
    given: Mapping[str, Json] = setup.options["fields"]
    unknown = sorted(given.keys() - _FIELDS.keys())
    if unknown:
        raise bad_payload(f"the option fields has {', '.join(unknown)[:80]}; there are {', '.join(_FIELDS)}")
    return {**_FIELDS, **{name: str(path) for name, path in given.items()}}


def _flag(body: Fields, path: str) -> bool | None:
    return None if body.raw(path) is None else body.flag(path)


def _identity(user: str | None) -> str | None:
    if user is None:
        return None
    return f"email:{user}" if "@" in user else f"ezeep:{user}"


EZEEP: Final = Vendor(
    title="ezeep Blue",
    area="printers",
    needs=frozenset({"site", "secrets"}),
    hook=Hook(check=check, read=read),
    options={
        "fields": Option(
            default={},
            about="Where fields stand in the body, as dotted paths, in addition to "
            + ", ".join(f"{name}: {path}" for name, path in _FIELDS.items())
            + ".",
        ),
        "pages_of": pages_of("one copy"),
    },
    covers=(
        Covers(
            what="printjob_succeeded",
            state="partly",
            becomes="print.job",
            note="the vendor publishes no body: set the option `fields` by the first one",
        ),
        Covers(
            what="printjob_failed",
            state="partly",
            becomes="print.job",
            note="as cancelled; the body as above",
        ),
        Covers(what="reports (CSV)", state="not", note="import them as a table"),
    ),
    facts="apidocs.ezeep.com, November 2026",
)
