"""The fused steps of LSTM and GRU, callable like any op."""

from __future__ import annotations

from typing import Any

from ...convert import match_shape, promote
from ...dispatch import public_op
from ...ops import building as b
from ...tensor import Tensor
from ...trace import require_trace


@public_op
def lstm_step(x: Any, h: Any, c: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None) -> Any:
    """One step of an LSTM with tanh and sigmoid: inputs ``x`` and states ``h``, ``c`` to the next ``h`` and ``c``.

    Args:
        x: ``(batch, inputs)``.
        h, c: ``(batch, units)``.
        kernel: ``(inputs, 4 * units)``, its gates in the order input, forget, candidate, output.
        recurrent_kernel: ``(units, 4 * units)``.
        bias: ``(4 * units,)`` or None.
    """
    return _step("lstm_step", [x, h, c, kernel, recurrent_kernel], 2, bias)


@public_op
def gru_step(x: Any, h: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None) -> Any:
    """One step of a GRU with tanh and sigmoid that resets after the product: ``x`` and ``h`` to the next ``h``.

    Args:
        x: ``(batch, inputs)``.
        h: ``(batch, units)``.
        kernel: ``(inputs, 3 * units)``, its gates in the order update, reset, candidate.
        recurrent_kernel: ``(units, 3 * units)``.
        bias: ``(2, 3 * units)``, for the inputs and for the state, or None.
    """
    return _step("gru_step", [x, h, kernel, recurrent_kernel], 1, bias)[0]


def _step(op: str, operands: list[Any], states: int, bias: Any) -> tuple[Tensor, ...]:
    x, *rest = promote(*operands, *([] if bias is None else [bias]))
    batch = b.shape_of(x)[:1]
    reason = f"{op}: inputs and states must have one batch size"
    same = [match_shape(s, (*batch, *b.shape_of(s)[1:]), reason) for s in rest[:states]]
    return require_trace().emit(op, (x, *same, *rest[states:]), {"bias": bias is not None})
