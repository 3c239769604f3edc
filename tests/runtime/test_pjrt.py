"""Compiling a module by PJRT: results of exact types, what XLA says of the program, and its errors in our words."""

import jax
import numpy as np
import pytest

from lamina.ir.errors import ArgumentError, DeviceError, LaminaError, UnsupportedError
from lamina.runtime.errors import translate
from lamina.runtime.pjrt import compile_and_load

DOT = """
module @m {
  func.func public @main(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>) -> tensor<8x4xf32> {
    %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
      : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}
"""
IDENTITY = "func.func public @main(%a: tensor<3x{0}>) -> tensor<3x{0}> {{ return %a : tensor<3x{0}> }}"


def test_a_program_runs():
    a, b = np.random.default_rng(0).normal(size=(2, 8, 16)).astype(np.float32)
    (result,) = compile_and_load(DOT).run(a, b.T[:, :4])
    np.testing.assert_allclose(result, a @ b.T[:, :4], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mlir", "dtype"), [("f64", np.float64), ("i64", np.int64), ("complex<f64>", np.complex128)])
def test_64_bit_arrays_stay_64_bit_whatever_the_global_setting(mlir, dtype):
    x = np.array([1, 2, 2**40 + 1]).astype(dtype)
    (result,) = compile_and_load(IDENTITY.format(mlir)).run(x)
    assert result.dtype == dtype and not jax.config.jax_enable_x64
    np.testing.assert_array_equal(result, x)


def test_cost_memory_and_code_can_be_read():
    program = compile_and_load(DOT)
    assert program.cost()["flops"] == 2 * 8 * 16 * 4
    memory = program.memory()
    assert memory["arguments"] == 4 * (8 * 16 + 16 * 4) and memory["outputs"] == 4 * 8 * 4
    assert "HloModule" in program.hlo() and "dot" in program.hlo()


def test_options_reach_the_compiler():
    assert compile_and_load(DOT, options={"xla_cpu_prefer_vector_width": 256}).device.platform == "cpu"
    with pytest.raises(ArgumentError, match="xla_no_such_option"):
        compile_and_load(DOT, options={"xla_no_such_option": 1})


def test_what_the_compiler_refuses_is_an_error_of_ours():
    text = DOT.replace(
        "stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]", "stablehlo.custom_call @nothing(%a, %b)"
    )
    with pytest.raises(UnsupportedError, match=r"compiling for .*cpu.* not registered.*nothing"):
        compile_and_load(text)
    with pytest.raises(LaminaError, match="compiling for"):
        compile_and_load("this is no MLIR")


def test_wrong_arguments_are_errors_of_ours():
    program = compile_and_load(DOT)
    with pytest.raises(ArgumentError, match=r"takes 2 arrays.*received 1"):
        program.run(np.zeros((8, 16), np.float32))
    with pytest.raises(ArgumentError, match=r"f32\[16,4\].*f32\[4,16\]"):
        program.run(np.zeros((8, 16), np.float32), np.zeros((4, 16), np.float32))


@pytest.mark.parametrize(
    ("code", "kind"),
    [("RESOURCE_EXHAUSTED", DeviceError), ("UNIMPLEMENTED", UnsupportedError), ("something else", UnsupportedError)],
)
def test_each_status_is_translated(code, kind):
    error = translate(RuntimeError(f"{code}: the details"), "compiling")
    assert type(error) is kind and str(error).startswith("compiling: ") and "the details" in str(error)
