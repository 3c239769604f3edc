"""Attention without projections: Attention and AdditiveAttention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.errors import ArgumentError, ShapeError
from ... import ops, random
from ...input_spec import known_shape
from ...registry import builtin
from ...seed import SeedGenerator
from ..base import BuiltinLayer


@builtin("keras.layers")
class Attention(BuiltinLayer):
    """Attention without projections: of ``[query, value]`` or ``[query, value, key]`` (Luong et al., 2015).

    Args:
        use_scale: whether a learned number scales the scores.
        score_mode: ``"dot"``: query times key; ``"concat"``: the sum of ``tanh(query + key)``, times a learned number.
        dropout: fraction of the weights that is dropped in training.
        seed: an integer that fixes the dropout.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._keep(use_scale=use_scale, dropout=self._fraction("dropout", dropout), seed=seed)
        if score_mode not in ("dot", "concat"):
            raise self._wrong("score_mode", score_mode, "'dot' or 'concat'")
        self.score_mode = score_mode
        self.supports_masking = True
        if dropout > 0:
            self.seed_generator = SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        """Make the numbers that are learned."""
        self._check_inputs(input_shape, "inputs")
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones") if self.use_scale else None
        self.concat_score_weight = (
            self.add_weight(name="concat_score_weight", shape=(), initializer="ones")
            if self.score_mode == "concat"
            else None
        )

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend.

        Args:
            inputs: ``[query (batch, T, n), value (batch, S, m)]``, and as a third the key ``(batch, S, n)``.
            mask: ``[query's (batch, T), value's (batch, S)]``, bool, each may be None. Masked queries give zeros.
            training: whether dropout acts.
            return_attention_scores: whether to return the weights too.
            use_causal_mask: whether a query sees no step after its own.

        Returns:
            ``(batch, T, m)``; with scores, the pair of it and ``(batch, T, S)``.
        """
        self._check_inputs(inputs, "inputs")
        self._check_fit([known_shape(x) for x in inputs])
        if mask is not None:
            self._check_inputs(mask, "mask")
        query, value, key = inputs[0], inputs[1], inputs[-1] if len(inputs) > 2 else inputs[1]
        query_mask, value_mask = (mask[0], mask[1]) if mask else (None, None)
        weights = ops.softmax(self._masked(self._scores(query, key), value_mask, use_causal_mask), axis=-1)
        scores = weights
        if training and self.dropout > 0:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        output = ops.matmul(weights, value)
        if query_mask is not None:
            output = ops.where(ops.expand_dims(query_mask, -1), output, 0)
        return (output, scores) if return_attention_scores else output

    def _check_inputs(self, inputs: Any, argument: str) -> None:
        if not isinstance(inputs, list) or len(inputs) not in (2, 3):
            received = f"{len(inputs)} of them" if isinstance(inputs, list) else repr(inputs)
            raise ArgumentError(f"{self._who}: expected {argument} as a list [query, value] or [query, value, key], "
                                f"received {received}")  # fmt: skip

    def _check_fit(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        query, value, key = shapes[0], shapes[1], shapes[-1] if len(shapes) > 2 else shapes[1]
        if _differ(query[-1], key[-1]) or _differ(value[-2], key[-2]):
            raise ShapeError(
                f"{self._who}: expected query (batch, T, n), value (batch, S, m) and key (batch, S, n; value by "
                f"default), received query {query}, value {value}, key {key}"
            )

    def _scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        both = _pairs(query, key)
        if self.scale is not None:
            both = ops.multiply(self.scale, both)
        return ops.multiply(self.concat_score_weight, ops.sum(ops.tanh(both), axis=-1))

    def _masked(self, scores: Any, value_mask: Any, causal: bool) -> Any:
        """Scores less a large number where no weight should be: rows of which nothing counts stay as they are."""
        if value_mask is not None:
            value_mask = ops.expand_dims(ops.cast(value_mask, "bool"), -2)
        if causal:
            rows, columns = _steps(scores.shape[-2], (0, 2)), _steps(scores.shape[-1], (0, 1))
            later = ops.greater_equal(rows, columns)
            value_mask = later if value_mask is None else ops.logical_and(value_mask, later)
        if value_mask is None:
            return scores
        far = 65504.0 if str(scores.dtype) == "float16" else 1e9
        return ops.where(value_mask, scores, ops.subtract(scores, far))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The query's mask."""
        self._check_inputs(inputs, "inputs")
        return mask[0] if mask else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The query's shape with the value's features."""
        self._check_inputs(input_shape, "input_shape")
        self._check_fit([tuple(shape) for shape in input_shape])
        return (*input_shape[0][:-1], input_shape[1][-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "score_mode": self.score_mode}


@builtin("keras.layers")
class AdditiveAttention(Attention):
    """Attention whose scores are ``sum(scale * tanh(query + key))`` (Bahdanau et al., 2014).

    Args:
        use_scale: whether there is a learned scale for each feature.
        dropout: fraction of the weights that is dropped in training.
        seed: an integer that fixes the dropout.
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the scale."""
        self._check_inputs(input_shape, "inputs")
        features = self._known(input_shape[0][-1], "the number of features", input_shape[0])
        self.scale = (
            self.add_weight(name="scale", shape=(features,), initializer="glorot_uniform") if self.use_scale else None
        )

    def _scores(self, query: Any, key: Any) -> Any:
        both = ops.tanh(_pairs(query, key))
        return ops.sum(both if self.scale is None else ops.multiply(self.scale, both), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        config = super().get_config()
        del config["score_mode"]
        return config


def _pairs(query: Any, key: Any) -> Any:
    """``query + key`` for each query and each key: ``(batch, T, S, n)``."""
    return ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))


def _steps(count: Any, axes: tuple[int, int]) -> Any:
    return ops.expand_dims(ops.arange(count, dtype="int32"), axes)


def _differ(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b
