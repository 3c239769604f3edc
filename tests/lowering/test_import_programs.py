"""``from_stablehlo``: forms of input, names, open dimensions, functions, and errors that say where and what to do."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import lamina
from lamina.ir.dims import symbol
from lamina.ir.errors import ArgumentError, FileFormatError, GuardError, ParseError, ShapeError, UnsupportedError
from lamina.lowering.mlir import context, parse_program, stablehlo

SUM = """func.func @main(%x: tensor<2x3xf32> loc("image"), %y: tensor<2x3xf32> loc("mask"))
    -> (tensor<2x3xf32> {jax.result_info = "result['sum']"}) {
  %0 = stablehlo.add %x, %y : tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
"""
ONES = np.ones((2, 3), np.float32)


def _forms():
    with context():
        module = parse_program(SUM)
        import io

        bytecode = io.BytesIO()
        module.operation.write_bytecode(bytecode)
        artifact = stablehlo.serialize_portable_artifact(module, "1.0.0")
    return {"text": SUM, "bytecode": bytecode.getvalue(), "artifact": artifact}


@pytest.mark.parametrize("form", ["text", "bytecode", "artifact"])
@pytest.mark.parametrize("as_file", [False, True])
def test_every_form_of_a_program(form, as_file, tmp_path):
    data = _forms()[form]
    if as_file:
        path = tmp_path / "program.mlir"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        modules = [lamina.from_stablehlo(path), lamina.from_stablehlo(str(path)), lamina.load(path)]
    else:
        modules = [lamina.from_stablehlo(data)]
    for module in modules:
        (result,), _ = lamina.evaluate(module, ONES, ONES)
        assert (result == 2).all()


def test_names_of_inputs_and_outputs():
    module = lamina.from_stablehlo(SUM, name="adder")
    assert (module.name, module.main.input_names, module.main.output_names) == ("adder", ["image", "mask"], ["sum"])


def test_an_exported_program_of_jax():
    exported = jax.export.export(jax.jit(lambda x: x * 2))(jax.ShapeDtypeStruct((3,), "float32"))
    module = lamina.from_stablehlo(exported.mlir_module_serialized)
    assert lamina.evaluate(module, np.ones(3, np.float32))[0][0].tolist() == [2, 2, 2]


def test_the_only_public_function_is_the_entry():
    text = SUM.replace("@main", "@predict")
    assert len(lamina.from_stablehlo(text).main.inputs) == 2
    assert len(lamina.from_stablehlo(text, entry="predict").main.inputs) == 2
    with pytest.raises(ArgumentError, match="no function 'other'; it has predict"):
        lamina.from_stablehlo(text, entry="other")


# Open dimensions.


def test_open_dimensions_become_symbols():
    module = lamina.from_stablehlo(
        """func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = stablehlo.add %x, %x : tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}"""
    )
    assert module.main.inputs[0].shape == (symbol("N"), 3)
    assert lamina.compile(module)(ONES).shape == (2, 3)


def test_operands_of_one_shape_have_one_symbol():
    module = lamina.from_stablehlo(
        """func.func @main(%x: tensor<?x?xf32>, %y: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = stablehlo.multiply %x, %y : (tensor<?x?xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}"""
    )
    first, second = (v.shape for v in module.main.inputs)
    assert first == second and first[1] == 3
    with pytest.raises(ShapeError):
        lamina.evaluate(module, ONES, np.ones((4, 3), np.float32))


DYNAMIC = """func.func @main(%x: tensor<?x4xf32>) -> tensor<?xf32> {
  %size = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?x4xf32>) -> tensor<i32>
  %four = stablehlo.constant dense<4> : tensor<i32>
  %total = stablehlo.multiply %size, %four : tensor<i32>
  %shape = stablehlo.reshape %total : (tensor<i32>) -> tensor<1xi32>
  %flat = stablehlo.dynamic_reshape %x, %shape : (tensor<?x4xf32>, tensor<1xi32>) -> tensor<?xf32>
  %places = stablehlo.dynamic_iota %shape, dim = 0 : (tensor<1xi32>) -> tensor<?xf32>
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  %ones = stablehlo.dynamic_broadcast_in_dim %one, %shape, dims = [] : (tensor<f32>, tensor<1xi32>) -> tensor<?xf32>
  %sum = stablehlo.add %flat, %places : tensor<?xf32>
  %result = stablehlo.subtract %sum, %ones : tensor<?xf32>
  return %result : tensor<?xf32>
}"""


def test_shape_arithmetic_is_followed():
    module = lamina.from_stablehlo(DYNAMIC)
    assert module.main.outputs[0].shape == (4 * symbol("N"),)
    x = np.zeros((3, 4), np.float32)
    expected = np.arange(12) - 1
    assert lamina.evaluate(module, x)[0][0].tolist() == expected.tolist()
    assert np.asarray(lamina.compile(module)(x)).tolist() == expected.tolist()


def test_what_a_program_asserts_of_its_shapes_is_a_guard():
    exported = jax.export.export(jax.jit(lambda x: x.reshape(-1, 2)))(
        jax.ShapeDtypeStruct(jax.export.symbolic_shape("2*b, 3"), "float32")
    )
    module = lamina.from_stablehlo(exported.mlir_module_serialized)
    assert lamina.evaluate(module, np.ones((4, 3), np.float32))[0][0].shape == (6, 2)
    with pytest.raises(GuardError):
        lamina.evaluate(module, np.ones((3, 3), np.float32))


def test_a_shape_that_depends_on_data_is_refused():
    text = """func.func @main(%x: tensor<4xf32>, %n: tensor<1xi32>) -> tensor<?xf32> {
  %0 = stablehlo.dynamic_reshape %x, %n : (tensor<4xf32>, tensor<1xi32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}"""
    with pytest.raises(UnsupportedError, match=r"dimension 0 of the result depends on data(.|\n)*line 2"):
        lamina.from_stablehlo(text)


def test_modules_go_there_and_back():
    """What lamina emits it imports, with open dimensions too."""
    from lamina.lowering.stablehlo import emit

    module = lamina.trace(
        lambda x: lamina.keras.ops.softmax(lamina.keras.ops.concatenate([x, x], 0)), lamina.Spec((None, 4))
    )
    back = lamina.from_stablehlo(str(emit(module)))
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(lamina.evaluate(back, x)[0][0], lamina.evaluate(module, x)[0][0], rtol=1e-6)


# Constants beside the text, quantized types, random numbers.


def test_constants_in_resources():
    module = lamina.from_stablehlo(
        """func.func @main() -> tensor<4xbf16> {
  %0 = stablehlo.constant dense_resource<weights> : tensor<4xbf16>
  return %0 : tensor<4xbf16>
}
{-# dialect_resources: { builtin: { weights: "0x08000000803F00400000C07F" } } #-}"""
    )
    (result,), _ = lamina.evaluate(module)
    assert np.array_equal(result.astype(np.float32), [1, 2, 0, np.nan], equal_nan=True)


def test_quantized_types_are_refused_with_a_way_out():
    q = "!quant.uniform<i8:f32, 0.5:1>"
    text = f"""func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
  %0 = stablehlo.uniform_quantize %x : (tensor<4xf32>) -> tensor<4x{q}>
  %1 = stablehlo.uniform_dequantize %0 : (tensor<4x{q}>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}}"""
    with pytest.raises(UnsupportedError, match=r"quantized types(.|\n)*legalize-quant-to-math"):
        lamina.from_stablehlo(text)


@pytest.mark.parametrize(
    ("kind", "element", "mean", "deviation"),
    [("UNIFORM", "f32", 3, 1.155), ("NORMAL", "f32", 1, 5), ("UNIFORM", "i32", 2.5, 1.118), ("NORMAL", "f64", 1, 5)],
)
def test_random_numbers_have_their_distribution(kind, element, mean, deviation):
    module = lamina.from_stablehlo(
        f"""func.func @main(%a: tensor<{element}>, %b: tensor<{element}>) -> tensor<9999x{element}> {{
  %s = stablehlo.constant dense<9999> : tensor<1xi64>
  %0 = stablehlo.rng %a, %b, %s, distribution = {kind}
    : (tensor<{element}>, tensor<{element}>, tensor<1xi64>) -> tensor<9999x{element}>
  return %0 : tensor<9999x{element}>
}}"""
    )
    dtype = module.main.inputs[0].dtype
    (result,), _ = lamina.evaluate(module, np.array(1, dtype), np.array(5, dtype))
    # Four standard errors of 9,999 draws.
    assert abs(result.mean() - mean) < 4 * deviation / 100
    assert abs(result.std() - deviation) < 4 * deviation / 100
    if kind == "UNIFORM":
        assert result.min() >= 1 and result.max() < 5


# Errors.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage {",
        "func.func @main() -> tensor<2xf32> {\n  %0 = stablehlo.add : f }",
        "module {\n",
        SUM.replace("stablehlo.add %x", "stablehlo.add %z"),
        SUM.replace("stablehlo.add", "stablehlo.multiplicate"),
        SUM.replace("2x3xf32> {jax", "9x9xf32> {jax"),
        b"ML\xefR123",
        b"ML\xefR\rStableHLO_v1.0.0\x00\x01\x02\x03",
        _forms()["artifact"][:60],
        _forms()["bytecode"][:-10],
        'func.func @main() {\n  "foo.bar"() : () -> ()\n  return\n}',
        "func.func @main(%x: tensor<2xf99>) {\n  return\n}",
        "func.func @main(%x: tensor<-2xf32>) {\n  return\n}",
        "\x00\x01{",
    ],
)
def test_what_is_no_program_is_refused(text):
    with pytest.raises((ParseError, ArgumentError)) as caught:
        lamina.from_stablehlo(text)
    assert str(caught.value)


