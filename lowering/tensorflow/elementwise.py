"""Rules of the elementwise ops: what TensorFlow calls them, and the element types that go another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.graph import Node
from ...ir.types import BOOL, F32, F64, I32, I64, bit_width, is_complex, is_float, is_integer, is_unsigned, short_name
from .writer import TensorFlowWriter, cast, is_number, known_number, tensor, tf_type

Rule = Callable[..., Any]

#: Ops whose kernels there are for few types run in a wider one: integers wrap on the way back, floats are rounded.
_WIDER = {
    **dict.fromkeys(("f16", "bf16", "f8e4m3fn", "f8e5m2"), F32),
    **dict.fromkeys(("i8", "i16", "ui8", "ui16", "i1"), I32),
    **dict.fromkeys(("ui32", "ui64"), I64),
}
_F8 = ("f8e4m3fn", "f8e5m2")
_NARROW = ("f16", "bf16")
_UNSIGNED = ("ui8", "ui16", "ui32", "ui64")


def in_wider(dtype: np.dtype, lacking: tuple[str, ...]) -> np.dtype | None:
    """The type that an op runs in which lacks kernels for some; None: in ``dtype`` itself."""
    name = short_name(dtype)
    return _WIDER[name] if name in lacking or name in _F8 else None


def op(form: str, *lacking: str, on_bool: str | None = None) -> Rule:
    """The rule of ``form`` (``"{0} + {1}"``), which there is no kernel of for the types ``lacking``."""

    def rule(writer: TensorFlowWriter, node: Node, *operands: str) -> str:
        dtype = node.operands[0].dtype
        if dtype == BOOL and on_bool is not None:
            return on_bool.format(*operands)
        wider = in_wider(dtype, lacking)
        if wider is None:
            return form.format(*operands)
        operands = tuple(cast(tensor(o, dtype), wider) for o in operands)
        result = node.result.dtype
        return form.format(*operands) if result == BOOL else cast(form.format(*operands), result)

    return rule


def by_family(
    floats: Rule | None = None, integers: Rule | None = None, complexes: Rule | None = None, bools: Rule | None = None
) -> Rule:
    """The rule for the family of the first operand's element type."""

    def rule(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
        dtype = node.operands[0].dtype
        chosen = (
            complexes if is_complex(dtype) else floats if is_float(dtype) else integers if is_integer(dtype) else bools
        )
        assert chosen is not None, node
        return chosen(writer, node, *operands)

    return rule


def helper(name: str, *lacking: str) -> Rule:
    """The rule of a function of the prelude."""

    def rule(writer: TensorFlowWriter, node: Node, *operands: str) -> str:
        dtype = node.operands[0].dtype
        texts = [tensor(o, dtype) for o in operands]
        wider = in_wider(dtype, lacking)
        if wider is not None:
            texts = [cast(t, wider) for t in texts]
        made = f"{writer.helper(name)}({', '.join(texts)})"
        return made if wider is None else cast(made, node.result.dtype)

    return rule


def _tensor_first(form: str, *lacking: str, on_bool: str | None = None) -> Rule:
    """As :func:`op` of a commutative function, where a number may stand second only."""
    plain = op(form, *lacking, on_bool=on_bool)

    def rule(writer: TensorFlowWriter, node: Node, a: str, b: str) -> Any:
        for value, text, other in ((node.operands[1], b, a), (node.operands[0], a, b)):
            number = known_number(value)
            if number is not None and not is_number(other) and text.startswith(("tf.constant", "tf.fill")):
                if in_wider(number.dtype, lacking) is None and number.dtype != BOOL:
                    return plain(writer, node, other, writer.language.number(np.asarray(number)))
        return plain(writer, node, a, b)

    return rule


# Arithmetic


_ADD = op("{0} + {1}", on_bool="{0} | {1}")


def _add(writer: TensorFlowWriter, node: Node, x: str, y: str) -> Any:
    """A sum; of an array and a vector along its last dimension tf.nn.bias_add, which TensorFlow fuses."""
    for whole, vector, value in ((x, y, node.operands[1]), (y, x, node.operands[0])):
        made = value.producer
        if (
            made is None
            or made.op.name != "broadcast_in_dim"
            or short_name(value.dtype) not in ("f32", "f64", *_NARROW)
        ):
            continue
        source = made.operands[0]
        along = source.rank == 1 and tuple(made.attributes["dims"]) == (value.rank - 1,)
        fits = along and source.shape == value.shape[-1:] and 0 not in value.shape
        if fits and value.rank > 1 and vector == writer.text(source):
            return f"tf.nn.bias_add({whole}, {vector})"
    return _ADD(writer, node, x, y)


def _integer_divide(name: str, helper_name: str) -> Rule:
    by_helper = helper(helper_name)

    def rule(writer: TensorFlowWriter, node: Node, x: str, y: str) -> str:
        number = known_number(node.operands[1])
        if number is not None and int(number) not in (0, -1):
            dtype = node.result.dtype
            quotient = f"tf.truncatediv({tensor(x, dtype)}, {tensor(y, dtype)})"
            return quotient if name == "divide" else f"{x} - {quotient} * {y}"
        result: str = by_helper(writer, node, x, y)
        return result

    return rule


def _constant_shift(form: str, helper_name: str, kinds: Callable[[np.dtype], bool]) -> Rule:
    """A shift by a known distance inside the width, of types whose kernel does what is meant; else the helper."""
    by_helper = helper(helper_name)

    def rule(writer: TensorFlowWriter, node: Node, x: str, by: str) -> str:
        number, dtype = known_number(node.operands[1]), node.result.dtype
        if number is not None and 0 <= int(number) < bit_width(dtype) and kinds(dtype):
            return form.format(tensor(x, dtype), tensor(by, dtype))
        result: str = by_helper(writer, node, x, by)
        return result

    return rule


_COMPARISONS = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}


