"""LSTM: the cell and the layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import activations, ops
from ...input_spec import InputSpec
from ...registry import builtin
from .cell import RecurrentCell, project
from .rnn import CellLayer, checked_use_cudnn
from .steps import lstm_step


@builtin("keras.layers")
class LSTMCell(RecurrentCell):
    """One step of an LSTM (Hochreiter and Schmidhuber 1997).

    Args:
        units: size of the states and of the output.
        activation: of the candidate and the output.
        recurrent_activation: of the gates.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel ``(inputs, 4 * units)``: input, forget, candidate, output gate.
        recurrent_initializer: first values of the recurrent kernel ``(units, 4 * units)``.
        bias_initializer: first values of the bias ``(4 * units,)``.
        unit_forget_bias: whether the forget gate's bias begins as 1.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each training step.
        recurrent_constraint: projection of the recurrent kernel.
        bias_constraint: projection of the bias.
        dropout: fraction of the inputs that is dropped in training.
        recurrent_dropout: fraction of the state that is dropped in training.
        seed: an integer that fixes what is dropped.
        implementation: 1 drops other inputs for each gate, 2 the same for all.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        implementation = kwargs.pop("implementation", 2)
        arguments = {
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "use_bias": use_bias,
            "unit_forget_bias": unit_forget_bias,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(units, 4, arguments, dropout, recurrent_dropout, seed, **kwargs)
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.dropout_mask_count = 4 if self.implementation == 1 else None
        self.state_size = [units, units]

    def _bias_values(self) -> Any:
        return forget_gate_one(self.bias_initializer, self.units) if self.unit_forget_bias else self.bias_initializer

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Inputs ``(batch, features)`` and states ``[h, c]`` to the output and the next states."""
        c = states[1]
        x, h = self._dropped("dropout", inputs, training), self._dropped("recurrent_dropout", states[0], training)
        if self._is_standard() and not any(isinstance(v, list) for v in (x, h)):
            h, c = lstm_step(x, h, c, self.kernel, self.recurrent_kernel, self.bias)
            return h, [h, c]
        z = ops.add(project(x, self.kernel, 4), project(h, self.recurrent_kernel, 4))
        if self.bias is not None:
            z = ops.add(z, self.bias)
        i, f, g, o = ops.split(z, 4, axis=-1)
        kept = ops.multiply(self.recurrent_activation(f), c)
        c = ops.add(kept, ops.multiply(self.recurrent_activation(i), self.activation(g)))
        h = ops.multiply(self.recurrent_activation(o), self.activation(c))
        return h, [h, c]

    def _is_standard(self) -> bool:
        return self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid


def forget_gate_one(initializer: Any, units: int) -> Any:
    """The initializer of a bias ``(4 * units,)`` whose second quarter is 1, the others by ``initializer``."""

    def initialize(_: Any, dtype: Any = None) -> Any:
        first, last = initializer((units,), dtype=dtype), initializer((2 * units,), dtype=dtype)
        return np.concatenate([first, np.ones_like(first), last])

    return initialize


@builtin("keras.layers")
class LSTM(CellLayer):
    """Long short-term memory over the steps of a sequence (Hochreiter and Schmidhuber 1997).

    Args:
        units: size of the states and of the output.
        activation: of the candidate and the output.
        recurrent_activation: of the gates.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel.
        recurrent_initializer: first values of the recurrent kernel.
        bias_initializer: first values of the bias.
        unit_forget_bias: whether the forget gate's bias begins as 1.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each training step.
        recurrent_constraint: projection of the recurrent kernel.
        bias_constraint: projection of the bias.
        dropout: fraction of the inputs that is dropped in training.
        recurrent_dropout: fraction of the state that is dropped in training.
        seed: an integer that fixes what is dropped.
        return_sequences: return the outputs of all steps, not only the last.
        return_state: return the last states too.
        go_backwards: go from the last step to the first.
        stateful: begin each call with the states that the last one ended with.
        unroll: write the steps one after another, not as a loop; the number of steps must be known.
        use_cudnn: "auto", True or False; accepted for Keras's sake, there is one implementation.
    """

    _of_cell = (
        "units",
        "activation",
        "recurrent_activation",
        "use_bias",
        "kernel_initializer",
        "recurrent_initializer",
        "bias_initializer",
        "unit_forget_bias",
        "kernel_regularizer",
        "recurrent_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "recurrent_constraint",
        "bias_constraint",
        "dropout",
        "recurrent_dropout",
        "seed",
    )

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lstm_cell",
            implementation=kwargs.pop("implementation", 2),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=3)
        self.use_cudnn = checked_use_cudnn(self, use_cudnn)
