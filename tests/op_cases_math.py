"""Uses of the ops that compute: elementwise, contraction, reduction, linear algebra, random bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from op_draw import COMPLEX, FLOATS, INTEGERS, SIGNED, SMALL, Case, Draw, case, region, use

from lamina.ir import Builder, Graph, binary_region, element_type
from lamina.ir.types import BOOL, UI32, bit_width, is_complex, is_float

# Elementwise. For each op the families of element types it takes.

UNARY = {
    "abs": (FLOATS, SIGNED, COMPLEX),
    "negate": (FLOATS, INTEGERS, COMPLEX),
    "sign": (FLOATS, SIGNED, COMPLEX),
    **dict.fromkeys(("floor", "ceil", "round_nearest_even", "round_nearest_afz", "is_finite"), (FLOATS,)),
    "not": (INTEGERS, ("i1",)),
    "popcnt": (INTEGERS,),
    "count_leading_zeros": (INTEGERS,),
    "real": (COMPLEX, ("f32", "f64")),
    "imag": (COMPLEX, ("f32", "f64")),
}
BINARY = {
    "add": (FLOATS, INTEGERS, COMPLEX, ("i1",)),
    "subtract": (FLOATS, INTEGERS, COMPLEX),
    "multiply": (FLOATS, INTEGERS, COMPLEX, ("i1",)),
    "divide": (FLOATS, INTEGERS),
    "remainder": (FLOATS, INTEGERS),
    "maximum": (FLOATS, INTEGERS, ("i1",)),
    "minimum": (FLOATS, INTEGERS, ("i1",)),
    "power": (FLOATS, INTEGERS),
    "atan2": (FLOATS,),
    "and": (INTEGERS, ("i1",)),
    "or": (INTEGERS, ("i1",)),
    "xor": (INTEGERS, ("i1",)),
    "complex": (("f32", "f64"),),
    "next_after": (FLOATS,),
    **dict.fromkeys(("shift_left", "shift_right_arithmetic", "shift_right_logical"), (INTEGERS,)),
}
#: Functions of a float (and complex) number.
FUNCTIONS = (
    "exponential",
    "exponential_minus_one",
    "log",
    "log_plus_one",
    "sqrt",
    "rsqrt",
    "cbrt",
    "sine",
    "cosine",
    "tan",
    "tanh",
    "logistic",
    "sinh",
    "cosh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "erf_inv",
    "lgamma",
    "digamma",
)
REAL_FUNCTIONS = ("erf", "erfc", "erf_inv", "lgamma", "digamma")


@case(*UNARY)
def _unary(d: Draw, name: str) -> Case:
    dtype = d.dtype(*UNARY[name])
    complex_size = is_complex(dtype) and name in ("abs", "sign")
    return use(name, (d.tame if complex_size else d.wild)(dtype, d.shape()))


@case(*FUNCTIONS)
def _function(d: Draw, name: str) -> Case:
    dtype = d.dtype(FLOATS, () if name in REAL_FUNCTIONS else COMPLEX)
    if is_complex(dtype):  # the branch cuts and poles of complex functions are where libraries differ
        return use(name, d.tame(dtype, d.shape(), 0.2, 0.8))
    x = d.wild(dtype, d.shape()) if d.bool() else d.tame(dtype, d.shape(), -4, 4)
    if name in ("sine", "cosine", "tan"):  # XLA reduces large angles in the type itself
        x = np.where(np.abs(x.astype(np.float64)) > 1e3, dtype.type(1), x)
    return use(name, x)


@case(*BINARY)
def _binary(d: Draw, name: str) -> Case:
    dtype = d.dtype(*BINARY[name])
    shape = d.shape()
    fill = d.tame if is_complex(dtype) and name == "multiply" else d.wild
    a, b = fill(dtype, shape), fill(dtype, shape)
    if name.startswith("shift") and d.bool():
        b = d.rng.integers(0, bit_width(dtype), shape).astype(dtype)
    if name == "power" and d.bool():
        b = d.tame(dtype, shape, -3, 3)
    if name in ("maximum", "minimum", "remainder", "divide") and d.bool():
        b = np.where(d.rng.random(shape) < 0.3, a, b)
    return use(name, a, b)


@case("reduce_precision")
def _reduce_precision(d: Draw, name: str) -> Case:
    exponent, mantissa = d.pick((8, 7), (5, 10), (8, 23), (5, 2), (4, 3), (8, 0))
    return use(name, d.wild(d.dtype(("f32", "f64")), d.shape()), exponent_bits=exponent, mantissa_bits=mantissa)


@case("compare")
def _compare(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS, COMPLEX, ("i1",)), d.shape()
    direction = d.pick("EQ", "NE") if is_complex(dtype) else d.pick("EQ", "NE", "LT", "LE", "GT", "GE")
    a, b = d.wild(dtype, shape), d.wild(dtype, shape)
    b = np.where(d.rng.random(shape) < 0.3, a, b)
    return use(name, a, b, direction=direction, total_order=is_float(dtype) and d.bool())


@case("select")
def _select(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS, COMPLEX, ("i1",)), d.shape()
    return use(name, d.wild(BOOL, shape if d.bool() else ()), d.wild(dtype, shape), d.wild(dtype, shape))


@case("clamp")
def _clamp(d: Draw, name: str) -> Case:
    dtype, shape = d.dtype(FLOATS, INTEGERS), d.shape()
    low, high = (d.wild(dtype, shape if d.bool() else ()) for _ in range(2))
    return use(name, low, d.wild(dtype, shape), high)


@case("convert")
def _convert(d: Draw, name: str) -> Case:
    every = (FLOATS, INTEGERS, COMPLEX, ("i1",), SMALL)
    source, target = d.dtype(*every), d.dtype(*every)
    x = d.wild(source, d.shape())
    if is_float(source) and d.bool():
        x = d.tame(source, x.shape, -300, 300)
    return use(name, x, dtype=target)


@case("bitcast_convert")
def _bitcast(d: Draw, name: str) -> Case:
    # To integers: floats of other bits may be NaN whose payload no target promises to keep.
    source = d.dtype(FLOATS, INTEGERS)
    target = d.dtype(INTEGERS)
    ratio = bit_width(target) // bit_width(source)
    return use(name, d.wild(source, (*d.shape(high=2), *([ratio] if ratio > 1 else []))), dtype=target)


# Contraction.


@case("dot_general")
def _dot(d: Draw, name: str) -> Case:
    dtype = d.dtype(FLOATS, ("i32", "i8", "ui8", "i64"), ("c64",))
    batch, contract = ([d.int(1, 3) for _ in range(d.int(0, n))] for n in (2, 2))
    left, right = ([d.int(1, 4) for _ in range(d.int(0, 2))] for _ in range(2))
    if contract and d.int(0, 5) == 0:
        contract[0] = 0
    b, c = len(batch), len(contract)
    shapes = (*batch, *contract, *left), (*batch, *right, *contract)
    wider = {"i8": "i32", "ui8": "ui32", "f16": "f32", "bf16": "f32"}
    short = next(k for k, v in {**{s: element_type(s) for s in (*FLOATS, *INTEGERS, "c64")}}.items() if v == dtype)
    r = len(right)
    return use(
        name,
        *(d.tame(dtype, s, -30, 30) for s in shapes),
        lhs_batch=range(b),
        rhs_batch=range(b),
        lhs_contract=range(b, b + c),
        rhs_contract=range(b + r, b + r + c),
        dtype=wider.get(short) if d.bool() else None,
        precision=d.pick("default", "high", "highest"),
    )


@case("convolution")
def _convolution(d: Draw, name: str) -> Case:
    dtype = d.dtype(FLOATS)
    spatial = d.int(0, 2)
    groups, batch_groups = d.pick((1, 1), (1, 1), (2, 1), (3, 1), (1, 2))
    batch, inner, out = d.int(1, 2) * batch_groups, d.int(1, 2), d.int(1, 2) * groups * batch_groups
    sizes, kernel = ([d.int(1, n) for _ in range(spatial)] for n in (6, 3))
    specs = [d.draw(st.permutations(range(spatial + 2))) for _ in range(3)]
    x = _arranged((batch, inner * groups, *sizes), specs[0])
    w = _arranged((out, inner, *kernel), specs[1])
    return use(
        name,
        d.tame(dtype, x),
        d.tame(dtype, w),
        strides=[d.int(1, 2) for _ in kernel],
        padding=[(d.int(0, 2), d.int(0, 2)) for _ in kernel],
        lhs_dilation=[d.int(1, 2) for _ in kernel],
        rhs_dilation=[d.int(1, 2) for _ in kernel],
        lhs_spec=specs[0],
        rhs_spec=specs[1],
        out_spec=specs[2],
        feature_groups=groups,
        batch_groups=batch_groups,
        reversal=d.pick(None, [d.bool() for _ in kernel]),
        dtype=None,
    )


def _arranged(sizes: Sequence[int], spec: Sequence[int]) -> list[int]:
    shape = [0] * len(sizes)
    for size, axis in zip(sizes, spec):
        shape[axis] = size
    return shape


# Reduction.


def _fold(d: Draw, most: int = 5) -> tuple[str, np.ndarray, np.ndarray]:
    """A binary op, an array and a start value that suit each other."""
    fold = d.pick("add", "multiply", "maximum", "minimum", "and", "or", "xor")
    dtype = d.dtype(INTEGERS, ("i1",)) if fold in ("and", "or", "xor") else d.dtype(FLOATS, INTEGERS)
    exact = not is_float(dtype) or fold in ("maximum", "minimum")
    shape = d.shape(1, 3, most=most)
    x = d.wild(dtype, shape) if exact else d.tame(dtype, shape)
    return fold, x, d.wild(dtype, ()) if exact else d.tame(dtype, ())


def identity(fold: str, dtype: np.dtype) -> np.ndarray:
    """The value that leaves others as they are."""
    if fold in ("add", "or", "xor") or (dtype == BOOL and fold == "maximum"):
        return np.zeros((), dtype)
    if fold == "multiply" or dtype == BOOL:
        return np.ones((), dtype)
    if fold == "and":
        return np.invert(np.zeros((), dtype))
    if is_float(dtype):
        return np.array(-np.inf if fold == "maximum" else np.inf).astype(dtype)
    limits = ml_dtypes.iinfo(dtype)
    return np.array(limits.min if fold == "maximum" else limits.max).astype(dtype)


@case("reduce")
def _reduce(d: Draw, name: str) -> Case:
    fold, x, start = _fold(d)
    axes = [i for i in range(x.ndim) if d.bool()]
    if d.int(0, 2):
        return use(name, x, start, axes=axes, regions=[binary_region(fold, x.dtype)])
    # Two operands: the largest value and a number that says where it was.
    x = d.wild(np.dtype(np.float32), x.shape)
    x = np.where(np.isnan(x), np.float32(0), x)
    index = np.arange(x.size, dtype=np.int32).reshape(x.shape)
    return use(name, x, index, np.float32(-np.inf), np.int32(2**31 - 1), axes=axes, regions=[larger_pair()])


def larger_pair() -> Graph:
    """The region ``(value, index, value, index)`` -> the larger value and its index, the smaller of equal ones."""
    scalar = [("f32", ()), ("i32", ())] * 2

    def rule(b: Builder, x: Any, i: Any, y: Any, j: Any) -> tuple:
        more, same = b.compare(x, y, direction="GT"), b.compare(x, y, direction="EQ")
        first = b.or_(more, b.and_(same, b.compare(i, j, direction="LT")))
        return b.select(more, x, y), b.select(first, i, j)

    return region(scalar, rule)


@case("reduce_window")
def _reduce_window(d: Draw, name: str) -> Case:
    fold, x, start = _fold(d)
    start = identity(fold, x.dtype)  # StableHLO leaves open how often a start value counts
    x = x.reshape([n or 1 for n in x.shape]) if x.size else np.ones([n or 1 for n in x.shape], x.dtype)
    return use(
        name,
        x,
        start,
        window=[d.int(1, 3) for _ in x.shape],
        strides=[d.int(1, 2) for _ in x.shape],
        base_dilation=[d.int(1, 2) for _ in x.shape],
        window_dilation=[d.int(1, 2) for _ in x.shape],
        padding=[(d.int(0, 2), d.int(0, 2)) for _ in x.shape],
        regions=[binary_region(fold, x.dtype)],
    )


@case("select_and_scatter")
def _select_and_scatter(d: Draw, name: str) -> Case:
    dtype = d.dtype(("f32", "f64", "i32"))
    shape = d.shape(1, 2, least=1)
    window = [d.int(1, min(3, n)) for n in shape]
    strides = [d.int(1, 3) for _ in shape]
    padding = [(d.int(0, w - 1), d.int(0, w - 1)) for w in window]
    out = [(n + lo + hi - w) // s + 1 for n, (lo, hi), w, s in zip(shape, padding, window, strides)]
    select = region([(dtype, ())] * 2, lambda b, x, y: b.compare(x, y, direction="GE"))
    x = d.tame(dtype, shape)
    return use(
        name,
        x,
        d.tame(dtype, out),
        dtype.type(0),
        window=window,
        strides=strides,
        padding=padding,
        regions=[select, binary_region("add", dtype)],
    )


# Linear algebra: well conditioned matrices.


@case("fft")
def _fft(d: Draw, name: str) -> Case:
    kind = d.pick("FFT", "IFFT", "RFFT", "IRFFT")
    length = [d.int(1, 6) for _ in range(d.int(1, 3))]
    shape = [*d.shape(high=1), *length]
    if kind == "IRFFT":
        shape[-1] = length[-1] // 2 + 1
    wide = d.bool()
    dtype = (np.float64 if wide else np.float32) if kind == "RFFT" else (np.complex128 if wide else np.complex64)
    x = d.tame(np.dtype(dtype), shape)
    if kind == "IRFFT":  # the spectrum of a real signal: where it is not, libraries differ
        x = np.fft.rfftn(d.tame(np.dtype(np.float64), [*shape[:-1], length[-1]]), axes=range(-len(length), 0)).astype(
            dtype
        )
    return use(name, x, kind=kind, length=length)


@case("cholesky")
def _cholesky(d: Draw, name: str) -> Case:
    dtype, n = d.dtype(("f32", "f64", "c64", "c128")), d.int(0, 4)
    a = d.tame(dtype, (*d.shape(high=1), n, n), -1, 1)
    a = a @ np.swapaxes(a, -1, -2).conj() + np.eye(n, dtype=dtype)
    if n and a.size and d.int(0, 4) == 0:
        a[..., 0, 0] = -1  # not positive definite
    return use(name, a.astype(dtype), lower=d.bool())


@case("triangular_solve")
def _triangular_solve(d: Draw, name: str) -> Case:
    dtype, n, k, batch = d.dtype(("f32", "f64", "c64")), d.int(1, 4), d.int(0, 3), d.shape(high=1)
    a = d.tame(dtype, (*batch, n, n), -1, 1) + 3 * np.eye(n, dtype=dtype)
    left = d.bool()
    return use(
        name,
        a.astype(dtype),
        d.tame(dtype, (*batch, n, k) if left else (*batch, k, n)),
        left_side=left,
        lower=d.bool(),
        unit_diagonal=d.bool(),
        transpose=d.pick("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"),
    )


@case("qr")
def _qr(d: Draw, name: str) -> Case:
    dtype, m, n = d.dtype(("f32", "f64", "c64", "c128")), d.int(1, 5), d.int(1, 5)
    return use(name, d.tame(dtype, (*d.shape(high=1), m, n)), full=d.bool())


def _apart(d: Draw, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Matrices whose eigenvalues and singular values lie apart, so that their vectors are well known."""
    m, n = shape[-2:]
    return (d.tame(dtype, shape, -0.3, 0.3) + np.eye(m, n) * (2.0 * np.arange(1, n + 1))).astype(dtype)


