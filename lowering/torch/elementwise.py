"""Rules of the elementwise ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ...ir.graph import Node, Value
from ...ir.types import BOOL, bit_width, is_complex, is_float, is_integer, is_unsigned, short_name
from .writer import TorchWriter, held, is_number, known_number, narrowed, number_text, own, torch_type

Rule = Callable[..., Any]

_LEAST = "-9223372036854775808"


def family(dtype: np.dtype) -> str:
    """``f`` float, ``c`` complex, ``b`` bool; integers: ``q`` of 64 bits unsigned, ``u`` unsigned, ``i`` signed."""
    if is_integer(dtype):
        return "q" if dtype == np.uint64 else "u" if is_unsigned(dtype) else "i"
    return "f" if is_float(dtype) else "c" if is_complex(dtype) else "b"


def by_family(closed: bool = False, **forms: str | Rule) -> Rule:
    """The rule that goes by the family of the first operand.

    Args:
        closed: results of the formats are in the range of the element type, whatever it is held in.
        forms: letters of :func:`family` -> a format of the operands' texts, or a rule of its own.
    """
    table = {letter: form for letters, form in forms.items() for letter in letters}

    def rule(writer: TorchWriter, node: Node, *operands: str) -> Any:
        form = table[family(node.operands[0].dtype)]
        if callable(form):
            return form(writer, node, *operands)
        made = formatted(writer, node, form, *operands)
        return made if closed or made in operands else narrowed(made, node.result.dtype)

    return rule


def formatted(writer: TorchWriter, node: Node, form: str, *operands: str) -> str:
    """``form`` on the texts of operands, tensors where it calls a method of the prelude."""
    if form.startswith("self."):
        operands = tuple(writer.tensor(t, v) for t, v in zip(operands, node.operands, strict=True))
    elif len(operands) > 1 and all(map(is_number, operands)):
        operands = (writer.tensor(operands[0], node.operands[0]), *operands[1:])
    return form.format(*operands, type=torch_type(node.operands[0].dtype))


def simple(form: str) -> Rule:
    """The same format for every element type."""
    return by_family(fciuqb=form)


def in_float32(form: str) -> Rule:
    """A format that torch computes well enough in float32 at least."""

    def rule(writer: TorchWriter, node: Node, x: str) -> str:
        dtype = node.result.dtype
        if held(dtype) in ("float32", "float64"):
            return narrowed(formatted(writer, node, form, x), dtype)
        return f"{formatted(writer, node, form, f'{x}.to(torch.float32)')}.to({torch_type(dtype)})"

    return rule


# Order


def _reversed_sign(text: str) -> str:
    """The bits of an unsigned number as a signed one of the same order."""
    if is_number(text):
        return str(int(text) ^ -(2**63))
    return f"({text} ^ {_LEAST})"


def _extreme(name: str) -> Rule:
    def floats(writer: TorchWriter, node: Node, a: str, b: str) -> str:
        for text, other, value in ((a, b, node.operands[0]), (b, a, node.operands[1])):
            number = known_number(value)
            if is_number(text) and number is not None and float(number) != 0 and not np.isnan(float(number)):
                return f"torch.clamp({other}, {'min' if name == 'maximum' else 'max'}={text})"
        return formatted(writer, node, f"self.{name}({{0}}, {{1}})", a, b)

    def tensors(form: str) -> Rule:
        def rule(writer: TorchWriter, node: Node, a: str, b: str) -> str:
            a, b = (writer.tensor(t, v) for t, v in zip((a, b), node.operands, strict=True))
            return form.format(a, b)

        return rule

    def unsigned64(writer: TorchWriter, node: Node, a: str, b: str) -> str:
        a, b = (writer.tensor(t, v) for t, v in zip((a, b), node.operands, strict=True))
        return f"torch.{name}({a} ^ {_LEAST}, {b} ^ {_LEAST}) ^ {_LEAST}"

    return by_family(
        f=floats,
        iu=tensors(f"torch.{name}({{0}}, {{1}})"),
        q=unsigned64,
        b=tensors("{0} | {1}" if name == "maximum" else "{0} & {1}"),
        c=f"self.{'larger' if name == 'maximum' else 'smaller'}_complex({{0}}, {{1}})",
    )


_COMPARISONS = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}


def viewed(text: str, type_: str) -> str:
    """The same bits as elements of another type; ``Tensor.view`` knows sizes only, in TorchScript."""
    return f"torch.view_copy({text}, dtype={type_})"


def ordinal(writer: TorchWriter, text: str, dtype: np.dtype) -> str:
    """Integers in the total order of floats."""
    if own(dtype):
        return ordinal(writer, f"{text}", np.dtype(np.float32))
    bits = bit_width(dtype)
    return f"{writer.helper('ordinal')}({viewed(text, f'torch.int{bits}')}, {2 ** (bits - 1) - 1})"


def compare(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """One of the six comparisons."""
    dtype, sign = node.operands[0].dtype, _COMPARISONS[node.attributes["direction"]]
    if is_number(a):
        a = writer.tensor(a, node.operands[0])
    if node.attributes["total_order"]:
        b = writer.tensor(b, node.operands[1])
        a, b = ordinal(writer, a, dtype), ordinal(writer, b, dtype)
    elif dtype == np.uint64 and sign not in ("==", "!="):
        a, b = _reversed_sign(a), _reversed_sign(b)
    return f"{a} {sign} {b}"


def select(writer: TorchWriter, node: Node, predicate: str, a: str, b: str) -> str:
    """A number stands for one branch that is the same everywhere, but no bool, of which TorchScript makes an int."""
    if node.result.dtype == BOOL:
        return f"torch.where({predicate}, {a}, {b})"
    first, second = (_plain(t, v) for t, v in zip((a, b), node.operands[1:], strict=True))
    if second is not None:
        b = second
    elif first is not None:
        a = first
    return f"torch.where({predicate}, {a}, {b})"


def _plain(text: str, value: Value) -> str | None:
    """The number in a text that is a tensor of rank 0 with it."""
    number = known_number(value)
    return number_text(number) if number is not None and text.startswith("torch.full([], ") else None


def clamp(writer: TorchWriter, node: Node, low: str, x: str, high: str) -> str:
    """By torch's clamp where no bound is a zero or open; it does not tell the zeros apart."""
    dtype = node.result.dtype
    bounds = [known_number(v) for v in (node.operands[0], node.operands[2])]
    x = writer.tensor(x, node.operands[1])
    exact = all(n is not None and not np.isnan(float(n)) and (float(n) != 0 or is_integer(dtype)) for n in bounds)
    if exact and dtype not in (np.uint64, BOOL):
        lowest, highest = (number_text(n) for n in bounds if n is not None)
        return f"torch.clamp({x}, {lowest}, {highest})"
    low, high = writer.tensor(low, node.operands[0]), writer.tensor(high, node.operands[2])
    if is_float(dtype):
        return f"{writer.helper('minimum')}({writer.helper('maximum')}({x}, {low}), {high})"
    if dtype == np.uint64:
        inner = f"torch.minimum(torch.maximum({x} ^ {_LEAST}, {low} ^ {_LEAST}), {high} ^ {_LEAST})"
        return f"{inner} ^ {_LEAST}"
    if dtype == BOOL:
        return f"({x} | {low}) & {high}"
    return f"torch.minimum(torch.maximum({x}, {low}), {high})"