def _compare(writer: TensorFlowWriter, node: Node, x: str, y: str) -> str:
    sign, dtype = _COMPARISONS[node.attributes["direction"]], node.operands[0].dtype
    if node.attributes["total_order"]:
        ordinal = writer.helper("ordinal")
        return f"{ordinal}({tensor(x, dtype)}) {sign} {ordinal}({tensor(y, dtype)})"
    lacking = [*(["i1"] if sign not in ("==", "!=") else []), *(["i16", "ui16", "ui32"] if writer.lite else [])]
    result: str = op(f"{{0}} {sign} {{1}}", *lacking)(writer, node, x, y)
    return result


def _select(writer: TensorFlowWriter, node: Node, predicate: str, x: str, y: str) -> str:
    return f"tf.where({predicate}, {x}, {y})"


def _clamp(writer: TensorFlowWriter, node: Node, low: str, x: str, high: str) -> str:
    if node.result.dtype == BOOL:
        return f"({x} | {low}) & {high}"
    wider = in_wider(node.result.dtype, ())
    if wider is not None:
        low, x, high = [cast(t, wider) for t in (low, x, high)]
    made = f"tf.minimum(tf.maximum({x}, {low}), {high})"
    return made if wider is None else cast(made, node.result.dtype)


# Conversion


def _convert(writer: TensorFlowWriter, node: Node, x: str) -> str:
    source, target = node.operands[0].dtype, node.result.dtype
    x = tensor(x, source)
    tf_type(source)
    if source == target:
        return x
    if target == BOOL:
        return f"{cast(x, F32) if short_name(source) in _F8 else x} != 0"
    if is_complex(source) and not is_complex(target):
        x, source = f"tf.math.real({x})", np.dtype(np.float32 if source.itemsize == 8 else np.float64)
    if is_float(source) and is_integer(target):
        return f"{writer.helper('to_integer')}({x}, {tf_type(target)})"
    if (short_name(source) in _F8 and target != F32) or (short_name(target) in _F8 and source != F32):
        x = cast(x, F32)
    if is_integer(source) and short_name(target) in _NARROW:
        x = cast(x, F32)
    return cast(x, target)


