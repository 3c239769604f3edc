# ruff: noqa: E501  (programs are text: a line of theirs is one here)
"""StableHLO programs of one operation each, by name, with the arrays that they run on.

``PROGRAMS[name]`` holds text, arrays, and how many eps of the largest result a target may be off by. The reference is XLA,
or for what XLA does not take the specification's interpreter, or arrays that are given.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.ir.types import ELEMENT_TYPES, is_complex, is_float, is_integer, is_unsigned

_MLIR = {
    "complex<f32>": "c64",
    "complex<f64>": "c128",
    "f8E4M3FN": "f8e4m3fn",
    "f8E5M2": "f8e5m2",
    "f8E4M3B11FNUZ": "f8e4m3b11fnuz",
    "f8E4M3FNUZ": "f8e4m3fnuz",
    "f8E5M2FNUZ": "f8e5m2fnuz",
}
FLOATS = ("f32", "f64", "f16", "bf16")
FLOATS8 = ("f8E4M3FN", "f8E5M2", "f8E4M3B11FNUZ", "f8E4M3FNUZ", "f8E5M2FNUZ")
SIGNED = ("i4", "i8", "i16", "i32", "i64")
UNSIGNED = ("ui4", "ui8", "ui16", "ui32", "ui64")
COMPLEX = ("complex<f32>", "complex<f64>")
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + FLOATS8 + INTEGERS + COMPLEX


@dataclass(frozen=True)
class Program:
    """Text, the arrays of ``main``'s arguments, and the bound on errors; ``expected`` where NumPy is the reference."""

    text: str
    arrays: tuple[np.ndarray, ...]
    tolerance: float = 64
    expected: tuple[np.ndarray, ...] | None = None
    reference: str = "xla"


PROGRAMS: dict[str, Program] = {}


def _split(type_: str) -> tuple[tuple[int, ...], str]:
    """``2x3xf32`` as a shape and an element type."""
    sizes, element = re.fullmatch(r"((?:\d+x)*)(.*)", type_).groups()
    return tuple(int(d) for d in sizes.split("x") if d), element


def draw(rng: np.random.Generator, type_: str) -> np.ndarray:
    """An array of a type: small numbers, now and then a special one."""
    shape, element = _split(type_)
    dtype = ELEMENT_TYPES[_MLIR.get(element, element)]
    if element == "i1":
        return rng.random(shape) < 0.5
    if is_integer(dtype):
        return rng.integers(0 if is_unsigned(dtype) else -4, 4, shape, endpoint=True).astype(dtype)
    if is_complex(dtype):
        return (rng.uniform(-2, 2, shape) + 1j * rng.uniform(-2, 2, shape)).astype(dtype)
    assert is_float(dtype)
    return np.asarray(rng.uniform(-2, 2, shape)).astype(dtype)


def add(
    name: str,
    operation: str,
    operands: Sequence[str],
    results: Sequence[str],
    arrays: dict[int, Any] | None = None,
    before: str = "",
    **fields: Any,
) -> None:
    """Enter the program ``operation : (operands) -> results``; its arguments are ``%0``, ``%1`` ...

    ``arrays`` replaces what is drawn for an argument, by number; ``before`` is text in front of the operation.
    """
    assert name not in PROGRAMS, name
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    given = [draw(rng, t) for t in operands]
    for i, array in (arrays or {}).items():
        given[i] = np.asarray(array(given[i]) if callable(array) else array).astype(given[i].dtype)
    tensors, outs = ([f"tensor<{t}>" for t in types] for types in (operands, results))
    arguments = ", ".join(f"%{i}: {t}" for i, t in enumerate(tensors))
    used = [f"%r#{i}" for i in range(len(outs))] if len(outs) > 1 else ["%r"] * len(outs)
    made = f"%r:{len(outs)}" if len(outs) > 1 else "%r"
    taken = operation.partition(")")[0].count("%")  # the others are captured by its regions
    text = (
        f"func.func @main({arguments}) -> ({', '.join(outs)}) {{\n{before}\n"
        f"  {made} = {operation} : ({', '.join(tensors[:taken])}) -> ({', '.join(outs)})\n"
        f"  return {', '.join(used)} : {', '.join(outs)}\n}}"
    )
    PROGRAMS[name] = Program(text, tuple(given), **fields)


def add_text(name: str, text: str, *arrays: Any, **fields: Any) -> None:
    """Enter a program that is written out."""
    assert name not in PROGRAMS, name
    PROGRAMS[name] = Program(text, tuple(np.asarray(a) for a in arrays), **fields)


# Elementwise.

_UNARY = {
    **dict.fromkeys(("exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt"), FLOATS + COMPLEX),
    **dict.fromkeys(("sine", "cosine", "tan", "tanh", "logistic"), FLOATS + COMPLEX),
    "cbrt": FLOATS,
    **dict.fromkeys(("floor", "ceil", "round_nearest_even", "round_nearest_afz"), FLOATS + FLOATS8),
    **dict.fromkeys(("abs", "sign"), FLOATS + FLOATS8 + SIGNED + COMPLEX),
    "negate": NUMBERS,
    "not": (*INTEGERS, "i1"),
    "popcnt": tuple(t for t in INTEGERS if t != "i4"),  # XLA counts the bits of the sign's extension
    "count_leading_zeros": INTEGERS,
    "is_finite": FLOATS + FLOATS8,
}
for _op, _types in _UNARY.items():
    for _t in _types:
        _r = "i1" if _op == "is_finite" else _t[8:-1] if _op == "abs" and _t in COMPLEX else _t
        add(f"{_op} {_t}", f'"stablehlo.{_op}"(%0)', [f"2x3x{_t}"], [f"2x3x{_r}"])
_BINARY = {
    **dict.fromkeys(("add", "multiply", "maximum", "minimum"), (*NUMBERS, "i1")),
    **dict.fromkeys(("subtract", "divide", "power"), NUMBERS),
    "remainder": FLOATS + FLOATS8 + INTEGERS,
    "atan2": FLOATS + COMPLEX,
    **dict.fromkeys(("and", "or", "xor"), (*INTEGERS, "i1")),
    **dict.fromkeys(("shift_left", "shift_right_logical", "shift_right_arithmetic"), INTEGERS),
    "complex": ("f32", "f64"),
}
for _op, _types in _BINARY.items():
    for _t in _types:
        _r = f"complex<{_t}>" if _op == "complex" else _t
        add(f"{_op} {_t}", f'"stablehlo.{_op}"(%0, %1)', [f"3x4x{_t}"] * 2, [f"3x4x{_r}"])
    add(
        f"{_op} zero size",
        f'"stablehlo.{_op}"(%0, %1)',
        [f"0x4x{_types[0]}"] * 2,
        [f"0x4x{'complex<f32>' if _op == 'complex' else _types[0]}"],
    )


