"""Months of what happens in the tests' space."""

from __future__ import annotations

import random

from tests.booking.space import amend, entry, pages, sale, void

HALL = "berlin/print/hall"


def a_month(seed: int, *, events: int = 120) -> list[bytes]:
    """Return a month of jobs, entries and sales, and for every twelve of them a void and an amendment, in no order."""
    chance = random.Random(seed)  # noqa: S311 -- the same month for the same seed
    bodies: list[bytes] = []
    for n in range(events):
        time = f"{chance.randint(1, 28):02}T{chance.randint(6, 20):02}:{chance.randint(0, 59):02}"
        who = chance.choice(["badge:ADA1", "badge:B0B1", "badge:EFE1", "badge:NEW1"])
        bodies.append(
            chance.choice(
                [
                    pages(f"p{n}", time, chance.randint(1, 40), who),
                    entry(f"d{n}", time, who),
                    sale(f"s{n}", time, f"{chance.randint(1, 900) / 100:.2f}", chance.choice([None, who])),
                    sale(f"t{n}", time, f"{chance.randint(1, 900) / 100:.2f}", who, "account"),
                    pages(f"q{n}", time, chance.randint(1, 9), who, job=f"job-{n % 5}"),
                ]
            )
        )
    for n in range(events // 12):
        target = chance.choice(["p", "q"]) + str(chance.randint(0, events - 1))
        bodies.append(void(f"v{n}", f"{chance.randint(1, 28):02}T12:00", target, HALL))
        bodies.append(
            amend(
                f"a{n}",
                f"{chance.randint(1, 28):02}T13:00",
                "p" + str(chance.randint(0, events - 1)),
                HALL,
                {"printer": "hall", "job": f"a{n}", "impressions": chance.randint(1, 99), "status": "completed"},
            )
        )
    return bodies
