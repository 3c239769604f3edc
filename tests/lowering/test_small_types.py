"""Element types of 2 to 8 bits that StableHLO has beside the usual ones: read, evaluated, written again, and run by XLA
where that computes them."""

import ml_dtypes
import numpy as np
import pytest

import lamina
from lamina.ir.errors import UnsupportedError
from lamina.ir.types import ELEMENT_TYPES, bit_width, highest, is_float, is_integer, lowest

MLIR = {
    "i2": "i2",
    "ui2": "ui2",
    "f8e4m3": "f8E4M3",
    "f8e3m4": "f8E3M4",
    "f8e8m0fnu": "f8E8M0FNU",
    "f6e2m3fn": "f6E2M3FN",
    "f6e3m2fn": "f6E3M2FN",
    "f4e2m1fn": "f4E2M1FN",
}
BITS = dict(zip(MLIR, (2, 2, 8, 8, 8, 6, 6, 4), strict=True))
NOT_RUN = ("i2", "ui2", "f6e2m3fn", "f6e3m2fn")
PROGRAM = """func.func @main(%x: tensor<4xT>) -> (tensor<4xT>, tensor<4xf32>, tensor<4xT>, tensor<4xT>) {{
  %c = stablehlo.constant dense<{constant}> : tensor<4xT>
  %0 = stablehlo.multiply %x, %c : tensor<4xT>
  %1 = stablehlo.convert %0 : (tensor<4xT>) -> tensor<4xf32>
  %2 = "stablehlo.sort"(%0) ({{
    ^bb0(%a: tensor<T>, %b: tensor<T>):
      %p = stablehlo.compare LT, %a, %b : (tensor<T>, tensor<T>) -> tensor<i1>
      stablehlo.return %p : tensor<i1>
  }}) {{dimension = 0 : i64, is_stable = true}} : (tensor<4xT>) -> tensor<4xT>
  return %0, %1, %2, %c : tensor<4xT>, tensor<4xf32>, tensor<4xT>, tensor<4xT>
}}"""


def program(name):
    constant = "[1, 1, 0, 1]" if is_integer(ELEMENT_TYPES[name]) else "[1.0, 2.0, 0.5, 1.0]"
    return lamina.from_stablehlo(PROGRAM.format(constant=constant).replace("T>", f"{MLIR[name]}>"))


def operand(name):
    numbers = [1, 0, 1, 1] if is_integer(ELEMENT_TYPES[name]) else [1, 0.5, 2, 0.5]
    return np.array(numbers, np.float32).astype(ELEMENT_TYPES[name])


@pytest.mark.parametrize("name", MLIR)
def test_read_evaluated_and_written_again(name, tmp_path):
    module, x = program(name), operand(name)
    assert lamina.parse(text := str(module)).main.inputs[0].dtype == x.dtype and str(lamina.parse(text)) == text
    product, wide, ordered, constant = lamina.evaluate(module, x)[0]
    expected = x.astype(np.float32) * constant.astype(np.float32)
    np.testing.assert_array_equal(wide, expected)
    assert product.dtype == ordered.dtype == constant.dtype == x.dtype
    np.testing.assert_array_equal(ordered.astype(np.float32), np.sort(expected))
    lamina.export(module, tmp_path / "m.mlir")
    again = lamina.load(tmp_path / "m.mlir")
    for result, wanted in zip(lamina.evaluate(again, x)[0], (product, wide, ordered, constant), strict=True):
        assert result.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", MLIR)
def test_run_by_xla_or_refused(name):
    module, x = program(name), operand(name)
    if name in NOT_RUN:
        with pytest.raises(UnsupportedError, match=rf"{name}\[4\], and XLA does not run {x.dtype.name}: convert to "):
            lamina.compile(module)(x)
        with pytest.raises(UnsupportedError, match="XLA does not run"):
            lamina.verify(module, x, "stablehlo")
        return
    for result, wanted in zip(lamina.compile(module)(x), lamina.evaluate(module, x)[0], strict=True):
        np.testing.assert_array_equal(np.asarray(result).astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("name", MLIR)
def test_refused_by_torch_and_tensorflow(name):
    for target in ("torchscript", "tf_function"):
        with pytest.raises(UnsupportedError, match="convert to"):
            lamina.export(program(name), target=target)


@pytest.mark.parametrize("name", MLIR)
def test_what_is_known_of_a_type(name):
    dtype = ELEMENT_TYPES[name]
    assert (
        bit_width(dtype) == BITS[name]
        and is_float(dtype) is name.startswith("f")
        and is_integer(dtype) is ("i" in name)
    )
    info = (ml_dtypes.finfo if is_float(dtype) else ml_dtypes.iinfo)(dtype)
    infinite = is_float(dtype) and np.isinf(np.array(np.inf).astype(dtype).astype(np.float32))
    assert float(lowest(dtype)) == (-np.inf if infinite else float(info.min))
    assert float(highest(dtype)) == (np.inf if infinite else float(info.max))


@pytest.mark.parametrize("name", ["f8e4m3fn", "f8e8m0fnu", "f8e4m3", "f4e2m1fn"])
def test_a_maximum_from_a_start_that_is_no_identity(name):
    spelled = {"f8e4m3fn": "f8E4M3FN", **MLIR}[name]
    module = lamina.from_stablehlo(
        """func.func @main(%x: tensor<4xT>) -> tensor<T> {
  %c = stablehlo.constant dense<1.0> : tensor<T>
  %0 = stablehlo.reduce(%x init: %c) applies stablehlo.maximum across dimensions = [0]
    : (tensor<4xT>, tensor<T>) -> tensor<T>
  return %0 : tensor<T>
}""".replace("T>", f"{spelled}>")
    )
    for numbers, greatest in (([0.5, 0.5, 0.5, 0.5], 1), ([0.5, 2, 0.5, 1], 2)):
        x = np.array(numbers, np.float32).astype(ELEMENT_TYPES[name])
        (meant,), _ = lamina.evaluate(module, x)
        assert float(meant) == float(np.asarray(lamina.compile(module)(x))) == greatest
