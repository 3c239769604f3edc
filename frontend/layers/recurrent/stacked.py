"""``StackedRNNCells``: cells one upon another, as one cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...layer import Layer
from ...registry import builtin
from ...saving.serialization import deserialize_keras_object, serialize_keras_object
from ..base import BuiltinLayer
from .cell import is_nest


@builtin("keras.layers")
class StackedRNNCells(BuiltinLayer):
    """Cells of which each takes the output of the one before, as one cell.

    Args:
        cells: a list of cells, see :class:`RNN`.
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            if not callable(getattr(cell, "call", None)):
                raise self._wrong("cells", cell, "objects with a method call(inputs, states)")
            if not hasattr(cell, "state_size"):
                raise self._wrong("cells", cell, "objects with a state_size, an integer or a list of integers")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The cells' state sizes, the first cell's first."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """That of the last cell."""
        return output_size(self.cells[-1])

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """For each cell the states before the first step."""
        return [
            cell.get_initial_state(batch_size=batch_size)
            if hasattr(cell, "get_initial_state")
            else state_zeros(cell.state_size, batch_size, self.compute_dtype)
            for cell in self.cells
        ]

    def call(self, inputs: Any, states: Any, training: Any = False, **kwargs: Any) -> Any:
        """Inputs and for each cell its states to the last cell's output and all next states."""
        after = []
        for cell, before in zip(self.cells, states, strict=True):
            takes_training = isinstance(cell, Layer) and cell._takes("training")
            keywords = {**kwargs, "training": training} if takes_training else kwargs
            apply = cell if callable(cell) else cell.call
            inputs, new = apply(inputs, list(before) if is_nest(before) else [before], **keywords)
            single = is_nest(new) and len(new) == 1 and not is_nest(before)
            after.append(new[0] if single else new)
        return inputs, after[0] if len(after) == 1 else after

    def build(self, input_shape: Any) -> None:
        """Build each cell for the output of the one before."""
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
                cell.built = True
            input_shape = (input_shape[0], output_size(cell))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "cells": [serialize_keras_object(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Cells from what :meth:`get_config` returned."""
        cells = [deserialize_keras_object(cell, custom_objects=custom_objects) for cell in config["cells"]]
        return super().from_config({**config, "cells": cells})


def output_size(cell: Any) -> Any:
    """The size of a cell's output: what it says, or the size of its first state."""
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size[0] if isinstance(cell.state_size, list | tuple) else cell.state_size
    return size


def state_zeros(size: Any, batch_size: Any, dtype: str) -> Any:
    """Zeros ``(batch_size, size)``; a list of them for a list of sizes."""
    if isinstance(size, list | tuple):
        return [state_zeros(each, batch_size, dtype) for each in size]
    return ops.zeros((batch_size, size), dtype=dtype)
