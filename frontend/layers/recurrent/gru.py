"""GRU: the cell and the layer."""

from __future__ import annotations

from typing import Any

from ... import activations, ops
from ...input_spec import InputSpec
from ...registry import builtin
from .cell import RecurrentCell, is_nest, project
from .rnn import CellLayer, checked_use_cudnn
from .steps import gru_step


@builtin("keras.layers")
class GRUCell(RecurrentCell):
    """One step of a GRU (Cho et al. 2014).

    Args:
        units: size of the state, which is the output.
        activation: of the candidate.
        recurrent_activation: of the gates.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel ``(inputs, 3 * units)``: update gate, reset gate, candidate.
        recurrent_initializer: first values of the recurrent kernel ``(units, 3 * units)``.
        bias_initializer: first values of the bias ``(2, 3 * units)``, or ``(3 * units,)`` without ``reset_after``.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each training step.
        recurrent_constraint: projection of the recurrent kernel.
        bias_constraint: projection of the bias.
        dropout: fraction of the inputs that is dropped in training.
        recurrent_dropout: fraction of the state that is dropped in training.
        reset_after: whether the reset gate acts after the product with the recurrent kernel, or before it.
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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        implementation = kwargs.pop("implementation", 2)
        arguments = {
            "activation": activation,
            "recurrent_activation": recurrent_activation,
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
            "reset_after": reset_after,
        }
        super().__init__(units, 3, arguments, dropout, recurrent_dropout, seed, **kwargs)
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.dropout_mask_count = 3 if self.implementation == 1 else None

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Inputs ``(batch, features)`` and the state to the output and the next state."""
        before = states[0] if is_nest(states) else states
        x, h = self._dropped("dropout", inputs, training), self._dropped("recurrent_dropout", before, training)
        if self._is_standard() and not any(isinstance(v, list) for v in (x, h)):
            after = gru_step(x, h, self.kernel, self.recurrent_kernel, self.bias)
        else:
            after = self._step(x, h, before)
        return after, [after] if is_nest(states) else after

    def _is_standard(self) -> bool:
        fixed = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        return fixed and self.reset_after

    def _step(self, x: Any, h: Any, before: Any) -> Any:
        """The next state; ``x`` and ``h`` are lists where each gate has dropped other parts of them."""
        width = 2 * self.units
        bias, recurrent_bias = self._biases()
        x_gates, x_candidate = self._parts(project(x, self.kernel, 3), bias)
        if self.reset_after:
            h_gates, h_candidate = self._parts(project(h, self.recurrent_kernel, 3), recurrent_bias)
        else:
            h_gates = project(h[:2] if isinstance(h, list) else h, self.recurrent_kernel[:, :width], 2)
        z, r = ops.split(self.recurrent_activation(ops.add(x_gates, h_gates)), 2, axis=-1)
        if self.reset_after:
            inner = ops.multiply(r, h_candidate)
        else:
            reset = ops.multiply(r, h[2] if isinstance(h, list) else h)
            inner = ops.matmul(reset, self.recurrent_kernel[:, width:])
        candidate = self.activation(ops.add(x_candidate, inner))
        return ops.add(ops.multiply(z, before), ops.multiply(ops.subtract(1, z), candidate))

    def _biases(self) -> tuple[Any, Any]:
        if self.bias is None or not self.reset_after:
            return self.bias, None
        return self.bias[0], self.bias[1]

    def _parts(self, x: Any, bias: Any) -> tuple[Any, Any]:
        """What belongs to the two gates, and what to the candidate."""
        x = x if bias is None else ops.add(x, bias)
        width = 2 * self.units
        return x[:, :width], x[:, width:]


@builtin("keras.layers")
class GRU(CellLayer):
    """Gated recurrent unit over the steps of a sequence (Cho et al. 2014).

    Args:
        units: size of the state, which is the output.
        activation: of the candidate.
        recurrent_activation: of the gates.
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
        seed: an integer that fixes what is dropped.
        return_sequences: return the outputs of all steps, not only the last.
        return_state: return the last state too.
        go_backwards: go from the last step to the first.
        stateful: begin each call with the state that the last one ended with.
        unroll: write the steps one after another, not as a loop; the number of steps must be known.
        reset_after: whether the reset gate acts after the product with the recurrent kernel, or before it.
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
        "kernel_regularizer",
        "recurrent_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "recurrent_constraint",
        "bias_constraint",
        "dropout",
        "recurrent_dropout",
        "reset_after",
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
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
            reset_after=reset_after,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="gru_cell",
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
