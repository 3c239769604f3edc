"""Whether two modules mean the same: evaluated on equal arrays, they give equal bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from strategies import SIZES, any_bits

from lamina.ir import Module, evaluate
from lamina.ir.literals import raw_bytes
from lamina.ir.types import is_complex, is_float


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal element types, shapes and bits. One NaN is as good as another: its sign and payload mean nothing."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if is_complex(a.dtype):
        return same_bits(np.asarray(a.real), np.asarray(b.real)) and same_bits(np.asarray(a.imag), np.asarray(b.imag))
    if is_float(a.dtype):
        nan, zero = np.isnan(a), np.zeros((), a.dtype)
        if not np.array_equal(nan, np.isnan(b)):
            return False
        a, b = np.where(nan, zero, a), np.where(nan, zero, b)
    return raw_bytes(a) == raw_bytes(b)


def assert_same_meaning(
    before: Module, after: Module, inputs: Sequence[np.ndarray], parameters: Mapping[str, np.ndarray]
) -> None:
    """Equal outputs and equal updates, bit for bit."""
    dims = [{name: SIZES[name] for name in module.main.symbols} for module in (before, after)]
    (outputs, updates), (outputs_after, updates_after) = (
        evaluate(module, *inputs, parameters={p.name: parameters[p.name] for p in module.main.parameters}, dims=known)
        for module, known in zip((before, after), dims)
    )
    assert updates.keys() == updates_after.keys()
    for x, y in [*zip(outputs, outputs_after, strict=True), *((updates[k], updates_after[k]) for k in updates)]:
        assert same_bits(x, y), f"{before}\n\n{after}\n\n{x}\n{y}"


def any_arrays(module: Module, seed: int = 0) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Inputs, and parameters by name, of any bits: every NaN, infinities, both zeros."""
    rng = np.random.default_rng(seed)
    types = [(p.name, p.type.substitute(SIZES)) for p in module.main.parameters]
    inputs = [any_bits(rng, t.dtype, t.shape) for t in (v.type.substitute(SIZES) for v in module.main.inputs)]
    return inputs, {name: any_bits(rng, t.dtype, t.shape) for name, t in types}
