"""Programs of JAX as plain data: a function and the arrays that it takes, by name.

Whatever imports, or exports what was imported, runs these and compares with JAX on XLA. Arrays are drawn from the name,
so that a program has the same ones everywhere. ``QUICK`` names some of each kind.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclass(frozen=True)
class Arg:
    """An array to draw: its shape, its type, and the range of its values (integers: from low to high)."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    low: float = -2
    high: float = 2


@dataclass(frozen=True)
class Program:
    """A function of JAX, what it takes, and how many eps of the largest result it may be off by."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    tolerance: float = 32


PROGRAMS: dict[str, Program] = {}


def draw(name: str, args: Sequence[Arg]) -> list[np.ndarray]:
    """The arrays of a program."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [_array(rng, a) for a in args]


def _array(rng: np.random.Generator, arg: Arg) -> np.ndarray:
    dtype = jnp.dtype(arg.dtype)
    if arg.dtype == "bool":
        return rng.random(arg.shape) < 0.5
    if jnp.issubdtype(dtype, jnp.integer):
        low = 0 if jnp.issubdtype(dtype, jnp.unsignedinteger) else int(arg.low)
        return rng.integers(low, int(arg.high), arg.shape, endpoint=True).astype(dtype)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return (rng.uniform(arg.low, arg.high, arg.shape) + 1j * rng.uniform(arg.low, arg.high, arg.shape)).astype(
            dtype
        )
    return rng.uniform(arg.low, arg.high, arg.shape).astype(dtype)


def add(name: str, function: Callable[..., Any], *args: Arg, tolerance: float = 32) -> None:
    """Enter a program."""
    assert name not in PROGRAMS, name
    PROGRAMS[name] = Program(function, args, tolerance)


F = Arg((3, 4))
POSITIVE = Arg((3, 4), low=0.1, high=3)
UNIT = Arg((3, 4), low=-0.9, high=0.9)
I = Arg((3, 4), "int32", -5, 5)  # noqa: E741
B = Arg((3, 4), "bool")
C = Arg((3, 4), "complex64")
H = Arg((3, 4), "bfloat16")
V = Arg((7,))
SQUARE = Arg((4, 4))


def _spd(x: Any) -> Any:
    return x @ x.swapaxes(-1, -2).conj() + 5 * jnp.eye(x.shape[-1], dtype=x.dtype)


# jax.numpy, one operand.

for _name in (
    *(
        "sin",
        "cos",
        "tan",
        "tanh",
        "exp",
        "expm1",
        "exp2",
        "sinh",
        "cosh",
        "arctan",
        "arcsinh",
        "square",
        "abs",
        "sign",
    ),
    *(
        "floor",
        "ceil",
        "trunc",
        "rint",
        "negative",
        "positive",
        "cbrt",
        "sinc",
        "radians",
        "degrees",
        "isfinite",
        "isnan",
    ),
    *("isinf", "signbit", "fabs", "nan_to_num", "logical_not", "i0", "frexp", "modf", "reciprocal", "conj", "spacing"),
):
    add(f"jnp.{_name}", getattr(jnp, _name), F, tolerance=64)
for _name in ("sqrt", "log", "log2", "log10", "log1p", "reciprocal"):
    add(f"jnp.{_name}.positive", getattr(jnp, _name), POSITIVE)
for _name in ("arcsin", "arccos", "arctanh"):
    add(f"jnp.{_name}", getattr(jnp, _name), UNIT)
add("jnp.arccosh", jnp.arccosh, Arg((3, 4), low=1.1, high=4))
for _name in ("abs", "sign", "negative", "square", "bitwise_not", "bitwise_count", "logical_not", "exp", "sqrt"):
    add(f"jnp.{_name}.int", getattr(jnp, _name), I if _name != "sqrt" else Arg((3, 4), "int32", 0, 9))
for _name in ("sin", "exp", "tanh", "square", "floor", "abs", "log1p"):
    add(f"jnp.{_name}.bf16", getattr(jnp, _name), Arg((3, 4), "bfloat16", 0, 2), tolerance=4)
for _name in (
    "sin",
    "exp",
    "tanh",
    "log",
    "sqrt",
    "abs",
    "angle",
    "real",
    "imag",
    "conj",
    "square",
    "sign",
    "cos",
    "sinh",
):
    add(f"jnp.{_name}.complex", getattr(jnp, _name), C, tolerance=64)

# jax.numpy, two operands.

_OTHER = Arg((4,))
for _name in (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "arctan2", "hypot", "logaddexp", "logaddexp2"),
    *("greater", "less", "equal", "not_equal", "greater_equal", "less_equal", "floor_divide", "remainder", "fmod"),
    *("copysign", "nextafter", "heaviside", "logical_and", "logical_or", "logical_xor", "fmax", "fmin", "isclose"),
):
    add(f"jnp.{_name}", getattr(jnp, _name), F, _OTHER, tolerance=64)
add("jnp.power", jnp.power, POSITIVE, _OTHER)
add("jnp.float_power", lambda x: jnp.float_power(x, 3), F)
add("jnp.ldexp", jnp.ldexp, F, I)
_NONZERO = Arg((4,), "int32", 1, 5)
for _name in ("add", "multiply", "floor_divide", "remainder", "maximum", "gcd", "lcm", "power", "divmod", "left_shift"):
    add(f"jnp.{_name}.int", getattr(jnp, _name), I, _NONZERO)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor", "right_shift"):
    add(f"jnp.{_name}", getattr(jnp, _name), I, _NONZERO)
for _name in ("add", "multiply", "divide", "subtract", "power"):
    add(f"jnp.{_name}.complex", getattr(jnp, _name), C, Arg((4,), "complex64", 0.5, 2), tolerance=128)
