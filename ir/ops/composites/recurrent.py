"""One step of LSTM and GRU, in the element type of the operands and in Keras's order of operations."""

from __future__ import annotations

from collections.abc import Sequence

from ...builder import Builder
from ...derivatives.recurrent import gru_step_vjp, lstm_step_vjp
from ...dims import DimLike
from ...errors import ShapeError
from ...graph import Value
from ...opdef import Attribute, Call, composite
from ...types import TensorType
from ..checks import allowed_types, same_dtype
from .rules import expect_operands, expect_shape


def _names(c: Call, states: Sequence[str]) -> list[str]:
    return ["x", *states, "kernel", "recurrent_kernel", *(["bias"] if c["bias"] else [])]


def _check(c: Call, types: Sequence[TensorType], states: Sequence[str], gates: int, biases: int) -> TensorType:
    """Check a step's operands: x [n, d], states [n, u], kernel [d, gates*u], recurrent_kernel [u, gates*u]; bias
    [gates*u], or [biases, gates*u] where there are several. Returns the type of a state."""
    names = _names(c, states)
    expect_operands(c, types, *names)
    allowed_types(c, types[0], "f")
    same_dtype(c, *types)
    named = dict(zip(names, types, strict=True))
    x, state = named["x"], named[states[0]]
    for name, type_ in (("x", x), (states[0], state)):
        if type_.rank != 2:
            raise ShapeError(f"{c.op.name}: expected {name} of shape [batch, size], received {type_}")
    (batch, inputs), units = x.shape, state.shape[1]
    width: DimLike = gates * units
    for name in states:
        expect_shape(c, name, named[name], (batch, units), f"batch as x {x}, units as {states[0]}")
    expect_shape(c, "kernel", named["kernel"], (inputs, width), f"inputs of x {x}, {gates} gates of {units} units")
    expect_shape(c, "recurrent_kernel", named["recurrent_kernel"], (units, width), f"{gates} gates of {units} units")
    if c["bias"]:
        shape = (width,) if biases == 1 else (biases, width)
        expect_shape(c, "bias", named["bias"], shape, f"{gates} gates of {units} units")
    return state


def product(b: Builder, x: Value, kernel: Value) -> Value:
    """``x kernel`` of matrices."""
    return b.dot_general(x, kernel, lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=())


def plus(b: Builder, x: Value, bias: Value) -> Value:
    """``x + bias``, a vector over the columns."""
    return b.add(x, b.broadcast_in_dim(bias, shape=x.shape, dims=(1,)))


def gates(b: Builder, z: Value, units: DimLike, count: int) -> list[Value]:
    """``count`` tensors of ``units`` columns, side by side in ``z``."""
    rows = z.shape[0]
    return [b.slice(z, start=(0, i * units), limit=(rows, (i + 1) * units), strides=(1, 1)) for i in range(count)]


def _infer_lstm(c: Call, *types: TensorType) -> tuple[TensorType, ...]:
    state = _check(c, types, ("h", "c"), gates=4, biases=1)
    return (state, state, _four(state)) if c["gates"] else (state, state)


def _four(state: TensorType) -> TensorType:
    """The type of four tensors of a state's type, side by side."""
    return state.with_shape((state.shape[0], 4 * state.shape[1]))


@composite(
    "lstm_step",
    "z = x kernel + h recurrent_kernel + bias, split into the gates i, f, g, o; "
    "c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) tanh(c'); gives (h', c'), with the attribute gates also "
    "i, f, g, o after their functions, side by side (keras.layers.LSTMCell; Hochreiter and Schmidhuber 1997)",
    _infer_lstm,
    attributes={"bias": Attribute("bool", True), "gates": Attribute("bool", False)},
    vjp=lstm_step_vjp,
    vjp_attributes={"gates": True},
)
def _lstm_step(
    b: Builder, c: Call, x: Value, h: Value, carry: Value, kernel: Value, recurrent: Value, *bias: Value
) -> tuple[Value, ...]:
    z = b.add(product(b, x, kernel), product(b, h, recurrent))
    if bias:
        z = plus(b, z, bias[0])
    i, f, g, o = gates(b, z, h.shape[1], 4)
    i, f, g, o = b.logistic(i), b.logistic(f), b.tanh(g), b.logistic(o)
    carry = b.add(b.multiply(f, carry), b.multiply(i, g))
    states = b.multiply(o, b.tanh(carry)), carry
    return (*states, b.concatenate(i, f, g, o, axis=1)) if c["gates"] else states


def _infer_gru(c: Call, *types: TensorType) -> TensorType | tuple[TensorType, ...]:
    state = _check(c, types, ("h",), gates=3, biases=2)
    return (state, _four(state)) if c["gates"] else state


@composite(
    "gru_step",
    "p = x kernel + bias[0] and q = h recurrent_kernel + bias[1], split into the gates z, r, g; z = sigmoid(pz + qz); "
    "r = sigmoid(pr + qr); h' = z h + (1 - z) tanh(pg + r qg), the reset gate after the product; with the attribute "
    "gates it gives also z, r, the tanh and qg, side by side (keras.layers.GRUCell; Cho et al. 2014, arXiv:1406.1078)",
    _infer_gru,
    attributes={"bias": Attribute("bool", True), "gates": Attribute("bool", False)},
    vjp=gru_step_vjp,
    vjp_attributes={"gates": True},
)
def _gru_step(
    b: Builder, c: Call, x: Value, h: Value, kernel: Value, recurrent: Value, *bias: Value
) -> Value | tuple[Value, ...]:
    p, q = product(b, x, kernel), product(b, h, recurrent)
    if bias:
        width = p.shape[1]
        rows = [b.slice(bias[0], start=(i, 0), limit=(i + 1, width), strides=(1, 1)) for i in range(2)]
        p, q = (plus(b, v, b.reshape(row, shape=(width,))) for v, row in zip((p, q), rows, strict=True))
    (pz, pr, pg), (qz, qr, qg) = (gates(b, v, h.shape[1], 3) for v in (p, q))
    z, r = b.logistic(b.add(pz, qz)), b.logistic(b.add(pr, qr))
    candidate = b.tanh(b.add(pg, b.multiply(r, qg)))
    new = b.add(b.multiply(z, h), b.multiply(b.subtract(b.full_like(z, 1), z), candidate))
    return (new, b.concatenate(z, r, candidate, qg, axis=1)) if c["gates"] else new
