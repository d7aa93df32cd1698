"""The S3-compatible store, which lets in only what is signed as AWS's own signer signs it (botocore).

request ──▶ what its Authorization says was signed ──▶ botocore signs the same ──▶ one signature, or 403
        └─▶ x-amz-content-sha256 ──▶ that of the body, or 400
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.targets.fakes.http import Call, Refuse
from tests.targets.fakes.s3 import FakeS3

SECRET: Final = "a-secret-long-enough"
REGION: Final = "eu-central-1"
_SIGNED: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


class SignedS3(FakeS3):
    """`admitted` counts what was signed rightly, by method."""

    def __init__(self, *, secret: str = SECRET, region: str = REGION) -> None:
        super().__init__()
        self._secret, self._region = secret, region
        self.admitted: dict[str, int] = {}

    def admit(self, call: Call) -> None:
        """See Fake."""
        super().admit(call)
        said = _SIGNED.fullmatch(call.headers["authorization"])
        if said is None or said["signature"] != self._signature(call, said):
            raise Refuse(self.fault(403))
        # Whoever signs no body may be given another on the way.
        if call.headers["x-amz-content-sha256"] != hashlib.sha256(call.body).hexdigest():
            raise Refuse(self.fault(400))
        self.admitted[call.method] = self.admitted.get(call.method, 0) + 1

    def _signature(self, call: Call, said: re.Match[str]) -> str:
        signed = {name: call.headers[name] for name in said["headers"].split(";")}
        # The path as it was sent; the query by its values, which a store reads before it spells them anew.
        url = self.url + call.target.partition("?")[0]
        request = AWSRequest(method=call.method, url=url, params=dict(call.query), data=call.body, headers=signed)
        request.context["timestamp"] = call.headers["x-amz-date"]
        signer = S3SigV4Auth(Credentials(said["key"], self._secret), "s3", self._region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        return str(signer.signature(text, request))
