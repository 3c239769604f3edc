"""``RNN``: a cell applied along the steps of a sequence."""

from __future__ import annotations

from typing import Any

import jax

from ....ir.errors import ArgumentError, IntegerDimError, ShapeError
from ... import ops
from ...convert import as_tensor, cast, match_shape
from ...dispatch import run_eagerly
from ...layer import Layer
from ...names import name_scope
from ...ops import building as b
from ...registry import builtin
from ...saving.serialization import deserialize_keras_object, serialize_keras_object
from ...tensor import Tensor
from ...trace import current_trace, require_trace
from ...variable import Variable
from ..base import BuiltinLayer
from .cell import DropoutCell, is_nest
from .loop import scanned, unrolled
from .stacked import StackedRNNCells, output_size, state_zeros


@builtin("keras.layers")
class RNN(BuiltinLayer):
    """A cell applied along the steps of a sequence ``(batch, steps, ...)``.

    A cell has ``call(inputs, states) -> (output, next states)`` for one step, and ``state_size``: an integer, or a list
    of integers (and lists of them) for several states. It may have ``output_size``, and
    ``get_initial_state(batch_size=None)``, which otherwise are taken from ``state_size``. Its steps are one loop of the
    program, so that it is traced once, whatever the number of steps.

    Where a mask leaves a step out, the states stay, and the step's output is that of the step before.

    Args:
        cell: the cell, or a list of cells for :class:`StackedRNNCells`.
        return_sequences: return the outputs of all steps, not only the last.
        return_state: return the last states too.
        go_backwards: go from the last step to the first.
        stateful: begin each call with the states that the last one ended with.
        unroll: write the steps one after another, not as a loop; the number of steps must be known.
        zero_output_for_mask: whether the output of a step that is left out is 0.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        **kwargs: Any,
    ) -> None:
        zero_output_for_mask = kwargs.pop("zero_output_for_mask", False)
        super().__init__(**kwargs)
        self._keep(
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
        )
        self.cell = StackedRNNCells(cell) if isinstance(cell, list | tuple) else cell
        self.state_size = self._checked_state_size()
        self.single_state = isinstance(self.cell.state_size, int)
        self.supports_masking = True
        object.__setattr__(self, "states", None)  # no weights: not saved, not counted

    def _checked_state_size(self) -> list[Any]:
        cell = self.cell
        if not callable(getattr(cell, "call", None)):
            raise self._wrong("cell", cell, "an object with a method call(inputs, states)")
        size = getattr(cell, "state_size", None)
        if not isinstance(size, int | list | tuple):
            raise ArgumentError(
                f"{self._who}: expected cell to have state_size, an integer or a list of integers (one for each "
                f"state), received cell={cell!r} with state_size={size!r}"
            )
        return [size] if isinstance(size, int) else list(size)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build the cell for one step, and make the states of a stateful layer."""
        batch = sequences_shape[0]
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((batch, *sequences_shape[2:]))
            self.cell.built = True
        if self.stateful and self.states is None:
            if batch is None:
                raise ShapeError(
                    f"{self._who}: stateful=True needs a known batch size, received input shape "
                    f"{tuple(sequences_shape)}; give Input(batch_shape=...)"
                )
            self._make_state_variables(batch)
        elif self.stateful:
            self.reset_state()

    def _make_state_variables(self, batch_size: int) -> None:
        def variable(value: Any) -> Variable:
            return Variable(value, trainable=False, dtype=self.variable_dtype, name="rnn_state")

        with name_scope(self.name, caller=self):
            states = jax.tree.map(variable, self.get_initial_state(batch_size))
        object.__setattr__(self, "states", states)

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states before the first step: what the cell says, or zeros."""
        of_cell = getattr(self.cell, "get_initial_state", None)
        if of_cell is None:
            return [state_zeros(size, batch_size, self._cell_dtype) for size in self.state_size]
        states = of_cell(batch_size=batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    @property
    def _cell_dtype(self) -> str:
        return getattr(self.cell, "compute_dtype", self.compute_dtype)

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zero."""
        for variable in jax.tree.leaves(self.states):
            variable.assign(ops.zeros(variable.shape, dtype=variable.dtype))

    def reset_states(self) -> None:
        """The same as :meth:`reset_state`."""
        self.reset_state()

    # Calling

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        """All steps, which a subclass may arrange in another way.

        Args:
            sequences: ``(batch, steps, ...)``.
            initial_state: a list of (nests of) states.
            mask: ``(batch, steps)`` bools, or None.
            training: for cells that take it.

        Returns:
            The last output, the outputs of the steps (only the last unless ``return_sequences``), the last states.
        """
        takes_training = isinstance(self.cell, Layer) and self.cell._takes("training")
        keywords = {"training": training} if takes_training else {}
        apply = self.cell if callable(self.cell) else self.cell.call

        def step(x: Any, states: Any) -> tuple[Any, Any]:
            result = apply(x, states, **keywords)
            if not isinstance(result, list | tuple) or len(result) != 2:
                raise ArgumentError(f"{self._who}: cell must return (output, next states), received {result!r}")
            return result[0], result[1]

        states = initial_state if is_nest(initial_state) else [initial_state]
        if self.unroll:
            self._need_steps(sequences)
            return unrolled(step, sequences, states, mask, self.go_backwards, self.return_sequences)
        zero, whole = self.zero_output_for_mask, self.return_sequences
        return scanned(step, sequences, states, mask, self.go_backwards, zero, whole)

    def _need_steps(self, sequences: Any) -> None:
        try:
            int(sequences.shape[1])
        except IntegerDimError as error:
            message = f"{self._who}: unroll=True writes out each step, so the number of steps must be known; give"
            raise IntegerDimError(
                f"{message} Input((steps, ...)), or use unroll=False", error.dim, error.where
            ) from None

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        """Apply the cell along axis 1.

        Args:
            sequences: ``(batch, steps, ...)``.
            initial_state: the states before the first step, a list; by default zeros, or what a stateful layer keeps.
            mask: ``(batch, steps)`` bools; False leaves a step out.
            training: for cells that take it.

        Returns:
            ``(batch, ...)``, or ``(batch, steps, ...)`` with ``return_sequences``; with ``return_state`` a tuple of
            this and the last states.
        """
        if current_trace() is None:  # a cell of the user's: its loop is one program nevertheless
            arguments = {"initial_state": initial_state, "mask": mask, "training": training}
            return run_eagerly(self._traced_call, (sequences,), arguments, self.compute_dtype, self._eager, weak=False)
        sequences = self._of_state_batch(as_tensor(sequences))
        mask = self._checked_mask(mask, sequences)
        states = self._first_states(sequences, initial_state)
        if training:
            _draw_masks(self.cell, _ones_of_step(sequences), states)
        last, outputs, states = self.inner_loop(sequences=sequences, initial_state=states, mask=mask, training=training)
        _reset_masks(self.cell)
        output = outputs if self.return_sequences else last
        output, states = jax.tree.map(lambda x: cast(as_tensor(x), self.compute_dtype), (output, states))
        if self.stateful:
            for variable, state in zip(jax.tree.leaves(self.states), jax.tree.leaves(states), strict=True):
                variable.assign(state)
        return (output, *states) if self.return_state else output

    def _traced_call(self, sequences: Any, **arguments: Any) -> Any:
        with require_trace().layer(self.name):
            return RNN.call(self, sequences, **arguments)

    def _of_state_batch(self, sequences: Tensor) -> Tensor:
        """Sequences of a stateful layer, whose batch size is that of the states."""
        if not self.stateful:
            return sequences
        (batch, *_), (given, *rest) = jax.tree.leaves(self.states)[0].shape, b.shape_of(sequences)
        if isinstance(given, int) and given != batch:
            raise ShapeError(
                f"{self._who}: stateful=True keeps states for a batch of {batch}, received one of {given}; use that "
                "batch size, or another layer"
            )
        return match_shape(sequences, (batch, *rest), f"{self._who}: the batch must be that of the kept states")

    def _first_states(self, sequences: Tensor, given: Any) -> list[Any]:
        batch = b.shape_of(sequences)[0]
        if given is None:
            given = self.states if self.stateful else self.get_initial_state(batch_size=sequences.shape[0])
        states = list(given) if isinstance(given, list | tuple) else [given]
        if len(states) != len(self.state_size):
            raise ArgumentError(
                f"{self._who}: expected initial_state to be a list of {len(self.state_size)} states, received "
                f"{len(states)}"
            )

        def state(x: Any) -> Tensor:
            tensor = as_tensor(x, self._cell_dtype)
            if not tensor.ndim:
                return tensor
            reason = f"{self._who}: initial_state must have the batch size of the sequences"
            return match_shape(tensor, (batch, *b.shape_of(tensor)[1:]), reason)

        return jax.tree.map(state, states)

    def _checked_mask(self, mask: Any, sequences: Tensor) -> Tensor | None:
        """The mask as ``(batch, steps)`` bools."""
        mask = first_mask(mask)
        if mask is None:
            return None
        tensor, shape = b.as_bool(mask), b.shape_of(sequences)
        own = b.shape_of(tensor)
        known = [(a, c) for a, c in zip(own, shape) if isinstance(a, int) and isinstance(c, int)]
        if not 2 <= len(own) <= len(shape) or any(a != c for a, c in known[:2]):
            raise ShapeError(
                f"{self._who}: expected mask of shape (batch, steps) = {b.text(shape[:2])}, as the sequences "
                f"{sequences!r} have it, received {tensor!r}"
            )
        reason = f"{self._who}: mask must have batch and steps of the sequences"
        tensor = match_shape(tensor, (*shape[:2], *own[2:]), reason)
        return b.reduce("reduce_any", tensor, range(2, len(own)))

    def compute_mask(self, sequences: Any, previous_mask: Any = None) -> Any:
        """The mask of the sequences for the outputs of all steps; none for one output, and none for states."""
        mask = first_mask(previous_mask) if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    # Files

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "cell": serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """A layer from what :meth:`get_config` returned."""
        config = dict(config)
        if "cell" in config:
            config["cell"] = deserialize_keras_object(config["cell"], custom_objects=custom_objects)
        return super().from_config(config)


