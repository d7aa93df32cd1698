"""openNDS: what a BinAuth script posts, in the three forms that it may have."""

import json

from tests.sources.case import KEYS, Case, Sample, by_token, setup

_DEVICE = ("wifi.session", "mac:aa-bb-cc-dd-ee-01")

CASE = Case(
    vendor="opennds",
    setup=setup("opennds", "lobby", secrets=KEYS),
    sign=by_token,
    tamper=False,
    samples=[
        Sample(
            name="client_deauth as JSON",
            body=json.dumps(
                {
                    "method": "client_deauth",
                    "mac": "aa:bb:cc:dd:ee:01",
                    "bytes_incoming": "2000",
                    "bytes_outgoing": 100,
                    "session_start": "1772438709",
                    "session_end": "1772439309",
                    "token": "7a1f",
                }
            ).encode(),
            becomes=[_DEVICE],
            required=["method", "mac"],
        ),
        Sample(
            name="client_auth as a form",
            body=b"method=client_auth&mac=aa%3Abb%3Acc%3Add%3Aee%3A01&bytes_incoming=0&bytes_outgoing=0"
            b"&session_start=1772438709&session_end=0&token=7a1f",
            becomes=[_DEVICE],
        ),
        Sample(
            name="auth_client as lines",
            body=b"auth_client\naa:bb:cc:dd:ee:01\nhttp%3a%2f%2fexample\nMozilla%2f5.0\n10.0.0.7\n7a1f\nada%20l\n",
            becomes=[("wifi.session", "member:ada l")],
        ),
    ],
)
