"""How close a target's results have to be to the NumPy meaning: one bound for each op, and one check.

Integers and bool are exact. Floats have one of three bounds, eps being the element type's own:

- ``ULP``, elementwise ops: units in the last place of the exact result (of its modulus, for a complex number). An op
  that is in no table has 0: bit for bit, the sign of zero included.
- ``SUMS``, ops that add or multiply many elements up: n * eps * (the same graph on absolute values), where n, the
  number of elements of the largest operand plus 2, is at least the number of terms.
- ``SCALED``, all else that rounds more than once: so many eps of the largest magnitude among output and operands.

A number below the smallest normal one may be flushed to zero, which is why no bound is below that number.
"""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from lamina.ir import Graph, evaluate
from lamina.ir.types import is_complex, is_float

#: Correctly rounded functions would have 1. XLA:CPU's polynomials are a few off; its float64 log1p (on which atanh and
#: the complex logarithm stand) is 50 off; asinh and acosh are logarithms of roots. sinh and cosh, exp(x - log 2), lose
#: what rounding x - log 2 (up to 709) loses, which is 256; erfc's tail, exp(-x*x), what rounding x*x (up to 700) loses.
ULP = {
    "sign": 3,  # of complex numbers: the modulus and two quotients round, here and there
    "multiply": 2,
    "divide": 1,
    "abs": 2,
    "exponential": 3,
    "exponential_minus_one": 6,
    "log": 64,
    "log_plus_one": 64,
    "sqrt": 2,
    "rsqrt": 4,
    "cbrt": 20,
    "sine": 4,
    "cosine": 4,
    "tan": 4,
    "tanh": 5,
    "logistic": 4,
    "sinh": 264,
    "cosh": 264,
    "asin": 4,
    "acos": 4,
    "atan": 6,
    "asinh": 8,
    "acosh": 8,
    "atanh": 64,
    "erf": 6,
    "erfc": 512,
    "erf_inv": 4,
    "power": 4,
    "atan2": 6,
}
#: lgamma and digamma pass through zero, where no library keeps relative precision: the unit is that of max(|y|, 1). The
#: reflection that both take below 1/2 subtracts numbers some tens of times larger (for digamma as large as log|x|).
ABSOLUTE_BELOW_1 = {"lgamma": 64, "digamma": 128}

SUMS = {
    "dot_general",
    "convolution",
    "reduce",
    "reduce_window",
    "select_and_scatter",
    "scatter",
    "reduce_sum",
    "reduce_prod",
    "reduce_mean",
    "cumsum",
    "cumprod",
    "avg_pool",
}

#: Activations and norms round after each step of a formula, and some subtract what is nearly equal.
SCALED = {
    "fft": 16,
    "cholesky": 32,
    "triangular_solve": 64,
    "qr": 64,
    "eigh": 256,  # of matrices whose values lie apart
    "svd": 256,
    "eig": 512,
    "pinv": 256,
    "lu": 32,
    "lu_solve": 64,
    "det": 256,  # of the result and the matrix: a product of pivots, each a sum of products
    "slogdet": 32,
    "while": 8,
    "scan": 16,
    "remat": 2,
    "composite": 2,
    "custom_vjp": 2,
    "reduce_variance": 16,
    "layer_norm": 64,
    "rms_norm": 16,
    "batch_norm": 16,
    "attention": 32,
    "lstm_step": 64,  # sums of up to nine products before tanh
    "gru_step": 64,
    "polygamma": 64,  # below 0 the difference of two
    "softmax": 16,
    "log_softmax": 16,
    "logsumexp": 16,
    "sparsemax": 32,
    "glu": 8,
    "logaddexp": 8,
    "dropout": 1,
    "resize": 32,
    **dict.fromkeys(
        (
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "selu",
            "celu",
            "gelu",
            "silu",
            "softplus",
            "softsign",
            "log_sigmoid",
            "hard_sigmoid",
            "hard_silu",
            "hard_tanh",
            "mish",
            "tanh_shrink",
            "soft_shrink",
            "hard_shrink",
            "threshold",
            "squareplus",
            "sparse_plus",
            "sparse_sigmoid",
        ),
        8,
    ),
}


