"""The MLIR layer: element types, dense attributes, locations, versions, and errors that are ours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import Draw

from lamina.ir.errors import UnsupportedError, VerificationError
from lamina.ir.location import Frame, Location
from lamina.ir.types import ELEMENT_TYPES, TensorType
from lamina.lowering import mlir
from lamina.lowering.mlir import ir
from lamina.runtime.pjrt import compile_and_load


@pytest.mark.parametrize("name", ELEMENT_TYPES)
def test_every_element_type_has_an_mlir_type_and_comes_back(name):
    with mlir.context():
        assert mlir.element_type_of(mlir.mlir_element_type(ELEMENT_TYPES[name])) == ELEMENT_TYPES[name]


def test_an_element_type_that_is_not_ours_is_refused():
    with mlir.context(), pytest.raises(UnsupportedError, match="index"):
        mlir.element_type_of(ir.IndexType.get())


def test_a_symbolic_dimension_is_open():
    from lamina.ir import symbol

    with mlir.context():
        assert str(mlir.tensor_type(TensorType("f32", (symbol("N"), 3)))) == "tensor<?x3xf32>"


#: XLA does not run the others.
RUNNABLE = [
    name
    for name in ELEMENT_TYPES
    if name not in ("f8e4m3b11fnuz", "f8e4m3fnuz", "f8e5m2fnuz", "i2", "ui2", "f6e2m3fn", "f6e3m2fn")
]


@st.composite
def arrays(draw):
    d = Draw(draw)
    dtype, shape = ELEMENT_TYPES[d.pick(*RUNNABLE)], d.shape()
    value = d.wild(dtype, shape)
    return value if d.bool() else np.full(shape, value.reshape(-1)[0] if value.size else dtype.type(0), dtype)


@given(arrays())
def test_a_dense_attribute_holds_the_bits_of_the_array(array):
    check_bits(array)


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_dense_attribute_of_each_type_holds_every_element(name):
    array = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0], np.int8)
    check_bits(array.astype(ELEMENT_TYPES[name]))
    check_bits(array[:3].astype(ELEMENT_TYPES[name]))


def check_bits(array):
    with mlir.context():
        type_ = mlir.tensor_type(TensorType(array.dtype, array.shape))
        text = f"""func.func public @main() -> {type_} {{
                     %0 = stablehlo.constant {mlir.array_attribute(array)}
                     return %0 : {type_} }}"""
    result = np.asarray(compile_and_load(text).run()[0])
    assert result.dtype == array.dtype and result.shape == array.shape
    nan = np.isnan(array.astype(np.complex128))  # whose bits nobody promises
    assert np.array_equal(np.isnan(result.astype(np.complex128)), nan)
    assert result[~nan].tobytes() == array[~nan].tobytes()


def test_a_uniform_array_is_kept_as_one_value():
    with mlir.context():
        assert "dense<2.5" in str(mlir.array_attribute(np.full((1000, 1000), 2.5, np.float32)))
        assert "dense<true>" in str(mlir.array_attribute(np.ones((100, 3), np.bool_)))
        assert "[" in str(mlir.array_attribute(np.array([0.0, -0.0], np.float32)))  # not the same bits


def test_a_location_names_the_layers_and_keeps_the_frames():
    frames = Frame("user.py", 7, "call"), Frame("main.py", 3, "<module>")
    with mlir.context():
        assert str(mlir.location(Location(("a/dense",)), "add")) == 'loc("a/dense/add")'
        assert '"a+b/add"' in str(mlir.location(Location(("a", "b")), "add"))
        assert str(mlir.location(Location(), "add")) == 'loc("add")'
        text = str(mlir.location(Location(("a",), frames), "add"))
    assert text.startswith('loc("a/add"(') and '"user.py":7' in text and '"main.py":3' in text


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.12.0.1", "0.12.5.dev20260101"])
def test_supported_versions_pass(version):
    assert mlir.check_jax_version(version) is None


@pytest.mark.parametrize("version", ["0.10.1", "0.9.9", "0.13.0", "1.0"])
def test_other_versions_are_refused_by_name(version):
    with pytest.raises(UnsupportedError, match=rf"jax {version} is installed.*>=0.10.2,<0.13"):
        mlir.check_jax_version(version)


def test_an_error_of_mlir_is_ours_and_names_the_layer():
    with mlir.context(), pytest.raises(VerificationError, match=r"what happened \(at encoder/dense\)(?s:.*)one result"):
        with mlir.mlir_errors("what happened", Location(("encoder/dense",))):
            ir.Operation.create("stablehlo.add", results=[], operands=[], loc=ir.Location.unknown()).verify()


def test_text_that_is_no_mlir_is_an_error_of_ours():
    with mlir.context(), pytest.raises(VerificationError, match="no valid MLIR"):
        mlir.parse_module("func.func @main(")
