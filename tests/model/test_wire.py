import json
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.model.strict_json import strict_json
from meter.model.wire import (
    BODY_BYTES_MAX,
    EVENT_BYTES_MAX,
    Parsed,
    Refusal,
    WireEvent,
    read_batch,
    read_event,
    read_message,
    structured,
)
from tests.ingest.bodies import body

HEARTBEAT: dict[str, Any] = {
    "complete_until": "2026-03-02T08:00:00Z",
    "asked": 10**18 - 1,
    "spooled": 12,
    "spooled_bytes": 4_096,
    "oldest": "2026-03-02T07:00:00Z",
    "refused": 0,
    "clock_offset_ms": -40,
    "ntp": True,
    "version": "0.1.0",
    "collectors": {"mqtt": {"state": "up", "detail": "", "last": "2026-03-02T07:59:00Z"}},
    "faults": ["the disk is nearly full"],
}
UNREAD: dict[str, Any] = {
    "code": "bad_payload",
    "detail": "uid is missing",
    "origin": "esp/berlin/door",
    "content_type": "application/json",
    "body_base64": b64encode(bytes(64 * 1024)).decode(),
}


def good(parsed: Parsed) -> WireEvent:
    assert isinstance(parsed, WireEvent), parsed
    return parsed


def code(content: bytes) -> str:
    parsed = read_event(content)
    assert isinstance(parsed, Refusal), parsed
    assert parsed.detail
    assert parsed.body == content
    return parsed.code


def test_a_good_event_is_read_whole() -> None:
    content = body(subject="badge:04a2b3c4d5", edge="edge-7", boot=3, sequence=12, edgeoffsetms=40, zone="b")
    event = good(read_event(content))
    assert event.site == "berlin"
    assert event.subject == "badge:04A2B3C4D5"
    assert event.time == datetime(2026, 3, 2, 8, 1, 27, 80_000, tzinfo=UTC)
    assert (event.edge, event.boot, event.sequence, event.offset_ms) == ("edge-7", 3, 12, 40)
    assert event.attributes == {"zone": "b"}
    assert event.body == content


def test_numbers_are_never_floats() -> None:
    event = good(read_event(b'{"specversion":"1.0","id":"1","source":"b/x","type":"x","data":{"n":0.1,"m":1e3,"i":7}}'))
    assert event.data == {"n": Decimal("0.1"), "m": Decimal("1E+3"), "i": 7}
    assert [type(value) for value in event.data.values()] == [Decimal, Decimal, int]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ('{"a":NaN}', "bad_number"),
        ('{"a":-Infinity}', "bad_number"),
        ('{"a":1e400}', "bad_number"),
        ('{"a":1e99999999999999999999}', "bad_number"),
        ('{"a":1e-19}', "bad_number"),
        ('{"a":' + "9" * 19 + "}", "bad_number"),
        ('{"a":' + "9" * 5000 + "}", "bad_number"),
        ('{"a":1,"a":1}', "duplicate_key"),
        ('{"a":[{"b":1,"b" :2}]}', "duplicate_key"),
        ('{"\\u0061":1,"a":2}', "duplicate_key"),
        ('{"a":"x\\u0000"}', "bad_string"),
        ('{"x\\u0000":1}', "bad_string"),
        ('{"a":"\\ud800"}', "bad_string"),
        ('{"a":"\\udc00\\ud800"}', "bad_string"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "too_deep"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        ('{"a":\uff11}', "not_json"),
        ('{"a":01}', "not_json"),
        ('{"a":"x\ny"}', "not_json"),
        ('{"a":1', "not_json"),
        # What follows the beginning of a string is in it, whether or not it ends: it is read past once, not per quote.
        ('{"a":"' + "[" * 40, "not_json"),
        ('{"a":"\\"' + "[" * 40 + '\\"' * 100_000, "not_json"),
        ('{"a":"' + "[" * 40 + "\\", "not_json"),
    ],
)
def test_what_a_sum_or_a_row_would_not_survive_is_refused(data: str, wanted: str) -> None:
    content = f'{{"specversion":"1.0","id":"1","source":"berlin/x","type":"x","data":{data}}}'.encode()
    assert code(content) == wanted


