"""Dense, Embedding, ReversibleEmbedding, Identity, Masking."""

from __future__ import annotations

import warnings
from typing import Any

from ...ir.errors import ArgumentError, UnsupportedError
from .. import ops
from ..input_spec import InputSpec
from ..registry import builtin
from ..tensor import Tensor
from .base import BuiltinLayer


@builtin("keras.layers")
class Dense(BuiltinLayer):
    """``activation(x @ kernel + bias)``.

    Args:
        units: size of the output's last axis.
        activation: function or name; None for none.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel ``(inputs, units)``.
        bias_initializer: first values of the bias ``(units,)``.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each training step.
        bias_constraint: projection of the bias.
        lora_rank: not supported; None.
        lora_alpha: not supported; None.
        quantization_config: not supported; None.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        _refuse(self, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        self._keep(
            units=self._positive("units", units),
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            quantization_config=None,
        )
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the kernel and the bias."""
        inputs = self._known(input_shape[-1], "the size of the last axis", input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = (
            self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
            if self.use_bias
            else None
        )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: inputs})

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """``inputs`` of shape ``(..., n)`` to ``(..., units)``."""
        outputs = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The last axis becomes ``units``."""
        return (*input_shape[:-1], self.units)


@builtin("keras.layers")
class Embedding(BuiltinLayer):
    """Row ``i`` of a table for each integer ``i``.

    An index out of range is no error, as in Keras on JAX and in all programs made of the layer: -1 to ``-input_dim``
    are rows counted from the end, and any other gives a row of NaN. Numbers that are no integers are cut to one.

    Args:
        input_dim: number of rows; inputs are from 0 to ``input_dim - 1``.
        output_dim: size of a row.
        embeddings_initializer: first values of the table.
        embeddings_regularizer: penalty on the table.
        embeddings_constraint: projection of the table after each training step.
        mask_zero: whether 0 means padding, which the layers after it leave out.
        weights: the table's first values, given as an array.
        lora_rank: not supported; None.
        lora_alpha: not supported; None.
        quantization_config: not supported; None.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("Embedding has no argument input_length any more: leave it out", stacklevel=2)
        super().__init__(**kwargs)
        _refuse(self, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        self._keep(
            input_dim=self._positive("input_dim", input_dim),
            output_dim=self._positive("output_dim", output_dim),
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            activity_regularizer=self.activity_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            quantization_config=None,
        )
        self.supports_masking = mask_zero
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Make the table."""
        if not self.built:
            self.embeddings = self.add_weight(
                name="embeddings",
                shape=(self.input_dim, self.output_dim),
                initializer=self.embeddings_initializer,
                regularizer=self.embeddings_regularizer,
                constraint=self.embeddings_constraint,
            )

    def call(self, inputs: Any) -> Any:
        """Integers of any shape to rows of the table, in a new last axis."""
        if not hasattr(inputs, "dtype"):
            raise ArgumentError(f"{self._who}: inputs must be a tensor of integers, received {inputs!r}")
        if str(inputs.dtype) not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        return ops.cast(ops.take(self.embeddings, inputs, axis=0), self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where the input is not 0, if 0 means padding."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """A last axis of ``output_dim`` is added."""
        return (*input_shape, self.output_dim)


@builtin("keras.layers")
class ReversibleEmbedding(Embedding):
    """An embedding that also goes back: from vectors to a score for each index, ``layer(x, reverse=True)``.

    Args:
        input_dim, output_dim, embeddings_initializer, embeddings_regularizer, embeddings_constraint, mask_zero: see
            Embedding.
        tie_weights: whether the way back uses the transposed table; else it has a weight of its own.
        reverse_dtype: type that the scores are computed in; None for that of inputs and weights.
        logit_soft_cap: bound ``c`` of the scores, which become ``c * tanh(score / c)``; None for none.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )
        self._keep(tie_weights=tie_weights, reverse_dtype=reverse_dtype, logit_soft_cap=logit_soft_cap)

    def build(self, input_shape: Any = None) -> None:
        """Make the table, and the weight of the way back."""
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                name="reverse_embeddings",
                shape=(self.output_dim, self.input_dim),
                initializer=self.embeddings_initializer,
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Integers of any shape to rows in a new last axis; reversed ``(..., output_dim)`` to ``(..., input_dim)``."""
        if not reverse:
            rows = super().call(inputs)
            if self.mask_zero and isinstance(rows, Tensor):
                rows.keras_mask = ops.not_equal(inputs, 0)
            return rows
        kernel = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        if self.reverse_dtype is not None:
            inputs, kernel = ops.cast(inputs, self.reverse_dtype), ops.cast(kernel, self.reverse_dtype)
        scores = ops.matmul(inputs, kernel)
        if self.logit_soft_cap is None:
            return scores
        return ops.multiply(ops.tanh(ops.divide(scores, self.logit_soft_cap)), self.logit_soft_cap)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: the rows get their mask in the call."""
        return None

    def compute_output_shape(self, input_shape: Any, reverse: bool = False) -> Any:
        """A last axis of ``output_dim`` is added; reversed, the last one becomes ``input_dim``."""
        return (*input_shape[:-1], self.input_dim) if reverse else (*input_shape, self.output_dim)


@builtin("keras.layers")
class Identity(BuiltinLayer):
    """The input as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


@builtin("keras.layers")
class Masking(BuiltinLayer):
    """Steps of a sequence at which all features equal ``mask_value`` become 0, and later layers leave them out."""

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keep(mask_value=mask_value)
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where some feature differs from ``mask_value``."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Any) -> Any:
        """Set masked steps of ``(batch, steps, features)`` to 0."""
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        outputs = ops.where(kept, inputs, 0)
        if isinstance(outputs, Tensor):
            outputs.keras_mask = ops.squeeze(kept, axis=-1)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


def _refuse(layer: BuiltinLayer, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise UnsupportedError(
                f"{layer._who}: {name}={value!r} is not supported; leave it "
                "None (LoRA and quantized weights need real Keras)"
            )