for _name in ("add", "multiply", "divide", "maximum", "less"):
    add(f"jnp.{_name}.bf16", getattr(jnp, _name), H, Arg((4,), "bfloat16", 0.5, 2), tolerance=4)
for _dtype in ("int8", "uint8", "int16", "uint16", "uint32"):
    add(
        f"jnp.arithmetic.{_dtype}",
        lambda x, y: (x * y + x, x // y, x % y, x ^ y, x > y),
        Arg((3, 4), _dtype, -9, 9),
        Arg((4,), _dtype, 1, 5),
    )
for _to in ("int8", "uint8", "int32", "float16", "bfloat16", "bool", "complex64"):
    add(f"jnp.astype.{_to}", lambda x, t=_to: x.astype(t), Arg((3, 4), low=0, high=9))
add("jnp.where", lambda c, x, y: jnp.where(c, x, y), B, F, _OTHER)
add("jnp.clip", lambda x: jnp.clip(x, -1, 0.5), F)
add("jnp.clip.int", lambda x: jnp.clip(x, -1, 3), I)
add("jnp.select", lambda x: jnp.select([x > 1, x > 0], [x, x * x], -1.0), F)
add("jnp.piecewise", lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * v]), F)
add("jnp.interp", lambda x: jnp.interp(x, jnp.arange(5.0), jnp.arange(5.0) ** 2), Arg((3, 4), low=-1, high=6))
add("jnp.polyval", lambda c, x: jnp.polyval(c, x), Arg((4,)), F)

# Reductions.

for _name in (
    "sum",
    "mean",
    "max",
    "min",
    "prod",
    "std",
    "var",
    "any",
    "all",
    "median",
    "ptp",
    "nansum",
    "nanmax",
    "nanmean",
):
    add(f"jnp.{_name}.axis0", lambda x, n=_name: getattr(jnp, n)(x, axis=0), F)
    add(f"jnp.{_name}.all", lambda x, n=_name: getattr(jnp, n)(x), F)
    if _name in ("sum", "mean", "max", "prod", "std"):
        add(f"jnp.{_name}.keepdims", lambda x, n=_name: getattr(jnp, n)(x, axis=(0, 2), keepdims=True), Arg((2, 3, 4)))
for _name in ("sum", "max", "min", "prod", "any", "mean"):
    add(f"jnp.{_name}.int", lambda x, n=_name: getattr(jnp, n)(x, axis=1), Arg((3, 4), "int32", -3, 3))
for _name in ("sum", "max", "mean", "prod"):
    add(f"jnp.{_name}.bf16", lambda x, n=_name: getattr(jnp, n)(x, axis=1), H, tolerance=4)
add("jnp.sum.complex", lambda x: x.sum(0), C)
for _name in ("argmax", "argmin", "cumsum", "cumprod", "nancumsum", "nanargmax"):
    add(f"jnp.{_name}", lambda x, n=_name: getattr(jnp, n)(x, axis=1), F)
add("jnp.argmax.int", lambda x: jnp.argmax(x), I)
add("jnp.count_nonzero", lambda x: jnp.count_nonzero(x, axis=0), I)
add("jnp.average", lambda x, w: jnp.average(x, axis=1, weights=w), F, Arg((4,), low=0.5, high=1))
add("jnp.quantile", lambda x: jnp.quantile(x, jnp.array([0.25, 0.5]), axis=1), F)
add("jnp.percentile", lambda x: jnp.percentile(x, 30.0), V)
add("jnp.corrcoef", jnp.corrcoef, Arg((3, 8)), tolerance=128)
add("jnp.cov", jnp.cov, Arg((3, 8)), tolerance=128)
add("jnp.histogram", lambda x: jnp.histogram(x, bins=5, range=(-2.0, 2.0))[0], Arg((20,)))
add("jnp.bincount", lambda x: jnp.bincount(x, length=6), Arg((9,), "int32", 0, 5))
add("jnp.digitize", lambda x: jnp.digitize(x, jnp.array([-1.0, 0.0, 1.0])), F)
add("jnp.linalg.norm", lambda x: (jnp.linalg.norm(x), jnp.linalg.norm(x, axis=1), jnp.linalg.norm(x, ord=1)), F)
add("lax.cummax", lambda x: lax.cummax(x, axis=1), F)
add("lax.cumlogsumexp", lambda x: lax.cumlogsumexp(x, axis=1), F)
add("lax.cumsum.reverse", lambda x: lax.cumsum(x, axis=0, reverse=True), F)

# Shapes and places.

add("jnp.reshape", lambda x: jnp.reshape(x, (2, 6)), F)
add("jnp.ravel", lambda x: jnp.ravel(x, order="F"), F)
add("jnp.transpose", lambda x: jnp.transpose(x, (2, 0, 1)), Arg((2, 3, 4)))
add("jnp.moveaxis", lambda x: jnp.moveaxis(x, 0, -1), Arg((2, 3, 4)))
add("jnp.swapaxes", lambda x: jnp.swapaxes(x, 0, 2), Arg((2, 3, 4)))
add("jnp.expand_dims", lambda x: jnp.expand_dims(x, (0, 2)), F)
add("jnp.squeeze", lambda x: jnp.squeeze(x), Arg((1, 3, 1)))
add("jnp.broadcast_to", lambda x: jnp.broadcast_to(x, (2, 3, 4)), F)
add("jnp.concatenate", lambda x, y: jnp.concatenate([x, y, x], axis=1), F, Arg((3, 2)))
add("jnp.stack", lambda x, y: jnp.stack([x, y], axis=1), F, F)
add("jnp.vstack", lambda x, y: jnp.vstack([x, y]), F, Arg((4,)))
add("jnp.split", lambda x: jnp.split(x, [1, 3], axis=1), F)
add("jnp.array_split", lambda x: jnp.array_split(x, 3), V)
add("jnp.tile", lambda x: jnp.tile(x, (2, 3)), F)
add("jnp.repeat", lambda x: jnp.repeat(x, 2, axis=1), F)
add("jnp.repeat.array", lambda x: jnp.repeat(x, jnp.array([1, 2, 0]), axis=0, total_repeat_length=3), F)
add("jnp.flip", lambda x: jnp.flip(x, 1), F)
add("jnp.rot90", lambda x: jnp.rot90(x), F)
add("jnp.roll", lambda x: jnp.roll(x, 2, axis=1), F)
add("jnp.roll.dynamic", lambda x, n: jnp.roll(x, n, axis=0), F, Arg((), "int32", 1, 2))
for _mode in ("constant", "edge", "reflect", "symmetric", "wrap", "mean", "linear_ramp"):
    add(f"jnp.pad.{_mode}", lambda x, m=_mode: jnp.pad(x, ((1, 2), (0, 1)), mode=m), F)