# Conversion


def convert(writer: TorchWriter, node: Node, x: str) -> str:
    """Round, saturate or wrap."""
    return converted(writer, x, node.operands[0].dtype, node.result.dtype)


def converted(writer: TorchWriter, x: str, source: np.dtype, target: np.dtype) -> str:
    """A tensor of ``source`` as one of ``target``."""
    type_ = torch_type(target)
    if source == target:
        return x
    if target == BOOL:
        return f"{x} != 0"
    if is_complex(source) and not is_complex(target):
        part = np.dtype(np.float32 if source.itemsize == 8 else np.float64)
        return converted(writer, f"torch.real({x})", part, target)
    if is_float(source) and is_integer(target):
        return _to_integer(writer, x, target)
    if source == np.uint64 and (is_float(target) or is_complex(target)):
        return _from_uint64(writer, x, target)
    if is_integer(source) and is_float(target) and target.itemsize < 4:  # rounds twice, as in XLA
        return narrowed(f"{x}.to(torch.float32).to({type_})", target)
    if is_integer(source) and is_integer(target):
        text = f"{x}.to({type_})" if held(source) != held(target) else x
        return text if _contains(target, source) else narrowed(text, target)
    if source == np.float64 and own(target):
        return narrowed(f"{writer.helper('to_odd')}({x})", target)
    if held(source) == held(target):
        return narrowed(x, target)
    return narrowed(f"{x}.to({type_})", target)


