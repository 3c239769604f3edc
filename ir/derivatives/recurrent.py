"""Reverse derivatives of one step of LSTM and GRU, from the gates that the step gives.

What does not depend on the cotangents is kept apart from them, so that a loop's derivative may do it for all steps at
once, before the loop. The weights' cotangents are one product each, done after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..graph import Value
from ..opdef import Call


def _columns(b: Builder, z: Value, count: int) -> list[Value]:
    """``count`` tensors of equal width, side by side in ``z``."""
    rows, width = z.shape
    units = width // count
    return [b.slice(z, start=(0, i * units), limit=(rows, (i + 1) * units), strides=(1, 1)) for i in range(count)]


def _product(b: Builder, x: Value, y: Value, contract: tuple[int, int]) -> Value:
    lhs, rhs = contract
    return b.dot_general(x, y, lhs_contract=(lhs,), rhs_contract=(rhs,), lhs_batch=(), rhs_batch=())


def _closing(b: Builder, gate: Value) -> Value:
    """The derivative of a sigmoid, from its value: ``s (1 - s)``."""
    return b.multiply(gate, b.subtract(b.full_like(gate, 1), gate))


def _bending(b: Builder, t: Value) -> Value:
    """The derivative of a tanh, from its value: ``1 - t t``."""
    return b.subtract(b.full_like(t, 1), b.multiply(t, t))


def lstm_step_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangents: Sequence[Value]
) -> tuple[Value, ...]:
    """From cotangents of ``h'`` and ``c'`` those of x, h, c, kernel, recurrent_kernel and bias."""
    x, h, carry, kernel, recurrent, *bias = operands
    _, new, gates = results
    dh, dc = cotangents[:2]
    i, f, g, o = _columns(b, gates, 4)
    t = b.tanh(new)
    slopes = b.concatenate(
        b.multiply(g, _closing(b, i)), b.multiply(carry, _closing(b, f)), b.multiply(i, _bending(b, g)),
        b.multiply(t, _closing(b, o)), axis=1,
    )  # fmt: skip
    dc = b.add(dc, b.multiply(dh, b.multiply(o, _bending(b, t))))
    dz = b.multiply(b.concatenate(dc, dc, dc, dh, axis=1), slopes)
    found = (
        _product(b, dz, kernel, (1, 1)), _product(b, dz, recurrent, (1, 1)), b.multiply(dc, f),
        _product(b, x, dz, (0, 0)), _product(b, h, dz, (0, 0)),
    )  # fmt: skip
    return (*found, b.reduce_sum(dz, axes=(0,))) if bias else found


def gru_step_vjp(
    b: Builder, call: Call, operands: Sequence[Value], results: Sequence[Value], cotangents: Value | Sequence[Value]
) -> tuple[Value, ...]:
    """From the cotangent of ``h'`` those of x, h, kernel, recurrent_kernel and bias."""
    x, h, kernel, recurrent, *bias = operands
    dh = cotangents if isinstance(cotangents, Value) else cotangents[0]
    z, r, candidate, qg = _columns(b, results[1], 4)
    dpg = b.multiply(dh, b.multiply(b.subtract(b.full_like(z, 1), z), _bending(b, candidate)))
    dz = b.multiply(dh, b.multiply(b.subtract(h, candidate), _closing(b, z)))
    dr = b.multiply(dpg, b.multiply(qg, _closing(b, r)))
    dp = b.concatenate(dz, dr, dpg, axis=1)
    dq = b.concatenate(dz, dr, b.multiply(dpg, r), axis=1)
    found = (
        _product(b, dp, kernel, (1, 1)),
        b.add(b.multiply(dh, z), _product(b, dq, recurrent, (1, 1))),
        _product(b, x, dp, (0, 0)),
        _product(b, h, dq, (0, 0)),
    )
    if not bias:
        return found
    sums = [b.reshape(b.reduce_sum(d, axes=(0,)), shape=(1, d.shape[1])) for d in (dp, dq)]
    return (*found, b.concatenate(*sums, axis=0))
