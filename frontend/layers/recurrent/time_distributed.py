"""``TimeDistributed``: a layer applied to each step of a sequence."""

from __future__ import annotations

from typing import Any

import jax

from ....ir.errors import ShapeError
from ... import ops
from ...input_spec import known_shape
from ...ops import building as b
from ...registry import builtin
from ...sequential import Sequential
from ...tensor import Tensor
from ..activation import Activation
from ..convolutional import _Convolution
from ..core import Dense, Embedding, Identity
from ..pooling import _GlobalPooling, _Pooling
from ..reshaping import Flatten, RepeatVector, Reshape
from .wrapper import Wrapper

_PACKAGE = f"{__name__.partition('.')[0]}."
# Layers that do to each sample the same, whatever else is in the batch.
_BY_SAMPLE = (
    Activation,
    Dense,
    Embedding,
    Flatten,
    Identity,
    RepeatVector,
    Reshape,
    _Convolution,
    _GlobalPooling,
    _Pooling,
)


@builtin("keras.layers")
class TimeDistributed(Wrapper):
    """A layer applied to each step of ``(batch, steps, ...)`` by itself, with the same weights.

    Args:
        layer: takes a step, ``(batch, ...)``.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        """Build the layer for one step."""
        if not isinstance(input_shape, list | tuple) or len(input_shape) < 3:
            raise ShapeError(
                f"{self._who}: expected inputs of rank 3 or more, (batch, steps, ...), received shape {input_shape}"
            )
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Apply the layer to each step.

        Args:
            inputs: ``(batch, steps, ...)``.
            training: for layers that take it.
            mask: ``(batch, steps, ...)``, whose steps go to layers that take a mask.
        """
        keywords = {"training": training} if self.layer._takes("training") else {}
        self._check_mask(mask, inputs)
        mask = mask if self.layer._takes("mask") else None
        if mask is None and isinstance(inputs, Tensor) and acts_by_sample(self.layer):
            return self._as_one_batch(inputs, keywords)

        def step(xs: Any) -> Any:
            x, m = xs
            return self.layer(x, **keywords, **({} if m is None else {"mask": m}))

        xs = jax.tree.map(_time_first, (inputs, mask))
        return jax.tree.map(_time_first, ops.map(step, xs))

    def _as_one_batch(self, inputs: Tensor, keywords: dict[str, Any]) -> Any:
        """All steps at once, as further samples of the batch."""
        batch, steps, *rest = b.shape_of(inputs)
        merged = self.layer(b.reshape(inputs, (batch * steps, *rest)), **keywords)
        return jax.tree.map(lambda y: b.reshape(y, (batch, steps, *b.shape_of(y)[1:])), merged)

    def _check_mask(self, mask: Any, inputs: Any) -> None:
        if mask is None:
            return
        shape, wanted = known_shape(mask), known_shape(inputs)[:2]
        differ = any(a is not None and c is not None and a != c for a, c in zip(shape, wanted))
        if len(shape) < 2 or differ:
            raise ShapeError(
                f"{self._who}: expected mask of shape (batch, steps, ...), beginning with {wanted} as the inputs, "
                f"received shape {shape}"
            )


def acts_by_sample(layer: Any) -> bool:
    """Whether the layer is known to treat each sample of a batch by itself, without chance or state."""
    if type(layer) is Sequential:
        return all(acts_by_sample(each) for each in layer.layers)
    activation = getattr(layer, "activation", None)
    code = (type(layer).call, *([] if activation is None else [activation]))
    own = all((getattr(f, "__module__", None) or "").startswith(_PACKAGE) for f in code)  # nothing of the user's
    return own and isinstance(layer, _BY_SAMPLE)


def _time_first(x: Any) -> Any:
    """Axes 0 and 1 swapped, either way."""
    return ops.swapaxes(x, 0, 1)
