"""SimpleRNN: the cell and the layer."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...input_spec import InputSpec
from ...registry import builtin
from .cell import RecurrentCell, is_nest
from .rnn import CellLayer


@builtin("keras.layers")
class SimpleRNNCell(RecurrentCell):
    """One step of ``h' = activation(x @ kernel + bias + h @ recurrent_kernel)``.

    Args:
        units: size of the state, which is the output.
        activation: of the output.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel ``(inputs, units)``.
        recurrent_initializer: first values of the recurrent kernel ``(units, units)``.
        bias_initializer: first values of the bias ``(units,)``.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each training step.
        recurrent_constraint: projection of the recurrent kernel.
        bias_constraint: projection of the bias.
        dropout: fraction of the inputs that is dropped in training.
        recurrent_dropout: fraction of the state that is dropped in training.
        seed: an integer that fixes what is dropped.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        arguments = {
            "activation": activation,
            "use_bias": use_bias,
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
        super().__init__(units, 1, arguments, dropout, recurrent_dropout, seed, **kwargs)

    def call(self, sequence: Any, states: Any, training: Any = False) -> Any:
        """Inputs ``(batch, features)`` and the state to the output and the next state."""
        before = states[0] if is_nest(states) else states
        x = ops.matmul(self._dropped("dropout", sequence, training), self.kernel)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        h = self._dropped("recurrent_dropout", before, training)
        after = self.activation(ops.add(x, ops.matmul(h, self.recurrent_kernel)))
        return after, [after] if is_nest(states) else after


@builtin("keras.layers")
class SimpleRNN(CellLayer):
    """``h' = activation(x @ kernel + bias + h @ recurrent_kernel)`` over the steps of a sequence.

    Args:
        units: size of the state, which is the output.
        activation: of the output.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel.
        recurrent_initializer: first values of the recurrent kernel.
        bias_initializer: first values of the bias.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each training step.
        recurrent_constraint: projection of the recurrent kernel.
        bias_constraint: projection of the bias.
        dropout: fraction of the inputs that is dropped in training.
        recurrent_dropout: fraction of the state that is dropped in training.
        return_sequences: return the outputs of all steps, not only the last.
        return_state: return the last state too.
        go_backwards: go from the last step to the first.
        stateful: begin each call with the state that the last one ended with.
        unroll: write the steps one after another, not as a loop; the number of steps must be known.
        seed: an integer that fixes what is dropped; not written to the config, as in Keras.
    """

    _of_cell = (
        "units",
        "activation",
        "use_bias",
        "kernel_initializer",
        "recurrent_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "recurrent_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "recurrent_constraint",
        "bias_constraint",
        "dropout",
        "recurrent_dropout",
    )

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
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
            name="simple_rnn_cell",
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