add("jnp.tril", lambda x: (jnp.tril(x), jnp.triu(x, 1)), F)
add("jnp.diag", lambda x: jnp.diag(x), Arg((4,)))
add("jnp.diagonal", lambda x: jnp.diagonal(x, offset=1), F)
add("jnp.trace", jnp.trace, F)
add("jnp.eye", lambda x: x @ jnp.eye(4, k=1), F)
add("jnp.arange", lambda x: x + jnp.arange(4), F)
add("jnp.linspace", lambda a, b: jnp.linspace(a, b, 7), Arg(), Arg())
add("jnp.meshgrid", lambda x, y: jnp.meshgrid(x, y), V, _OTHER)
add("jnp.vander", lambda x: jnp.vander(x, 3), V)
add("jnp.kron", jnp.kron, Arg((2, 2)), F)
add("jnp.diff", lambda x: jnp.diff(x, axis=1), F)
add("jnp.gradient", lambda x: jnp.gradient(x), F)
add("jnp.ediff1d", jnp.ediff1d, V)
add("jnp.trapezoid", jnp.trapezoid, V)
add("jnp.convolve", lambda x, y: jnp.convolve(x, y, mode="same"), V, Arg((3,)))
add("jnp.correlate", lambda x, y: jnp.correlate(x, y, mode="full"), V, Arg((3,)))
add("jnp.sort", lambda x: jnp.sort(x, axis=0), F)
add("jnp.sort.int.descending", lambda x: jnp.sort(x, descending=True), I)
add("jnp.argsort", lambda x: jnp.argsort(x, axis=1), F)
add("jnp.lexsort", lambda x, y: jnp.lexsort((x, y)), Arg((8,), "int32", 0, 3), Arg((8,), "int32", 0, 3))
add("jnp.partition", lambda x: jnp.partition(x, 3)[:3].sort(), V)
add("jnp.searchsorted", lambda x, y: jnp.searchsorted(jnp.sort(x), y), V, F)
add("jnp.unique", lambda x: jnp.unique(x, size=4, fill_value=-9), Arg((8,), "int32", 0, 5))
add("jnp.nonzero", lambda x: jnp.nonzero(x, size=4, fill_value=-1), Arg((8,), "int32", 0, 1))
add("jnp.take", lambda x, i: jnp.take(x, i, axis=1), F, Arg((2, 3), "int32", -4, 3))
add("jnp.take.clip", lambda x, i: jnp.take(x, i, axis=0, mode="clip"), F, Arg((5,), "int32", -9, 9))
add("jnp.take.fill", lambda x, i: jnp.take(x, i, axis=0, mode="fill"), F, Arg((5,), "int32", -9, 9))
add("jnp.take_along_axis", lambda x, i: jnp.take_along_axis(x, i, axis=1), F, Arg((3, 2), "int32", 0, 3))
add("jnp.choose", lambda i, x, y: jnp.choose(i, [x, y], mode="clip"), Arg((3, 4), "int32", 0, 1), F, F)
add("jnp.getitem", lambda x: (x[1], x[:, ::2], x[..., -1], x[None, 1:, 2]), F)
add("jnp.getitem.array", lambda x, i: x[i, jnp.array([0, 1, 3])], F, Arg((3,), "int32", 0, 2))
add("jnp.getitem.mask", lambda x: jnp.where(x > 0, x, 0)[1:, np.array([True, False, True, False])], F)
add("jnp.getitem.negative", lambda x, i: x[i], F, Arg((5,), "int32", -3, 2))
add("jnp.at.set", lambda x, y: x.at[1, 2:].set(y), F, Arg((2,)))
add("jnp.at.add", lambda x, i: x.at[i].add(1.5), F, Arg((5,), "int32", 0, 2))
add("jnp.at.mul", lambda x, i: x.at[i].multiply(2.0), F, Arg((2,), "int32", 0, 2))
add("jnp.at.max", lambda x, i: x.at[i].max(0.0), F, Arg((2,), "int32", 0, 2))
add("jnp.at.min", lambda x, i: x.at[:, i].min(0.0), F, Arg((2,), "int32", 0, 3))
add("jnp.at.get", lambda x, i: x.at[i].get(mode="fill", fill_value=7.0), F, Arg((4,), "int32", -9, 9))
add("jnp.at.apply", lambda x: x.at[::2].apply(jnp.sin), F)
add("jnp.insert", lambda x: jnp.insert(x, 2, 5.0), V)
add("jnp.delete", lambda x: jnp.delete(x, 2, axis=0), F)
add("jnp.append", lambda x, y: jnp.append(x, y), V, V)
add("jnp.apply_along_axis", lambda x: jnp.apply_along_axis(lambda v: v / v.sum(), 1, x), POSITIVE)
add("jnp.packbits", lambda x: jnp.packbits(x, axis=1), Arg((2, 16), "bool"))
add("jnp.unpackbits", lambda x: jnp.unpackbits(x), Arg((4,), "uint8", 0, 255))
add("jnp.zero_size", lambda x: (x.sum(0), jnp.concatenate([x, x]), x @ jnp.ones((4, 2))), Arg((0, 4)))
add("jnp.cross", jnp.cross, Arg((4, 3)), Arg((4, 3)))
add("jnp.roots", lambda x: jnp.polyadd(x, x[:2]), V)

