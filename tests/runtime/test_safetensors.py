"""The safetensors format: what its own library writes is read, arrays of all types come back, wrong headers are
refused."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ir.errors import FileFormatError
from lamina.ir.types import ELEMENT_TYPES
from lamina.runtime.safetensors import decode, encode

# Written by safetensors 0.8.0: {"x": float32 [1.5, -2], "n": int8 [[7]]}.
OF_THE_LIBRARY = (
    b'p\x00\x00\x00\x00\x00\x00\x00{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    b'"n":{"dtype":"I8","shape":[1,1],"data_offsets":[8,9]}}    \x00\x00\xc0?\x00\x00\x00\xc0\x07'
)


def test_what_the_library_writes_is_read_and_written():
    arrays = decode(OF_THE_LIBRARY, "file")
    np.testing.assert_array_equal(arrays["x"], np.float32([1.5, -2]))
    assert arrays["x"].dtype == np.float32
    np.testing.assert_array_equal(arrays["n"], np.int8([[7]]))
    assert arrays["n"].dtype == np.int8
    assert encode(arrays) == OF_THE_LIBRARY


@pytest.mark.parametrize("name", ELEMENT_TYPES)
def test_arrays_of_every_type_come_back(name):
    dtype = ELEMENT_TYPES[name]
    for shape in ((), (3,), (2, 0, 4), (2, 3)):
        array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
        (back,) = decode(encode({"é/x": array}), "file").values()
        if back.dtype != dtype:  # the format has no name for it
            assert back.dtype == np.uint8 and back.shape == (*shape, dtype.itemsize)
            back = back.view(dtype)[..., 0]
        assert back.shape == shape and back.tobytes() == array.tobytes()


def with_header(header, body=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has 0 bytes"),
        (b"\0" * 7, "has 7 bytes"),
        (struct.pack("<Q", 1 << 62) + b"{}", "its header should have 4,611"),
        (with_header(b"{"), "not JSON"),
        (with_header(b"\xff\xfe"), "not JSON"),
        (with_header(b"[" * 100_000), "not JSON"),
        (with_header([1]), "should be a JSON object"),
        (with_header({"x": 3}), "should say one of the types"),
        (with_header(entry(dtype="F31")), "should say one of the types"),
        (with_header(entry(shape=(1 << 60,))), "takes 4,611,686,018,427,387,904 bytes, and 8 are stored"),
        (with_header(entry(shape=(1 << 40, 1 << 40, 0), offsets=(0, 8))), "takes 0 bytes, and 8 are stored"),
        (with_header(entry(shape=(-2,))), "list of sizes"),
        (with_header(entry(shape=(2.0,))), "list of sizes"),
        (with_header(entry(shape=(True, 2))), "list of sizes"),
        (with_header(entry(shape=[1] * 65 + [2])), "list of sizes"),
        (with_header(entry(offsets=(0, 9))), "two offsets within 8 bytes"),
        (with_header(entry(offsets=(8, 0))), "two offsets within 8 bytes"),
        (with_header(entry(offsets=(-8, 0))), "two offsets within 8 bytes"),
        (with_header(entry(offsets=(0,))), "two offsets within 8 bytes"),
        (with_header({**entry(), "y": entry()["x"]}), "overlap"),
        (with_header(entry(shape=(1,), offsets=(4, 8))), "leave bytes between"),
        (with_header(entry(shape=(1,), offsets=(0, 4))), "4 bytes that belong to no array"),
        (with_header({}), "8 bytes that belong to no array"),
        (with_header(entry("BOOL", (8,)), b"\0\1\0\1\2\0\0\0"), "0 or 1"),
    ],
)
def test_headers_that_cannot_be_are_refused(data, said):
    with pytest.raises(FileFormatError, match=said):
        decode(data, "file")


@given(st.integers(0, len(OF_THE_LIBRARY) - 1), st.integers(0, 255))
def test_no_change_of_a_byte_does_harm(at, byte):
    data = OF_THE_LIBRARY[:at] + bytes([byte]) + OF_THE_LIBRARY[at + 1 :]
    try:
        arrays = decode(data, "file")
    except FileFormatError:
        return
    assert sum(a.nbytes for a in arrays.values()) <= len(data)