def _contains(outer: np.dtype, inner: np.dtype) -> bool:
    """Whether every number of one integer type is one of another."""
    if is_unsigned(inner):
        return bit_width(outer) > bit_width(inner) or (is_unsigned(outer) and bit_width(outer) >= bit_width(inner))
    return not is_unsigned(outer) and bit_width(outer) >= bit_width(inner)


def _to_integer(writer: TorchWriter, x: str, target: np.dtype) -> str:
    width = bit_width(target)
    if width == 64:
        return f"{writer.helper('float_to_uint64' if is_unsigned(target) else 'float_to_int64')}({x})"
    low, high = (0, 2**width - 1) if is_unsigned(target) else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
    return f"{writer.helper('saturate')}({x}, {low}, {high}).to({torch_type(target)})"


def _from_uint64(writer: TorchWriter, x: str, target: np.dtype) -> str:
    """Half of what has its highest bit set is a signed number."""
    real = torch_type(target) if is_float(target) and target.itemsize >= 4 else "torch.float32"
    if is_complex(target):
        real = "torch.float32" if target.itemsize == 8 else "torch.float64"
    x = writer.named(x)
    half = f"{writer.helper('half_uint64')}({x})"
    text = f"torch.where({x} < 0, {half}.to({real}) * 2.0, {x}.to({real}))"
    return text if real == torch_type(target) else narrowed(f"{text}.to({torch_type(target)})", target)


# Bits


def pattern(x: str, dtype: np.dtype) -> str:
    """The bits of integers as numbers of an int64, >= 0 but for types of 64 bits."""
    if bit_width(dtype) == 64:
        return x
    wide = x if held(dtype) == "int64" else f"{x}.to(torch.int64)"
    return wide if is_unsigned(dtype) else f"({wide} & {2 ** bit_width(dtype) - 1})"


def popcnt(writer: TorchWriter, node: Node, x: str) -> str:
    """The number of set bits."""
    return f"{writer.helper('popcount')}({pattern(x, node.result.dtype)}).to({torch_type(node.result.dtype)})"


def leading_zeros(writer: TorchWriter, node: Node, x: str) -> str:
    """The number of zero bits above the highest set one."""
    dtype = node.result.dtype
    zeros = f"{writer.helper('leading_zeros')}({pattern(x, dtype)}, {bit_width(dtype)})"
    return f"{zeros}.to({torch_type(dtype)})"


def _distance(node: Node) -> int | None:
    """The shift distance, where it is known and below the width."""
    number = known_number(node.operands[1])
    return int(number) if number is not None and 0 <= int(number) < bit_width(number.dtype) else None