# Products.

add("jnp.matmul", jnp.matmul, F, Arg((4, 5)))
add("jnp.matmul.batch", jnp.matmul, Arg((2, 3, 4)), Arg((2, 4, 5)))
add("jnp.matmul.vector", jnp.matmul, F, Arg((4,)))
add("jnp.matmul.bf16", jnp.matmul, H, Arg((4, 5), "bfloat16"), tolerance=4)
add("jnp.matmul.int", jnp.matmul, I, Arg((4, 5), "int32", -3, 3))
add("jnp.matmul.complex", jnp.matmul, C, Arg((4, 5), "complex64"))
add("jnp.matmul.highest", lambda x, y: jnp.matmul(x, y, precision="highest"), F, Arg((4, 5)))
add("jnp.matmul.preferred", lambda x, y: jnp.matmul(x, y, preferred_element_type="float32"), H, Arg((4, 5), "bfloat16"))
add("jnp.dot", jnp.dot, V, V)
add("jnp.vdot", jnp.vdot, F, F)
add("jnp.inner", jnp.inner, F, F)
add("jnp.outer", jnp.outer, V, _OTHER)
add("jnp.tensordot", lambda x, y: jnp.tensordot(x, y, axes=([1], [0])), Arg((2, 3, 4)), Arg((3, 5)))
for _equation, _shapes in (
    ("ij,jk->ik", ((3, 4), (4, 5))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("bqhd,bkhd->bhqk", ((2, 3, 2, 4), (2, 5, 2, 4))),
    ("ii->i", ((4, 4),)),
    ("ij->ji", ((3, 4),)),
    ("i,j->ij", ((3,), (4,))),
    ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
    ("ij,jk,kl->il", ((3, 4), (4, 5), (5, 2))),
):
    add(f"jnp.einsum.{_equation}", lambda *x, e=_equation: jnp.einsum(e, *x), *(Arg(s) for s in _shapes))
add("lax.dot_general", lambda x, y: lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))), Arg((2, 3, 4)), Arg((2, 4, 5)))
add("lax.batch_matmul", lax.batch_matmul, Arg((2, 3, 4)), Arg((2, 4, 5)))


def _conv(**settings: Any) -> Callable[..., Any]:
    return lambda x, w: lax.conv_general_dilated(x, w, **{"window_strides": (1, 1), "padding": "SAME", **settings})


_NHWC = ("NHWC", "HWIO", "NHWC")
add("lax.conv", _conv(), Arg((2, 3, 6, 6)), Arg((4, 3, 3, 3)))
add("lax.conv.nhwc", _conv(dimension_numbers=_NHWC), Arg((2, 6, 6, 3)), Arg((3, 3, 3, 4)))
add("lax.conv.strides", _conv(window_strides=(2, 1), padding="VALID"), Arg((2, 3, 7, 6)), Arg((4, 3, 3, 2)))
add("lax.conv.dilated", _conv(rhs_dilation=(2, 1), padding=((1, 2), (0, 1))), Arg((2, 3, 7, 6)), Arg((4, 3, 2, 3)))
add("lax.conv.transposed", _conv(lhs_dilation=(2, 2), padding=((1, 1), (1, 1))), Arg((1, 2, 4, 4)), Arg((3, 2, 3, 3)))
add("lax.conv.groups", _conv(feature_group_count=2), Arg((2, 4, 5, 5)), Arg((6, 2, 3, 3)))
add("lax.conv.depthwise", _conv(feature_group_count=4), Arg((2, 4, 5, 5)), Arg((4, 1, 3, 3)))
add("lax.conv.batch_groups", _conv(batch_group_count=2), Arg((4, 3, 5, 5)), Arg((4, 3, 3, 3)))
add(
    "lax.conv_transpose",
    lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=_NHWC),
    Arg((1, 4, 4, 2)),
    Arg((3, 3, 2, 3)),
)
add("lax.conv.1d", lambda x, w: lax.conv_general_dilated(x, w, (1,), "SAME"), Arg((2, 3, 8)), Arg((4, 3, 3)))
add(
    "lax.conv.3d",
    lambda x, w: lax.conv_general_dilated(x, w, (1, 1, 1), "VALID"),
    Arg((1, 2, 4, 4, 4)),
    Arg((3, 2, 2, 2, 2)),
)
add(
    "lax.conv.grad",
    jax.grad(lambda x, w: (_conv(window_strides=(2, 2))(x, w) ** 2).sum(), argnums=(0, 1)),
    Arg((2, 3, 6, 6)),
    Arg((4, 3, 3, 3)),
    tolerance=128,
)

# jax.lax.