class CellLayer(RNN):
    """An RNN with a cell of its own making.

    ``_of_cell`` names arguments that the cell keeps: the layer has them as attributes, and in its config.
    """

    _of_cell: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.__dict__.get("_of_cell", ()):
            if name != "seed":
                setattr(cls, name, _attribute_of_cell(name))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        config, of_cell = super().get_config(), self.cell.get_config()
        del config["cell"]
        config.setdefault("activity_regularizer", None)
        return {**config, **{name: of_cell[name] for name in self._of_cell}}


def _attribute_of_cell(name: str) -> property:
    return property(lambda layer: getattr(layer.cell, name))


def first_mask(mask: Any) -> Any:
    """The mask, or the first of a list of them."""
    while isinstance(mask, list | tuple):
        mask = mask[0] if mask else None
    return mask


def checked_use_cudnn(layer: CellLayer, value: Any) -> Any:
    """An argument ``use_cudnn``."""
    if value not in ("auto", True, False):
        raise layer._wrong("use_cudnn", value, "'auto', True or False")
    return value


def _ones_of_step(sequences: Tensor) -> Tensor:
    """Ones like the inputs of a step."""
    batch, _, *rest = b.shape_of(sequences)
    return b.filled((batch, *rest), 1, sequences.dtype)


def _draw_masks(cell: Any, x: Any, states: Any) -> None:
    """Draw a cell's dropout masks before the loop, for inputs and states like these."""
    if isinstance(cell, DropoutCell):
        cell.get_dropout_mask(x)
        cell.get_recurrent_dropout_mask(states[0] if is_nest(states) else states)
    elif isinstance(cell, StackedRNNCells):
        for each, state in zip(cell.cells, states, strict=True):
            _draw_masks(each, x, state)
            x = b.filled((b.shape_of(x)[0], output_size(each)), 1, x.dtype)


def _reset_masks(cell: Any) -> None:
    if isinstance(cell, DropoutCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    elif isinstance(cell, StackedRNNCells):
        for each in cell.cells:
            _reset_masks(each)
