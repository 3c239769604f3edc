"""keras.ops.numpy: every op against real Keras, by rows; symbolic sizes; indexing against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_parity import array, assert_same, check, meaning, row, with_eager

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError, TracingError

x23, y23, x3, x5, x234 = array(2, 3), array(2, 3, seed=1), array(3), array(5), array(2, 3, 4)
unit = array(4, low=-0.9, high=0.9)
positive = array(2, 3, low=0.1, high=5)
nan = np.array([[1.0, np.nan, 3.0], [np.inf, -2.0, np.nan]], "float32")
special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 0.5], "float32")
i23, j23 = array(2, 3, dtype="int32", low=-7, high=7), array(2, 3, dtype="int32", low=1, high=5, seed=1)
flags, other_flags = array(2, 3, dtype="bool"), array(2, 3, dtype="bool", seed=1)
MIXED = ("float32", "float16", "bfloat16", "int32", "int8", "uint8", "bool")

UNARY = [
    *(
        row(n, x23)
        for n in (
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "arcsinh",
            "arctan",
            "exp",
            "expm1",
            "exp2",
            "square",
            "absolute",
            "abs",
            "fabs",
            "negative",
            "sign",
            "floor",
            "ceil",
            "trunc",
            "round",
            "cbrt",
            "deg2rad",
            "rad2deg",
            "sinc",
            "reciprocal",
            "signbit",
            "isnan",
            "isfinite",
            "isinf",
            "isposinf",
            "isneginf",
            "isreal",
            "real",
            "imag",
            "conj",
            "conjugate",
            "angle",
            "erf",
            "erfc",
            "logical_not",
        )
    ),
    *(row(n, positive) for n in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt")),
    *(row(n, unit) for n in ("arcsin", "arccos", "arctanh", "erfinv")),
    row("arccosh", array(4, low=1.1, high=4)),
    *(
        row(n, special)
        for n in (
            "isnan",
            "isinf",
            "isfinite",
            "isposinf",
            "isneginf",
            "signbit",
            "sign",
            "trunc",
            "floor",
            "round",
            "nan_to_num",
            "abs",
            "negative",
            "sqrt",
            "exp",
            "logical_not",
            "angle",
        )
    ),
    *(
        row(n, array(3, dtype=d, low=1))
        for n in (
            "sin",
            "sqrt",
            "log",
            "exp",
            "floor",
            "square",
            "trunc",
            "abs",
            "cbrt",
            "isnan",
            "isfinite",
            "reciprocal",
        )
        for d in MIXED
    ),
    *(
        row(n, i23)
        for n in ("sign", "negative", "round", "signbit", "nan_to_num", "bitwise_not", "bitwise_invert", "real")
    ),
    row("round", x23, decimals=2),
    row("round", array(4, low=-300, high=300), decimals=-1),
    row("round", array(4, dtype="float16"), 1),
    row("round", np.array([123, 155, -37], "int32"), decimals=-1),
    row("round", np.array([0.5, 1.5, 2.5, -0.5], "float32")),
    row("nan_to_num", nan, nan=1.0, posinf=2.0, neginf=-2.0),
    row("nan_to_num", special.astype("float16")),
    row("abs", array(3, dtype="complex64")),
    row("angle", array(3, dtype="complex64")),
    row("imag", array(3, dtype="complex64")),
    row("conj", array(3, dtype="complex64")),
    row("bitwise_not", flags),
    row("isnan", array(3, dtype="complex64")),
    row("isreal", array(3, dtype="complex64")),
    row("copy", x23),
    row("array", x23),
    row("view", x23, dtype="int32"),
    row("view", x23[:, :2], dtype="int16"),
    row("view", array(2, 4, dtype="int16"), dtype="float32"),
]

BINARY = [
    *(
        row(n, x23, y23)
        for n in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "true_divide",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "arctan2",
            "logaddexp",
            "logaddexp2",
            "hypot",
            "mod",
            "fmod",
            "floor_divide",
            "nextafter",
            "heaviside",
            "divide_no_nan",
            "equal",
            "not_equal",
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "isclose",
            "allclose",
            "logical_and",
            "logical_or",
            "logical_xor",
        )
    ),
    *(
        row(n, i23, j23)
        for n in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "maximum",
            "mod",
            "fmod",
            "floor_divide",
            "power",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "bitwise_left_shift",
            "bitwise_right_shift",
            "left_shift",
            "right_shift",
            "gcd",
            "lcm",
            "less",
            "logical_and",
            "arctan2",
            "divide_no_nan",
            "heaviside",
            "hypot",
            "isclose",
        )
    ),
    *(
        row(n, flags, other_flags)
        for n in (
            "add",
            "multiply",
            "maximum",
            "divide",
            "logical_and",
            "logical_xor",
            "bitwise_and",
            "bitwise_or",
            "equal",
            "less",
            "mod",
            "floor_divide",
            "power",
            "left_shift",
        )
    ),
    *(row("add", array(2, 3, dtype=a), array(3, dtype=c)) for a in MIXED for c in MIXED),
    *(row("divide", array(2, dtype=a), array(2, dtype=c, low=1, seed=2)) for a in MIXED for c in ("int32", "float16")),
    *(
        row(n, array(2, dtype=d, low=1), s)
        for n in ("add", "multiply", "maximum", "power")
        for d in MIXED
        for s in (2, 0.5)
    ),
    *(row(n, 2, array(2, dtype=d)) for n in ("add", "multiply", "less") for d in MIXED),
    *(
        row(n, nan, np.float32(2.0) * np.ones_like(nan))
        for n in (
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "less",
            "equal",
            "not_equal",
            "add",
            "heaviside",
            "hypot",
            "logaddexp",
        )
    ),
    row("power", positive, y23),
    row("power", x23, 2),
    row("power", x23, 3),
    row("power", x23, -2),
    row("power", x23, 0),
    row("power", i23, 3),
    row("power", 2.0, x23),
    row("power", x23, 2.0),
    row("power", array(3, dtype="bfloat16"), 2),
    row("divide_no_nan", x23, np.array([0.0, 1.0, 2.0], "float32")),
    row("ldexp", x23, i23),
    row("floor_divide", np.array([7.0, -7.0, 7.0, -7.0], "float32"), np.array([2.0, 2.0, -2.0, -2.0], "float32")),
    row("mod", np.array([7.5, -7.5, 7.5, -7.5], "float32"), np.array([2.0, 2.0, -2.0, -2.0], "float32")),
    row("mod", array(4, dtype="uint8", low=1, high=9), array(4, dtype="uint8", low=1, high=4, seed=1)),
    row("floor_divide", array(4, dtype="int8", low=-9, high=9), np.array([2, -2, 3, -3], "int8")),
    *(
        row(n, np.array([5, -5, 0, 7], d), np.array([0, 0, 0, 2], d))
        for n in ("mod", "fmod", "floor_divide")
        for d in ("int32", "float32")
    ),
    row("i0", array(6, low=-20, high=20)),
    row("i0", x23),
    row("i0", array(3, dtype="float16")),
    row("floor_divide", np.float32([np.inf, 5, -5, np.nan]), np.float32([3, np.inf, np.inf, 1])),
    row("isclose", nan, nan, equal_nan=True),
    row("allclose", nan, nan),
    row("allclose", nan, nan, equal_nan=True),
    row("add", x23[:, :1], x3),
    row("multiply", x234, x234[:, :1, :1]),
    row("add", [1, 2, 3], x3),
    row("less", x23, 0),
    row("clip", x23, -1, 1),
    row("clip", i23, -1, 1),
    row("clip", i23, 0.5, 2.5),
    row("clip", x23, x3 - 1, x3 + 1),
    row("clip", flags, 0, 1),
    row("clip", nan, -1, 1),
    row("hypot", np.float32([3e30, 0, np.inf]), np.float32([4e30, 0, np.nan])),
]

CREATION = [
    row("zeros", (2, 3)),
    row("ones", (2,), dtype="int32"),
    row("full", (2, 2), 7.5),
    row("full", (2, 3), x3),
    row("empty", (2,)),
    row("full", (2,), 3, dtype="int8"),
    row("zeros_like", i23),
    row("ones_like", x23, dtype="int32"),
    row("empty_like", x23),
    row("full_like", x23, 2),
    row("full_like", i23, 2.7),
    row("arange", 5),
    row("arange", 2, 9, 3),
    row("arange", 0.0, 1.0, 0.25),
    row("arange", 5, 0, -2),
    row("arange", 3, dtype="float16"),
    row("arange", 1, 2, 0.3),
    row("arange", 5.0),
    row("arange", 4, 2),
    row("linspace", 0, 1, 5),
    row("linspace", 0.0, 2.0, 4, endpoint=False),
    row("linspace", x3, x3 + 1, 4, axis=-1),
    row("linspace", 0, 10, 5, dtype="int32"),
    row("linspace", 0, 1, 5, retstep=True),
    row("linspace", 2, 3, 1),
    row("logspace", 0, 2, 4),
    row("logspace", 0, 3, 4, base=2),
    row("geomspace", 1.0, 8.0, 4),
    row("eye", 3),
    row("eye", 2, 4, k=1),
    row("eye", 3, dtype="bool"),
    row("identity", 3),
    row("tri", 3),
    row("tri", 3, 4, k=-1),
    row("tril", x234),
    row("tril", x23, k=1),
    row("triu", x234, k=-1),
    row("triu", i23),
    row("meshgrid", x3, x5),
    row("meshgrid", x3, x5, indexing="ij"),
    row("meshgrid", x3, x5, array(2)),
    row("bartlett", 5),
    row("blackman", 5),
    row("hamming", 6),
    row("hanning", 5),
    row("kaiser", 6, 4.0),
    row("diag", x3),
    row("diag", x3, k=1),
    row("diag", x23),
    row("diag", x23, k=-1),
    row("diagflat", x23, k=1),
    row("diagonal", x234),
    row("diagonal", x234, offset=1, axis1=1, axis2=2),
    row("trace", x23),
    row("trace", i23, offset=1),
    row("vander", x3),
    row("vander", x3, 2, increasing=True),
]

SHAPES = [
    row("reshape", x234, (6, 4)),
    row("reshape", x234, (-1, 2)),
    row("reshape", x234, -1),
    row("ravel", x234),
    row("transpose", x234),
    row("transpose", x234, (1, 0, 2)),
    row("swapaxes", x234, 0, -1),
    row("moveaxis", x234, 0, 2),
    row("moveaxis", x234, (0, 1), (-1, 0)),
    row("squeeze", x234[:1, :, :1]),
    row("squeeze", x234[:1, :, :1], axis=0),
    row("expand_dims", x23, 1),
    row("expand_dims", x23, (0, -1)),
    row("broadcast_to", x3, (2, 3)),
    row("flip", x23),
    row("flip", x23, axis=1),
    row("fliplr", x23),
    row("flipud", x23),
    *(row("rot90", x234, k=k) for k in (1, 2, 3, -1)),
    row("rot90", x234, axes=(1, 2)),
    row("concatenate", [x23, y23]),
    row("concatenate", [x23, i23], axis=1),
    row("append", x23, x3),
    row("append", x23, y23, axis=0),
    row("stack", [x23, y23], axis=1),
    row("stack", [x3, i23[0]]),
    row("hstack", [x3, x3]),
    row("hstack", [x23, y23]),
    row("vstack", [x3, x3]),
    row("dstack", [x23, y23]),
    row("dstack", [x3, x3]),
    row("split", x234, 2, axis=2),
    row("split", x5, [1, 3]),
    row("array_split", x5, 3),
    row("hsplit", x23, 3),
    row("vsplit", x23, 2),
    row("dsplit", x234, 2),
    row("unstack", x234, axis=1),
    row("tile", x23, 2),
    row("tile", x23, (2, 1)),
    row("tile", x3, (2, 2)),
    row("tile", x234, (1, 2, 1)),
    row("repeat", x23, 2),
    row("repeat", x23, 3, axis=1),
    row("roll", x23, 1),
    row("roll", x23, -1, axis=1),
    row("roll", x23, (1, 2), axis=(0, 1)),
    row("roll", x5, 7),
    row("pad", x23, 1),
    row("pad", x23, ((1, 0), (2, 3))),
    row("pad", x23, ((1, 1), (0, 0)), constant_values=5),
    *(row("pad", x234, ((1, 1), (2, 1), (0, 3)), mode=m) for m in ("edge", "symmetric", "wrap")),
    row("pad", x234, ((1, 1), (2, 1), (0, 3)), mode="reflect"),
    row("pad", x3, (5, 4), mode="reflect"),
    row("pad", x3, (5, 4), mode="wrap"),
    row("pad", i23, ((1, 0), (0, 1))),
    row("depth_to_space", array(1, 2, 2, 8), 2),
    row("space_to_depth", array(1, 4, 4, 2), 2),
    row("depth_to_space", array(1, 8, 2, 2), 2, data_format="channels_first"),
    row("space_to_depth", array(1, 2, 4, 4), 2, data_format="channels_first"),
    row("rearrange", x234, "a b c -> c (a b)"),
    row("rearrange", array(2, 6), "a (b c) -> b a c", b=2),
]

AXES = (None, 0, -1, (0, 2))
REDUCTIONS = [
    *(
        row(n, x234, axis=axis)
        for n in (
            "sum",
            "prod",
            "mean",
            "std",
            "var",
            "max",
            "min",
            "amax",
            "amin",
            "any",
            "all",
            "ptp",
            "logsumexp",
            "nansum",
            "nanmean",
        )
        for axis in AXES
    ),
    *(
        row(n, x234, axis=1, keepdims=True)
        for n in (
            "sum",
            "prod",
            "mean",
            "std",
            "var",
            "max",
            "min",
            "any",
            "all",
            "ptp",
            "logsumexp",
            "argmax",
            "argmin",
            "median",
        )
    ),
    *(
        row(n, array(2, 3, dtype=d))
        for n in (
            "sum",
            "prod",
            "mean",
            "max",
            "std",
            "var",
            "any",
            "count_nonzero",
            "nansum",
            "average",
            "cumsum",
            "argmax",
            "median",
            "logsumexp",
        )
        for d in MIXED
    ),
    *(
        row(n, nan, axis=1)
        for n in (
            "sum",
            "max",
            "min",
            "argmax",
            "argmin",
            "mean",
            "nansum",
            "nanprod",
            "nanmax",
            "nanmin",
            "nanmean",
            "nanvar",
            "nanstd",
            "nanargmax",
            "nanargmin",
            "nancumsum",
            "nancumprod",
            "median",
            "nanmedian",
            "sort",
            "argsort",
            "any",
            "cumsum",
            "count_nonzero",
        )
    ),
    row("sum", array(300, dtype="float16", low=100, high=200)),
    row("mean", array(300, dtype="float16", low=200, high=300)),
    row("max", x23, initial=10.0),
    row("min", x23, axis=0, initial=-1.0),
    row("max", array(0, 3), axis=0, initial=1.0),
    row("sum", array(0, 3), axis=0),
    row("argmax", x234),
    row("argmax", x234, axis=1),
    row("argmin", x234, axis=-1),
    row("argmax", np.array([1, 3, 3], "int32")),
    row("average", x23, axis=1, weights=x3 + 4),
    row("average", x23, weights=positive),
    row("average", i23, axis=0),
    row("cumsum", x234),
    row("cumsum", x234, axis=1),
    row("cumprod", x23, axis=1),
    row("cumsum", i23, axis=0, dtype="float32"),
    row("diff", x5),
    row("diff", x5, n=2),
    row("diff", x23, axis=0),
    row("diff", flags),
    row("trapezoid", x23),
    row("trapezoid", x23, dx=0.5),
    row("trapezoid", x23, x=np.array([0.0, 1.0, 3.0], "float32")),
    row("corrcoef", array(3, 6), units=4),
    row("moments", x234, (0, 1)),
    row("moments", array(4, 5, dtype="float16"), 0, keepdims=True),
    row("prod", i23, axis=0, dtype="float32"),
    row("count_nonzero", i23, axis=1),
    row("nanstd", nan),
    row("nanvar", nan, keepdims=True),
    row("nanmax", nan),
    row("nanargmin", nan),
]

SORTING = [
    row("sort", x234),
    row("sort", x234, axis=0),
    row("sort", i23, axis=1),
    row("sort", flags),
    row("argsort", x234),
    row("argsort", i23, axis=0),
    row("argsort", np.array([2, 1, 2, 1], "int32")),
    row("argsort", x23, axis=None),
    row("sort", special),
    row("argsort", special),
    row("top_k", x23, 2),
    row("top_k", i23, 1),
    row("in_top_k", np.array([0, 2], "int32"), x23, 2),
    row("median", x234),
    row("median", x5),
    row("median", x234, axis=(0, 1)),
    row("median", array(4, dtype="float16")),
    row("quantile", x234, 0.3),
    row("quantile", x234, np.array([0.1, 0.9], "float32"), axis=1),
    *(row("quantile", x5, 0.37, method=m) for m in ("linear", "lower", "higher", "midpoint", "nearest")),
    row("quantile", nan, 0.5, axis=1),
    row("quantile", x234, 0.5, axis=0, keepdims=True),
    row("percentile", x23, 30.0),
    row("nanquantile", nan, 0.4),
    row("nanpercentile", nan, 40.0, axis=1),
    row("nanmedian", nan),
    row("searchsorted", np.sort(x5), x23),
    row("searchsorted", np.sort(x5), np.sort(x5), side="right"),
    row("digitize", x23, np.array([-1.0, 0.0, 1.0], "float32")),
    row("digitize", x23, np.array([1.0, 0.0, -1.0], "float32")),
    row("isin", i23, np.array([1, 2], "int32")),
    row("isin", i23, np.array([1, 2], "int32"), invert=True),
    row("histogram", x5, bins=4),
    row("histogram", x5, bins=3, range=(-1.0, 1.0)),
    row("bincount", np.array([0, 2, 2, 5], "int32"), minlength=8),
    row("unravel_index", np.array([5, 1, 3], "int32"), (2, 3)),
    row("unique", np.array([3, 1, 3, 2], "int32"), size=3),
    row(
        "unique",
        np.array([3, 1, 3, 2], "int32"),
        size=5,
        return_counts=True,
        return_inverse=True,
        return_index=True,
        fill_value=-1,
    ),
]

PRODUCTS = [
    row("matmul", x23, x3),
    row("matmul", x3, x3),
    row("matmul", x23, array(3, 4)),
    row("matmul", x234, array(4, 2)),
    row("matmul", x23, array(2, 3, 4)),
    row("matmul", array(5, 1, 2, 3), array(4, 3, 2)),
    row("matmul", x3, x234[:, :, :]),
    row("matmul", array(2, 1, 3, 4), array(1, 5, 4, 2)),
    row("matmul", array(2, 3, dtype="int8"), array(3, 2, dtype="int8")),
    row("matmul", array(2, 3, dtype="float16"), array(3, 2, dtype="float16")),
    row("matmul", i23, array(3, 2)),
    row("matmul", flags, flags.T),
    row("matmul", x234, array(2, 4, 2)),
    row("dot", x23, x3),
    row("dot", x23, 2.0),
    row("dot", x234, array(5, 4, 3)),
    row("vdot", x23, y23),
    row("inner", x23, array(4, 3)),
    row("outer", x3, x5),
    row("outer", x23, i23),
    row("tensordot", x234, array(3, 4, 2)),
    row("tensordot", x234, x234, axes=([0, 1], [0, 1])),
    row("tensordot", x3, x5, axes=0),
    row("tensordot", x234, array(4, 5), axes=1),
    row("kron", x23, array(2, 2)),
    row("kron", x3, x23),
    row("cross", x23, y23),
    row("cross", x23[:, :2], y23[:, :2]),
    row("cross", x23[:, :2], y23),
    row("correlate", x5, x3),
    row("correlate", x5, x3, mode="same"),
    row("correlate", x5, x3, mode="full"),
    row("correlate", x3, x5, mode="full"),
    row("correlate", array(4, dtype="int32"), x3),
    row("correlate", x3, array(4), mode="same"),
    row("einsum", "ij,kj->ik", x23, y23),
    row("einsum", "bij,bjk->bik", x234, array(2, 4, 3)),
    row("einsum", "ij->ji", x23),
    row("einsum", "ij->", x23),
    row("einsum", "ii->i", array(3, 3)),
    row("einsum", "ii", array(3, 3)),
    row("einsum", "...ij,jk->...ik", x234, array(4, 2)),
    row("einsum", "i,j->ij", x3, x5),
    row("einsum", "ab,bc,cd->ad", x23, array(3, 4), array(4, 2)),
    row("einsum", "bnqd,bnkd->bnqk", array(2, 2, 3, 4), array(2, 2, 5, 4)),
    row("einsum", "ij,j", x23, x3),
    row("einsum", "ij,ij->ij", x23, y23),
    row("einsum", "...i,...i->...", x234, x234[:1]),
    row("einsum", "ij,kl->jl", x23, array(4, 2)),
    row("einsum", "abc,cd,def->abf", x234, array(4, 3), array(3, 2, 2)),
]

INDEXING = [
    row("take", x234, np.array([0, -1], "int32"), axis=1),
    row("take", x234, np.array([[0, 5], [1, 30]], "int32")),
    row("take", x23, 1, axis=1),
    row("take", x23, np.array([5, -9], "int32"), axis=0),
    row("take", i23, np.array([9], "int32"), axis=1),
    row("take_along_axis", x23, np.argsort(x23).astype("int32"), axis=1),
    row("take_along_axis", x234, np.array([[[0], [2], [1]]], "int32"), axis=2),
    row("take_along_axis", x23, np.array([3, -1], "int32")),
    row("where", flags, x23, i23),
    row("where", flags, x23, 0.0),
    row("where", flags[:, :1], x3, 1),
    row("where", i23, 1, 2.5),
    row("select", [flags, other_flags], [x23, y23], default=7.0),
    row("get_item", x234, (0, slice(None), -1)),
    row("get_item", x23, 1),
    row("get_item", x234, (slice(None, None, -1), None, Ellipsis)),
    row("get_item", x234, np.array([1, 0, 1], "int32")),
    row("get_item", x234, (slice(None), np.array([0, 2], "int32"), np.array([1, 3], "int32"))),
    row("get_item", x5, np.array([9, -9], "int32")),
]

ROWS = [*UNARY, *BINARY, *CREATION, *SHAPES, *REDUCTIONS, *SORTING, *PRODUCTS, *INDEXING]


@pytest.mark.parametrize(("case", "eager"), with_eager(ROWS), ids=[str(r) for r in ROWS])
def test_like_keras(case, eager):
    check(case, eager)


# Symbolic sizes: traced once, run at several.

SYMBOLIC = {
    "add": lambda x: x + x[:, :1],
    "reshape": lambda x: ops.reshape(x, (-1, 2)),
    "reshape to the batch": lambda x: ops.reshape(x, (x.shape[0], 2, -1)),
    "flatten": ops.ravel,
    "transpose": lambda x: ops.transpose(x) @ x,
    "concatenate": lambda x: ops.concatenate([x, x], axis=0),
    "stack": lambda x: ops.stack([x, -x], axis=1),
    "tile": lambda x: ops.tile(x, (2, 3)),
    "repeat": lambda x: ops.repeat(x, 2, axis=0),
    "roll": lambda x: ops.roll(x, 1, axis=0),
    "roll back": lambda x: ops.roll(x, -1, axis=0),
    "flip": lambda x: ops.flip(x, axis=0),
    "pad": lambda x: ops.pad(x, ((1, 2), (0, 0)), constant_values=3),
    "split": lambda x: ops.split(ops.concatenate([x, x]), 2),
    "arange": lambda x: ops.arange(x.shape[0]),
    "arange by 2": lambda x: ops.arange(1, 2 * x.shape[0], 2),
    "zeros": lambda x: ops.zeros((x.shape[0], 3)),
    "eye": lambda x: ops.eye(x.shape[0]),
    "tril": lambda x: ops.tril(x @ ops.transpose(x)),
    "triu": lambda x: ops.triu(x, k=1),
    "diagonal": lambda x: ops.diagonal(x @ ops.transpose(x)),
    "broadcast_to": lambda x: ops.broadcast_to(x[:1], x.shape),
    "mean": lambda x: ops.mean(x, axis=0),
    "var": lambda x: ops.var(x),
    "cumsum": lambda x: ops.cumsum(x, axis=0),
    "softmax": lambda x: ops.softmax(x, axis=0),
    "argmax": lambda x: ops.argmax(x, axis=0),
    "sort": lambda x: ops.sort(x, axis=0),
    "median": lambda x: ops.median(x, axis=0),
    "quantile": lambda x: ops.quantile(x, 0.25, axis=0),
    "matmul": lambda x: ops.matmul(x[:, None, :], x[:, :, None]),
    "einsum": lambda x: ops.einsum("ni,mi->nm", x, x),
    "take": lambda x: ops.take(x, np.array([0, -1], "int32"), axis=0),
    "one_hot": lambda x: ops.one_hot(ops.argmax(x, axis=1), 4),
    "linspace": lambda x: ops.linspace(x[0], x[-1], 3),
    "first and rest": lambda x: x[1:] - x[:-1],
    "last": lambda x: x[-1],
    "backwards": lambda x: x[::-1, 1:3],
    "every second": lambda x: x[::2],
    "up to the size": lambda x: x[: x.shape[0] - 1],
    "meshgrid": lambda x: ops.meshgrid(x[:, 0], x[:, 1]),
    "diff": lambda x: ops.diff(x, axis=0),
    "outer": lambda x: ops.outer(x[:, 0], x[0]),
    "top_k": lambda x: ops.top_k(x, 2),
    "searchsorted": lambda x: ops.searchsorted(ops.sort(x[:, 0]), x),
    "where": lambda x: ops.where(x > 0, x, 0.0),
    "segment_sum": lambda x: ops.segment_sum(x, ops.arange(x.shape[0]) % 2, 2),
    "shape": lambda x: ops.cast(ops.shape(x)[0], "float32") * x,
    "kron": lambda x: ops.kron(x, np.ones((2, 1), "float32")),
    "space_to_depth": lambda x: ops.space_to_depth(ops.reshape(ops.concatenate([x, x]), (1, 2 * x.shape[0], 2, 2)), 2),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_symbolic_size_is_traced_once(name):
    function = SYMBOLIC[name]
    module = lamina.trace(function, Spec(("N", 4)))
    for n in (2, 3, 5):
        x = array(n, 4)
        outputs, _ = lamina.evaluate(module, x)
        assert_same(outputs, meaning(function, x), what=f"{name} at N={n}")


# Indexing.


@st.composite
def indices(draw, shape):
    """An index that NumPy takes: integers, slices, None, Ellipsis, arrays of integers, a mask."""
    entries, axis = [], 0
    ellipsis = draw(st.integers(0, len(shape)) | st.none())
    common = draw(st.sampled_from([(2,), (1,), (3, 2), ()]))
    while axis < len(shape):
        if ellipsis == axis:
            entries.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            ellipsis = None
            continue
        if not draw(st.integers(0, 4)):
            break
        size = shape[axis]
        inside = st.integers(-size, size - 1)
        bound = st.none() | st.integers(-size - 2, size + 2)
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "mask", "none"]))
        if kind == "none":
            entries.append(None)
            continue
        if kind == "int":
            entries.append(draw(inside))
        elif kind == "slice":
            entries.append(slice(draw(bound), draw(bound), draw(st.none() | st.sampled_from([1, 2, 3, -1, -2]))))
        elif kind == "array":
            entries.append(
                np.array(
                    draw(st.lists(inside, min_size=int(np.prod(common)), max_size=int(np.prod(common)))), "int32"
                ).reshape(common)
            )
        elif common == (2,) and size >= 2:
            mask = np.zeros(size, bool)
            mask[draw(st.sampled_from([[0, 1], [0, size - 1]]))] = True
            entries.append(mask)
        else:
            entries.append(draw(inside))
        axis += 1
    return tuple(entries)


@settings(max_examples=300)
@given(st.data())
def test_indexing_is_numpys(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    x = np.arange(np.prod(shape), dtype="int32").reshape(shape)
    key = data.draw(indices(shape))
    found = meaning(lambda t: t[key], x)
    expected = x[key]
    assert found.dtype == np.int32 and found.shape == expected.shape, f"{key} of {shape}"
    np.testing.assert_array_equal(found, expected, err_msg=f"{key} of {shape}")


@settings(max_examples=60)
@given(st.data())
def test_traced_indices_are_numpys_and_clamp(data):
    x = np.arange(24, dtype="int32").reshape(2, 3, 4)
    where = np.array(data.draw(st.lists(st.integers(-12, 12), min_size=2, max_size=2)), "int32")
    axis = data.draw(st.integers(0, 2))
    size = x.shape[axis]
    inside = np.clip(np.where(where < 0, where + size, where), 0, size - 1)
    key = (slice(None),) * axis
    np.testing.assert_array_equal(meaning(lambda t, i: t[(*key, i)], x, where), x[(*key, inside)])
    np.testing.assert_array_equal(meaning(lambda t, i: t[(*key, i[0])], x, where), x[(*key, inside[0])])


def test_masks_split_and_repeat_by_lists():
    mask = x23 > 0
    np.testing.assert_array_equal(meaning(lambda t: t[mask], x23), x23[mask])
    np.testing.assert_array_equal(ops.get_item(x23, mask), x23[mask])
    np.testing.assert_array_equal(meaning(lambda t: ops.repeat(t, [1, 2], axis=0), x23), np.repeat(x23, [1, 2], axis=0))
    for found, expected in zip(meaning(lambda t: ops.split(t, [1, 3]), x5), np.split(x5, [1, 3])):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(meaning(lambda t: ops.rearrange(t, "a ... -> ... a"), x234), x234.transpose(1, 2, 0))


# Mistakes.

MISTAKES = [
    (lambda x: ops.reshape(x, (4, 2)), ShapeError, r"reshape.*6 and 8"),
    (lambda x: ops.reshape(x, (-1, 4)), ShapeError, r"reshape of \(2, 3\) to \(-1, 4\)"),
    (lambda x: ops.matmul(x, x), ShapeError, r"matmul of shapes \(2, 3\) and \(2, 3\)"),
    (lambda x: ops.add(x, np.ones((4,), "float32")), ShapeError, r"add of shapes \(2, 3\) and \(4,\)"),
    (lambda x: ops.concatenate([x, x[0]]), ShapeError, r"concatenate.*\(2, 3\), \(3,\)"),
    (lambda x: ops.sum(x, axis=2), ShapeError, r"axis=2 is out of range.*rank 2"),
    (lambda x: ops.transpose(x, (0, 0)), ShapeError, r"transpose: expected a permutation"),
    (lambda x: ops.squeeze(x, axis=0), ShapeError, r"squeeze of axis 0"),
    (lambda x: ops.split(x, 2, axis=1), ShapeError, r"split of axis 1"),
    (lambda x: x[5], ShapeError, r"index 5 is out of range for axis 0"),
    (lambda x: x[0, 0, 0], ShapeError, r"index of 3 entries is too long"),
    (lambda x: x[x > 0], TracingError, r"mask"),
    (lambda x: x["a"], ArgumentError, r"an index is an integer"),
    (lambda x: x[:, : ops.argmax(x[0])], TracingError, r"stop of a slice"),
    (lambda x: ops.max(x[:0]), ShapeError, r"maximum of nothing"),
    (lambda x: ops.negative(x > 0), DTypeError, r"negative"),
    (lambda x: ops.bitwise_and(x, x), DTypeError, r"bitwise_and: expected integers or bools"),
    (lambda x: ops.einsum("ij,jk->ik", x, x), ShapeError, r"einsum of shapes"),
    (lambda x: ops.einsum("ijk->i", x), ShapeError, r"does not fit"),
    (lambda x: ops.zeros(x), TracingError, r"zeros: shape must be known"),
    (lambda x: ops.nonzero(x), TracingError, r"ops.where"),
    (lambda x: ops.tensordot(x, x, 3), ShapeError, r"tensordot: expected axes"),
    (lambda x: ops.pad(x, ((1, 1), (1, 1), (1, 1))), ArgumentError, r"pad: expected a \(before, after\)"),
    (lambda x: ops.take(x, x), DTypeError, r"take: expected integer indices"),
]


@pytest.mark.parametrize(("function", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_explained(function, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        lamina.trace(function, Spec((2, 3)))


def test_python_numbers_yield_in_eager_calls_too():
    half = np.ones(2, "float16")
    assert (ops.add(half, 0.5)).dtype == np.float16 and (ops.multiply(np.ones(2, "int32"), 0.5)).dtype == np.float32
    variable = keras.Variable(np.ones(2, "float32"))
    np.testing.assert_array_equal(variable * 2 + 1, [3, 3])
    assert ops.shape(variable) == (2,) and ops.ndim(half) == 1 and ops.size(x234) == 24 and ops.dtype(half) == "float16"