def test_errors_name_the_line():
    with pytest.raises(ParseError, match=r'no valid StableHLO program(.|\n)*"-":3:'):
        lamina.from_stablehlo(SUM.replace("stablehlo.add %x", "stablehlo.add %z"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        lamina.from_stablehlo(tmp_path / "nothing.mlir")
    path = tmp_path / "picture.mlir"
    path.write_bytes(b"\x89PNG\xff\xfe{")
    with pytest.raises(FileFormatError, match="neither StableHLO text nor MLIR bytecode"):
        lamina.from_stablehlo(path)


@pytest.mark.parametrize(
    ("operation", "way"),
    [
        ('%1:2 = "stablehlo.infeed"(%t) {infeed_config = ""} : (!stablehlo.token) -> (tensor<2xf32>, !stablehlo.token)',
         "an input of the program"),
        ('%1 = "stablehlo.outfeed"(%x, %t) : (tensor<2xf32>, !stablehlo.token) -> !stablehlo.token',
         "an output of the program"),
        ('"stablehlo.custom_call"() {call_target_name = "log", has_side_effect = true} : () -> ()', "leave it out"),
        ("%1 = stablehlo.set_dimension_size %x, %n, dim = 0 : (tensor<2xf32>, tensor<i32>) -> tensor<?xf32>",
         "mask the rest"),
        ("%1 = math.absf %x : tensor<2xf32>", "math.absf"),
    ],
)  # fmt: skip
def test_what_programs_can_not_do_is_refused_by_name_and_line(operation, way):
    text = f"""func.func @main(%x: tensor<2xf32>, %n: tensor<i32>) -> tensor<2xf32> {{
  %t = stablehlo.create_token : !stablehlo.token
  {operation}
  return %x : tensor<2xf32>
}}"""
    with pytest.raises(UnsupportedError, match=rf"{way}(.|\n)*line 3"):
        lamina.from_stablehlo(text)


def test_functions_that_call_each_other_in_a_circle():
    text = """func.func @main(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @f(%x) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  %0 = call @f(%x) : (tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}"""
    with pytest.raises(UnsupportedError, match="circle: f -> f"):
        lamina.from_stablehlo(text)


def test_a_region_that_captures():
    text = """func.func @main(%x: tensor<3xf32>, %y: tensor<f32>) -> tensor<f32> {
  %0 = "stablehlo.reduce"(%x, %y) ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %y : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) {dimensions = array<i64: 0>} : (tensor<3xf32>, tensor<f32>) -> tensor<f32>
  return %0 : tensor<f32>
}"""
    with pytest.raises(UnsupportedError, match=r"a region of stablehlo\.reduce uses a value from outside"):
        lamina.from_stablehlo(text)
