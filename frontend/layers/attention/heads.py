"""Attention of several heads: MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from ....ir.errors import ShapeError
from ... import ops, regularizers
from ...registry import builtin
from ...tensor import Tensor
from ..activation import Softmax
from ..einsum_dense import EinsumDense
from ..regularization import Dropout
from .projected import Projected


@builtin("keras.layers")
class MultiHeadAttention(Projected):
    """Attention of several heads, each with its own projections of query, key and value (Vaswani et al., 2017).

    Args:
        num_heads: number of heads.
        key_dim: size of a head's queries and keys.
        value_dim: size of a head's values; ``key_dim`` by default.
        dropout: fraction of the weights that is dropped in training.
        use_bias: whether the projections have biases.
        output_shape: the output's shape without batch and steps; by default the query's features.
        attention_axes: axes of the query that are attended over; all but batch and features by default.
        sliding_window: how many steps a query sees at most to each side, itself counted; None for all.
        flash_attention: accepted; what runs is the target's choice. True allows neither dropout nor scores.
        kernel_initializer: first values of the kernels.
        bias_initializer: first values of the biases.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        activity_regularizer: penalty on the projections' outputs.
        kernel_constraint: projection of the kernels after each training step.
        bias_constraint: projection of the biases.
        use_gate: whether a sigmoid projection of the query scales the outputs (Qiu et al., 2025, arXiv:2505.06708).
        seed: an integer that fixes the dropout.
    """

    attention_axes: tuple[int, ...] | None

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self._keep(
            num_heads=self._positive("num_heads", num_heads),
            key_dim=self._positive("key_dim", key_dim),
            value_dim=key_dim if value_dim is None else self._positive("value_dim", value_dim),
            dropout=self._fraction("dropout", dropout),
            use_bias=use_bias,
            use_gate=use_gate,
            attention_axes=self._given_axes(attention_axes),
            sliding_window=self._check_window(sliding_window),
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            seed=seed,
        )
        self._output_features = self._given_output(output_shape)
        # The penalty is on what the projections give, not on what the layer gives.
        self._inner_regularizer = regularizers.get(activity_regularizer)
        self._flash_attention = self._check_flash(flash_attention, dropout)
        self._scale = 1 / math.sqrt(key_dim)

    def _given_axes(self, axes: Any) -> tuple[int, ...] | None:
        if axes is None or isinstance(axes, int):
            return None if axes is None else (axes,)
        if not isinstance(axes, list | tuple) or not all(isinstance(axis, int) for axis in axes):
            raise self._wrong("attention_axes", axes, "an integer, several of them, or None")
        return tuple(axes)

    def _given_output(self, shape: Any) -> tuple[int, ...] | None:
        if not shape:
            return None
        sizes = (shape,) if isinstance(shape, int) else shape
        if not isinstance(sizes, list | tuple) or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise self._wrong("output_shape", shape, "a positive integer, several of them, or None")
        return tuple(sizes)

    def _projection_regularizer(self) -> Any:
        return self._inner_regularizer

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {
            **super().get_config(),
            "output_shape": self._output_features,
            "activity_regularizer": regularizers.serialize(self._inner_regularizer),
        }

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections."""
        self._check_lengths(value_shape, key_shape)
        key_shape = value_shape if key_shape is None else key_shape
        self._query_dense = self._projection("query", query_shape, self.key_dim)
        self._key_dense = self._projection("key", key_shape, self.key_dim)
        if self.use_gate:
            self._gate_dense = self._projection("gate", query_shape, self.value_dim)
        self._value_dense = self._projection("value", value_shape, self.value_dim)
        rank = len(value_shape) + 1
        axes = range(1, rank - 2) if self.attention_axes is None else self.attention_axes
        self.attention_axes = tuple(axis if axis >= 0 else rank - 1 + axis for axis in axes)
        count = len(self.attention_axes)
        scores_rank = rank - 1 + count
        self._softmax = Softmax(axis=tuple(range(scores_rank - count, scores_rank)), dtype=self.dtype_policy)
        self._dropout_layer = Dropout(rate=self.dropout, dtype=self.dtype_policy, seed=self.seed)
        free = len(query_shape) - 1
        features = self._output_features or (self._known(query_shape[-1], "the number of features", query_shape),)
        equation, out = _projection_equation(free, 2, len(features))
        self._output_dense = EinsumDense(
            equation,
            output_shape=(*(None,) * (free - 1), *features),
            bias_axes=out if self.use_bias else None,
            name="attention_output",
            **self._dense_arguments(),
        )
        self._output_dense.build((*query_shape[:-1], self.num_heads, self.value_dim))

    def _projection(self, name: str, shape: Sequence[Any], size: int) -> EinsumDense:
        """From features to ``(heads, size)``."""
        free = len(shape) - 1
        equation, out = _projection_equation(free, 1, 2)
        dense = EinsumDense(
            equation,
            output_shape=(*(None,) * (free - 1), self.num_heads, size),
            activation="sigmoid" if name == "gate" else None,
            bias_axes=out if self.use_bias else None,
            name=name,
            **self._dense_arguments(),
        )
        dense.build(shape)
        return dense

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of queries."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of keys."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of values."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of what is attended to."""
        return self._output_dense

    def _axes(self, query: Any) -> tuple[int, ...]:
        return self.attention_axes or ()

    def _taken_mask(self, given: Any, query: Any, value: Any, key: Any) -> Any:
        # As in Keras: the mask that the query has, whatever the argument is; and the inputs lose theirs.
        mask = getattr(query, "keras_mask", None)
        for x in (query, value, key):
            if isinstance(x, Tensor):
                x.keras_mask = None
        return mask

    def compute_output_shape(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> Any:
        """The query's shape, its features replaced by ``output_shape`` where that is given."""
        self._check_lengths(value_shape, key_shape)
        return (*query_shape[:-1], *(self._output_features or query_shape[-1:]))


def _projection_equation(free: int, contracted: int, made: int) -> tuple[str, str]:
    """``"abc,cde->abde"`` and ``"de"`` for two free axes, one contracted and two made."""
    letters = string.ascii_lowercase
    kept, inner = letters[:free], letters[free : free + contracted]
    out = letters[free + contracted : free + contracted + made]
    return f"{kept}{inner},{inner}{out}->{kept}{out}", out


@builtin("keras.layers", "GroupQueryAttention")
class GroupedQueryAttention(Projected):
    """Attention where several heads of queries share one head of keys and values (Ainslie et al., 2023).

    Args:
        head_dim: size of a head.
        num_query_heads: number of the queries' heads, a multiple of ``num_key_value_heads``.
        num_key_value_heads: number of heads of keys and values.
        dropout: fraction of the weights that is dropped in training.
        use_bias: whether the projections have biases.
        sliding_window: how many steps a query sees at most to each side, itself counted; None for all.
        flash_attention: accepted; what runs is the target's choice. True allows neither dropout nor scores.
        kernel_initializer: first values of the kernels.
        bias_initializer: first values of the biases.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        activity_regularizer: penalty on the outputs, of the projections and of the layer.
        kernel_constraint: projection of the kernels after each training step.
        bias_constraint: projection of the biases.
        use_gate: whether a sigmoid projection of the query scales the outputs.
        seed: an integer that fixes the dropout.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self._keep(
            head_dim=self._positive("head_dim", head_dim),
            num_query_heads=self._positive("num_query_heads", num_query_heads),
            num_key_value_heads=self._positive("num_key_value_heads", num_key_value_heads),
            use_bias=use_bias,
            use_gate=use_gate,
            sliding_window=self._check_window(sliding_window),
            dropout=self._fraction("dropout", dropout),
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            seed=seed,
        )
        if num_query_heads % num_key_value_heads:
            raise self._wrong(
                "num_query_heads", num_query_heads, f"a multiple of num_key_value_heads={num_key_value_heads}"
            )
        self._flash_attention = self._check_flash(flash_attention, dropout)
        self._scale = 1 / math.sqrt(head_dim)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections."""
        self._check_lengths(value_shape, key_shape)
        key_shape = value_shape if key_shape is None else key_shape
        for name, shape in (("query", query_shape), ("value", value_shape), ("key", key_shape)):
            if len(shape) != 3:
                raise ShapeError(f"{self._who}: expected {name} of shape (batch, steps, features), received {shape}")
        self.feature_dim = self._known(query_shape[-1], "the number of features", query_shape)
        shared = self.num_key_value_heads
        self._query_dense = self._projection("query", "bqm,muh->bquh", self.num_query_heads, query_shape)
        self._key_dense = self._projection("key", "bkm,mvh->bkvh", shared, key_shape)
        if self.use_gate:
            self._gate_dense = self._projection("gate", "bqm,muh->bquh", self.num_query_heads, query_shape)
        self._value_dense = self._projection("value", "bkm,mvh->bkvh", shared, value_shape)
        self._softmax = Softmax(axis=-1, dtype=self.dtype_policy)
        self._dropout_layer = Dropout(rate=self.dropout, dtype=self.dtype_policy, seed=self.seed)
        self._output_dense = EinsumDense(
            "bquh,uhm->bqm",
            output_shape=(None, self.feature_dim),
            bias_axes="m" if self.use_bias else None,
            name="attention_output",
            **self._dense_arguments(),
        )
        self._output_dense.build((None, None, self.num_query_heads, self.head_dim))

    def _projection(self, name: str, equation: str, heads: int, shape: Sequence[Any]) -> EinsumDense:
        dense = EinsumDense(
            equation,
            output_shape=(None, heads, self.head_dim),
            activation="sigmoid" if name == "gate" else None,
            bias_axes=equation[-2:] if self.use_bias else None,
            name=name,
            **self._dense_arguments(),
        )
        dense.build(shape)
        return dense

    def _per_head(self, x: Any) -> Any:
        return ops.repeat(x, self.num_query_heads // self.num_key_value_heads, axis=2)

    def compute_output_shape(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> Any:
        """The query's shape."""
        self._check_lengths(value_shape, key_shape)
        if query_shape[-1] != value_shape[-1]:
            raise ShapeError(
                f"{self._who}: query and value must have equally many features, received query of shape "
                f"{tuple(query_shape)} and value of shape {tuple(value_shape)}"
            )
        return tuple(query_shape)
