"""ezeep Blue: the topics and credentials of its documents, around a body with the paths of the option `fields`."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Case, Sample, setup


def job(topic: str = "printjob_succeeded", **data: Any) -> bytes:
    known = {
        "job_id": "0f6c1c0e",
        "printer_name": "LOUNGE-MFP",
        "user_email": "Mira@acme.example",
        "pages": 4,
        "copies": 2,
        "color": True,
        "duplex": False,
        "paper_format": "A4",
        "finished_at": "2026-03-02T09:14:02+01:00",
    }
    return json.dumps({"topic": topic, "data": {**known, **data}}).encode()


def sign(_setup: Setup, key: str, _delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """RFC 7617: the credentials in base64, and nothing of the body."""
    return {"authorization": f"Basic {b64encode(key.encode()).decode()}"}, {}


CASE = Case(
    vendor="ezeep",
    setup=setup("ezeep", secrets=KEYS),
    sign=sign,
    tamper=False,
    samples=[
        Sample(
            name="printjob_succeeded",
            body=job(),
            becomes=[("print.job", "email:mira@acme.example")],
            required=["topic", "data.job_id", "data.printer_name", "data.pages"],
        ),
        Sample(
            name="printjob_failed",
            body=job("printjob_failed", pages=None),
            becomes=[("print.job", "email:mira@acme.example")],
        ),
        Sample(name="another topic", body=job("printer_added"), becomes=[]),
    ],
)
