"""Stripe's meters: usage as it comes, for operators whose prices are at Stripe.

Usage is summed for a minute (`bucket_s`) and sent as one event. What comes later for that minute, and what takes usage
back, is a further event of the difference, below zero where it has to be: Stripe counts negative quantities against the
cycle (docs.stripe.com, configure meters, November 2026). Cancelling an event would do the same for its first day only,
cannot be asked about, and takes back whole events.
"""

from __future__ import annotations

from typing import Final, cast

from meter.clock import now
from meter.export.gather.shape import Shape
from meter.export.targets.options import outside
from meter.export.targets.spec import Kind, Setup
from meter.export.targets.stripe_meters.exporter import StripeMetersTarget
from meter.export.targets.stripe_meters.shape import Usage, ValueOf
from meter.sources.spec import Option

# More is no longer near the time of use; a day's sum is what invoices are for.
BUCKET_S_MAX: Final = 3600
_EVENT_CHARS_MAX: Final = 100


def _shape(setup: Setup) -> Shape:
    options = setup.options
    return Usage(
        target=setup.name,
        customers=setup.customers,
        events={meter: str(name) for meter, name in options["events"].items()},
        value_of=cast("ValueOf", options["value_of"]),
        bucket_s=options["bucket_s"],
    )


def _faults(setup: Setup) -> list[str]:
    faults = outside(setup, "bucket_s", range(BUCKET_S_MAX + 1))
    wrong = sorted(
        meter
        for meter, name in setup.options["events"].items()
        if not isinstance(name, str) or len(name) > _EVENT_CHARS_MAX
    )
    if wrong:
        faults.append(
            f"options.events: {', '.join(wrong)} name no event; a name has {_EVENT_CHARS_MAX} characters at most"
        )
    return faults


STRIPE_METERS: Final = Kind(
    title="Stripe meters",
    facts="docs.stripe.com (usage-based billing, meters), November 2026",
    about="Usage for prices at Stripe, a minute at a time: [stripe.md](targets/stripe.md).",
    shape=_shape,
    open=lambda setup, _means: StripeMetersTarget(setup, now),
    needs=frozenset({"api_key"}),
    customer="stripe",
    invoices=lambda _setup: True,
    never_resent="Stripe cannot be asked for single meter events, and would count twice what comes under another "
    "identifier; compare the meter's sums there, and send what is missing by hand",
    faults=_faults,
    options={
        "events": Option(
            default={}, about="Stripe's event name of each meter; else the meter's with `_` for `-`. Empty: not sent."
        ),
        "value_of": Option(
            default="billable",
            about="What is counted: what credit did not cover (billable), or all of it (quantity).",
            choices=("billable", "quantity"),
        ),
        "bucket_s": Option(default=60, about="Seconds whose usage is one event; 0: each charge is one."),
        "api": Option(
            default="v1",
            about="How events are sent: one a request (v1, v2), or a hundred a request, checked later (v2-stream).",
            choices=("v1", "v2", "v2-stream"),
        ),
    },
)
