"""What a compiled program takes as an array, and which memory is shared."""

import jax
import numpy as np
import pytest

import lamina
from lamina import Spec, keras
from lamina.ir.errors import DTypeError, ShapeError


@pytest.fixture(scope="module")
def doubled():
    return lamina.compile(lambda x: x + x, Spec((None,)))


class OnlyDLPack:
    """An array of a library that jax does not know."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize(
    "wrap",
    [
        np.asarray,
        jax.numpy.asarray,
        OnlyDLPack,
        lambda a: keras.Variable(a),
        lambda a: a.astype("float64"),
        lambda a: a.astype("int8"),
        lambda a: a[::-1][::-1],
        np.asfortranarray,
    ],
    ids=["numpy", "jax", "dlpack", "variable", "float64", "int8", "strided", "fortran"],
)
def test_any_array_will_do(doubled, wrap):
    np.testing.assert_array_equal(doubled(wrap(np.arange(5, dtype="float32"))), 2 * np.arange(5))


@pytest.mark.parametrize("wrong", ["text", object(), np.array(["a"]), None])
def test_what_is_no_array_is_a_clear_error(doubled, wrong):
    with pytest.raises((DTypeError, lamina.LaminaError)) as caught:
        doubled(wrong)
    assert type(caught.value).__module__ == "lamina.ir.errors"


def test_a_type_error_of_the_program_stays_what_it_is(doubled):
    with pytest.raises(ShapeError):
        doubled(np.ones((2, 2), "float32"))
    with pytest.raises(DTypeError, match="complex64"):
        doubled(np.ones(2, "complex64"))


def test_results_leave_without_a_copy(doubled):
    result = doubled(np.ones(1024, "float32"))
    first, second = np.asarray(result), np.from_dlpack(result)
    assert first.ctypes.data == second.ctypes.data == result.unsafe_buffer_pointer()
    assert not first.flags.writeable and not second.flags.writeable


def test_aligned_memory_is_read_in_place_and_other_memory_copied():
    memory = np.zeros(1024 + 64, "uint8")
    start = -memory.ctypes.data % 64
    for offset, shared in ((0, True), (4, False)):
        x = memory[start + offset : start + offset + 256].view("float32")
        assert (jax.device_put(x).unsafe_buffer_pointer() == x.ctypes.data) == shared


def test_a_variable_copies_what_it_is_given():
    x = np.zeros(64, "float32")
    variable = keras.Variable(x)
    x[:] = 1
    assert variable.numpy().max() == 0
    y = np.ones(64, "float32")
    variable.assign(y)
    y[:] = 2
    assert variable.numpy().max() == 1