def assert_close(graph: Graph, inputs: Sequence[np.ndarray], results: Sequence[object]) -> None:
    """Compare a target's results of a one-node graph with its NumPy meaning, under the bound of its op."""
    name = graph.nodes[0].op.name
    expected, _ = evaluate(graph, *inputs)
    assert len(results) == len(expected), f"{name}: {len(results)} results, expected {len(expected)}"
    sizes = _sums_of_absolutes(graph, inputs) if name in SUMS else expected
    for result, want, size in zip(map(np.asarray, results), expected, sizes, strict=True):
        assert result.dtype == want.dtype, f"{name}: element type {result.dtype}, expected {want.dtype}"
        assert result.shape == want.shape, f"{name}: shape {result.shape}, expected {want.shape}"
        bound = _bound(name, want, size, inputs)
        wrong = _outside(result, want, bound)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            here = bound if bound is None or np.ndim(bound) == 0 else bound[place]
            raise AssertionError(
                f"{name}: {int(wrong.sum())} of {want.size} elements are outside the bound; at {place} got "
                f"{result[place]!r}, expected {want[place]!r} within {here}\n{graph}"
            )


def _sums_of_absolutes(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    positive = [
        np.abs(a) if is_float(a.dtype) else np.abs(a).astype(a.dtype) if is_complex(a.dtype) else a for a in inputs
    ]
    return evaluate(graph, *positive)[0]


def _bound(name: str, want: np.ndarray, size: np.ndarray, inputs: Sequence[np.ndarray]) -> np.ndarray | float | None:
    """The largest absolute error allowed, for each element; None: none at all."""
    if not (is_float(want.dtype) or is_complex(want.dtype)) or not want.size:
        return None
    limits = ml_dtypes.finfo(want.real.dtype if is_complex(want.dtype) else want.dtype)
    eps, least = float(limits.eps), float(limits.smallest_normal)
    magnitude = _magnitude(size)
    with np.errstate(over="ignore", invalid="ignore"):
        if name in SUMS:
            return (max(a.size for a in inputs) + 2) * eps * magnitude + least
        if name in SCALED:
            return SCALED[name] * eps * max(map(_largest, (want, *inputs))) + least
        if name in ABSOLUTE_BELOW_1:
            return ABSOLUTE_BELOW_1[name] * eps * np.maximum(magnitude, 1)
        if name in ULP:
            return ULP[name] * _unit(magnitude, eps, least) + least
    return None


def _magnitude(x: np.ndarray) -> np.ndarray:
    return np.abs(x if is_complex(x.dtype) else x.astype(np.float64)).astype(np.float64)


def _largest(x: np.ndarray) -> float:
    """The largest finite magnitude; 0 for what is no float."""
    if not (is_float(x.dtype) or is_complex(x.dtype)):
        return 0.0
    magnitude = _magnitude(x)
    return float(magnitude[np.isfinite(magnitude)].max(initial=0.0))


def _unit(magnitude: np.ndarray, eps: float, least: float) -> np.ndarray:
    """One unit in the last place."""
    finite = np.where(np.isfinite(magnitude), magnitude, 1)
    return 2.0 ** np.floor(np.log2(np.maximum(finite, least))) * eps


def _outside(result: np.ndarray, want: np.ndarray, bound: np.ndarray | float | None) -> np.ndarray:
    """Where ``result`` is not within ``bound`` of ``want``; NaN matches NaN, and an infinity itself."""
    if is_complex(want.dtype):
        a, b = result.astype(np.complex128), want.astype(np.complex128)
        nan = (np.isnan(a), np.isnan(b))
    elif is_float(want.dtype):
        a, b = result.astype(np.float64), want.astype(np.float64)
        nan = (np.isnan(a), np.isnan(b))
    else:
        return np.asarray(result != want)
    with np.errstate(invalid="ignore", over="ignore"):
        if bound is None:
            same_sign = np.signbit(a.real) == np.signbit(b.real)
            if is_complex(want.dtype):
                same_sign &= np.signbit(a.imag) == np.signbit(b.imag)
            fine = (a == b) & same_sign
        else:
            fine = (a == b) | (np.abs(a - b) <= bound)
    return ~(fine | (nan[0] & nan[1]))