add("lax.clamp", lambda x: lax.clamp(-1.0, x, 1.0), F)
add("lax.rem", lax.rem, F, F)
add("lax.integer_pow", lambda x: lax.integer_pow(x, 5), F)
add("lax.rsqrt", lax.rsqrt, POSITIVE)
add("lax.round", lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), F)
add("lax.round.away", lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), F)
add("lax.reduce_precision", lambda x: lax.reduce_precision(x, 5, 7), F)
add("lax.population_count", lax.population_count, I)
add("lax.clz", lax.clz, I)
add("lax.bitcast", lambda x: lax.bitcast_convert_type(x, jnp.int32), F)
add("lax.bitcast.narrow", lambda x: lax.bitcast_convert_type(x, jnp.uint8), F)
add(
    "lax.shifts",
    lambda x: (
        lax.shift_left(x, jnp.int32(2)),
        lax.shift_right_logical(x, jnp.int32(1)),
        lax.shift_right_arithmetic(x, jnp.int32(1)),
    ),
    I,
)
add("lax.erf", lax.erf, F)
add("lax.erfc", lax.erfc, F)
add("lax.erf_inv", lax.erf_inv, UNIT)
add("lax.lgamma", lax.lgamma, POSITIVE, tolerance=128)
add("lax.digamma", lax.digamma, POSITIVE, tolerance=256)
add("lax.igamma", lax.igamma, POSITIVE, POSITIVE, tolerance=512)
add("lax.bessel_i0e", lax.bessel_i0e, POSITIVE)
add("lax.bessel_i1e", lax.bessel_i1e, POSITIVE)
add("lax.atan2", lax.atan2, F, F)
add("lax.complex", lambda x, y: lax.complex(x, y), F, F)
add("lax.pad", lambda x: lax.pad(x, 1.0, ((1, -1, 2), (0, 2, 0))), F)
add("lax.rev", lambda x: lax.rev(x, (0, 1)), F)
add("lax.slice", lambda x: lax.slice(x, (0, 1), (3, 4), (2, 1)), F)
add("lax.dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i), (2, 2)), F, Arg((), "int32", 0, 3))
add(
    "lax.dynamic_update_slice",
    lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 1)),
    F,
    Arg((2, 2)),
    Arg((), "int32", 0, 3),
)
add("lax.dynamic_index_in_dim", lambda x, i: lax.dynamic_index_in_dim(x, i, 1), F, Arg((), "int32", 0, 3))
add("lax.top_k", lambda x: lax.top_k(x, 2), F)
add("lax.sort.two", lambda x, y: lax.sort((x, y), num_keys=1), Arg((6,), "int32", 0, 3), Arg((6,)))
add("lax.sort.keys", lambda x, y: lax.sort((x, y), num_keys=2), Arg((6,), "int32", 0, 2), Arg((6,)))
add("lax.reduce", lambda x: lax.reduce(x, 1.0, lambda a, b: a * b + 0.0, (1,)), F)
add(
    "lax.reduce.two",
    lambda x, y: lax.reduce((x, y), (0.0, 0), lambda a, b: (a[0] + b[0], jnp.maximum(a[1], b[1])), (0,)),
    F,
    I,
)
add("lax.reduce_and", lambda x: lax.reduce_and(x, (0,)), I)
add("lax.reduce_xor", lambda x: lax.reduce_xor(x, (1,)), I)
add(
    "lax.reduce_window.max",
    lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    Arg((1, 6, 6, 2)),
)
add(
    "lax.reduce_window.sum", lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (1, 2), ((0, 1), (1, 1))), Arg((5, 6))
)
add(
    "lax.reduce_window.dilated",
    lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "VALID", (2, 1), (1, 2)),
    Arg((4, 5)),
)
add("lax.reduce_window.mul", lambda x: lax.reduce_window(x, 1.0, lax.mul, (2, 2), (1, 1), "SAME"), Arg((4, 5)))
add(
    "lax.max_pool.grad",
    jax.grad(lambda x: (lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID") ** 2).sum()),
    Arg((4, 6)),
)
add(
    "lax.gather.mode",
    lambda x, i: lax.gather(x, i, lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 4), mode="clip"),
    F,
    Arg((5, 1), "int32", -2, 6),
)
add(
    "lax.scatter_add",
    lambda x, i, u: lax.scatter_add(x, i, u, lax.ScatterDimensionNumbers((1,), (0,), (0,))),
    F,
    Arg((5, 1), "int32", 0, 2),
    Arg((5, 4)),
)
add(
    "lax.scatter",
    lambda x, i, u: lax.scatter(x, i, u, lax.ScatterDimensionNumbers((1,), (0,), (0,)), unique_indices=True),
    F,
    Arg((1, 1), "int32", 0, 2),
    Arg((1, 4)),
)
add(
    "lax.scatter_max",
    lambda x, i, u: lax.scatter_max(x, i, u, lax.ScatterDimensionNumbers((1,), (0,), (0,))),
    F,
    Arg((5, 1), "int32", 0, 2),
    Arg((5, 4)),
)
add("lax.select_n", lambda i, x, y, z: lax.select_n(i, x, y, z), Arg((3, 4), "int32", 0, 2), F, F, F)
add("lax.iota", lambda x: x * lax.broadcasted_iota(jnp.float32, (3, 4), 1), F)
add("lax.map", lambda x: lax.map(lambda r: r.sum() * r, x), F)
add("lax.associative_scan", lambda x: lax.associative_scan(jnp.add, x, axis=0), Arg((7, 2)))
add("lax.stop_gradient", jax.grad(lambda x: (x * lax.stop_gradient(x)).sum()), F)
add("lax.expand_dims", lambda x: lax.expand_dims(x, (1,)), F)
add("lax.optimization_barrier", lambda x: lax.optimization_barrier(x + 1) * 2, F)
add("lax.nextafter", lax.nextafter, F, F)
add("lax.polygamma", lambda x: lax.polygamma(jnp.float32(2), x), Arg((5,), low=0.5, high=4), tolerance=512)
add("lax.approx_max_k", lambda x: lax.approx_max_k(x, 3), Arg((2, 8)))
add("lax.ragged_dot", lambda x, w, n: lax.ragged_dot(x, w, n), Arg((6, 3)), Arg((2, 3, 4)), Arg((2,), "int32", 3, 3))
for _kind in ("fft", "ifft", "fft2", "fftn"):
    add(f"jnp.fft.{_kind}", getattr(jnp.fft, _kind), Arg((4, 6), "complex64"), tolerance=128)
add("jnp.fft.rfft", jnp.fft.rfft, Arg((4, 6)), tolerance=128)
add("jnp.fft.irfft", jnp.fft.irfft, Arg((4, 6), "complex64"), tolerance=128)
add("jnp.fft.rfft2", jnp.fft.rfft2, Arg((4, 6)), tolerance=128)
add("jnp.fft.fftshift", jnp.fft.fftshift, V)

# Control flow.


def _scan(x: Any) -> Any:
    return lax.scan(lambda c, y: (c * 0.9 + y, c.sum() + y), jnp.zeros(4), x)


def _rnn(w: Any, x: Any) -> Any:
    return lax.scan(lambda h, y: (jnp.tanh(h @ w + y), h), jnp.zeros(x.shape[1]), x)


add("lax.scan", _scan, Arg((5, 4)))
add("lax.scan.reverse", lambda x: lax.scan(lambda c, y: (c + y, c * y), jnp.zeros(4), x, reverse=True), Arg((5, 4)))
add("lax.scan.length", lambda x: lax.scan(lambda c, _: (c * 1.1, None), x, None, length=4), V)
add("lax.scan.rnn", _rnn, SQUARE, Arg((5, 4)))
add("lax.scan.unroll", lambda x: lax.scan(lambda c, y: (c + y, c), jnp.zeros(4), x, unroll=2), Arg((6, 4)))
add(
    "lax.scan.nested", lambda x: lax.scan(lambda c, r: (c + lax.scan(lambda d, v: (d + v, d), 0.0, r)[0], c), 0.0, x), F
)
add(
    "lax.scan.two",
    lambda x, y: lax.scan(lambda c, v: (c + v[0], (v[1] * c, v[0])), jnp.zeros(4), (x, y)),
    Arg((3, 4)),
    Arg((3, 4)),
)
add("lax.scan.constant", lambda x, w: lax.scan(lambda c, y: (c + y @ w, c), jnp.zeros(4), x), F, SQUARE)
add("lax.fori_loop", lambda x: lax.fori_loop(0, 5, lambda i, c: c * 0.5 + i, x), V)
add("lax.fori_loop.dynamic", lambda x, n: lax.fori_loop(0, n, lambda i, c: c * 0.5 + i, x), V, Arg((), "int32", 2, 6))
add("lax.fori_loop.update", lambda x: lax.fori_loop(0, 7, lambda i, c: c.at[i].set(x[i] * i), jnp.zeros(7)), V)
add("lax.while_loop", lambda x: lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 1.5 + 1, x), POSITIVE)
add(
    "lax.while_loop.captured",
    lambda x, y: lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 0.5 + y), (0, x)),
    V,
    V,
)
add("lax.cond", lambda p, x: lax.cond(p > 0, lambda v: v * 2, lambda v: v - 1, x), Arg(), V)
add("lax.cond.closure", lambda p, x, y: lax.cond(p > 0, lambda: x + y, lambda: x - y), Arg(), V, V)
add("lax.switch", lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, lambda v: v * v], x), Arg((), "int32", 0, 2), V)
add("lax.switch.clamped", lambda i, x: lax.switch(i, [jnp.sin, jnp.cos], x), Arg((), "int32", 5, 9), V)
add("jax.vmap", jax.vmap(lambda x, w: jnp.tanh(w @ x), in_axes=(0, None)), Arg((5, 4)), F)
add("jax.vmap.scan", jax.vmap(_scan), Arg((2, 5, 4)))
add("jax.vmap.cond", jax.vmap(lambda p, x: lax.cond(p > 0, jnp.sin, jnp.cos, x)), Arg((7,)), V)
add(
    "jax.vmap.while",
    jax.vmap(lambda x: lax.while_loop(lambda c: c < 10, lambda c: c * 2 + 1, x)),
    Arg((5,), low=0.1, high=3),
)
add("jax.jit.nested", lambda x: jax.jit(lambda y: jnp.tanh(y) + 1)(x) * jax.jit(lambda y: y * y)(x), F)
add("jax.checkpoint", jax.grad(lambda x: jax.checkpoint(lambda v: jnp.sin(jnp.sin(v)))(x).sum()), F)
add("jax.custom_jvp", lambda x: jax.nn.relu(x) + jax.nn.silu(x), F)
add("jax.numpy.vectorize", lambda x, y: jnp.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(x, y), F, F)
add("jax.named_scope", lambda x: _named(x), F)


