"""An S3-compatible store: put, get, head, list, delete, uploads in parts, path style, one bucket.

The signature is read for its access key and not checked: `tests/targets/signed_s3.py` does.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from tests.targets.fakes.base import Fake, Handler, Held, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse

_XML = {"Content-Type": "application/xml"}
_ACCESS_KEY = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/")
_KEYS_MAX = 1000
_PART_BYTES_MIN = 5 << 20  # of all parts but the last
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 429: "SlowDown", 501: "NotImplemented",
          503: "SlowDown"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    content: bytes
    etag: str
    changed: datetime
    content_type: str


class FakeS3(Fake):
    """`objects` is the bucket, by key. `puts` counts what was written under each key, the first
    included, `parts` what came as parts."""

    def __init__(
        self, *, clock: Clock | None = None, check_request: RequestCheck | None = None, bucket: str = "lake",
        access_key: str = "AKIDFAKE",
    ) -> None:  # fmt: skip
        super().__init__(clock=clock, check_request=check_request)
        self.bucket, self._access_key = bucket, access_key
        self.objects: dict[str, Object] = {}
        self.puts: dict[str, int] = {}
        self.parts = 0
        self._uploads: dict[str, dict[int, bytes]] = {}

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        key = f"/{self.bucket}/{{key:.+}}"
        return [
            ("GET", f"/{self.bucket}", self._list),
            ("GET", f"/{self.bucket}/", self._list),
            ("POST", f"/{self.bucket}", self._delete_many),
            ("PUT", key, self._put),
            ("GET", key, self._get),
            ("HEAD", key, self._get),
            ("DELETE", key, self._delete),
            ("POST", key, self._post),
        ]

    def fault(self, status: int) -> Answer:
        code = _CODES.get(status, "InternalError" if status >= 500 else "InvalidRequest")
        said = f"<Error><Code>{code}</Code><Message>Something failed with {status}.</Message></Error>"
        return Answer(status=status, body=said.encode(), headers=_XML)

    def admit(self, call: Call) -> None:
        signed = _ACCESS_KEY.match(call.headers.get("authorization", ""))
        if signed is None or signed[1] != self._access_key:
            raise Refuse(self.fault(403))

    def books(self) -> tuple[Held, ...]:
        """Return nothing: what files say is for their reader; look into `objects`."""
        return ()

    def by_hand(self, key: str, content: bytes | None) -> None:
        """Replace an object; None deletes it."""
        if content is None:
            del self.objects[key]
        else:
            self.objects[key] = self._made(content, "")

    def _made(self, content: bytes, content_type: str) -> Object:
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        return Object(content=content, etag=etag, changed=self.clock.now(), content_type=content_type)

    def _put(self, call: Call) -> Answer:
        key, held = call.parts["key"], self.objects.get(call.parts["key"])
        if "x-amz-copy-source" in call.headers:
            return self.fault(501)
        if upload := call.parameter("uploadId"):
            return self._put_part(call, upload)
        expected = call.headers.get("if-match")
        if (call.headers.get("if-none-match") == "*" and held) or (expected and (not held or held.etag != expected)):
            return self.fault(412)
        content = call.body
        if (sent := call.headers.get("content-md5")) and sent != _md5(content):
            return self.fault(400)
        self.objects[key] = self._made(content, call.headers.get("content-type", "binary/octet-stream"))
        self.puts[key] = self.puts.get(key, 0) + 1
        return Answer(body=b"", headers={"ETag": self.objects[key].etag})

    def _put_part(self, call: Call, upload: str) -> Answer:
        if upload not in self._uploads:
            return self.fault(404)
        self._uploads[upload][int(call.parameter("partNumber"))] = call.body
        self.parts += 1
        return Answer(body=b"", headers={"ETag": self._made(call.body, "").etag})

    def _post(self, call: Call) -> Answer:
        """Begin or finish an upload in parts; until it is finished nothing is there under its key."""
        key, upload = call.parts["key"], call.parameter("uploadId")
        if not upload:
            upload = f"upload-{len(self._uploads)}"
            self._uploads[upload] = {}
            said = f"<UploadId>{upload}</UploadId>"
            return Answer(body=f"<InitiateMultipartUploadResult>{said}</InitiateMultipartUploadResult>".encode(),
                          headers=_XML)  # fmt: skip
        if upload not in self._uploads:
            return self.fault(404)
        parts = self._uploads.pop(upload)
        named = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", call.body.decode())]
        if named != sorted(parts) or any(len(parts[number]) < _PART_BYTES_MIN for number in named[:-1]):
            return self.fault(400)
        held = self.objects[key] = self._made(b"".join(parts[number] for number in named), "")
        self.puts[key] = self.puts.get(key, 0) + 1
        said = f"<Key>{escape(key)}</Key><ETag>{escape(held.etag)}</ETag>"
        return Answer(body=f"<CompleteMultipartUploadResult>{said}</CompleteMultipartUploadResult>".encode(),
                      headers=_XML)  # fmt: skip

    def _get(self, call: Call) -> Answer:
        held = self.objects.get(call.parts["key"])
        if held is None:
            return self.fault(404)
        about = {
            "ETag": held.etag, "Last-Modified": f"{held.changed:%a, %d %b %Y %H:%M:%S} GMT", "Accept-Ranges": "bytes",
            "Content-Type": held.content_type,
        }  # fmt: skip
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
        if asked is None:
            return Answer(body=held.content, headers=about)
        start, size = int(asked[1]), len(held.content)
        end = min(int(asked[2] or size - 1), size - 1)
        if start > end:
            return self.fault(416)
        part = {**about, "Content-Range": f"bytes {start}-{end}/{size}"}
        return Answer(status=206, body=held.content[start : end + 1], headers=part)

    def _delete(self, call: Call) -> Answer:
        if upload := call.parameter("uploadId"):
            self._uploads.pop(upload, None)
        else:
            self.objects.pop(call.parts["key"], None)
        return Answer(status=204)

    def _delete_many(self, call: Call) -> Answer:
        keys = re.findall(r"<Key>([^<]*)</Key>", call.body.decode())
        for key in keys:
            self.objects.pop(key, None)
        gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return Answer(body=f"<DeleteResult>{gone}</DeleteResult>".encode(), headers=_XML)

    def _list(self, call: Call) -> Answer:
        asked = dict(call.query)
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = max(asked.get("continuation-token", ""), asked.get("start-after", ""))
        most = min(int(asked.get("max-keys", _KEYS_MAX)), _KEYS_MAX)
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        folders = {
            prefix + key[len(prefix) :].split(delimiter)[0] + delimiter
            for key in keys if delimiter and delimiter in key[len(prefix) :]
        }  # fmt: skip
        plain = [key for key in keys if not delimiter or delimiter not in key[len(prefix) :]]
        shown, more = plain[:most], len(plain) > most
        next_ = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        said = (
            f"<ListBucketResult><Name>{self.bucket}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
            f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{next_}"
            f"{''.join(_entry(key, self.objects) for key in shown)}"
            f"{''.join(f'<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>' for one in sorted(folders))}"
            "</ListBucketResult>"
        )
        return Answer(body=said.encode(), headers=_XML)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _entry(key: str, objects: Mapping[str, Object]) -> str:
    held = objects[key]
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{held.changed:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<ETag>{escape(held.etag)}</ETag><Size>{len(held.content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
