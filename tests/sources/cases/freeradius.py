"""FreeRADIUS: accounting as rlm_rest of versions 3 and 4 sends it, and bodies written by hand."""

import json

from tests.sources.case import KEYS, Case, Sample, by_token, setup
from tests.sources.radius_bodies import attributes, version_3

_ADA = ("wifi.session", "email:ada@acme.example")

CASE = Case(
    vendor="freeradius",
    setup=setup("freeradius", "campus", secrets=KEYS, timezone="Europe/Berlin"),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="v3",
            body=version_3(),
            again=version_3(Acct_Delay_Time=7),
            becomes=[_ADA],
            required=["Acct-Status-Type", "Acct-Session-Id"],
        ),
        Sample(
            name="v3 with its own date",
            body=version_3(Event_Timestamp="Mar  2 2026 09:05:09 CET", Acct_Status_Type="Start"),
            again=version_3(Event_Timestamp="Mar  2 2026 09:05:09 CET", Acct_Status_Type=1, Acct_Delay_Time=30),
            becomes=[_ADA],
        ),
        Sample(
            name="v4 object_simple",
            body=json.dumps(attributes(Event_Timestamp="2026-03-02T08:05:09Z")).encode(),
            becomes=[_ADA],
            required=["Acct-Status-Type"],
        ),
        Sample(
            name="v4 array",
            body=json.dumps([{"name": n, "type": "x", "value": v} for n, v in attributes().items()]).encode(),
            becomes=[_ADA],
        ),
        Sample(
            name="by hand",
            body=(
                b'{"username":"","status":"Stop","session":"77","mac":"aabb.ccdd.ee02","nas":"ap-bar","cause":"1",'
                b'"sessiontime":"60","input_octets":"10","output_octets":"20","timestamp":"1772438709"}'
            ),
            becomes=[("wifi.session", "mac:aa-bb-cc-dd-ee-02")],
            required=["status", "session"],
        ),
        Sample(
            name="without a time",
            body=version_3(Event_Timestamp=None),
            again=version_3(Event_Timestamp=None, Acct_Delay_Time=6),
            becomes=[_ADA],
        ),
        Sample(
            name="Accounting-On", body=version_3(Acct_Status_Type="Accounting-On"), becomes=[("nas.restarted", None)]
        ),
        Sample(name="tunnel", body=version_3(Acct_Status_Type="Tunnel-Start"), becomes=[]),
    ],
)
