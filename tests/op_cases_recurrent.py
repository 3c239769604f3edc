"""Uses of the recurrent steps."""

from __future__ import annotations

from op_draw import FLOATS, Case, Draw, case, use


@case("lstm_step", "gru_step")
def _step(d: Draw, name: str) -> Case:
    dtype, gates = d.dtype(FLOATS), 4 if name == "lstm_step" else 3
    batch, inputs, units = d.int(0, 4), d.int(0, 4), d.int(1, 4)
    wide, bias = gates * units, d.bool()
    states = [d.tame(dtype, (batch, units)) for _ in range(2 if name == "lstm_step" else 1)]
    biases = [d.tame(dtype, (wide,) if name == "lstm_step" else (2, wide))] * bias
    kernels = d.tame(dtype, (inputs, wide)), d.tame(dtype, (units, wide))
    return use(name, d.tame(dtype, (batch, inputs)), *states, *kernels, *biases, bias=bias, gates=d.bool())
