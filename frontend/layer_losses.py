"""What a layer adds to the loss of training, and the metrics that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

from .tensor import Tensor
from .trace import current_trace
from .tracking import Tracked

_inside: ContextVar[bool] = ContextVar("inside", default=False)


@contextmanager
def running() -> Iterator[None]:
    """Within the block a layer is running eagerly: calls are calls from inside of it."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


class WithLosses(Tracked):
    """Something tracked that adds losses when it is called."""

    activity_regularizer: Any
    _losses: list[Any]

    def add_loss(self, loss: Any) -> None:
        """Add a scalar, or a list of them, to :attr:`losses` of the current call."""
        self._own_losses().extend(loss if isinstance(loss, list | tuple) else [loss])

    @property
    def losses(self) -> list[Any]:
        """Scalars added by :meth:`add_loss` and penalties on outputs since the last call, and penalties on weights."""
        found = [loss for layer in self._flatten_layers() for loss in layer._own_losses()]
        return found + [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]

    def _own_losses(self) -> list[Any]:
        """What the layer itself added: in a trace that of the trace, which ends with it."""
        trace = current_trace()
        return self._losses if trace is None else trace.root.kept.setdefault(("losses", self), [])

    def _begin_losses(self) -> None:
        """Forget the losses of the last call, where this is a call from outside of all layers."""
        trace = current_trace()
        if _inside.get() if trace is None else trace.root.layers:
            return
        for layer in self._flatten_layers():
            layer._own_losses().clear()

    def _penalize_activity(self, outputs: Any) -> None:
        for output in jax.tree.leaves(outputs):
            if isinstance(output, Tensor | jax.Array):
                loss = self.activity_regularizer(output)
                if output.ndim:  # for each sample, so that the batch's size does not matter
                    from . import ops

                    loss = ops.divide_no_nan(loss, ops.cast(ops.shape(output)[0], loss.dtype))
                self.add_loss(loss)

    @property
    def metrics(self) -> list[Any]:
        """The metrics assigned to its attributes, and those of the layers in it."""
        found = list(self._own_metrics())
        for layer in self._layers:
            found.extend(layer.metrics)
        return found

    @property
    def metrics_variables(self) -> list[Any]:
        """The Variables of :attr:`metrics`."""
        return [v for metric in self.metrics for v in metric.variables]