def _special(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[:4] = np.array([np.nan, -0.0, 0.0, 1.0]).astype(x.dtype)
    return x


for _t in (*NUMBERS, "i1"):
    for _d in ("EQ", "NE", "LT", "LE", "GT", "GE"):
        if _t in COMPLEX and _d not in ("EQ", "NE"):
            continue
        for _kind in ("FLOAT", "TOTALORDER") if _t in FLOATS else ("NOTYPE",):
            _attributes = f"{{comparison_direction = #stablehlo<comparison_direction {_d}>"
            _attributes += f", compare_type = #stablehlo<comparison_type {_kind}>}}" if _kind != "NOTYPE" else "}"
            _arrays = {0: _special, 1: lambda y: np.roll(_special(y), 1)} if _t in FLOATS else {}
            add(
                f"compare {_d} {_kind} {_t}",
                f'"stablehlo.compare"(%0, %1) {_attributes}',
                [f"8x{_t}"] * 2,
                ["8xi1"],
                _arrays,
            )
for _t in (*NUMBERS, "i1"):
    for _r in (*NUMBERS, "i1"):
        add(f"convert {_t} {_r}", '"stablehlo.convert"(%0)', [f"5x{_t}"], [f"5x{_r}"])
for _t, _r in (
    *(("3xf32", "3xi32"), ("3xf32", "3x4xui8"), ("3x4xui8", "3xf32"), ("3xf64", "3x2xf32"), ("3xi8", "3x2xi4")),
    *(
        ("3x2xi4", "3xi8"),
        ("3xbf16", "3xi16"),
        ("3xf8E5M2", "3xui8"),
        ("4xi1", "4xi1"),
        ("2xui4", "2xi4"),
        ("i32", "f32"),
    ),
):
    add(f"bitcast_convert {_t} {_r}", '"stablehlo.bitcast_convert"(%0)', [_t], [_r])
add(
    "bitcast_convert bits",
    '"stablehlo.bitcast_convert"(%0)',
    ["1xui8"],
    ["1x8xi1"],
    {0: [0b10010110]},
    expected=(np.array([[0, 1, 1, 0, 1, 0, 0, 1]], bool),),
)
add(
    "bitcast_convert from bits",
    '"stablehlo.bitcast_convert"(%0)',
    ["1x8xi1"],
    ["1xui8"],
    {0: [[0, 1, 1, 0, 1, 0, 0, 1]]},
    expected=(np.array([0b10010110], np.uint8),),
)
for _t, _e, _m in (("f32", 5, 10), ("f32", 8, 7), ("bf16", 4, 3), ("f64", 11, 20), ("f32", 5, 2)):
    add(
        f"reduce_precision {_t} {_e} {_m}",
        f'"stablehlo.reduce_precision"(%0) {{exponent_bits = {_e} : i32, mantissa_bits = {_m} : i32}}',
        [f"6x{_t}"],
        [f"6x{_t}"],
    )
for _t in ("f32", "i32", "bf16", "ui8", "i1"):
    add(f"clamp {_t}", '"stablehlo.clamp"(%0, %1, %2)', [_t, f"3x{_t}", f"3x{_t}"], [f"3x{_t}"])
add("clamp tensors", '"stablehlo.clamp"(%0, %1, %2)', ["3xf32"] * 3, ["3xf32"])
add("select scalar", '"stablehlo.select"(%0, %1, %2)', ["i1", "3xf32", "3xf32"], ["3xf32"])
add("select", '"stablehlo.select"(%0, %1, %2)', ["3xi1", "3xcomplex<f32>", "3xcomplex<f32>"], ["3xcomplex<f32>"])
for _t in (*NUMBERS, "i1"):
    if _t != "i1":
        add_text(
            f"iota {_t}",
            f"func.func @main() -> tensor<3x4x{_t}> {{\n  %0 = stablehlo.iota dim = 1 : tensor<3x4x{_t}>\n  return %0 : tensor<3x4x{_t}>\n}}",
        )

# Constants: bits of each kind of literal.


def _constant(name: str, type_: str, literal: str) -> None:
    add_text(
        f"constant {name}",
        f"func.func @main() -> tensor<{type_}> {{\n  %0 = stablehlo.constant dense<{literal}> : tensor<{type_}>\n"
        f"  return %0 : tensor<{type_}>\n}}",
        tolerance=0,
    )


for _name, _t, _literal in (
    ("bf16", "4xbf16", "[1.5, -0.0, 0x7FC0, 0xFF80]"),
    ("f16", "2xf16", "[0x7C00, 1.0]"),
    ("f32", "2xf32", "[0x7FC00001, -0.0]"),
    ("f64", "2xf64", "[0x7FF0000000000000, 1.0e-300]"),
    ("i4", "3xi4", "[1, -8, 7]"),
    ("ui4", "2xui4", "[1, 15]"),
    ("i8", "2xi8", '"0x80FF"'),
    ("i64", "1xi64", "[-9223372036854775808]"),
    ("ui64", "1xui64", "[18446744073709551615]"),
    ("i1", "2xi1", "[true, false]"),
    ("i1 splat", "3xi1", "true"),
    ("complex", "2xcomplex<f32>", "[(1.0, -0.0), (2.0, 0x7F800000)]"),
    ("complex splat", "2x3xcomplex<f64>", "(1.0, 2.0)"),
    ("complex bytes", "4xcomplex<f32>", '"0x0000803F00000040"'),
    ("bf16 bytes", "5xbf16", '"0x803F"'),
    ("f8E4M3FN", "2xf8E4M3FN", "[1.5, 0x7F]"),
    ("f8E5M2", "2xf8E5M2", "[1.5, 0x7C]"),
    ("f8E4M3B11FNUZ", "2xf8E4M3B11FNUZ", "[0x80, 1.0]"),
    ("zero size", "0x3xf32", ""),
    ("zero size complex", "0x2xcomplex<f32>", ""),
    ("scalar", "f32", "3.5"),
):
    _constant(_name, _t, _literal)

# Shapes.

add(
    "slice",
    '"stablehlo.slice"(%0) {start_indices = array<i64: 1, 2>, limit_indices = array<i64: 4, 6>, strides = array<i64: 2, 3>}',
    ["5x6xf32"],
    ["2x2xf32"],
)
for _i, (_low, _high, _inner, _r) in enumerate(
    (
        ((1, 2), (0, 1), (0, 1), "4x10xf32"),
        ((-1, 0), (2, -2), (1, 0), "6x2xf32"),
        ((0, 0), (0, 0), (2, 3), "7x13xf32"),
        ((-3, 0), (0, 0), (0, 0), "0x4xf32"),
    )
):
    _lists = ", ".join(
        f"{n} = array<i64: {v[0]}, {v[1]}>"
        for n, v in (("edge_padding_low", _low), ("edge_padding_high", _high), ("interior_padding", _inner))
    )
    add(f"pad {_i}", f'"stablehlo.pad"(%0, %1) {{{_lists}}}', ["3x4xf32", "f32"], [_r])
add(
    "pad nothing",
    '"stablehlo.pad"(%0, %1) {edge_padding_low = array<i64: 1, 0>, edge_padding_high = array<i64: 1, 0>, interior_padding = array<i64: 3, 0>}',
    ["0x4xf32", "f32"],
    ["2x4xf32"],
)
add(
    "concatenate",
    '"stablehlo.concatenate"(%0, %1, %2) {dimension = 1 : i64}',
    ["2x3xf32", "2x0xf32", "2x1xf32"],
    ["2x4xf32"],
)
add("concatenate one", '"stablehlo.concatenate"(%0) {dimension = 0 : i64}', ["2x3xi4"], ["2x3xi4"])
add("reverse", '"stablehlo.reverse"(%0) {dimensions = array<i64: 1, 0>}', ["2x3xf32"], ["2x3xf32"])
add("reverse nothing", '"stablehlo.reverse"(%0) {dimensions = array<i64>}', ["2x3xf32"], ["2x3xf32"])
add("broadcast", '"stablehlo.broadcast"(%0) {broadcast_sizes = array<i64: 2, 4>}', ["3xf32"], ["2x4x3xf32"])
add(
    "broadcast_in_dim",
    '"stablehlo.broadcast_in_dim"(%0) {broadcast_dimensions = array<i64: 2, 0>}',
    ["1x3xf32"],
    ["3x2x5xf32"],
)
add("transpose", '"stablehlo.transpose"(%0) {permutation = array<i64: 2, 0, 1>}', ["2x3x4xi1"], ["4x2x3xi1"])
add("transpose scalar", '"stablehlo.transpose"(%0) {permutation = array<i64>}', ["f32"], ["f32"])
add("reshape", '"stablehlo.reshape"(%0)', ["2x3xcomplex<f32>"], ["3x1x2xcomplex<f32>"])
add(
    "dynamic_slice",
    '"stablehlo.dynamic_slice"(%0, %1, %2) {slice_sizes = array<i64: 2, 3>}',
    ["4x4xf32", "i64", "i64"],
    ["2x3xf32"],
    {1: -1, 2: 9},
)
add(
    "dynamic_slice ui8",
    '"stablehlo.dynamic_slice"(%0, %1) {slice_sizes = array<i64: 2>}',
    ["4xf32", "ui8"],
    ["2xf32"],
    {1: 200},
)
add("dynamic_slice scalar", '"stablehlo.dynamic_slice"(%0) {slice_sizes = array<i64>}', ["f32"], ["f32"])
add(
    "dynamic_update_slice",
    '"stablehlo.dynamic_update_slice"(%0, %1, %2, %3)',
    ["4x4xf32", "2x3xf32", "i32", "i32"],
    ["4x4xf32"],
    {2: 3, 3: -5},
)
add("get_dimension_size", '"stablehlo.get_dimension_size"(%0) {dimension = 1 : i64}', ["2x7xf32"], ["i32"])

# Contractions.

_DOT = "dot_dimension_numbers = #stablehlo.dot<lhs_batching_dimensions = [0], rhs_batching_dimensions = [1], lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [0]>"
_HIGH = "precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision DEFAULT>]"
for _t, _r in (
    *(("f32", "f32"), ("bf16", "f32"), ("bf16", "bf16"), ("i8", "i32"), ("i4", "i32"), ("ui8", "ui8"), ("f64", "f64")),
    *(("complex<f32>", "complex<f32>"), ("f8E4M3FN", "f32"), ("f8E5M2", "f8E5M2"), ("i1", "i1"), ("f16", "f32")),
    *(("i32", "i64"), ("f32", "f64"), ("f64", "f32"), ("i32", "f32")),
):
    add(
        f"dot_general {_t} {_r}",
        f'"stablehlo.dot_general"(%0, %1) {{{_DOT}, {_HIGH}}}',
        [f"2x3x4x{_t}", f"4x2x5x{_t}"],
        [f"2x3x5x{_r}"],
    )
_MATMUL = "dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0]>"
for _t, _u, _r in (("f8E4M3FN", "f8E5M2", "f32"), ("bf16", "f32", "f32"), ("i8", "ui8", "i32"), ("i8", "i32", "i32")):
    add(
        f"dot_general {_t} {_u} {_r}",
        f'"stablehlo.dot_general"(%0, %1) {{{_MATMUL}}}',
        [f"3x4x{_t}", f"4x5x{_u}"],
        [f"3x5x{_r}"],
    )
for _a in ("f32", "tf32", "bf16", "f16", "f64"):
    _wide = "f64" if _a == "f64" else "f32"
    _algorithm = f"algorithm = #stablehlo.dot_algorithm<lhs_precision_type = {_a}, rhs_precision_type = {_a}, accumulation_type = {_wide}, lhs_component_count = 1, rhs_component_count = 1, num_primitive_operations = 1, allow_imprecise_accumulation = false>"
    add(
        f"dot_general algorithm {_a}",
        f'"stablehlo.dot_general"(%0, %1) {{{_MATMUL}, precision_config = [#stablehlo<precision DEFAULT>, #stablehlo<precision DEFAULT>], {_algorithm}}}',
        ["3x4xf32", "4x5xf32"],
        ["3x5xf32"],
    )
add("dot_general of nothing", f'"stablehlo.dot_general"(%0, %1) {{{_MATMUL}}}', ["3x0xf32", "0x5xf32"], ["3x5xf32"])
add(
    "dot_general outer",
    '"stablehlo.dot_general"(%0, %1) {dot_dimension_numbers = #stablehlo.dot<>}',
    ["2xf32", "3xf32"],
    ["2x3xf32"],
)
for _x, _y, _r in (("3x", "3x", ""), ("2x3x", "3x", "2x"), ("2x3x", "3x4x", "2x4x"), ("3x", "3x4x", "4x")):
    add(f"dot {_x}{_y}", '"stablehlo.dot"(%0, %1)', [f"{_x}f32", f"{_y}f32"], [f"{_r}f32"])


def _convolution(
    name: str,
    x: str,
    w: str,
    out: str,
    numbers: str = "[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]",
    groups: tuple[int, int] = (1, 1),
    window: str = "",
) -> None:
    attributes = f"dimension_numbers = #stablehlo.conv<{numbers}>, feature_group_count = {groups[0]} : i64, batch_group_count = {groups[1]} : i64{window}"
    add(f"convolution {name}", f'"stablehlo.convolution"(%0, %1) {{{attributes}}}', [x, w], [out])


_1D = "[b, f, 0]x[o, i, 0]->[b, f, 0]"
_convolution("plain", "2x3x6x6xf32", "4x3x3x3xf32", "2x4x4x4xf32")
_convolution(
    "everything",
    "2x3x6x7xf32",
    "4x3x3x2xf32",
    "2x4x9x5xf32",
    window=", window_strides = array<i64: 2, 3>, padding = dense<[[3, 2], [0, 1]]> : tensor<2x2xi64>, lhs_dilation = array<i64: 3, 2>, rhs_dilation = array<i64: 2, 1>, window_reversal = array<i1: true, false>",
)
_convolution(
    "negative padding",
    "2x3x6x7xf32",
    "4x3x3x2xf32",
    "2x4x3x6xf32",
    window=", padding = dense<[[-1, 0], [0, 0]]> : tensor<2x2xi64>",
)
_convolution("other axes", "6x7x3x2xf32", "3x2x4x3xf32", "4x5x2x5xf32", "[0, 1, f, b]x[1, 0, o, i]->[f, 0, b, 1]")
_convolution("feature groups", "2x4x5x5xf32", "6x2x3x3xf32", "2x6x3x3xf32", groups=(2, 1))
_convolution("batch groups", "4x3x5x5xf32", "6x3x3x3xf32", "2x6x3x3xf32", groups=(1, 2))
_convolution("no window", "2x3xf32", "4x3xf32", "2x4xf32", "[b, f]x[o, i]->[b, f]")
_convolution("integers", "2x3x5xi8", "4x3x2xi8", "2x4x4xi32", _1D)
_convolution("bf16", "2x3x5xbf16", "4x3x2xbf16", "2x4x4xf32", _1D)
_convolution("complex", "2x3x5xcomplex<f32>", "4x3x2xcomplex<f32>", "2x4x4xcomplex<f32>", _1D)
_convolution("window too large", "2x3x2xf32", "4x3x5xf32", "2x4x0xf32", _1D)
_convolution("of nothing", "0x3x5xf32", "4x3x2xf32", "0x4x4xf32", _1D)

# Reductions.


def _fold(op: str, element: str) -> str:
    t = f"tensor<{element}>"
    return f'({{\n^bb0(%x: {t}, %y: {t}):\n  %z = "stablehlo.{op}"(%x, %y) : ({t}, {t}) -> {t}\n  "stablehlo.return"(%z) : ({t}) -> ()\n}})'


def _compare(direction: str, element: str, total: bool = False) -> str:
    t = f"tensor<{element}>"
    kind = ", compare_type = #stablehlo<comparison_type TOTALORDER>" if total else ""
    return f'({{\n^bb0(%x: {t}, %y: {t}):\n  %z = "stablehlo.compare"(%x, %y) {{comparison_direction = #stablehlo<comparison_direction {direction}>{kind}}} : ({t}, {t}) -> tensor<i1>\n  "stablehlo.return"(%z) : (tensor<i1>) -> ()\n}})'


_STARTS: dict[str, Callable[[str], Any]] = {
    "add": lambda t: 0,
    "multiply": lambda t: 1,
    "maximum": lambda t: 2,
    "minimum": lambda t: -1 if t[0] != "u" else 1,
    "and": lambda t: -1,
    "or": lambda t: 0,
    "xor": lambda t: 0,
}
for _t in ("f32", "f64", "bf16", "f8E5M2", "i32", "i8", "ui4", "i1", "complex<f32>"):
    for _op in _STARTS:
        if (_op in ("and", "or", "xor") and _t[0] not in "iu") or (_t == "i1" and _op not in ("and", "or", "xor")):
            continue
        for _axes, _r in (("0", "4x"), ("0, 1", ""), ("1", "3x")):
            add(
                f"reduce {_op} {_t} over {_axes}",
                f'"stablehlo.reduce"(%0, %1) {_fold(_op, _t)} {{dimensions = array<i64: {_axes}>}}',
                [f"3x4x{_t}", _t],
                [f"{_r}{_t}"],
                {1: _STARTS[_op](_t)},
            )
add(
    "reduce nothing",
    f'"stablehlo.reduce"(%0, %1) {_fold("add", "f32")} {{dimensions = array<i64: 1>}}',
    ["3x0xf32", "f32"],
    ["3xf32"],
    {1: 5},
)
add(
    "reduce in a wider type",
    f'"stablehlo.reduce"(%0, %1) {_fold("add", "f64")} {{dimensions = array<i64: 1>}}',
    ["2x3xf32", "f32"],
    ["2xf64"],
    {0: np.arange(6).reshape(2, 3), 1: 0},
    expected=(np.array([3.0, 12.0]),),
)
add(
    "reduce start counts once",
    f'"stablehlo.reduce"(%0, %1) {_fold("add", "i32")} {{dimensions = array<i64>}}',
    ["3xi32", "i32"],
    ["3xi32"],
    {0: [1, 2, 3], 1: 10},
    expected=(np.array([11, 12, 13], np.int32),),
)


def _window(name: str, x: str, out: str, op: str = "add", start: float = 0, **settings: Any) -> None:
    element = _split(x)[1]
    parts = [f"{k} = array<i64: {', '.join(map(str, v))}>" for k, v in settings.items() if k != "padding"]
    if "padding" in settings:
        rows = [list(p) for p in settings["padding"]]
        parts.append(f"padding = dense<{rows}> : tensor<{len(rows)}x2xi64>")
    add(
        f"reduce_window {name}",
        f'"stablehlo.reduce_window"(%0, %1) {_fold(op, element)} {{{", ".join(parts)}}}',
        [x, element],
        [out],
        {1: start},
    )


_window("plain", "4x6xf32", "3x5xf32", window_dimensions=(2, 2))
_window(
    "everything",
    "4x6xf32",
    "4x1xf32",
    window_dimensions=(2, 3),
    window_strides=(2, 4),
    base_dilations=(2, 1),
    window_dilations=(1, 2),
    padding=((1, 1), (0, 1)),
)
_window("maximum", "4x6xi32", "3x5xi32", "maximum", -100, window_dimensions=(2, 2))
_window("negative padding", "6xf32", "4xf32", window_dimensions=(2,), padding=((-1, 0),))
_window("bf16", "6xbf16", "5xbf16", window_dimensions=(2,))
_window("too large", "3xf32", "0xf32", window_dimensions=(5,))
_window("multiply", "6xf32", "5xf32", "multiply", 1, window_dimensions=(2,))
_window("start", "6xf32", "5xf32", "add", 3, window_dimensions=(2,))
for _t, _op, _pad, _win, _source in (
    ("f32", "add", "dense<0> : tensor<2x2xi64>", "2, 2", "2x3x"),
    ("i32", "add", "dense<[[2, 1], [0, 1]]> : tensor<2x2xi64>", "3, 2", "3x3x"),
):
    _x = f"4x6x{_t}" if _source == "2x3x" else f"4x5x{_t}"
    add(
        f"select_and_scatter {_t}",
        f'"stablehlo.select_and_scatter"(%0, %1, %2) {_compare("GE", _t)[:-1]}, {_fold(_op, _t)[1:]} {{window_dimensions = array<i64: {_win}>, window_strides = array<i64: 2, 2>, padding = {_pad}}}',
        [_x, f"{_source}{_t}", _t],
        [_x],
        {2: 0},
    )
for _t in ("f32", "bf16", "i32", "ui8", "i4", "i1"):
    for _d in ("LT", "GT"):
        add(
            f"sort {_t} {_d}",
            f'"stablehlo.sort"(%0) {_compare(_d, _t, _t in FLOATS)} {{dimension = 1 : i64, is_stable = true}}',
            [f"3x5x{_t}"],
            [f"3x5x{_t}"],
        )
add("sort by default", f'"stablehlo.sort"(%0) {_compare("LT", "f32")}', ["3x5xf32"], ["3x5xf32"])
add("sort nothing", f'"stablehlo.sort"(%0) {_compare("LT", "f32")} {{dimension = 0 : i64}}', ["0xf32"], ["0xf32"])
add(
    "sort two",
    '"stablehlo.sort"(%0, %1) ({\n^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<f32>, %d: tensor<f32>):\n  %z = stablehlo.compare GT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>\n  stablehlo.return %z : tensor<i1>\n}) {dimension = -2 : i64, is_stable = true}',
    ["3x5xi32", "3x5xf32"],
    ["3x5xi32", "3x5xf32"],
)

# Indexing.

_GATHER = "dimension_numbers = #stablehlo.gather<offset_dims = [3, 4], collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [1], start_index_map = [2, 1], index_vector_dim = 3>, slice_sizes = array<i64: 1, 1, 2, 2>, indices_are_sorted = false"
add("gather", f'"stablehlo.gather"(%0, %1) {{{_GATHER}}}', ["2x3x4x2xi64", "2x2x3x2xi64"], ["2x2x3x2x2xi64"])
add(
    "gather scalar index",
    '"stablehlo.gather"(%0, %1) {dimension_numbers = #stablehlo.gather<offset_dims = [0], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 0>, slice_sizes = array<i64: 1, 3>}',
    ["5x3xbf16", "ui32"],
    ["3xbf16"],
)
_SCATTER = "scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [3, 4], inserted_window_dims = [1], input_batching_dims = [0], scatter_indices_batching_dims = [1], scatter_dims_to_operand_dims = [2, 1], index_vector_dim = 3>, indices_are_sorted = false, unique_indices = false"
for _op in ("add", "maximum", "multiply"):
    add(
        f"scatter {_op}",
        f'"stablehlo.scatter"(%0, %1, %2) {_fold(_op, "i64")} {{{_SCATTER}}}',
        ["2x3x4x2xi64", "2x2x3x2xi64", "2x2x3x2x2xi64"],
        ["2x3x4x2xi64"],
    )
add(
    "scatter two",
    '"stablehlo.scatter"(%0, %1, %2, %3, %4) ({\n^bb0(%x: tensor<f32>, %u: tensor<i32>, %y: tensor<f32>, %v: tensor<i32>):\n  stablehlo.return %y, %v : tensor<f32>, tensor<i32>\n}) {scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}',
    ["4xf32", "4xi32", "2x1xi32", "2xf32", "2xi32"],
    ["4xf32", "4xi32"],
    {2: [[1], [9]]},
)
for _name, _x, _i, _dim, _batch, _r in (
    ("plain", "5x3x", "2x", 0, 0, "2x3x"),
    ("batch", "2x5x3x", "2x4x", 1, 1, "2x4x3x"),
    ("last", "2x5x3x", "4x2x", 2, 0, "2x5x4x2x"),
):
    add(
        f"torch_index_select {_name}",
        f'"stablehlo.torch_index_select"(%0, %1) {{dim = {_dim} : i64, batch_dims = {_batch} : i64}}',
        [f"{_x}f32", f"{_i}ui32"],
        [f"{_r}f32"],
        {1: lambda i: i % 3},
    )
for _equation, _x, _y, _r in (
    ("ab,bc->ac", "2x3x", "3x4x", "2x4x"),
    ("bij,bjk->bik", "2x3x4x", "2x4x5x", "2x3x5x"),
    ("ab,cd->abcd", "2x3x", "3x4x", "2x3x3x4x"),
    ("abc,bd->dc", "2x3x4x", "3x5x", "5x4x"),
    ("aa,ab->b", "3x3x", "3x2x", "2x"),
):
    add(
        f"einsum {_equation}",
        f'"stablehlo.einsum"(%0, %1) {{einsum_config = "{_equation}"}}',
        [f"{_x}f32", f"{_y}f32"],
        [f"{_r}f32"],
    )
for _equation, _x, _r in (
    ("ab->ba", "2x3x", "3x2x"),
    ("ab->a", "2x3x", "2x"),
    ("aa->a", "3x3x", "3x"),
    ("aab->ba", "2x2x3x", "3x2x"),
    ("...ab->...ba", "4x2x3x", "4x3x2x"),
):
    _name = f"unary_einsum {_equation}"
    _array = draw(np.random.default_rng(zlib.crc32(_name.encode())), f"{_x}f32")
    add(
        _name,
        f'"stablehlo.unary_einsum"(%0) {{einsum_config = "{_equation}"}}',
        [f"{_x}f32"],
        [f"{_r}f32"],
        expected=(np.einsum(_equation, _array),),
    )

# Linear algebra and normalization.

for _kind, _x, _r, _length in (
    ("FFT", "3x8xcomplex<f32>", "3x8xcomplex<f32>", "8"),
    ("IFFT", "3x4x5xcomplex<f32>", "3x4x5xcomplex<f32>", "4, 5"),
    ("RFFT", "3x8xf32", "3x5xcomplex<f32>", "8"),
    ("IRFFT", "3x5xcomplex<f32>", "3x8xf32", "8"),
    ("IRFFT", "3x4xcomplex<f32>", "3x7xf32", "7"),
    ("RFFT", "2x3x4xf64", "2x3x3xcomplex<f64>", "2, 3, 4"),
):
    add(
        f"fft {_kind} {_length}",
        f'"stablehlo.fft"(%0) {{fft_type = #stablehlo<fft_type {_kind}>, fft_length = array<i64: {_length}>}}',
        [_x],
        [_r],
        tolerance=128,
    )


def _positive(a: np.ndarray) -> np.ndarray:
    return a @ a.T + 4 * np.eye(len(a), dtype=a.dtype)


for _lower in ("true", "false"):
    add(
        f"cholesky {_lower}",
        f'"stablehlo.cholesky"(%0) {{lower = {_lower}}}',
        ["4x4xf32"],
        ["4x4xf32"],
        {0: _positive},
        tolerance=256,
    )
    for _left in ("true", "false"):
        for _transpose in ("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"):
            for _unit in ("true", "false"):
                add(
                    f"triangular_solve {_lower} {_left} {_transpose} {_unit}",
                    f'"stablehlo.triangular_solve"(%0, %1) {{left_side = {_left}, lower = {_lower}, unit_diagonal = {_unit}, transpose_a = #stablehlo<transpose {_transpose}>}}',
                    ["4x4xf32"] * 2,
                    ["4x4xf32"],
                    {0: _positive},
                    tolerance=4096,
                )
_NORM = "{epsilon = 1.0e-3 : f32, feature_index = 1 : i64}"
for _t in ("f32", "f64", "bf16"):
    _x, _v = f"4x3x2x{_t}", f"3x{_t}"
    _above = lambda v: np.abs(v.astype(np.float32)) + 0.5  # noqa: E731
    add(
        f"batch_norm_inference {_t}",
        f'"stablehlo.batch_norm_inference"(%0, %1, %2, %3, %4) {_NORM}',
        [_x, _v, _v, _v, _v],
        [_x],
        {4: _above},
        tolerance=256,
    )
    add(
        f"batch_norm_training {_t}",
        f'"stablehlo.batch_norm_training"(%0, %1, %2) {_NORM}',
        [_x, _v, _v],
        [_x, _v, _v],
        tolerance=256,
    )
    add(
        f"batch_norm_grad {_t}",
        f'"stablehlo.batch_norm_grad"(%0, %1, %2, %3, %4) {_NORM}',
        [_x, _v, _v, _v, _x],
        [_x, _v, _v],
        {3: _above},
        tolerance=512,
    )

# Control flow.

_IF = '"stablehlo.if"(%0) ({\n  %t = stablehlo.add %1, %2 : tensor<3xf32>\n  stablehlo.return %t : tensor<3xf32>\n}, {\n  stablehlo.return %1 : tensor<3xf32>\n})'
for _p in (True, False):
    add(f"if {_p}", _IF, ["i1", "3xf32", "3xf32"], ["3xf32"], {0: _p})
_CASE = '"stablehlo.case"(%0) ({\n  stablehlo.return %1 : tensor<3xf32>\n}, {\n  %t = stablehlo.negate %1 : tensor<3xf32>\n  stablehlo.return %t : tensor<3xf32>\n}, {\n  %t = stablehlo.add %1, %1 : tensor<3xf32>\n  stablehlo.return %t : tensor<3xf32>\n})'
for _k in (-1, 0, 1, 2, 7):
    add(f"case {_k}", _CASE, ["i32", "3xf32"], ["3xf32"], {0: _k})
add_text(
    "while that captures",
    """func.func @main(%n: tensor<i32>, %a: tensor<3xf32>) -> tensor<3xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, tensor<3xf32>
  cond {
    %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  } do {
    %p = stablehlo.compare GT, %i, %one : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %y = "stablehlo.if"(%p) ({
      %t = stablehlo.add %x, %a : tensor<3xf32>
      stablehlo.return %t : tensor<3xf32>
    }, {
      stablehlo.return %x : tensor<3xf32>
    }) : (tensor<i1>) -> tensor<3xf32>
    %next = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %next, %y : tensor<i32>, tensor<3xf32>
  }
  return %0#1 : tensor<3xf32>
}""",
    np.int32(4),
    np.float32([1, 2, 3]),
)
add(
    "map",
    '"stablehlo.map"(%0, %1) ({\n^bb0(%x: tensor<f32>, %y: tensor<f32>):\n  %c = stablehlo.constant dense<2.0> : tensor<f32>\n  %m = stablehlo.multiply %x, %c : tensor<f32>\n  %z = stablehlo.add %m, %y : tensor<f32>\n  stablehlo.return %z : tensor<f32>\n}) {dimensions = array<i64: 0, 1>}',
    ["3x2xf32"] * 2,
    ["3x2xf32"],
)
add(
    "map to a constant",
    '"stablehlo.map"(%0) ({\n^bb0(%x: tensor<f32>):\n  %c = stablehlo.constant dense<2> : tensor<i32>\n  stablehlo.return %c : tensor<i32>\n}) {dimensions = array<i64: 0, 1>}',
    ["3x2xf32"],
    ["3x2xi32"],
)
add(
    "map with a loop",
    '"stablehlo.map"(%0) ({\n^bb0(%x: tensor<f32>):\n  %w = stablehlo.while(%i = %x) : tensor<f32>\n  cond {\n    %ten = stablehlo.constant dense<10.0> : tensor<f32>\n    %c = stablehlo.compare LT, %i, %ten : (tensor<f32>, tensor<f32>) -> tensor<i1>\n    stablehlo.return %c : tensor<i1>\n  } do {\n    %k = stablehlo.constant dense<4.0> : tensor<f32>\n    %n = stablehlo.add %i, %k : tensor<f32>\n    stablehlo.return %n : tensor<f32>\n  }\n  stablehlo.return %w : tensor<f32>\n}) {dimensions = array<i64: 0, 1>}',
    ["3x2xf32"],
    ["3x2xf32"],
    reference="interpreter",
)
add_text(
    "tuple",
    """func.func @main(%a: tensor<2xf32>, %b: tensor<i32>) -> (tensor<i32>, tensor<2xf32>) {
  %0 = stablehlo.tuple %a, %b : tuple<tensor<2xf32>, tensor<i32>>
  %1 = stablehlo.get_tuple_element %0[1] : (tuple<tensor<2xf32>, tensor<i32>>) -> tensor<i32>
  %2 = stablehlo.get_tuple_element %0[0] : (tuple<tensor<2xf32>, tensor<i32>>) -> tensor<2xf32>
  return %1, %2 : tensor<i32>, tensor<2xf32>
}""",
    np.float32([1, 2]),
    np.int32(3),
)
add_text(
    "token and barrier",
    """func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {
  %t = stablehlo.create_token : !stablehlo.token
  %u = stablehlo.after_all %t, %t : !stablehlo.token
  %0 = stablehlo.optimization_barrier %a : tensor<2xf32>
  return %0 : tensor<2xf32>
}""",
    np.float32([1, 2]),
)
add_text(
    "functions",
    """func.func @main(%a: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0:2 = call @both(%a) : (tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)
  %1 = call @twice(%0#1) : (tensor<2xf32>) -> tensor<2xf32>
  return %0#0, %1 : tensor<2xf32>, tensor<2xf32>
}
func.func private @both(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = call @twice(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %x, %0 : tensor<2xf32>, tensor<2xf32>
}
func.func private @twice(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.add %x, %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}""",
    np.float32([1, 2]),
)
add_text(
    "composite",
    """func.func @main(%a: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %0 = stablehlo.composite "my.twice" %a {composite_attributes = {factor = 2 : i32}, decomposition = @twice} : (tensor<2xf32>) -> tensor<2xf32>
  %1 = stablehlo.composite "chlo.erf" %a {decomposition = @erf} : (tensor<2xf32>) -> tensor<2xf32>
  return %0, %1 : tensor<2xf32>, tensor<2xf32>
}
func.func private @twice(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.add %x, %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func private @erf(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = chlo.erf %x : tensor<2xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}""",
    np.float32([1, 2]),
)

# One device.

_ALONE = "replica_groups = dense<0> : tensor<1x1xi64>"
add(
    "all_reduce",
    f'"stablehlo.all_reduce"(%0, %1) {_fold("add", "f32")} {{{_ALONE}}}',
    ["2xf32", "3xf32"],
    ["2xf32", "3xf32"],
)
add("all_gather", f'"stablehlo.all_gather"(%0) {{all_gather_dim = 0 : i64, {_ALONE}}}', ["2xf32"], ["2xf32"])
add(
    "reduce_scatter",
    f'"stablehlo.reduce_scatter"(%0) {_fold("add", "f32")} {{scatter_dimension = 0 : i64, {_ALONE}}}',
    ["2xf32"],
    ["2xf32"],
)
add(
    "all_to_all",
    f'"stablehlo.all_to_all"(%0) {{split_dimension = 0 : i64, concat_dimension = 0 : i64, split_count = 1 : i64, {_ALONE}}}',
    ["2xf32"],
    ["2xf32"],
)
add(
    "collective_permute",
    '"stablehlo.collective_permute"(%0) {source_target_pairs = dense<[[0, 0]]> : tensor<1x2xi64>}',
    ["2xf32"],
    ["2xf32"],
)
add(
    "collective_permute to nobody",
    '"stablehlo.collective_permute"(%0) {source_target_pairs = dense<> : tensor<0x2xi64>}',
    ["2xf32"],
    ["2xf32"],
)
add(
    "collective_broadcast",
    f'"stablehlo.collective_broadcast"(%0) {{{_ALONE}}}',
    ["2xf32"],
    ["2xf32"],
    {0: [1, 2]},
    expected=(np.float32([1, 2]),),
)
add_text(
    "ids",
    "func.func @main() -> (tensor<ui32>, tensor<ui32>) {\n  %0 = stablehlo.partition_id : tensor<ui32>\n  %1 = stablehlo.replica_id : tensor<ui32>\n  return %0, %1 : tensor<ui32>, tensor<ui32>\n}",
)

for _algorithm, _size in (("THREE_FRY", 2), ("PHILOX", 2), ("PHILOX", 3), ("DEFAULT", 3)):
    for _r in ("5xui32", "3x5xui32", "4x6xui32", "3x2xui64", "7xui8", "ui32", "ui64", "0x3xui32"):
        _state = [0x123456789ABCDEF0, 0xFFFFFFFFFFFFFFFE, 7][:_size]
        add(
            f"rng_bit_generator {_algorithm} {_size} {_r}",
            f'"stablehlo.rng_bit_generator"(%0) {{rng_algorithm = #stablehlo<rng_algorithm {_algorithm}>}}',
            [f"{_size}xui64"],
            [f"{_size}xui64", _r],
            {0: np.array(_state, np.uint64)},
            tolerance=0,
        )

# Amounts that are operands: XLA takes none of these as they are.

_INTERPRETED = {"reference": "interpreter"}
add(
    "dynamic_reshape",
    '"stablehlo.dynamic_reshape"(%0, %1)',
    ["2x3xf32", "2xi64"],
    ["3x2xf32"],
    {1: [3, 2]},
    **_INTERPRETED,
)
add(
    "dynamic_iota",
    '"stablehlo.dynamic_iota"(%0) {iota_dimension = 1 : i64}',
    ["2xi64"],
    ["3x4xi64"],
    {0: [3, 4]},
    **_INTERPRETED,
)
add(
    "dynamic_broadcast_in_dim",
    '"stablehlo.dynamic_broadcast_in_dim"(%0, %1) {broadcast_dimensions = array<i64: 2, 1>}',
    ["1x3xf32", "3xi64"],
    ["2x3x2xf32"],
    {1: [2, 3, 2]},
    **_INTERPRETED,
)
add(
    "dynamic_pad",
    '"stablehlo.dynamic_pad"(%0, %1, %2, %3, %4)',
    ["2x3xf32", "f32", "2xi64", "2xi64", "2xi64"],
    ["5x9xf32"],
    {2: [0, 1], 3: [2, 1], 4: [1, 2]},
    **_INTERPRETED,
)
add(
    "dynamic_pad negative",
    '"stablehlo.dynamic_pad"(%0, %1, %2, %3, %4)',
    ["4x3xf32", "f32", "2xi64", "2xi64", "2xi64"],
    ["3x2xf32"],
    {2: [-1, 0], 3: [0, -1], 4: [0, 0]},
    **_INTERPRETED,
)
add(
    "dynamic_gather",
    '"stablehlo.dynamic_gather"(%0, %1, %2) {dimension_numbers = #stablehlo.gather<offset_dims = [2, 3], collapsed_slice_dims = [0], start_index_map = [0, 1], index_vector_dim = 2>}',
    ["3x4x2xi32", "2x3x2xi64", "3xi64"],
    ["2x3x2x2xi32"],
    {2: [1, 2, 2]},
    **_INTERPRETED,
)
add(
    "dynamic_conv",
    '"stablehlo.dynamic_conv"(%0, %1, %2) {window_strides = array<i64: 4, 4>, lhs_dilation = array<i64: 2, 2>, rhs_dilation = array<i64: 1, 1>, dimension_numbers = #stablehlo.conv<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>, feature_group_count = 1 : i64, batch_group_count = 1 : i64}',
    ["1x4x4x1xi64", "3x3x1x1xi64", "2x2xi64"],
    ["1x2x2x1xi64"],
    {2: [[1, 1], [1, 1]]},
    **_INTERPRETED,
)
_x = np.arange(30, dtype=np.float32).reshape(5, 6)
add(
    "real_dynamic_slice",
    '"stablehlo.real_dynamic_slice"(%0, %1, %2, %3)',
    ["5x6xf32", "2xi64", "2xi64", "2xi64"],
    ["2x2xf32"],
    {0: _x, 1: [1, 2], 2: [4, 6], 3: [2, 3]},
    expected=(_x[1:4:2, 2:6:3],),
)
add(
    "set_dimension_size",
    '"stablehlo.set_dimension_size"(%0, %two) {dimension = 0 : i64}',
    ["4xf32", "i32"],
    ["2xf32"],
    {0: [1, 2, 3, 4]},
    before="  %two = stablehlo.constant dense<2> : tensor<i32>",
    expected=(np.float32([1, 2]),),
)

# CHLO.

for _op in ("sinh", "cosh", "asinh", "atan", "tan", "erf", "erfc", "lgamma", "digamma", "bessel_i1e", "square"):
    for _t in ("f32", "f64", "bf16", *(("complex<f32>",) if _op in ("sinh", "cosh", "atan", "tan", "square") else ())):
        add(f"chlo.{_op} {_t}", f'"chlo.{_op}"(%0)', [f"6x{_t}"], [f"6x{_t}"], tolerance=512)
for _op in ("asin", "acos", "atanh", "erf_inv"):
    add(f"chlo.{_op}", f'"chlo.{_op}"(%0)', ["6xf32"], ["6xf32"], {0: lambda x: x / 3})
add("chlo.acosh", '"chlo.acosh"(%0)', ["6xf32"], ["6xf32"], {0: lambda x: np.abs(x) + 1})
add("chlo.conj", '"chlo.conj"(%0)', ["6xcomplex<f32>"], ["6xcomplex<f32>"])
for _op in ("is_inf", "is_pos_inf", "is_neg_inf"):
    add(f"chlo.{_op}", f'"chlo.{_op}"(%0)', ["4xf32"], ["4xi1"], {0: [np.inf, -np.inf, np.nan, 1]})
add(
    "chlo.zeta",
    '"chlo.zeta"(%0, %1)',
    ["6xf32"] * 2,
    ["6xf32"],
    {0: lambda x: np.abs(x) + 2, 1: lambda x: np.abs(x) + 1},
    tolerance=2048,
)
add(
    "chlo.polygamma",
    '"chlo.polygamma"(%0, %1)',
    ["6xf32"] * 2,
    ["6xf32"],
    {0: [1, 2, 3, 1, 2, 3], 1: lambda x: np.abs(x) + 1},
    tolerance=2048,
)
add("chlo.next_after", '"chlo.next_after"(%0, %1)', ["6xf32"] * 2, ["6xf32"])
for _op in ("add", "divide", "maximum", "power", "remainder", "subtract", "atan2"):
    add(f"chlo.broadcast_{_op}", f'"chlo.broadcast_{_op}"(%0, %1)', ["2x3xf32", "3xf32"], ["2x3xf32"])
for _op in ("and", "or", "xor", "shift_left", "shift_right_logical"):
    add(f"chlo.broadcast_{_op}", f'"chlo.broadcast_{_op}"(%0, %1)', ["2x1xi32", "1x3xi32"], ["2x3xi32"])
add(
    "chlo.broadcast_compare",
    '"chlo.broadcast_compare"(%0, %1) {comparison_direction = #chlo<comparison_direction LT>}',
    ["2x3xf32", "3xf32"],
    ["2x3xi1"],
)
add("chlo.broadcast_select", '"chlo.broadcast_select"(%0, %1, %2)', ["3xi1", "2x3xf32", "f32"], ["2x3xf32"])
add("chlo.constant_like", '"chlo.constant_like"(%0) {value = 2.5 : f32}', ["2x3xf32"], ["2x3xf32"])
for _t in ("i32", "ui32", "i64", "i8"):
    add(
        f"chlo.mulhi {_t}",
        '"chlo.mulhi"(%0, %1)',
        [f"4x{_t}"] * 2,
        [f"4x{_t}"],
        {0: lambda x: x * 25, 1: lambda x: x * 27},
    )
for _t in ("f32", "i32", "bf16", "ui8"):
    add(f"chlo.top_k {_t}", '"chlo.top_k"(%0) {k = 2 : i64}', [f"3x6x{_t}"], [f"3x2x{_t}", "3x2xi32"])


def quick() -> list[str]:
    """One program of each operation, or two."""
    seen: dict[str, int] = {}
    names = []
    for name in PROGRAMS:
        kind = name.partition(" ")[0]
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] == 1 or (seen[kind] % 16 == 0 and kind != "convert"):
            names.append(name)
    return names
