"""What the layers share that attend with projected queries, keys and values."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from ....ir.errors import ArgumentError, ShapeError
from ... import ops
from ...input_spec import known_shape
from ...tensor import Tensor
from ..base import BuiltinLayer


class Projected(BuiltinLayer):
    """What layers share that project queries, keys and values to heads, attend, and project back.

    A subclass sets ``_query_dense``, ``_key_dense``, ``_value_dense``, ``_gate_dense`` (with ``use_gate``),
    ``_output_dense``, ``_softmax``, ``_dropout_layer`` and ``_scale``: Keras's names, which its files have. A user's
    subclass may override ``_compute_attention``.
    """

    def _check_flash(self, flash_attention: bool | None, dropout: float) -> bool:
        if flash_attention and dropout > 0:
            raise ArgumentError(
                f"{self._who}: flash_attention=True allows no dropout, received dropout={dropout}; leave one out"
            )
        return bool(flash_attention)

    def _check_window(self, window: Any) -> int | None:
        if window is not None and (not isinstance(window, int) or isinstance(window, bool) or window <= 0):
            raise self._wrong("sliding_window", window, "a positive integer or None")
        return window

    def _dense_arguments(self) -> dict[str, Any]:
        """What all projections have in common. Each gets initializers of its own: equal seeds give equal values."""
        return {
            "kernel_initializer": type(self.kernel_initializer).from_config(self.kernel_initializer.get_config()),
            "bias_initializer": type(self.bias_initializer).from_config(self.bias_initializer.get_config()),
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "activity_regularizer": self._projection_regularizer(),
            "kernel_constraint": self.kernel_constraint,
            "bias_constraint": self.bias_constraint,
            "dtype": self.dtype_policy,
        }

    def _projection_regularizer(self) -> Any:
        return self.activity_regularizer

    def _check_lengths(self, value_shape: Sequence[Any], key_shape: Sequence[Any] | None) -> None:
        if key_shape is not None and tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ShapeError(
                f"{self._who}: value and key must have equal dimensions but for batch and features, received value of "
                f"shape {tuple(value_shape)} and key of shape {tuple(key_shape)}"
            )

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend.

        Args:
            query: ``(batch, T, features)``.
            value: ``(batch, S, features)``.
            key: as value; value itself by default.
            query_mask, value_mask, key_mask: bool ``(batch, T)`` and ``(batch, S)``, where the steps count.
            attention_mask: broadcasts to ``(batch, T, S)``, or to ``(batch, heads, T, S)``; True: attend.
            return_attention_scores: whether to return the weights too.
            training: whether dropout acts.
            use_causal_mask: whether a query sees no step after its own.

        Returns:
            ``(batch, T, features of query)``; with scores, the pair of it and ``(batch, heads, T, S)``.
        """
        if self._flash_attention and return_attention_scores:
            raise ArgumentError(
                f"{self._who}: return_attention_scores=True needs the scores, which flash attention does not make; "
                "leave flash_attention out"
            )
        key = value if key is None else key
        query_mask = self._taken_mask(query_mask, query, value, key)
        # Masks are dealt with here: the projections know nothing of them.
        query, value, key = (_without_mask(x) for x in (query, value, key))
        causal = bool(use_causal_mask) and self._is_plain()
        mask = self._compute_attention_mask(
            query, value, query_mask, value_mask, key_mask, attention_mask, bool(use_causal_mask) and not causal
        )
        gate = self._gate_dense(query) if self.use_gate else None
        projected = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        if causal:
            output, scores = self._attend(*projected, mask, training, return_attention_scores, True)
        else:
            output, scores = self._compute_attention(*projected, mask, training, return_attention_scores)
        if gate is not None:
            output = ops.multiply(output, gate)
        output = self._output_dense(output)
        return (output, scores) if return_attention_scores else output

    def _taken_mask(self, given: Any, query: Any, value: Any, key: Any) -> Any:
        """The query's mask, where ``given`` is the call's argument."""
        return given

    def _is_plain(self) -> bool:
        """Whether the attention itself is ours: causality then needs no mask."""
        return type(self)._compute_attention is Projected._compute_attention

    def _compute_attention_mask(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Where all masks that are given allow a query to see a step: a bool tensor, or None for everywhere."""
        steps = [(query_mask, -1), (value_mask, -2), (key_mask, -2)]
        masks = [ops.expand_dims(ops.cast(mask, "bool"), axis) for mask, axis in steps if mask is not None]
        if self.sliding_window is not None or use_causal_mask:
            rows, columns = _positions(query, 1), _positions(value, 0)
            if use_causal_mask:
                masks.append(ops.greater_equal(rows, columns))
            if self.sliding_window is not None:
                masks.append(ops.less(ops.abs(ops.subtract(rows, columns)), self.sliding_window))
        merged = _in_common(masks)
        if attention_mask is None:
            return merged
        given = ops.cast(attention_mask, "bool")
        if merged is not None and len(given.shape) > len(merged.shape) == 3:
            merged = ops.expand_dims(merged, -3)  # the same for all heads
        return given if merged is None else ops.logical_and(given, merged)

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, Any]:
        """Attend with projected ``(batch, T, heads, depth)``: outputs of that shape, and the scores or None."""
        return self._attend(query, key, value, attention_mask, training, return_attention_scores, causal=False)

    def _attend(
        self, query: Any, key: Any, value: Any, mask: Any, training: bool | None, with_scores: bool, causal: bool
    ) -> tuple[Any, Any]:
        if mask is not None:
            mask = self._spread_mask(mask, query, key)
        drops = self.dropout > 0
        if with_scores or (drops and training) or not self._is_usual(query):
            return self._attend_by_scores(query, key, value, mask, training, causal)
        output = ops.dot_product_attention(query, key, value, mask=mask, scale=self._scale, is_causal=causal)
        if drops and mask is not None:
            # Keras leaves out what is masked after the softmax, too, where a layer has dropout: queries that may attend
            # to nothing get zeros. Without dropout they get the plain mean.
            seen = mask if not causal else ops.logical_and(mask, _causal(query, key))
            some = ops.swapaxes(ops.any(seen, axis=-1, keepdims=True), 1, 2)
            output = ops.where(some, output, ops.cast(0, output.dtype))
        return output, None

    def _attend_by_scores(
        self, query: Any, key: Any, value: Any, mask: Any, training: bool | None, causal: bool
    ) -> tuple[Any, Any]:
        """The same in single ops, with scores that can be returned and dropped."""
        if causal:
            mask = _in_common([_causal(query, key), *([] if mask is None else [mask])])
        dot, combine = self._equations(query)
        key, value = (self._per_head(x) for x in (key, value))
        scores = ops.einsum(dot, key, ops.multiply(query, ops.cast(self._scale, query.dtype)))
        scores = self._softmax(scores, mask=mask)
        weights = self._dropout_layer(scores, training=training) if self.dropout > 0 else scores
        return ops.einsum(combine, weights, value), scores

    def _spread_mask(self, mask: Any, query: Any, key: Any) -> Any:
        """The mask with an axis for the heads, and for further batch axes; a ShapeError where it does not fit."""
        axes = self._axes(query)
        batch = [axis for axis in range(len(query.shape) - 1) if axis not in axes]
        shape, source = known_shape(query), known_shape(key)
        wanted = [*(shape[a] for a in batch), *(shape[a] for a in axes), *(source[a] for a in axes)]
        given = known_shape(mask)
        while len(mask.shape) < len(wanted):
            mask = ops.expand_dims(mask, -2 * len(axes) - 1)
        own = known_shape(mask)
        if len(own) != len(wanted) or any(
            m not in (1, w) for m, w in zip(own, wanted, strict=True) if m is not None and w is not None
        ):
            raise ShapeError(
                f"{self._who}: expected masks that broadcast to (batch, heads, T, S) = {tuple(wanted)}, "
                f"received attention_mask (merged with the inputs' masks) of shape {given}"
            )
        return mask

    def _axes(self, query: Any) -> tuple[int, ...]:
        """The axes of the projected query that are attended over."""
        return (1,)

    def _is_usual(self, query: Any) -> bool:
        """Whether queries are ``(batch, T, heads, depth)``, attended over T."""
        return len(query.shape) == 4 and self._axes(query) == (1,)

    def _per_head(self, x: Any) -> Any:
        """Projected keys or values with one head for each head of the queries."""
        return x

    def _equations(self, query: Any) -> tuple[str, str]:
        """Einsums for the scores (of keys and queries) and for the weighted mean (of scores and values)."""
        return _equations(len(query.shape), self._axes(query))


def _equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """``"aecd,abcd->acbe"`` and ``"acbe,aecd->abcd"`` for rank 4, axes (1,)."""
    target = string.ascii_lowercase[:rank]
    others = iter(string.ascii_lowercase[rank:])
    source = "".join(next(others) if i in axes else letter for i, letter in enumerate(target))
    batch = "".join(letter for i, letter in enumerate(target[:-1]) if i not in axes)
    product = batch + "".join(target[i] for i in axes) + "".join(source[i] for i in axes)
    return f"{source},{target}->{product}", f"{product},{source}->{target}"


def _without_mask(x: Any) -> Any:
    return Tensor(x.value, x.trace) if isinstance(x, Tensor) and x.keras_mask is not None else x


def _in_common(masks: Sequence[Any]) -> Any:
    merged = None
    for mask in masks:
        merged = mask if merged is None else ops.logical_and(merged, mask)
    return merged


def _positions(x: Any, axis: int) -> Any:
    """The numbers of the steps of ``(batch, steps, ...)``, as a column (axis 1) or row (axis 0) of ``(1, T, S)``."""
    return ops.expand_dims(ops.arange(x.shape[1], dtype="int32"), (0, 2) if axis else (0, 1))


def _causal(query: Any, key: Any) -> Any:
    """True where the step is not after the query: ``(1, 1, T, S)``."""
    return ops.expand_dims(ops.greater_equal(_positions(query, 1), _positions(key, 0)), 0)