@pytest.mark.parametrize(
    "data", ['{"a":"[[[[[\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', '{"a":"\\ud83d\\ude00"}', '{"a":' + "9" * 18 + "}"]
)
def test_what_only_looks_like_it_is_taken(data: str) -> None:
    good(read_event(f'{{"specversion":"1.0","id":"1","source":"berlin/x","type":"x","data":{data}}}'.encode()))


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"1", b'"x"', b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16")]
)
def test_what_is_no_object_in_utf8_is_refused(content: bytes) -> None:
    assert code(content) in {"not_json", "not_an_event"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"specversion": None}, "bad_specversion"),
        ({"specversion": "0.3"}, "bad_specversion"),
        ({"id": None}, "bad_id"),
        ({"id": ""}, "bad_id"),
        ({"id": 7}, "bad_id"),
        ({"id": "x" * 257}, "bad_id"),
        ({"id": "a\nb"}, "bad_id"),
        ({"source": None}, "bad_source"),
        ({"source": "/berlin/x"}, "bad_source"),
        ({"source": "https://x/berlin"}, "bad_source"),
        ({"source": "berlin/+/x y"}, "bad_source"),
        ({"source": "berlin/" + "x" * 256}, "bad_source"),
        ({"type": None}, "bad_type"),
        ({"type": "door access"}, "bad_type"),
        ({"time": "2026-03-02 08:01"}, "bad_time"),
        ({"time": "2026-03-02T08:01:27"}, "bad_time"),
        ({"time": "2026-02-30T08:01:27Z"}, "bad_time"),
        ({"time": 1772438487}, "bad_time"),
        ({"edgeoffsetms": "soon"}, "bad_time"),
        ({"edgeoffsetms": True}, "bad_time"),
        ({"edgeoffsetms": 10**17}, "bad_time"),
        ({"time": "0001-01-04T00:00:00Z", "edgeoffsetms": 86_400_000 * 3}, "bad_time"),
        ({"subject": "ada"}, "bad_identity"),
        ({"subject": 7}, "bad_identity"),
        ({"edge": "a/b", "boot": 1, "sequence": 1}, "bad_sequence"),
        ({"edge": "e", "boot": 1, "sequence": 0}, "bad_sequence"),
        ({"edge": "e", "boot": "x", "sequence": 1}, "bad_sequence"),
        ({"extension": {"a": 1}}, "bad_attribute"),
        ({"Extension": "x"}, "bad_attribute"),
        ({f"x{n}": n for n in range(40)}, "bad_attribute"),
        ({"datacontenttype": "text/xml"}, "bad_data"),
        ({"data": None, "data_base64": "AA=="}, "bad_data"),
        ({"data": [1]}, "bad_data"),
        ({"data": {"door": "main"}}, "bad_data"),
        ({"data": {"door": "main", "granted": "yes"}}, "bad_data"),
        ({"data": {"door": "main", "granted": True, "direction": "up"}}, "bad_data"),
    ],
)
def test_each_attribute_is_checked(changes: dict[str, Any], wanted: str) -> None:
    assert code(body(**changes)) == wanted


