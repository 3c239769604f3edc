"""Losses: the base class, and the class that makes a loss of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from ...ir.errors import ArgumentError
from .. import ops
from ..dtypes import floatx, get_policy
from ..masking import get_mask
from ..names import auto_name, name_scope
from ..registry import builtin
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .reduction import Reduction, reduce_weighted, standardize_reduction
from .shapes import as_input, is_array, same_rank

LossFunction = Callable[..., Any]


@builtin("keras.losses", aliases=("keras.Loss",))
class Loss:
    """Base of all losses. A subclass defines ``call(y_true, y_pred)``, which returns a value for each sample.

    Args:
        name: by default made from the class's name.
        reduction: how the values become one: ``"sum_over_batch_size"`` or ``"mean"`` (over all values), ``"sum"``,
            ``"mean_with_sample_weight"`` (over the sum of the weights), or None or ``"none"`` to keep them.
        dtype: element type, or dtype policy, in which it computes; the default float type by default.

    Raises:
        ArgumentError: there is no such reduction or type.
    """

    def __init__(
        self, name: str | None = None, reduction: Reduction = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        self.name = name or auto_name(type(self).__name__)
        self.reduction = standardize_reduction(reduction)
        self._dtype = get_policy(dtype or floatx()).compute_dtype

    @property
    def dtype(self) -> str:
        """The type that it computes in."""
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: labels: a tensor, or a nest of them.
            y_pred: predictions, in the same structure. Steps that their mask leaves out do not count.
            sample_weight: a weight for each sample, or for each value.

        Returns:
            A scalar tensor, or the values where there is no reduction.

        Raises:
            ShapeError: labels and predictions do not fit together; both shapes are in the message.
        """
        mask = get_mask(y_pred)
        with name_scope(self.name):
            y_pred = _converted(y_pred, self.dtype)
            y_true = _converted(y_true, self.dtype)
            values = self.call(y_true, y_pred)
            own_mask = get_mask(values)
            if mask is not None and own_mask is not None:
                mask = ops.logical_and(mask, own_mask)
            return reduce_weighted(
                values, sample_weight, own_mask if mask is None else mask, self.reduction, self.dtype, owner=self.name
            )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample. To be defined by subclasses."""
        raise TypeError(f"{type(self).__name__} must define call(self, y_true, y_pred)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras writes them.

        Keras does not write the type; here it is written where it is not the default one, so that it is not lost.
        """
        config = {"name": self.name, "reduction": self.reduction}
        return config if self.dtype == floatx() else {**config, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """Make a loss from what ``get_config`` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _converted(nest: Any, dtype: str) -> Any:
    """A tensor, list of numbers, or nest of tensors in the type of the loss."""
    return jax.tree.map(lambda x: as_input(x, dtype), nest, is_leaf=is_array)


@builtin("keras.src.losses.losses")
class LossFunctionWrapper(Loss):
    """The loss that a function computes.

    Args:
        fn: ``fn(y_true, y_pred, **kwargs)``, which returns a value for each sample.
        reduction, name, dtype: see Loss.
        kwargs: further arguments for ``fn``.
    """

    def __init__(
        self,
        fn: LossFunction,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if not callable(fn):
            raise ArgumentError(f"{type(self).__name__}: expected a function fn(y_true, y_pred), received {fn!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The function's values; see Loss. Labels and predictions get equal ranks where one has a last axis of 1."""
        leaves, structure = jax.tree.flatten(y_true)
        others = jax.tree.leaves(y_pred)
        if len(leaves) != len(others):
            raise ArgumentError(f"{self.name}: received {len(leaves)} labels (y_true) for {len(others)} predictions")
        pairs = [same_rank(t, p) for t, p in zip(leaves, others, strict=True)]
        y_true = jax.tree.unflatten(structure, [true for true, _ in pairs])
        y_pred = jax.tree.unflatten(structure, [pred for _, pred in pairs])
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"fn": serialize_keras_object(self.fn), **serialize_keras_object(self._fn_kwargs)}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """Make a loss from what ``get_config`` returned."""
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))

    def __repr__(self) -> str:
        return f"<LossFunctionWrapper({self.fn}, kwargs={self._fn_kwargs})>"


class BuiltinLoss(LossFunctionWrapper):
    """A loss whose function is one of this package.

    The further arguments are attributes. ``saved`` names those that Keras writes to the config; one that it leaves out
    is written only where it is not its default, ``unsaved``.
    """

    saved: tuple[str, ...] = ()
    unsaved: dict[str, Any] = {}

    def __init__(self, fn: LossFunction, reduction: Reduction, name: str | None, dtype: Any, **kwargs: Any) -> None:
        super().__init__(fn, reduction=reduction, name=name, dtype=dtype, **kwargs)
        self.__dict__.update(kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras writes them."""
        kept = {name: self._fn_kwargs[name] for name in self.saved}
        for name, default in self.unsaved.items():
            if self._fn_kwargs[name] != default:
                kept[name] = self._fn_kwargs[name]
        return {**Loss.get_config(self), **kept}

    def __repr__(self) -> str:
        return Loss.__repr__(self)
