"""Bodies are unpacked only as far as they may go."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.model.errors import BadInput
from meter.transport.http_body import unpacked


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_what_is_packed_comes_out_whole(parts: list[bytes]) -> None:
    packed = b"".join(gzip.compress(part) for part in parts)
    assert unpacked(packed, bytes_max=600) == b"".join(parts)
    assert unpacked(zlib.compress(b"".join(parts)), bytes_max=600) == b"".join(parts)


@given(cut=st.integers(1, 60))
def test_what_ends_too_early_is_told(cut: int) -> None:
    packed = gzip.compress(bytes(range(200)))
    with pytest.raises(BadInput) as told:
        unpacked(packed[: -min(cut, len(packed) - 1)], bytes_max=1000)
    assert told.value.code == "bad_encoding"


@pytest.mark.parametrize(
    "packed", [b"no gzip", gzip.compress(b"a", mtime=0) + b"more", b"\x00"], ids=["plain", "more behind", "zero"]
)
def test_what_is_not_packed_is_told(packed: bytes) -> None:
    with pytest.raises(BadInput):
        unpacked(packed, bytes_max=1000)


def test_a_bomb_is_unpacked_no_further_than_a_byte_beyond() -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(unpacked(bomb, bytes_max=1000)) == 1001
    assert len(unpacked(gzip.compress(b" " * 400) * 3, bytes_max=1000)) == 1001
    assert len(unpacked(gzip.compress(b" " * 1000), bytes_max=1000)) == 1000