def _named(x: Any) -> Any:
    with jax.named_scope("encoder"), jax.named_scope("dense"):
        return jnp.tanh(x @ x.T)


# Derivatives.

#: Functions to a scalar, and what they take.
LOSSES: dict[str, tuple[Callable[..., Any], tuple[Arg, ...]]] = {
    "tanh": (lambda x: jnp.tanh(x).sum(), (F,)),
    "softmax": (lambda x: (jax.nn.softmax(x) ** 2).sum(), (F,)),
    "log_softmax": (lambda x: jax.nn.log_softmax(x)[:, 0].sum(), (F,)),
    "layer_norm": (lambda x: ((x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-3)).prod(), (F,)),
    "mlp": (lambda w, v, x: (jnp.tanh(x @ w) @ v).sum(), (Arg((4, 5)), Arg((5, 2)), F)),
    "gather": (lambda x: (x[jnp.array([0, 2, 0])] ** 2).sum(), (F,)),
    "sort": (lambda x: (jnp.sort(x, axis=1) * jnp.arange(4.0)).sum(), (F,)),
    "max": (lambda x: x.max(0).sum(), (F,)),
    "prod": (lambda x: x.prod(1).sum(), (F,)),
    "cumsum": (lambda x: (jnp.cumsum(x, 1) ** 2).sum(), (F,)),
    "cumprod": (lambda x: jnp.cumprod(x, 1).sum(), (F,)),
    "scan": (lambda x: _scan(x)[0].sum(), (Arg((5, 4)),)),
    "rnn": (lambda w, x: _rnn(w, x)[1].sum(), (SQUARE, Arg((5, 4)))),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x).sum(), (F,)),
    "where": (lambda x: jnp.where(x > 0, x * x, jnp.exp(x)).sum(), (F,)),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False).sum(), (F,)),
    "norm": (lambda x: jnp.linalg.norm(x), (F,)),
    "einsum": (lambda x, y: (jnp.einsum("ij,jk->ik", x, y) ** 2).sum(), (F, Arg((4, 5)))),
    "power": (lambda x, y: (x**y).sum(), (POSITIVE, F)),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=1).sum(), (F,)),
    "pad": (lambda x: (jnp.pad(x, 1) ** 2).sum(), (F,)),
    "dynamic_slice": (lambda x: (lax.dynamic_slice(x, (1, 1), (2, 2)) ** 2).sum(), (F,)),
    "erf": (lambda x: lax.erf(x).sum(), (F,)),
    "lgamma": (lambda x: lax.lgamma(x).sum(), (POSITIVE,)),
}
for _name, (_loss, _args) in LOSSES.items():
    add(f"grad.{_name}", jax.value_and_grad(_loss), *_args, tolerance=128)
