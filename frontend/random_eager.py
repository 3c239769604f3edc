"""Random arrays from a key that was drawn already, by jax.random at once: bit for bit what Keras on JAX gives.

A key is two uint32, as ``seed.draw_seed`` returns them. 64-bit types are drawn in a scoped 64-bit mode; the process's
setting stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp

from ..ir.errors import ArgumentError, DTypeError, ShapeError
from .dtypes import FLOATS, INTS, standardize_dtype

Shape = Sequence[int]


def width_of(dtype: str) -> AbstractContextManager[Any]:
    """Return the context in which JAX makes arrays of this type as they are, and not 32 bits wide."""
    return jax.enable_x64(True) if dtype in ("float64", "int64", "uint64", "complex128") else nullcontext()


def normal(key: Any, shape: Shape, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None) -> jax.Array:
    """Return normally distributed numbers of the given mean and standard deviation."""
    dtype = float_type("normal", dtype)
    with width_of(dtype):
        return jax.random.normal(key, _shape(shape), dtype) * stddev + mean


def truncated_normal(key: Any, shape: Shape, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None) -> jax.Array:
    """Return normally distributed numbers, none further than two standard deviations from the mean."""
    dtype = float_type("truncated_normal", dtype)
    with width_of(dtype):
        return jax.random.truncated_normal(key, -2.0, 2.0, _shape(shape), dtype) * stddev + mean


def uniform(key: Any, shape: Shape, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None) -> jax.Array:
    """Return numbers spread evenly over ``[minval, maxval)``."""
    dtype = float_type("uniform", dtype)
    with width_of(dtype):
        return jax.random.uniform(key, _shape(shape), dtype, minval, maxval)


def randint(key: Any, shape: Shape, minval: Any, maxval: Any, dtype: Any = "int32") -> jax.Array:
    """Return integers spread evenly over ``[minval, maxval)``."""
    name = standardize_dtype(dtype)
    if name not in INTS:
        raise DTypeError(f"randint makes integers: dtype must be one of {', '.join(INTS)}, got {dtype!r}")
    with width_of(name):
        return jax.random.randint(key, _shape(shape), minval, maxval, name)


def categorical(key: Any, logits: Any, num_samples: int, dtype: Any = "int32") -> jax.Array:
    """Return class numbers drawn by their logits.

    Args:
        key: two uint32.
        logits: log-probabilities up to a constant, of shape ``(batch, classes)``.
        num_samples: draws for each row.
        dtype: type of the class numbers.

    Returns:
        An array of shape ``(batch, num_samples)``.
    """
    logits = jnp.asarray(logits)
    if logits.ndim != 2:
        raise ShapeError(f"logits must have shape (batch, classes), got {logits.shape}")
    name = standardize_dtype(dtype)
    drawn = jax.random.categorical(key, logits[..., None], axis=1, shape=(logits.shape[0], num_samples))
    with width_of(name):
        return drawn.astype(name)


def gamma(key: Any, shape: Shape, alpha: Any, dtype: Any = None) -> jax.Array:
    """Return gamma distributed numbers of shape parameter ``alpha`` and scale 1."""
    dtype = float_type("gamma", dtype)
    with width_of(dtype):
        return jax.random.gamma(key, alpha, _shape(shape), dtype)


def beta(key: Any, shape: Shape, alpha: Any, beta: Any, dtype: Any = None) -> jax.Array:
    """Return beta distributed numbers; ``alpha`` and ``beta`` broadcast to ``shape``."""
    dtype = float_type("beta", dtype)
    with width_of(dtype):
        return jax.random.beta(key, jnp.array(alpha), jnp.array(beta), _shape(shape), dtype)


def binomial(key: Any, shape: Shape, counts: Any, probabilities: Any, dtype: Any = None) -> jax.Array:
    """Return how many of ``counts`` trials succeed, each with probability ``probabilities``, as floats."""
    dtype = float_type("binomial", dtype)
    with width_of(dtype):
        return jax.random.binomial(key, jnp.array(counts), jnp.array(probabilities), _shape(shape), dtype)


def shuffle(key: Any, x: Any, axis: int = 0) -> jax.Array:
    """Return ``x`` with its elements permuted along ``axis``, each line along it by a permutation of its own."""
    return jax.random.permutation(key, jnp.asarray(x), axis, independent=True)


def float_type(name: str, dtype: Any) -> str:
    """Return the canonical name of a float type, the default one for None; a DTypeError for another kind."""
    canonical = standardize_dtype(dtype)
    if canonical not in FLOATS:
        raise DTypeError(f"{name} makes floats: dtype must be one of {', '.join(FLOATS)}, got {dtype!r}")
    return canonical


def _shape(shape: Shape) -> tuple[int, ...]:
    try:
        dims = tuple(int(dim) for dim in shape)
    except TypeError as error:
        raise ShapeError(f"expected a shape, a tuple of integers, got {shape!r}") from error
    if any(dim < 0 for dim in dims):
        raise ShapeError(f"a shape has no negative dims, got {dims}")
    return dims


def as_key(seed: int) -> jax.Array:
    """Return the key that an integer seed stands for."""
    if not 0 <= seed < 2**32:
        raise ArgumentError(f"a seed must be an integer from 0 to 2**32 - 1, got {seed}")
    return jnp.array([seed, 0], dtype="uint32")
