"""CUPS' page_log: lines that a running CUPS 2.4.2 wrote, and the lines of each page of old ones."""

from tests.sources.case import KEYS, Asked, Case, Sample, by_token, setup
from tests.sources.printing import files_answer

# Written in the "standard" format by a running CUPS 2.4.2: a title and a user with blanks, two copies, both sides.
STANDARD = (
    "lounge root 1 [22/Nov/2026:11:30:16 +0000] total 6 - localhost Q1 deck v2.pdf - two-sided-long-edge",
    "lounge mira k 2 [22/Nov/2026:11:30:16 +0000] total 3 - localhost plan - -",
)
# As recommended: the second is of a job that a printer that was off never took, cancelled.
DELIMITED = (
    (
        "lounge|jo|3|[22/Nov/2026:11:32:49 +0000]|total|3|acme|localhost"
        "|urn:uuid:690554dd-a6d0-3a91-4beb-217016b621eb|3|1|monochrome|two-sided-long-edge|A4|Q1 deck | v2.pdf"
    ),
    (
        "jam|mira|4|[22/Nov/2026:11:32:55 +0000]|total|3|-|localhost"
        "|urn:uuid:3e1d5f27-c876-381d-4e27-41ac81136355|3|3|monochrome|-|-|plan"
    ),
)

CASE = Case(
    vendor="cups",
    setup=setup("cups", secrets=KEYS),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="page_log",
            body="\n".join(STANDARD).encode(),
            again="\r\n".join((*STANDARD, "")).encode(),
            becomes=[("print.job", "cups:root"), ("print.job", "cups:mira k")],
            lines=True,
        )
    ],
    answers=[
        Asked(
            name="files",
            by="file",
            body=files_answer({"page_log": "\n".join((*STANDARD, "")).encode()}),
            becomes=[("print.job", "cups:root"), ("print.job", "cups:mira k")],
        )
    ],
)
