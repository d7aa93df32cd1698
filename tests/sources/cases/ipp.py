"""IPP: what a running CUPS 2.4.2 answered to Get-Jobs, in bytes."""

from pathlib import Path

from tests.sources.case import Asked, Case, setup

# Newest first: one that a printer that was off never took, cancelled; three sides on both sides of the paper; two
# copies of them; one of a user with a blank in the name.
GET_JOBS = (Path(__file__).parents[1] / "recorded" / "cups-2.4.2-get-jobs.ipp").read_bytes()

CASE = Case(
    vendor="ipp",
    setup=setup("ipp", api_base="http://print.example:631/"),
    samples=[],
    answers=[
        Asked(
            name="Get-Jobs",
            by="jobs",
            body=GET_JOBS,
            becomes=[("print.job", f"cups:{user}") for user in ("mira", "jo", "root", "mira k")],
        )
    ],
)