add("jvp.tanh", lambda x, t: jax.jvp(jnp.tanh, (x,), (t,)), F, F)
add("jacfwd", jax.jacfwd(lambda x: jnp.sin(x) * x.sum()), V)
add("jacrev", jax.jacrev(lambda x: jnp.sin(x) * x.sum()), V)
add("hessian", jax.hessian(lambda x: (jnp.sin(x) ** 2).sum()), Arg((4,)), tolerance=128)
add("linearize", lambda x: jax.linearize(jnp.sin, x)[1](x), V)

# jax.nn.

for _name in (
    *("relu", "relu6", "sigmoid", "softplus", "soft_sign", "silu", "log_sigmoid", "leaky_relu", "hard_sigmoid", "selu"),
    *("hard_silu", "hard_tanh", "elu", "celu", "gelu", "mish", "squareplus", "softmax", "log_softmax", "glu"),
    *("standardize", "logsumexp", "sparse_plus", "sparse_sigmoid", "identity", "tanh", "normalize"),
):
    if hasattr(jax.nn, _name):
        add(f"nn.{_name}", getattr(jax.nn, _name), F, tolerance=64)
add("nn.gelu.exact", lambda x: jax.nn.gelu(x, approximate=False), F)
add("nn.softmax.bf16", jax.nn.softmax, H, tolerance=4)
add("nn.softmax.where", lambda x: jax.nn.softmax(x, where=x > -1), F)
add("nn.one_hot", lambda i: jax.nn.one_hot(i, 6), Arg((3, 4), "int32", -1, 7))
add("nn.attention", jax.nn.dot_product_attention, Arg((2, 3, 2, 4)), Arg((2, 5, 2, 4)), Arg((2, 5, 2, 4)))
add(
    "nn.attention.causal",
    lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True),
    *(Arg((2, 4, 2, 3)),) * 3,
)
add("nn.logmeanexp", lambda x: jax.nn.logsumexp(x, axis=0, b=0.5), F)

# jax.scipy and linear algebra.

for _name in (
    "erf",
    "erfc",
    "expit",
    "log_ndtr",
    "ndtr",
    "entr",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "xlogy",
    "xlog1py",
    "log1p",
):
    _function = getattr(jax.scipy.special, _name, None)
    if _function is not None:
        add(f"scipy.special.{_name}", _function, *((POSITIVE,) * (2 if _name.startswith("xlog") else 1)), tolerance=128)
for _name in ("gammaln", "digamma", "erfinv", "logit", "ndtri", "gamma", "factorial"):
    _function = getattr(jax.scipy.special, _name)
    add(f"scipy.special.{_name}", _function, Arg((3, 4), low=0.1, high=0.9), tolerance=512)
add("scipy.special.logsumexp", lambda x: jax.scipy.special.logsumexp(x, axis=1), F)
add("scipy.special.zeta", jax.scipy.special.zeta, Arg((4,), low=1.5, high=4), Arg((4,), low=0.5, high=3), tolerance=512)
add("scipy.special.polygamma", lambda x: jax.scipy.special.polygamma(1, x), Arg((4,), low=0.5, high=3), tolerance=512)
add("scipy.special.betaln", jax.scipy.special.betaln, POSITIVE, POSITIVE, tolerance=512)
add("scipy.special.gammainc", jax.scipy.special.gammainc, POSITIVE, POSITIVE, tolerance=512)
for _name in ("norm", "laplace", "logistic", "cauchy", "uniform"):
    add(f"scipy.stats.{_name}", lambda x, n=_name: getattr(jax.scipy.stats, n).logpdf(x), UNIT, tolerance=128)