def _bitcast(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return x if node.result.dtype == node.operands[0].dtype else f"tf.bitcast({x}, {tf_type(node.result.dtype)})"


def _reduce_precision(writer: TensorFlowWriter, node: Node, x: str) -> str:
    bits = f"{node.attributes['exponent_bits']}, {node.attributes['mantissa_bits']}"
    dtype = node.result.dtype
    if short_name(dtype) in _F8:
        return cast(f"{writer.helper('reduce_precision')}({cast(x, F32)}, {bits})", dtype)
    return f"{writer.helper('reduce_precision')}({x}, {bits})"


def _round_away(writer: TensorFlowWriter, node: Node, x: str) -> str:
    result: str = helper("round_away")(writer, node, x)
    return result


def _identity(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return x


def _real(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return f"tf.math.real({x})" if is_complex(node.operands[0].dtype) else x


def _imag(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return f"tf.math.imag({x})" if is_complex(node.operands[0].dtype) else f"tf.zeros_like({x})"


def _abs(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    return x if is_unsigned(node.result.dtype) else op("tf.abs({0})")(writer, node, x)


def _is_finite(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    return op("tf.math.is_finite({0})")(writer, node, x)


def _integer_sign(writer: TensorFlowWriter, node: Node, x: str) -> str:
    return cast(f"{x} > 0", node.result.dtype) if is_unsigned(node.result.dtype) else f"tf.sign({x})"


# The kernel for float64 gives NaN where x * x is too large.
_ERF, _ERF_F64 = op("tf.math.erf({0})"), op("tf.math.erf(tf.clip_by_value({0}, -6.0, 6.0))")

RULES: dict[str, Rule] = {
    "abs": _abs,
    "negate": op("-{0}", *_UNSIGNED),
    "sign": by_family(helper("float_sign"), _integer_sign, helper("complex_sign")),
    **{
        name: op(f"tf.{call}({{0}})")
        for name, call in {
            "exponential": "exp",
            "exponential_minus_one": "math.expm1",
            "log": "math.log",
            "log_plus_one": "math.log1p",
            "sqrt": "sqrt",
            "rsqrt": "math.rsqrt",
            "sine": "sin",
            "cosine": "cos",
            "tan": "tan",
            "tanh": "tanh",
            "logistic": "sigmoid",
            "sinh": "sinh",
            "cosh": "cosh",
            "asin": "asin",
            "acos": "acos",
            "atan": "atan",
            "asinh": "asinh",
            "acosh": "acosh",
            "atanh": "atanh",
            "erfc": "math.erfc",
            "floor": "floor",
            "ceil": "math.ceil",
            "round_nearest_even": "round",
        }.items()
    },
    "erf": lambda writer, node, x: _ERF_F64(writer, node, x) if node.result.dtype == F64 else _ERF(writer, node, x),
    "erf_inv": helper("erf_inv"),
    "lgamma": op("tf.math.lgamma({0})", *_NARROW),
    "digamma": op("tf.math.digamma({0})", *_NARROW),
    "cbrt": by_family(helper("cbrt", *_NARROW), None, helper("complex_cbrt")),
    "round_nearest_afz": _round_away,
    "is_finite": _is_finite,
    "not": op("tf.bitwise.invert({0})", on_bool="~{0}"),
    "popcnt": helper("count_bits"),
    "count_leading_zeros": helper("count_leading_zeros"),
    "real": _real,
    "imag": _imag,
    "add": _add,
    "subtract": op("{0} - {1}"),
    "multiply": op("{0} * {1}", on_bool="{0} & {1}"),
    "divide": by_family(op("{0} / {1}"), _integer_divide("divide", "truncating_divide"), op("{0} / {1}")),
    "remainder": by_family(
        op("tf.raw_ops.TruncateMod(x={0}, y={1})", *_NARROW), _integer_divide("remainder", "truncating_remainder")
    ),
    "power": by_family(op("tf.pow({0}, {1})"), helper("integer_power"), op("tf.pow({0}, {1})")),
    "maximum": _tensor_first("tf.maximum({0}, {1})", on_bool="{0} | {1}"),
    "minimum": _tensor_first("tf.minimum({0}, {1})", on_bool="{0} & {1}"),
    "atan2": by_family(op("tf.atan2({0}, {1})"), None, helper("complex_atan2")),
    "and": op("{0} & {1}"),
    "or": op("{0} | {1}"),
    "xor": op("{0} ^ {1}"),
    "complex": op("tf.complex({0}, {1})"),
    "compare": _compare,
    "select": _select,
    "clamp": _clamp,
    "convert": _convert,
    "bitcast_convert": _bitcast,
    "shift_left": _constant_shift("tf.bitwise.left_shift({0}, {1})", "shift_left", lambda dtype: True),
    "shift_right_logical": _constant_shift("tf.bitwise.right_shift({0}, {1})", "shift_right_logical", is_unsigned),
    "shift_right_arithmetic": _constant_shift(
        "tf.bitwise.right_shift({0}, {1})", "shift_right_arithmetic", lambda dtype: not is_unsigned(dtype)
    ),
    "next_after": helper("next_after"),
    "reduce_precision": _reduce_precision,
}

#: Ops that broadcast their operands, and those of them that take a plain number for an operand.
BROADCASTS = frozenset(
    (
        "add",
        "subtract",
        "multiply",
        "divide",
        "remainder",
        "power",
        "maximum",
        "minimum",
        "atan2",
        "and",
        "or",
        "xor",
        "compare",
        "select",
        "complex",
        "clamp",
    )
)
NUMBERS = frozenset(("add", "subtract", "multiply", "divide", "compare", "and", "or", "xor"))
