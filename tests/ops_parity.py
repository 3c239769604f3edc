"""Rows of ``(op, args, kwargs)`` run by ``lamina.ops`` and by real Keras on JAX, and compared: values, shapes,
types."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import jax
import keras
import ml_dtypes
import numpy as np

from lamina import ops
from lamina.frontend.tracing import trace_flat
from lamina.ir import TensorType, evaluate

#: Units of the last place, of the largest magnitude of an output, that formulas of a few steps may differ by. float32
#: also differs by the order of sums; narrow types round once at the end, where Keras may round in between.
UNITS = {"float32": 64, "float64": 64, "float16": 8, "bfloat16": 8, "complex64": 64}


@dataclass(frozen=True)
class Row:
    """One case: ``ops.<name>(*args, **kwargs)``. Arrays among the arguments are inputs, all else is static."""

    name: str
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    units: float = 1  # times UNITS: how much more the formula may lose

    def __str__(self) -> str:
        shown = [_shown(a) for a in self.args] + [f"{k}={_shown(v)}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)})"[:100]


def _shown(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return f"{x.dtype.name}{list(x.shape)}"
    if isinstance(x, list | tuple):
        return "[" + ",".join(map(_shown, x)) + "]"
    return str(x)


def row(name: str, *args: Any, units: float = 1, **kwargs: Any) -> Row:
    return Row(name, args, kwargs, units)


def array(*shape: int, dtype: str = "float32", low: float = -3, high: float = 3, seed: int = 0) -> np.ndarray:
    """Numbers between ``low`` and ``high``, the same for the same arguments."""
    random = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return random.random(shape) < 0.5
    if "int" in dtype:
        return random.integers(max(low, 0) if dtype.startswith("u") else low, high + 1, shape).astype(dtype)
    if dtype == "complex64":
        return (random.uniform(low, high, shape) + 1j * random.uniform(low, high, shape)).astype(dtype)
    return random.uniform(low, high, shape).astype(getattr(ml_dtypes, dtype, dtype))


def meaning(function: Any, *args: Any, **kwargs: Any) -> Any:
    """``function`` traced on the types of its arrays, then evaluated in NumPy; a nest of arrays."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    dynamic = [i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray)]

    def call(tensors: list[Any]) -> Any:
        full = list(leaves)
        for i, tensor in zip(dynamic, tensors, strict=True):
            full[i] = tensor
        a, k = jax.tree.unflatten(tree, full)
        return function(*a, **k)

    module, out_tree = trace_flat(call, [TensorType(leaves[i].dtype, leaves[i].shape) for i in dynamic])
    outputs, _ = evaluate(module, *(leaves[i] for i in dynamic))
    return jax.tree.unflatten(out_tree, outputs)


def reference(case: Row) -> Any:
    """What Keras computes."""
    args, kwargs = jax.tree.map(
        lambda leaf: jax.numpy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, (case.args, case.kwargs)
    )
    return operator.attrgetter(case.name)(keras.ops)(*args, **kwargs)


def assert_same(actual: Any, expected: Any, units: float = 1, what: str = "") -> None:
    """Raise unless two nests of arrays have the same types, shapes, and nearly the same values."""
    found, wanted = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(found) == len(wanted), f"{what}: {len(found)} results, expected {len(wanted)}"
    for a, e in zip(map(np.asarray, found), map(np.asarray, wanted), strict=True):
        assert a.dtype == e.dtype, f"{what}: {a.dtype}, expected {e.dtype}"
        assert a.shape == e.shape, f"{what}: shape {a.shape}, expected {e.shape}"
        if a.dtype.name not in UNITS:
            np.testing.assert_array_equal(a, e, err_msg=what)
            continue
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        a, e, kind = a.astype(wide), e.astype(wide), a.dtype
        finite = np.abs(e[np.isfinite(e)])
        eps = float(ml_dtypes.finfo(kind).eps)
        tolerance = units * UNITS[kind.name] * eps * (finite.max() if finite.size else 0) + float(
            ml_dtypes.finfo(kind).tiny
        )
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance, err_msg=what)


def check(case: Row, eager: bool = False) -> None:
    """Compare a row's meaning, and with ``eager`` also what XLA computes, with Keras."""
    expected = reference(case)
    function = operator.attrgetter(case.name)(ops)
    assert_same(meaning(function, *case.args, **case.kwargs), expected, case.units, f"meaning of {case}")
    if eager:
        assert_same(function(*case.args, **case.kwargs), expected, case.units, f"eager {case}")


def with_eager(rows: list[Row]) -> list[tuple[Row, bool]]:
    """The rows, the first of each op to be run by XLA too."""
    seen: set[str] = set()
    return [(case, case.name not in seen and not seen.add(case.name)) for case in rows]
