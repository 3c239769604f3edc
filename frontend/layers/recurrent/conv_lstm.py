"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: an LSTM whose products are convolutions."""

from __future__ import annotations

from typing import Any

from ....ir.errors import ShapeError
from ... import ops
from ...dtypes import standardize_data_format
from ...input_spec import InputSpec
from ...registry import builtin
from ..base import channel_axis, sliding_size, spatial, with_spatial
from .cell import DropoutCell
from .lstm import forget_gate_one
from .rnn import CellLayer


class ConvLSTMCell(DropoutCell):
    """One step of a convolutional LSTM (Shi et al. 2015, arXiv:1506.04214, without peepholes).

    Args:
        rank: number of spatial axes.
        arguments: the constructor's arguments of :class:`ConvLSTM2D` that concern a step.
    """

    dropout_mask_count = 4

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        super().__init__(**kwargs)
        self.rank = rank
        self._keep(
            filters=self._positive("filters", filters),
            kernel_size=self._integers("kernel_size", kernel_size, rank),
            strides=self._integers("strides", strides, rank),
            padding=self._one_of("padding", padding, ("valid", "same")),
            data_format=standardize_data_format(data_format),
            dilation_rate=self._integers("dilation_rate", dilation_rate, rank),
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
        )
        self._keep_dropout(dropout, recurrent_dropout, seed)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise self._wrong("strides", strides, f"1 where dilation_rate={dilation_rate} is more than 1")
        self.state_size = [filters, filters]
        self.channels = channel_axis(self.data_format)

    def build(self, inputs_shape: Any, states_shape: Any = None) -> None:
        """Make the kernels and the bias for inputs of a step, ``(batch, *spatial, channels)``."""
        sizes = spatial(inputs_shape, self.data_format)
        if None in sizes:
            raise ShapeError(
                f"{self._who}: the spatial sizes must be known, for the states have them too; received shape "
                f"{tuple(inputs_shape)} for a step"
            )
        inputs = self._known(inputs_shape[self.channels], "the number of channels", inputs_shape)
        windows = zip(sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        places = [sliding_size(size, k, s, self.padding, d) for size, k, s, d in windows]
        if any(place is not None and place <= 0 for place in places):
            raise ShapeError(f"{self._who}: kernel_size={self.kernel_size} does not fit into {tuple(inputs_shape)}")
        self._state_shape = with_spatial(inputs_shape, places, self.filters, self.data_format)[1:]
        wide = 4 * self.filters
        self.kernel = self._weight("kernel", (*self.kernel_size, inputs, wide), self.kernel_initializer)
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", (*self.kernel_size, self.filters, wide), self.recurrent_initializer
        )
        first = self.bias_initializer
        if self.unit_forget_bias:
            first = forget_gate_one(first, self.filters)
        self.bias = self._weight("bias", (wide,), first) if self.use_bias else None

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros for both states."""
        return [ops.zeros((batch_size, *self._state_shape), dtype=self.compute_dtype) for _ in range(2)]

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Inputs of a step and states ``[h, c]`` to the output and the next states."""
        h, c = states
        x, h = self._dropped("dropout", inputs, training), self._dropped("recurrent_dropout", h, training)
        z = self._convolved(x, self.kernel, self.strides, self.padding, self.dilation_rate)
        if self.bias is not None:
            shape = (4 * self.filters, *(1,) * self.rank) if self.channels == 1 else (4 * self.filters,)
            z = ops.add(z, ops.reshape(self.bias, shape))
        z = ops.add(z, self._convolved(h, self.recurrent_kernel, 1, "same", 1))
        i, f, g, o = ops.split(z, 4, axis=self.channels)
        kept = ops.multiply(self.recurrent_activation(f), c)
        c = ops.add(kept, ops.multiply(self.recurrent_activation(i), self.activation(g)))
        h = ops.multiply(self.recurrent_activation(o), self.activation(c))
        return h, [h, c]

    def _convolved(self, x: Any, kernel: Any, strides: Any, padding: str, dilation: Any) -> Any:
        """The convolution for all gates; ``x`` is a list where each gate has dropped other parts of it."""
        settings = {"strides": strides, "padding": padding, "data_format": self.data_format, "dilation_rate": dilation}
        if not isinstance(x, list):
            return ops.conv(x, kernel, **settings)
        parts = zip(x, ops.split(kernel, 4, axis=-1), strict=True)
        return ops.concatenate([ops.conv(each, part, **settings) for each, part in parts], axis=self.channels)


class _ConvLSTM(CellLayer):
    """A convolutional LSTM over the steps of a sequence of images (Shi et al. 2015, arXiv:1506.04214).

    Inputs are ``(batch, steps, *spatial, channels)``, or channels before the spatial axes.

    Args:
        filters: number of output channels.
        kernel_size: of both convolutions: an integer or one for each spatial axis.
        strides: how far the inputs' kernel moves.
        padding: "valid" or "same", for the inputs.
        data_format: "channels_last" or "channels_first".
        dilation_rate: distance between the taps of the inputs' kernel.
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
    """

    rank: int
    _of_cell = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
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
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        **kwargs: Any,
    ) -> None:
        cell = ConvLSTMCell(
            self.rank,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
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
            name="conv_lstm_cell",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)


@builtin("keras.layers")
class ConvLSTM1D(_ConvLSTM):
    """A convolutional LSTM over the steps of a sequence of sequences, see ``_ConvLSTM``."""

    rank = 1


@builtin("keras.layers")
class ConvLSTM2D(_ConvLSTM):
    """A convolutional LSTM over the steps of a sequence of images, see ``_ConvLSTM``."""

    rank = 2


@builtin("keras.layers")
class ConvLSTM3D(_ConvLSTM):
    """A convolutional LSTM over the steps of a sequence of volumes, see ``_ConvLSTM``."""

    rank = 3
