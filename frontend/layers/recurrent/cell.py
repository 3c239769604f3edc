"""What the cells of SimpleRNN, GRU and LSTM share: weights for gates side by side, and dropout held over a sequence."""

from __future__ import annotations

from typing import Any

from ... import ops, random
from ...seed import SeedGenerator
from ...tensor import Tensor
from ...trace import Trace, current_trace
from ..base import BuiltinLayer


class DropoutCell(BuiltinLayer):
    """A cell that drops some of its inputs and states in training: the same ones at every step of a call.

    A mask is drawn when it is first asked for, and serves until it is reset or the trace ends.

    ``dropout_mask_count`` is how many masks there are, one for each gate, or None for one mask for all of them.
    """

    dropout: float
    recurrent_dropout: float
    dropout_mask_count: int | None = None

    def _keep_dropout(self, dropout: float, recurrent_dropout: float, seed: int | None) -> None:
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        self._keep(**{name: min(1.0, max(0.0, rate)) for name, rate in rates.items()}, seed=seed)
        self.seed_generator = SeedGenerator(seed)

    def _weight(self, name: str, shape: tuple[int, ...], initializer: Any) -> Any:
        """The weight ``kernel``, ``recurrent_kernel`` or ``bias``."""
        kind = name.removesuffix("_kernel")
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def get_dropout_mask(self, step_input: Any) -> Any:
        """The mask for inputs like ``step_input``: 0 where dropped, else ``1 / (1 - rate)``; a list of masks where each
        gate has one; None for no dropout."""
        return self._mask("dropout", step_input)

    def get_recurrent_dropout_mask(self, step_input: Any) -> Any:
        """The mask for states like ``step_input``, as for :meth:`get_dropout_mask`."""
        return self._mask("recurrent_dropout", step_input)

    def reset_dropout_mask(self) -> None:
        """Have the next call draw another mask for its inputs."""
        self._masks().pop("dropout", None)

    def reset_recurrent_dropout_mask(self) -> None:
        """Have the next call draw another mask for its states."""
        self._masks().pop("recurrent_dropout", None)

    def _masks(self) -> dict[str, Any]:
        """The masks drawn so far: in the outermost trace, so that threads and calls do not share them."""
        trace = current_trace()
        held = self.__dict__.setdefault("_held_masks", {}) if trace is None else trace.root.kept
        return held.setdefault(self, {})

    def _mask(self, kind: str, like: Any) -> Any:
        rate = getattr(self, kind)
        if rate <= 0:
            return None
        masks = self._masks()
        if kind not in masks or not _reachable(masks[kind]):
            drawn = [
                random.dropout(ops.ones_like(like), rate, seed=self.seed_generator)
                for _ in range(self.dropout_mask_count or 1)
            ]
            masks[kind] = drawn if self.dropout_mask_count else drawn[0]
        return masks[kind]

    def _dropped(self, kind: str, x: Any, training: Any) -> Any:
        """``x`` with what the mask of ``kind`` drops set to 0 in training; a list where each gate has a mask."""
        mask = self._mask(kind, x) if training else None
        if mask is None:
            return x
        return [ops.multiply(x, m) for m in mask] if isinstance(mask, list) else ops.multiply(x, mask)


def _reachable(masks: Any) -> bool:
    """Whether masks drawn in a trace may be used in the present one: a loop's body is gone when it ends."""
    mask = masks[0] if isinstance(masks, list) else masks
    if not isinstance(mask, Tensor):
        return current_trace() is None
    trace: Trace | None = current_trace()
    while trace is not None and trace is not mask.trace:
        trace = trace.parent
    return trace is not None


class RecurrentCell(DropoutCell):
    """A cell with one kernel for inputs, one for the state and a bias, each with its gates side by side.

    Args:
        units: size of the state and of the output.
        gates: how many gates there are.
        arguments: the constructor's other arguments, as :meth:`_keep` takes them.
    """

    def __init__(
        self,
        units: int,
        gates: int,
        arguments: dict[str, Any],
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gates = gates
        self._keep(units=self._positive("units", units), **arguments)
        self._keep_dropout(dropout, recurrent_dropout, seed)
        self.state_size: Any = units
        self.output_size = units

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _bias_values(self) -> Any:
        """The bias's initializer."""
        return self.bias_initializer

    def build(self, input_shape: Any) -> None:
        """Make the kernels and the bias for inputs ``(batch, features)``."""
        inputs = self._known(input_shape[-1], "the size of the last axis", input_shape)
        wide = self.gates * self.units
        self.kernel = self._weight("kernel", (inputs, wide), self.kernel_initializer)
        self.recurrent_kernel = self._weight("recurrent_kernel", (self.units, wide), self.recurrent_initializer)
        self.bias = self._weight("bias", self._bias_shape(), self._bias_values()) if self.use_bias else None

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, ``(batch_size, units)`` for each state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in sizes]


def is_nest(x: Any) -> bool:
    """Whether ``x`` is a list, tuple or dict of tensors."""
    return isinstance(x, list | tuple | dict)


def project(x: Any, kernel: Any, gates: int) -> Any:
    """``x @ kernel``; for a list with one ``x`` for each gate the products with the gates' parts, side by side."""
    if not isinstance(x, list):
        return ops.matmul(x, kernel)
    parts = ops.split(kernel, gates, axis=-1)
    return ops.concatenate([ops.matmul(each, part) for each, part in zip(x, parts, strict=True)], axis=-1)
