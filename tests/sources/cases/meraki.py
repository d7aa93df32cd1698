"""Meraki: the default template's body. Its secret stands in the body: `tests/sources/test_meraki.py` checks it."""

import json

from tests.sources.case import KEYS, Case, Sample, setup


def alert(secret: str = KEYS[0], kind: str = "client_connectivity") -> bytes:
    return json.dumps(
        {
            "version": "0.1",
            "sharedSecret": secret,
            "sentAt": "2026-03-02T09:29:58.123456Z",
            "organizationId": "2930418",
            "networkId": "N_24329156",
            "deviceSerial": "Q234-ABCD-5678",
            "deviceMac": "00:11:22:33:44:55",
            "alertId": "0000000000000000",
            "alertType": "Client connectivity changed",
            "alertTypeId": kind,
            "alertLevel": "informational",
            "occurredAt": "2026-03-02T08:10:00.000000Z",
            "alertData": {"mac": "aa:bb:cc:dd:ee:ff", "connected": "true"},
        }
    ).encode()


CASE = Case(
    vendor="meraki",
    setup=setup("meraki", "dashboard", secrets=KEYS),
    samples=[Sample(name="client_connectivity", body=alert(), becomes=[], required=["alertTypeId"])],
)