@case("eigh")
def _eigh(d: Draw, name: str) -> Case:
    n = d.int(0, 4)
    return use(name, _apart(d, d.dtype(("f32", "f64")), (*d.shape(high=1), n, n)))


@case("svd")
def _svd(d: Draw, name: str) -> Case:
    return use(name, _apart(d, d.dtype(("f32", "f64")), (*d.shape(high=1), d.int(1, 4), d.int(1, 4))))


@case("pinv")
def _pinv(d: Draw, name: str) -> Case:
    shape = (*d.shape(high=1), d.int(1, 4), d.int(1, 4))
    return use(name, _apart(d, d.dtype(("f32", "f64")), shape), rcond=1e-5)


@case("eig")
def _eig(d: Draw, name: str) -> Case:
    n = d.int(0, 4)
    return use(name, _apart(d, d.dtype(("f32", "f64")), (*d.shape(high=1), n, n)))


# Random bits.


def _keys(d: Draw) -> np.ndarray:
    """A key, or a batch of them."""
    return d.wild(UI32, (*d.pick((), (), (3,), (2, 1)), 2))


@case("threefry_bits")
def _threefry_bits(d: Draw, name: str) -> Case:
    return use(name, _keys(d), shape=d.shape(), dtype=d.dtype(("ui8", "ui16", "ui32", "ui64")))


@case("threefry_split")
def _threefry_split(d: Draw, name: str) -> Case:
    return use(name, _keys(d), count=d.int(0, 5))


@case("threefry_fold_in")
def _threefry_fold_in(d: Draw, name: str) -> Case:
    key = _keys(d)
    return use(name, key, d.wild(UI32, key.shape[:-1]))


@case("dropout_bits")
def _dropout_bits(d: Draw, name: str) -> Case:
    return use(name, _keys(d), shape=d.shape())
