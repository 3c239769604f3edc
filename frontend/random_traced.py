"""Random tensors inside a trace, from a key: the values that ``random_eager`` gives, as nodes of the graph.

The functions follow ``jax.random``'s own steps from the bits of the key on, so that values are the same bit for bit
where the program is run by XLA, as under ``jax.jit``: there a product and the sum after it (``* stddev + mean``) may be
rounded once, and not twice as eagerly. ``erf_inv`` and ``log`` of another evaluator may differ by a few ULP.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import ml_dtypes
import numpy as np

from ..ir import Builder, Graph, TensorType
from ..ir.errors import DTypeError, ShapeError
from ..ir.types import element_type
from .convert import as_tensor, broadcast_to, cast, emit, normalize_axis
from .dtypes import INTS, is_float, standardize_dtype
from .ops import building as b
from .random_eager import float_type, width_of
from .tensor import Tensor
from .trace import require_trace

_WIDTHS = {8: "uint8", 16: "uint16", 32: "uint32", 64: "uint64"}


def uniform(key: Any, shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None) -> Tensor:
    """Numbers spread evenly over ``[minval, maxval)``."""
    name = float_type("uniform", dtype)
    dims = b.dims_arg(shape, "random.uniform")
    low, high = (broadcast_to(as_tensor(v, name), dims) for v in (minval, maxval))
    return _uniform(as_tensor(key), dims, low, high, name)


def _uniform(key: Tensor, dims: b.Shape, low: Tensor, high: Tensor, name: str) -> Tensor:
    """Random bits as the mantissa of a float in [1, 2), less 1."""
    info = ml_dtypes.finfo(element_type(name))
    width = info.bits
    drawn = width if info.nmant >= 8 else 8  # bfloat16 needs no more than 7 bits
    bits = cast(emit("threefry_bits", key, shape=dims, dtype=_WIDTHS[drawn]), _WIDTHS[width])
    one = np.ones((), element_type(name)).view(_WIDTHS[width])
    mantissa = emit("shift_right_logical", bits, b.like(bits, drawn - info.nmant))
    pattern = emit("or", mantissa, b.like(bits, one))
    unit = b.subtract(emit("bitcast_convert", pattern, dtype=name), 1.0)
    return emit("maximum", low, b.add(b.multiply(unit, b.subtract(high, low)), low))


def normal(key: Any, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None) -> Tensor:
    """Normally distributed numbers of the given mean and standard deviation."""
    name = float_type("normal", dtype)
    above_minus_one = np.nextafter(np.asarray(-1, element_type(name)), np.asarray(0, element_type(name)))
    return _scaled(_through_erf_inv(key, shape, above_minus_one, 1.0, name), mean, stddev)


def truncated_normal(key: Any, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None) -> Tensor:
    """Normally distributed numbers, none further than two standard deviations from the mean."""
    name = float_type("truncated_normal", dtype)
    low, high = _erf_of_bounds(name)
    drawn = _through_erf_inv(key, shape, low, high, name)
    two, zero = np.asarray(2, element_type(name)), np.asarray(0, element_type(name))
    below_two = np.nextafter(two, zero)
    limited = emit("minimum", emit("maximum", drawn, b.like(drawn, -below_two)), b.like(drawn, below_two))
    return _scaled(limited, mean, stddev)


def _through_erf_inv(key: Any, shape: Any, low: Any, high: Any, name: str) -> Tensor:
    inverse = emit("erf_inv", uniform(key, shape, low, high, name))
    return emit("multiply", b.like(inverse, np.sqrt(2)), inverse)


def _scaled(drawn: Tensor, mean: Any, stddev: Any) -> Tensor:
    shape = b.shape_of(drawn)
    stddev, mean = (broadcast_to(as_tensor(v, drawn.dtype), shape) for v in (stddev, mean))
    return b.add(b.multiply(drawn, stddev), mean)


@functools.cache
def _erf_of_bounds(name: str) -> tuple[np.ndarray, np.ndarray]:
    """erf(-2 / sqrt(2)) and erf(2 / sqrt(2)) as XLA computes them in this type."""
    with jax.ensure_compile_time_eval(), width_of(name):
        dtype = element_type(name)
        bound = jax.numpy.asarray(np.asarray([-2, 2], dtype) / np.asarray(np.sqrt(2), dtype))
        low, high = np.asarray(jax.lax.erf(bound))
    return low, high


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = "int32") -> Tensor:
    """Integers spread evenly over ``[minval, maxval)``: two draws, joined by modular arithmetic."""
    name = standardize_dtype(dtype)
    if name not in INTS:
        raise DTypeError(f"randint makes integers: dtype must be one of {', '.join(INTS)}, got {dtype!r}")
    dims = b.dims_arg(shape, "random.randint")
    low, high = (_as_integer(v, name) for v in (minval, maxval))
    info = ml_dtypes.iinfo(name)
    if info.bits < 32:
        low, high = (_limited(cast(v, "int32"), int(info.min), int(info.max) + i) for i, v in enumerate((low, high)))
        return cast(_randint(key, dims, low, high, "int32"), name)
    return _randint(key, dims, low, high, name)


def _randint(key: Any, dims: b.Shape, low: Tensor, high: Tensor, name: str) -> Tensor:
    info = ml_dtypes.iinfo(name)
    unsigned = _WIDTHS[info.bits]
    greatest = min(int(info.max), int(ml_dtypes.iinfo(high.dtype).max))
    beyond = broadcast_to(b.compare("GT", high, greatest), dims)  # the range includes the greatest integer
    low, high = (broadcast_to(_clipped(v, name), dims) for v in (low, high))
    some = b.compare("GT", high, low)
    span = b.select(some, cast(b.subtract(high, low), unsigned), 1)
    span = b.select(emit("and", beyond, some), b.add(span, 1), span)
    first, second = (emit("threefry_bits", k, shape=dims, dtype=unsigned) for k in split(as_tensor(key)))
    factor = emit("remainder", b.like(span, 2 ** (info.bits // 2)), span)
    factor = emit("remainder", b.multiply(factor, factor), span)
    offset = b.add(b.multiply(emit("remainder", first, span), factor), emit("remainder", second, span))
    return b.add(low, cast(emit("remainder", offset, span), name))


def _as_integer(value: Any, name: str) -> Tensor:
    wide = name in ("int64", "uint64")
    if isinstance(value, int):
        return as_tensor(value, "int64" if wide else "int32")
    tensor = as_tensor(value)
    return tensor if tensor.dtype in INTS else cast(tensor, "int64" if wide else "int32")


def _clipped(value: Tensor, name: str) -> Tensor:
    """``value`` converted to an integer type, the nearest there is."""
    own, wanted = ml_dtypes.iinfo(value.dtype), ml_dtypes.iinfo(name)
    return cast(_limited(value, max(int(own.min), int(wanted.min)), min(int(own.max), int(wanted.max))), name)


def _limited(value: Tensor, low: int, high: int) -> Tensor:
    return emit("minimum", emit("maximum", value, b.like(value, low)), b.like(value, high))


def split(key: Tensor) -> tuple[Tensor, Tensor]:
    """Two new keys."""
    keys = emit("threefry_split", key, count=2)
    first, second = (b.reshape(b.cut(keys, 0, i, i + 1), (2,)) for i in range(2))
    return first, second


def categorical(key: Any, logits: Any, num_samples: Any, dtype: Any = "int32") -> Tensor:
    """Class numbers drawn by their logits ``(batch, classes)``: where logits plus Gumbel noise are greatest."""
    x = as_tensor(logits)
    if x.ndim != 2 or not is_float(x.dtype):
        raise ShapeError(f"random.categorical: expected float logits of shape (batch, classes), received {x!r}")
    batch, classes = b.shape_of(x)
    dims = (batch, classes, *b.dims_arg(num_samples, "random.categorical", "num_samples"))
    tiny = float(ml_dtypes.finfo(element_type(x.dtype)).tiny)
    drawn = uniform(key, dims, tiny, 1.0, x.dtype)
    noise = emit("negate", emit("log", emit("negate", emit("log", drawn))))
    perturbed = b.add(noise, b.spread(x, dims, (0, 1)))
    return cast(emit("argmax", perturbed, axis=1, dtype="int32"), dtype)


def shuffle(key: Any, x: Any, axis: int = 0) -> Tensor:
    """``x`` with its elements permuted along ``axis``, each line by a permutation of its own: sorted by random keys."""
    tensor = as_tensor(x)
    if not tensor.ndim:
        raise ShapeError(f"random.shuffle: expected a tensor of rank 1 at least, received {tensor!r}")
    place = normalize_axis(axis, tensor.ndim)
    key = as_tensor(key)
    # Equal keys would keep their order; so many rounds make that unlikely. They depend on the size, an integer.
    rounds = math.ceil(3 * math.log(max(1, int(tensor.size))) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, drawn = split(key)
        keys = emit("threefry_bits", drawn, shape=b.shape_of(tensor), dtype="uint32")
        region = _by_first(keys.value.type, tensor.value.type)
        tensor = require_trace().emit("sort", (keys, tensor), {"axis": place}, [region])[1]
    return tensor


def _by_first(*types: TensorType) -> Graph:
    """The comparator of a sort by its first operand."""
    region = Graph()
    pairs = [[region.add_input(TensorType(t.dtype)) for _ in range(2)] for t in types]
    region.outputs = [Builder(region).compare(*pairs[0], direction="LT")]
    return region


def dropout(inputs: Any, key: Any, rate: float, noise_shape: Any = None) -> Tensor:
    """``inputs`` with a fraction ``rate`` of its elements 0, the others divided by ``1 - rate``.

    Args:
        inputs: a float tensor.
        key: two uint32.
        rate: from 0 to 1.
        noise_shape: shape of the decisions, which broadcast to the inputs; None in it stands for the inputs' size.
    """
    x = as_tensor(inputs)
    own = b.shape_of(x)
    wanted = _noise_shape(own, noise_shape)
    if wanted == own:
        return emit("dropout", x, as_tensor(key), rate=float(rate))
    bound = round(rate * 2**32)
    if bound in (0, 2**32):
        return x if bound == 0 else b.like(x, 0)
    bits = emit("dropout_bits", as_tensor(key), shape=wanted)
    kept = broadcast_to(b.compare("GE", bits, np.uint32(bound)), own)
    return b.select(kept, b.multiply(x, 1 / (1 - rate)), 0)


def _noise_shape(own: b.Shape, noise_shape: Any) -> b.Shape:
    if noise_shape is None:
        return own
    given = tuple(noise_shape)
    if len(given) != len(own):
        raise ShapeError(
            f"dropout: expected a noise_shape of as many entries as inputs of shape {b.text(own)} have, "
            f"received {given}"
        )
    return b.dims_arg([d if n is None else n for d, n in zip(own, given, strict=True)], "dropout", "noise_shape")