SALE = {
    "order": "o-1",
    "currency": "EUR",
    "lines": [{"sku": "flat", "quantity": 1, "amount": "3.20", "tax": "0.22"}],
    "total": "3.42",
    "settlement": "paid",
}
BOOKING = {"booking": "b", "resource": "r", "start": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:00:00Z"}


@pytest.mark.parametrize(
    ("kind", "data", "change"),
    [
        ("print.job", {"printer": "p", "job": 7, "impressions": 3, "color": True}, {"impressions": "3"}),
        ("print.job", {"printer": "p", "job": "7", "impressions": 3}, {"impressions": -1}),
        ("print.job", {"printer": "p", "job": "7", "impressions": 3}, {"impressions": True}),
        ("print.job", {"printer": "p", "job": "7", "impressions": 3}, {"job": None}),
        ("print.job", {"printer": "p", "job": "7", "impressions": 3}, {"status": "done"}),
        ("wifi.session", {"session": "s", "status": "stop", "bytes_in": 10}, {"bytes_in": "10"}),
        ("wifi.session", {"session": "s", "status": "stop"}, {"status": ["stop"]}),
        ("pos.sale", SALE, {"total": "NaN"}),
        ("pos.sale", SALE, {"total": "1" * 19}),
        ("pos.sale", SALE, {"total": "\uff11"}),
        ("pos.sale", SALE, {"currency": "eur"}),
        ("pos.sale", SALE, {"lines": [{"amount": "1"}]}),
        ("pos.sale", SALE, {"lines": {"amount": "1"}}),
        ("pos.sale", SALE, {"lines": ["3.20"]}),
        ("pos.sale", SALE, {"lines": SALE["lines"] * 2001}),  # type: ignore[operator]
        ("pos.sale", SALE, {"settlement": "later"}),
        (
            "pos.refund",
            {
                "refund": "r",
                "sale": {"source": "s", "order": "o"},
                "currency": "EUR",
                "status": "completed",
                "amount": "1",
            },
            {"amount": None},
        ),
        ("room.booking", BOOKING, {"end": "2026-03-02T08:00:00Z"}),
        ("room.booking", BOOKING, {"end": "ten"}),
        ("usage.reported", {"meter": "m", "quantity": "1.5"}, {"quantity": "many"}),
        ("event.voided", {"source": "berlin/x", "id": "1"}, {"id": None}),
        ("event.amended", {"source": "berlin/x", "id": "1", "data": {}}, {"data": 1}),
        *(
            ("edge.heartbeat", HEARTBEAT, change)
            for change in (
                {"complete_until": None},
                {"asked": ""},
                {"asked": 10**18},
                {"asked": True},
                {"spooled": -1},
                {"spooled": 10**18},
                {"spooled_bytes": "many"},
                {"oldest": "monday"},
                {"refused": 1.5},
                {"clock_offset_ms": 0.5},
                {"ntp": "yes"},
                {"version": "x" * 257},
                {"collectors": ["mqtt"]},
                {"collectors": {str(n): {"state": "up"} for n in range(65)}},
                {"collectors": {"mqtt": {"detail": "no state"}}},
                {"collectors": {"mqtt": {"state": "up", "detail": "x" * 257}}},
                {"collectors": {"x" * 257: {"state": "up"}}},
                {"collectors": {"mqtt": {"state": "up", "last": "monday"}}},
                {"faults": "disk"},
                {"faults": [1]},
                {"faults": ["x" * 2_001]},
                {"faults": ["disk"] * 33},
            )
        ),
        *(
            ("edge.refusal", UNREAD, change)
            for change in (
                {"code": None},
                {"code": "Not a word"},
                {"code": "x" * 65},
                {"detail": None},
                {"detail": "x" * 2_001},
                {"origin": "x" * 513},
                {"content_type": 7},
                {"body_base64": "not base64!"},
                {"body_base64": "é"},
                {"body_base64": 7},
                {"body_base64": b64encode(bytes(64 * 1024 + 1)).decode()},
            )
        ),
    ],
)
def test_data_of_known_types_is_checked(kind: str, data: dict[str, Any], change: dict[str, Any]) -> None:
    good(read_event(body(type=kind, data=data)))
    wrong = {name: value for name, value in (data | change).items() if value is not None}
    assert code(body(type=kind, data=wrong)) in {"bad_data", "bad_number", "bad_time"}


def test_unknown_types_pass() -> None:
    assert good(read_event(body(type="com.example/coffee+1", data={"any": [{"thing": None}]}))).thing is None


def test_null_attributes_are_absent() -> None:
    assert (
        good(read_event(b'{"specversion":"1.0","id":"1","source":"b","type":"x","subject":null,"time":null}')).data
        == {}
    )


def test_things_have_the_vendors_id() -> None:
    event = good(read_event(body(type="print.job", data={"printer": "p", "job": 7, "impressions": 1})))
    assert event.thing == "7"


def test_without_an_edge_a_sequence_is_somebody_elses() -> None:
    event = good(read_event(body(sequence="00012", boot="x")))
    assert (event.edge, event.sequence) == (None, None)


class TestContent:
    def same(self, left: bytes, right: bytes) -> bool:
        return good(read_event(left)).content_hash == good(read_event(right)).content_hash

    def test_numbers_count_by_value_and_keys_have_no_order(self) -> None:
        left = b'{"specversion":"1.0","id":"1","source":"b","type":"x","data":{"a":1,"b":[1.50,-0.0,1e2]}}'
        right = b'{"data":{"b":[1.5,0,100],"a":1.0},"type":"x","source":"b","id":"1","specversion":"1.0"}'
        assert self.same(left, right)

    @pytest.mark.parametrize(
        "data", ['{"a":true}', '{"a":"1"}', '{"a":1.0000001}', '{"a":[1]}', '{"b":1}', "{}", '{"a":null}']
    )
    def test_values_of_other_kinds_differ(self, data: str) -> None:
        base = '{"specversion":"1.0","id":"1","source":"b","type":"x","data":%s}'
        assert not self.same((base % '{"a":1}').encode(), (base % data).encode())

    def test_instants_count_and_not_their_spelling(self) -> None:
        assert self.same(body(time="2026-03-02T08:00:00Z"), body(time="2026-03-02T09:00:00.000+01:00"))
        assert not self.same(body(time="2026-03-02T08:00:00Z"), body(time="2026-03-02T08:00:00.000001Z"))
        assert not self.same(body(time="2026-03-02T08:00:00Z"), body(time=None))

    def test_the_route_leaves_no_mark(self) -> None:
        assert self.same(body(), body(edge="edge-7", boot=1, sequence=9, edgeoffsetms=4000, zone="b"))

    def test_subjects_count_as_normalised(self) -> None:
        assert self.same(body(subject="mac:AA:BB:CC:DD:EE:FF"), body(subject="mac:aa-bb-cc-dd-ee-ff"))
        assert not self.same(body(), body(subject=None))


class TestModes:
    def test_one_bad_event_of_a_batch_leaves_its_neighbours(self) -> None:
        content = b"[" + b",".join([body(id="1"), b'{"id":"2","id":"2"}', b"7", b'"\xff"', body(id="3")]) + b"]"
        parsed = read_batch(content)
        assert [type(event) for event in parsed] == [WireEvent, Refusal, Refusal, Refusal, WireEvent]
        assert parsed[1].body == b'{"id":"2","id":"2"}'
        assert read_batch(b" [] ") == []

    @pytest.mark.parametrize("content", [b"", b"{}", b"[", b"[1,]", b"[NaN]", b"[" * 100_000, b"\xff[]"])
    def test_a_body_that_is_no_array_is_refused_whole(self, content: bytes) -> None:
        with pytest.raises(BadInput):
            read_batch(content)
        assert [type(event) for event in read_message(content)] == [Refusal]

    def test_messages_hold_one_or_many(self) -> None:
        assert len(read_message(body())) == 1
        assert len(read_message(b" \n[" + body() + b"," + body(id="2") + b"]")) == 2

    def test_sizes_are_bounded(self) -> None:
        assert code(body(data={"door": "x" * EVENT_BYTES_MAX, "granted": True})) == "event_too_large"
        (refusal,) = read_message(b"[" + b" " * BODY_BYTES_MAX + b"]")
        assert isinstance(refusal, Refusal)
        assert (refusal.code, len(refusal.body)) == ("body_too_large", BODY_BYTES_MAX)

    def test_binary_mode_is_structured_first(self) -> None:
        attributes = {"specversion": "1.0", "id": "1", "source": "berlin/x", "type": "x", "edge": "e", "boot": "2"}
        parsed = read_event(structured(attributes | {"sequence": "7"}, "application/json", b'{"a": 1.50}'))
        event = good(parsed)
        assert event.data == {"a": Decimal("1.50")}
        assert (event.boot, event.sequence) == (2, 7)

    @pytest.mark.parametrize("data", [b'{"a":1},"id":"other"', b"}", b"\xff", b"<xml/>"])
    def test_data_in_binary_mode_cannot_become_attributes(self, data: bytes) -> None:
        attributes = {"specversion": "1.0", "id": "1", "source": "berlin/x", "type": "x"}
        content = structured(attributes, "application/json", data)
        assert code(content) == "bad_data"
        assert json.loads(content)["id"] == "1"


def test_an_edge_hears_of_what_is_refused_inside_its_event() -> None:
    content = body(edge="edge-7", boot=3, sequence=12).replace(b'"main", "direction"', b'"\\u0000", "direction"')
    parsed = read_event(content)
    assert isinstance(parsed, Refusal)
    assert (parsed.code, parsed.site, parsed.edge, parsed.boot, parsed.sequence) == (
        "bad_string",
        "berlin",
        "edge-7",
        3,
        12,
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ATTRIBUTES = st.sampled_from(
    "specversion id source type subject time data edge boot sequence edgeoffsetms datacontenttype data_base64 x".split()
)
KINDS = st.sampled_from("door.access print.job wifi.session pos.sale pos.refund room.booking event.voided x".split())


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_refusal(content: bytes) -> None:
    for parsed in read_message(content):
        assert isinstance(parsed, WireEvent | Refusal)


@given(st.dictionaries(ATTRIBUTES, JSON_VALUES), KINDS, JSON_VALUES)
def test_any_json_is_an_event_or_a_refusal(changes: dict[str, Any], kind: str, data: object) -> None:
    for content in (json.dumps(changes), json.dumps(json.loads(body(type=kind)) | {"data": data})):
        for parsed in read_message(content.encode("utf-8", "surrogatepass")):
            assert isinstance(parsed, WireEvent | Refusal)
            # What is stored and shown is text that PostgreSQL takes.
            for text in (parsed.source, parsed.id, parsed.site, parsed.edge, getattr(parsed, "detail", "")):
                assert text is None or (b"\0" not in text.encode())


@given(JSON_VALUES)
def test_strict_json_reads_what_it_does_not_refuse_as_others_do(value: object) -> None:
    content = json.dumps(value).encode()
    try:
        read = strict_json(content)
    except BadInput:
        return
    assert json.loads(json.dumps(read, default=float)) == json.loads(content)
