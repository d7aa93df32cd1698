"""Feeds of files: a trailing window of them is read again whenever their content changed."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from meter.model.errors import BadInput
from meter.model.event import Json
from meter.model.strict_json import strict_json
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest, refused
from meter.sources.spec import Answer, Feed, Lines, Option, Page, Reading, Request, Setup

# What the cursor remembers at most; a file beyond is read again, which changes nothing but the work.
_KNOWN_MAX: Final = 366
# What is kept of a file that cannot be read as a whole: its beginning says why.
_REFUSED_BYTES_MAX: Final = 2_048


def file_options(example: str) -> Mapping[str, Option]:
    """Return the settings of a feed of files."""
    return {
        "path": Option(default="", about=f"The files, as a glob, for example `{example}`."),
        "newest_files": Option(default=7, about="How many of the newest files are looked at again for changes."),
    }


def file_feed(
    read: Callable[[Setup, Lines], Reading], *, every_s: int, grows: Callable[[Setup], bool] = lambda _setup: True
) -> Feed:
    """Return a feed of the newest files (option `newest_files`) that the glob in option `path` names, read whole.

    The cursor knows each file by its content: what is unchanged is not sent again, unless the source is read in another
    way since. A last line without an end is still being written where the file `grows`: it is read when it has ended.
    Elsewhere it is refused, for nobody can tell whether it is whole.
    """

    def request(setup: Setup, cursor: Json, _now: datetime) -> Request:
        arguments = {"newest": setup.options["newest_files"], "unless": _known(setup, cursor)}
        return Request(over="file", url=setup.options["path"], arguments=arguments)

    def answer_read(setup: Setup, cursor: Json, answer: Answer) -> Page:
        known = dict(_known(setup, cursor))
        items: list[Parsed] = []
        files = strict_json(answer.body)
        if not isinstance(files, list):
            raise bad_payload("the answer is no array of files")
        for index, value in enumerate(files):
            file = Fields(value, path=f"files[{index}]")
            known[file.text("name")] = file.text("sha256")
            items.extend(_items(setup, read, file, answer.received_at, grows=grows(setup)))
        # Names hold dates: the last in order are the newest.
        newest = {name: known[name] for name in sorted(known)[-_KNOWN_MAX:]}
        return Page(items=items, cursor={"read_as": _read_as(setup), "files": newest})

    return Feed(every_s=every_s, request=request, read=answer_read, polled=lambda setup: bool(setup.options["path"]))


def _known(setup: Setup, cursor: Json) -> Mapping[str, Json]:
    if not isinstance(cursor, dict) or cursor.get("read_as") != _read_as(setup):
        return {}
    files: Mapping[str, Json] = cursor["files"]
    return files


def _read_as(setup: Setup) -> str:
    return digest(dict(setup.options), setup.timezone)


def _items(
    setup: Setup, read: Callable[[Setup, Lines], Reading], file: Fields, received_at: datetime, *, grows: bool
) -> list[Parsed]:
    body, items = b"", list[Parsed]()
    try:
        body = _body(file)
        end = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
        whole, rest = body[:end], body[end:]
        lines = Lines(name=file.text("name"), lines=whole.splitlines(), received_at=received_at)
        items.extend(read(setup, lines).items)
        if rest.strip() and not grows:
            raise bad_payload("the last line has no line end, so it may be cut off; export the file again, with one")
    except BadInput as error:
        items.append(refused(error, file.text("name").encode() + b": " + body[:_REFUSED_BYTES_MAX]))
    return items


def _body(file: Fields) -> bytes:
    try:
        return b64decode(file.opt_text("body") or "", validate=True)
    except (Base64Error, ValueError) as error:
        raise bad_payload(f"a file's body is no base64: {error}") from error
