"""A printer's counter, as the gateway's own transport answers it."""

import json

from tests.sources.case import Asked, Case, setup

OBJECTS = {
    "1.3.6.1.2.1.43.10.2.1.3.1.1": 7,
    "1.3.6.1.2.1.43.10.2.1.4.1.1": 10_416,
    "1.3.6.1.2.1.43.5.1.1.17.1": "JPBHK12345",
}

CASE = Case(
    vendor="snmp",
    setup=setup("snmp", "lounge", api_base="snmp://10.0.0.5"),
    samples=[],
    answers=[
        Asked(name="counter", by="counters", body=json.dumps(OBJECTS).encode(), becomes=[("printer.counter", None)])
    ],
)