def shift_left(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """Zeros enter from the right."""
    dtype, by = node.result.dtype, _distance(node)
    a, b = writer.tensor(a, node.operands[0]), writer.tensor(b, node.operands[1])
    if by is not None:
        return narrowed(f"{a} << {by}", dtype)
    return narrowed(f"{writer.helper('shift_left')}({a}, {b}, {bit_width(dtype)})", dtype)


def shift_right_logical(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """Zeros enter from the left."""
    dtype, by = node.result.dtype, _distance(node)
    width, type_ = bit_width(dtype), torch_type(dtype)
    a, b = writer.tensor(a, node.operands[0]), writer.tensor(b, node.operands[1])
    if width == 64:
        if by is not None:
            return f"({a} >> {by}) & {2 ** (64 - by) - 1}" if by else a
        return f"{writer.helper('shift_right_int64')}({a}, {b})"
    if is_unsigned(dtype):
        return f"{a} >> {by}" if by is not None else f"{writer.helper('shift_right')}({a}, {b}, {width})"
    bits = pattern(a, dtype)
    shifted = f"({bits} >> {by})" if by is not None else f"{writer.helper('shift_right')}({bits}, {b}, {width})"
    return narrowed(f"{shifted}.to({type_})", dtype)


def shift_right_arithmetic(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """Copies of the sign bit enter from the left."""
    dtype = node.result.dtype
    width = bit_width(dtype)
    a, b = writer.tensor(a, node.operands[0]), writer.tensor(b, node.operands[1])
    if not is_unsigned(dtype) or width == 64:
        return f"{writer.helper('shift_right_signed')}({a}, {b}, {width})"
    top = 2 ** (width - 1)
    wide = a if held(dtype) != "uint8" else f"{a}.to(torch.int32)"
    text = f"{writer.helper('shift_right_signed')}(({wide} ^ {top}) - {top}, {b}, {width}) & {2**width - 1}"
    return text if held(dtype) != "uint8" else f"({text}).to(torch.uint8)"


def next_after(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """By torch for the wide types; by counting on the bits for the narrow ones."""
    a, b = writer.tensor(a, node.operands[0]), writer.tensor(b, node.operands[1])
    dtype = node.result.dtype
    if dtype.itemsize >= 4:
        return f"torch.nextafter({a}, {b})"
    a, b = writer.named(a), writer.named(b)
    wide = [f"{x}.to(torch.float32)" for x in (a, b)]
    bits = f"{writer.helper('next_half')}({viewed(a, 'torch.int16')}.to(torch.int64), {wide[0]}, {wide[1]})"
    moved = viewed(f"{bits}.to(torch.int16)", torch_type(dtype))
    return f"torch.where({a} == {b}, {b}, torch.where(torch.isnan({a}) | torch.isnan({b}), {a} + {b}, {moved}))"


def reduce_precision(writer: TorchWriter, node: Node, x: str) -> str:
    """On the bits."""
    dtype = node.result.dtype if not own(node.result.dtype) else np.dtype(np.float32)
    info, exponent, mantissa = (
        ml_dtypes.finfo(dtype),
        node.attributes["exponent_bits"],
        node.attributes["mantissa_bits"],
    )
    width, x = bit_width(dtype), writer.named(x)
    bias, reduced = (1 << (info.nexp - 1)) - 1, (1 << (exponent - 1)) - 1 if exponent < info.nexp else -1
    infinity = ((1 << info.nexp) - 1) << info.nmant
    cut = max(info.nmant - mantissa, 0)
    largest = 2 ** (width - 1) - 1
    bits = f"{viewed(x, f'torch.int{width}')}.to(torch.int64)"
    arguments = f"{bits}, {largest}, {infinity}, {cut}, {info.nmant}, {bias}, {reduced}"
    rounded = viewed(f"{writer.helper('reduced')}({arguments}).to(torch.int{width})", torch_type(dtype))
    return narrowed(f"torch.where(torch.isnan({x}), {x}, {rounded})", node.result.dtype)


def real_bits(x: str, dtype: np.dtype) -> str:
    """A tensor whose elements in memory are those of the element type."""
    name = short_name(dtype)
    if name in ("ui16", "ui32"):
        return f"{x}.to(torch.int{bit_width(dtype)})"
    return f"{x}.to(torch.{own(dtype)})" if own(dtype) else x


def bitcast(writer: TorchWriter, node: Node, x: str) -> str:
    """The same bits; another width takes or gives a last dimension."""
    source, target = node.operands[0].dtype, node.result.dtype
    before, after = bit_width(source), bit_width(target)
    name = short_name(target)
    memory = (
        f"torch.int{after}"
        if name in ("ui16", "ui32")
        else f"torch.{own(target)}"
        if own(target)
        else torch_type(target)
    )
    if before == after == 4:
        return narrowed(f"{x}.to({torch_type(target)})", target)
    if before == 4:
        pairs = writer.assign(
            f"({x} & 15).to(torch.uint8).reshape({', '.join([*writer.dims(node.operands[0].shape[:-1]), '-1', '2'])})"
        )
        x = f"({pairs}[..., 0] | ({pairs}[..., 1] << 4))"
        text = f"{viewed(f'{x}.contiguous()', memory)}.squeeze(-1)"
    elif after == 4:
        octets = writer.assign(viewed(f"{real_bits(x, source)}.contiguous().unsqueeze(-1)", "torch.uint8"))
        halves = f"torch.stack([{octets} & 15, {octets} >> 4], -1).flatten(-2)"
        return narrowed(f"{halves}.to({torch_type(target)})", target)
    elif before == after:
        text = viewed(real_bits(x, source), memory)
    elif before > after:
        text = viewed(
            f"{real_bits(x, source)}.reshape({', '.join([*writer.dims(node.operands[0].shape), '1'])})", memory
        )
    else:
        text = f"{viewed(f'{real_bits(x, source)}.contiguous()', memory)}.squeeze(-1)"
    if name in ("ui16", "ui32"):
        return f"{text}.to({torch_type(target)}) & {2**after - 1}"
    return f"{text}.to(torch.float32)" if own(target) else text


_PASS = "{0}"
_SAME_NAME = ("tan", "tanh", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "rsqrt", "log")

#: Ops whose operands torch broadcasts as NumPy does, and takes plain numbers for.
NUMBERS = frozenset(
    (
        *("add", "subtract", "multiply", "divide", "remainder", "power", "maximum", "minimum", "compare", "and", "or"),
        *("xor", "shift_left", "shift_right_logical", "shift_right_arithmetic"),
    )
)
BROADCASTS = NUMBERS | {"atan2", "complex", "next_after", "select", "logaddexp"}

RULES: dict[str, Rule] = {
    **{name: simple(f"torch.{name}({{0}})") for name in _SAME_NAME},
    **{
        name: simple(f"torch.{theirs}({{0}})")
        for name, theirs in {
            "exponential": "exp",
            "exponential_minus_one": "expm1",
            "log_plus_one": "log1p",
            "sine": "sin",
            "cosine": "cos",
            "logistic": "sigmoid",
            "erfc": "erfc",
            "erf_inv": "erfinv",
            "lgamma": "lgamma",
            "floor": "floor",
            "ceil": "ceil",
            "round_nearest_even": "round",
            "is_finite": "isfinite",
            "not": "bitwise_not",
        }.items()
    },
    # torch's erf of float32 is off by 1e-7 near 0
    "erf": lambda w, n, x: narrowed(
        f"torch.erf({x}.to(torch.float64)).to({torch_type(n.result.dtype)})", n.result.dtype
    ),
    "round_nearest_afz": simple("self.round_away({0})"),
    "cbrt": by_family(f=in_float32("self.cbrt({0})"), c="torch.exp(torch.log({0}) / 3.0).masked_fill({0} == 0, 0.0)"),
    "digamma": simple("self.digamma({0})"),
    "abs": by_family(ifc="torch.abs({0})", uq=_PASS),
    "negate": by_family(iuqf="-{0}", c="torch.complex(-torch.real({0}), -torch.imag({0}))"),
    "sign": by_family(
        f="self.sign({0})",
        i="torch.sign({0})",
        u="torch.sign({0})",
        q="({0} != 0).to({type})",
        c="self.sign_complex({0})",
    ),
    "real": by_family(f=_PASS, c="torch.real({0})"),
    "imag": by_family(f="torch.zeros_like({0})", c="torch.imag({0})"),
    "add": by_family(fiuq="{0} + {1}", b="{0} | {1}", c="self.add_complex({0}, {1})"),
    "subtract": by_family(fiuq="{0} - {1}", c="self.subtract_complex({0}, {1})"),
    "multiply": by_family(fciuq="{0} * {1}", b="{0} & {1}"),
    "divide": by_family(
        fc="{0} / {1}",
        i="self.divide_integers({0}, {1})",
        u=lambda w, n, a, b: formatted(
            w, n, f"self.divide_unsigned({{0}}, {{1}}, {2 ** bit_width(n.result.dtype) - 1})", a, b
        ),
        q="self.divide_uint64({0}, {1})",
    ),
    "remainder": by_family(
        closed=True,
        f=lambda w, n, a, b: _remainder(w, n, a, b),
        i="self.remainder_integers({0}, {1})",
        u="self.remainder_unsigned({0}, {1})",
        q=lambda w, n, a, b: _remainder_uint64(w, n, a, b),
    ),
    "power": by_family(fciu="torch.pow({0}, {1})", q="self.power_uint64({0}, {1})"),
    "maximum": _extreme("maximum"),
    "minimum": _extreme("minimum"),
    "atan2": by_family(f="torch.atan2({0}, {1})", c=lambda w, n, a, b: _complex_atan2(w, n, a, b)),
    "and": by_family(closed=True, iuqb="{0} & {1}"),
    "or": by_family(closed=True, iuqb="{0} | {1}"),
    "xor": by_family(closed=True, iuqb="{0} ^ {1}"),
    "complex": lambda w, n, a, b: f"torch.complex({w.tensor(a, n.operands[0])}, {w.tensor(b, n.operands[1])})",
    "compare": compare,
    "select": select,
    "clamp": clamp,
    "convert": convert,
    "popcnt": popcnt,
    "count_leading_zeros": leading_zeros,
    "shift_left": shift_left,
    "shift_right_logical": shift_right_logical,
    "shift_right_arithmetic": shift_right_arithmetic,
    "next_after": next_after,
    "reduce_precision": reduce_precision,
    "bitcast_convert": bitcast,
}


def _remainder(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    dtype = node.result.dtype
    tensors = [writer.tensor(t, v) for t, v in zip((a, b), node.operands, strict=True)]
    if dtype == np.float64:
        return f"{writer.helper('remainder')}({', '.join(tensors)})"
    wide = ", ".join(f"{t}.to(torch.float64)" for t in tensors)
    return narrowed(f"{writer.helper('remainder')}({wide}).to({torch_type(dtype)})", dtype)


def _remainder_uint64(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    a, b = (writer.named(writer.tensor(t, v)) for t, v in zip((a, b), node.operands, strict=True))
    return f"{a} - {writer.helper('divide_uint64')}({a}, {b}) * {b}"


def _complex_atan2(writer: TorchWriter, node: Node, y: str, x: str) -> str:
    """By the complex logarithm."""
    y, x = (writer.named(writer.tensor(t, v)) for t, v in zip((y, x), node.operands, strict=True))
    return f"torch.log(({x} + {y} * complex(0.0, 1.0)) / torch.sqrt({x} * {x} + {y} * {y})) * complex(0.0, -1.0)"