add("scipy.stats.norm.cdf", jax.scipy.stats.norm.cdf, F)
add("scipy.signal.convolve", lambda x, y: jax.scipy.signal.convolve(x, y, mode="same"), Arg((5, 5)), Arg((3, 3)))
add(
    "scipy.ndimage",
    lambda x: jax.scipy.ndimage.map_coordinates(x, [jnp.array([0.5, 1.2]), jnp.array([1.5, 0.3])], order=1),
    F,
)
add("scipy.linalg.expm", jax.scipy.linalg.expm, Arg((3, 3), low=-0.5, high=0.5), tolerance=256)
add("linalg.cholesky", lambda x: jnp.linalg.cholesky(_spd(x)), SQUARE, tolerance=256)
add("linalg.cholesky.batch", lambda x: jnp.linalg.cholesky(_spd(x)), Arg((2, 3, 3)), tolerance=256)
add("linalg.qr", jnp.linalg.qr, Arg((5, 3)), tolerance=256)
add("linalg.qr.wide", jnp.linalg.qr, F, tolerance=256)
add("linalg.qr.complete", lambda x: jnp.linalg.qr(x, mode="complete"), Arg((5, 3)), tolerance=256)
add("linalg.qr.r", lambda x: jnp.linalg.qr(x, mode="r"), Arg((2, 5, 3)), tolerance=256)
add("linalg.inv", lambda x: jnp.linalg.inv(_spd(x)), SQUARE, tolerance=512)
add("linalg.det", jnp.linalg.det, SQUARE, tolerance=512)
add("linalg.slogdet", jnp.linalg.slogdet, SQUARE, tolerance=512)
add("linalg.solve", lambda a, b: jnp.linalg.solve(_spd(a), b), SQUARE, Arg((4, 2)), tolerance=512)
add("linalg.lu", lambda x: jax.scipy.linalg.lu(x), SQUARE, tolerance=256)
add("linalg.lu_factor", lambda x: jax.scipy.linalg.lu_factor(x), SQUARE, tolerance=256)
add("linalg.lu.batch", lambda x: lax.linalg.lu(x), Arg((2, 4, 3)), tolerance=256)
add(
    "linalg.cho_solve",
    lambda a, b: jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(_spd(a)), b),
    SQUARE,
    Arg((4, 2)),
    tolerance=512,
)
add(
    "linalg.solve_triangular",
    lambda a, b: jax.scipy.linalg.solve_triangular(_spd(a), b, lower=True),
    SQUARE,
    Arg((4, 2)),
    tolerance=512,
)
add(
    "linalg.solve_triangular.trans",
    lambda a, b: jax.scipy.linalg.solve_triangular(_spd(a), b, trans=1),
    SQUARE,
    Arg((4, 2)),
    tolerance=512,
)
add(
    "linalg.triangular_solve",
    lambda a, b: lax.linalg.triangular_solve(_spd(a), b, left_side=False, lower=True, unit_diagonal=True),
    Arg((2, 3, 3)),
    Arg((2, 2, 3)),
    tolerance=4096,
)
add("linalg.matrix_power", lambda x: jnp.linalg.matrix_power(x, 3), Arg((3, 3)), tolerance=128)
add("linalg.multi_dot", lambda x, y, z: jnp.linalg.multi_dot([x, y, z]), F, Arg((4, 2)), Arg((2, 5)))
add("grad.cholesky", jax.grad(lambda x: jnp.linalg.cholesky(_spd(x)).sum()), SQUARE, tolerance=1024)
add("grad.solve", jax.grad(lambda a, b: jnp.linalg.solve(_spd(a), b).sum()), SQUARE, Arg((4,)), tolerance=1024)
add("grad.qr", jax.grad(lambda x: (jnp.linalg.qr(x)[1] ** 2).sum()), Arg((4, 3)), tolerance=1024)
add("image.resize", lambda x: jax.image.resize(x, (5, 7), "bilinear"), F)
add("image.resize.nearest", lambda x: jax.image.resize(x, (6, 8), "nearest"), F)

# jax.random: of a key that is a constant, and of one that is computed.

for _name, _draw in (
    ("uniform", lambda k: jax.random.uniform(k, (3, 4))),
    ("normal", lambda k: jax.random.normal(k, (7,))),
    ("randint", lambda k: jax.random.randint(k, (5,), 0, 100)),
    ("bernoulli", lambda k: jax.random.bernoulli(k, 0.3, (8,))),
    ("permutation", lambda k: jax.random.permutation(k, 6)),
    ("categorical", lambda k: jax.random.categorical(k, jnp.arange(4.0), shape=(6,))),
    ("split", lambda k: jax.random.key_data(jax.random.split(k, 3))),
    ("fold_in", lambda k: jax.random.key_data(jax.random.fold_in(k, 7))),
    ("bits", lambda k: jax.random.bits(k, (5,), "uint8")),
    ("truncated_normal", lambda k: jax.random.truncated_normal(k, -1, 1, (5,))),
    ("gumbel", lambda k: jax.random.gumbel(k, (5,))),
    ("exponential", lambda k: jax.random.exponential(k, (5,))),
    ("choice", lambda k: jax.random.choice(k, 10, (4,))),
):
    add(f"random.{_name}", lambda seed, d=_draw: d(jax.random.key(seed)), Arg((), "uint32", 0, 99))


def assert_close(results: Sequence[Any], expected: Sequence[Any], tolerance: float, name: str = "") -> None:
    """Equal types and shapes; floats within ``tolerance`` eps of the largest finite magnitude, all else equal."""
    assert len(results) == len(expected), f"{name}: {len(results)} results, expected {len(expected)}"
    for place, (result, want) in enumerate(zip(results, expected)):
        got, want = np.asarray(result), np.asarray(want)
        assert (got.dtype, got.shape) == (want.dtype, want.shape), f"{name}, result {place}: {got.dtype}{got.shape}"
        if not (jnp.issubdtype(want.dtype, jnp.inexact) and want.size):
            assert np.array_equal(got, want), f"{name}, result {place}: {got} is not {want}"
            continue
        wide = np.complex128 if jnp.issubdtype(want.dtype, jnp.complexfloating) else np.float64
        eps = float(jnp.finfo(want.dtype).eps)
        got, want = got.astype(wide), want.astype(wide)
        bound = tolerance * eps * np.abs(want[np.isfinite(want)]).max(initial=1e-3)
        with np.errstate(invalid="ignore"):
            fine = (got == want) | (np.abs(got - want) <= bound) | (np.isnan(got) & np.isnan(want))
        assert fine.all(), f"{name}, result {place}: {got[~fine][:3]} is not {want[~fine][:3]} within {bound}"


#: Some of each kind.
QUICK = tuple(sorted(PROGRAMS)[::12])
