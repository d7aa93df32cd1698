"""PaperCut's daily log, in the fields of its manual; exports of its table have tests of their own."""

from tests.sources.case import KEYS, Asked, Case, Sample, by_token, setup
from tests.sources.printing import files_answer

LOG = (
    "2026-03-02\t9:14:02 AM\tprint01\tLOUNGE-MFP\tmira\tmira\tMIRAS-MBP\tQ1 deck.pdf\t12\t12\t1\t3.00",
    '2026-03-02\t9:20:41 AM\tprint01\tLOUNGE-MFP\tJo\tacme-gmbh\tJO-PC\tInvoice, draft "2".docx\t4\t0\t2\t0.40',
)

CASE = Case(
    vendor="papercut",
    setup=setup("papercut", secrets=KEYS, timezone="Europe/Berlin"),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="printlog_2026_03_02.log",
            body="\n".join(LOG).encode(),
            again=("\ufeff" + "\r\n".join(LOG) + "\r\n").encode(),
            becomes=[("print.job", "papercut:mira"), ("print.job", "papercut:jo")],
            lines=True,
        )
    ],
    answers=[
        Asked(
            name="files",
            by="file",
            body=files_answer({"printlog_2026_03_02.log": "\n".join((*LOG, "")).encode()}),
            becomes=[("print.job", "papercut:mira"), ("print.job", "papercut:jo")],
        )
    ],
)
