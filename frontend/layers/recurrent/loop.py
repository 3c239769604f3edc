"""A step applied along time: as one scan, or written out. Masked steps keep the states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ....ir.errors import ArgumentError
from ... import ops
from ...convert import as_tensor, cast
from ...ops import building as b
from ...ops.control import scan
from ...tensor import Tensor

Step = Callable[[Any, Any], tuple[Any, Any]]  # (inputs of a step, states) -> (output, next states)


class Choice:
    """Between what a step gave and what was there before, by the step's mask: ``(batch,)``, True to take the step.

    The same choice made twice is one node, so that an output that is a state stays one.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.made: dict[tuple[Any, Any], Tensor] = {}

    def __call__(self, new: Tensor, old: Tensor) -> Tensor:
        key = (new.value, old.value)
        if key not in self.made:
            self.made[key] = b.select(b.spread(self.mask, b.shape_of(new), (0,)), new, cast(old, new.dtype))
        return self.made[key]


def scanned(
    step: Step, sequences: Tensor, states: Any, mask: Tensor | None, backwards: bool, zero_output: bool, whole: bool
) -> tuple[Any, Any, Any]:
    """Run ``step`` along axis 1 of ``sequences`` by a scan.

    Args:
        states: a nest of tensors, each with the batch first.
        mask: ``(batch, time)`` bools, True for steps to take, or None.
        backwards: from the last step to the first; outputs come in the order they were made in.
        zero_output: whether a masked step's output is 0; else it is that of the step before.
        whole: whether the outputs of all steps are wanted.

    Returns:
        The last output, outputs ``(batch, time, ...)`` (time is 1 unless ``whole``), the last states.
    """
    places: list[int] = []  # where the states hold the outputs, if they do

    def body(before: Any, xs: Any) -> tuple[Any, Any]:
        x, keep = xs
        output, after = _taken(step, x, before)
        if keep is not None:
            choice = Choice(keep)
            old = _outputs_before(before, output, zero_output)
            output = jax.tree.map(choice, output, old)
            after = jax.tree.map(choice, after, before)
        places[:] = _places(output, after)
        return after, None if places and not whole else output

    xs = _time_first(sequences), None if mask is None else _time_first(mask)
    states, outputs = scan(body, states, xs, reverse=backwards)
    if places:
        leaves = jax.tree.leaves(states)
        shape = jax.tree.structure(outputs) if whole else None
        found = [leaves[place] for place in places]
        last = found[0] if shape is None else jax.tree.unflatten(shape, found)
    else:
        last = jax.tree.map(lambda y: y[0 if backwards else -1], outputs)
    if not whole:
        return last, jax.tree.map(lambda y: ops.expand_dims(y, 1), last), states
    return last, jax.tree.map(lambda y: _processed(_time_first(y), backwards), outputs), states


def unrolled(
    step: Step, sequences: Tensor, states: Any, mask: Tensor | None, backwards: bool, whole: bool
) -> tuple[Any, Any, Any]:
    """As :func:`scanned`, with the steps written one after another, so that the number of steps is pinned.

    A masked step's output is that of the step before, and 0 at the first.
    """
    steps = range(int(sequences.shape[1]))
    outputs: list[Any] = []
    for i in reversed(steps) if backwards else steps:
        output, after = _taken(step, sequences[:, i], states)
        if mask is not None:
            choice = Choice(mask[:, i])
            output = jax.tree.map(choice, output, outputs[-1] if outputs else jax.tree.map(ops.zeros_like, output))
            after = jax.tree.map(choice, after, states)
        states = after
        outputs = [*outputs, output] if whole else [output]
    return outputs[-1], jax.tree.map(lambda *ys: ops.stack(ys, axis=1), *outputs), states


def _taken(step: Step, x: Any, states: Any) -> tuple[Any, Any]:
    """A step's output and next states as tensors, the states in the nest that they came in."""
    output, after = step(x, states)
    leaves: list[Any] = jax.tree.leaves(after)
    wanted: Any = jax.tree.structure(states)
    if len(leaves) != wanted.num_leaves:
        raise ArgumentError(
            f"a cell must return as many states as it takes: it took {wanted.num_leaves}, and returned {len(leaves)}"
        )
    return jax.tree.map(as_tensor, output), jax.tree.unflatten(wanted, [as_tensor(leaf) for leaf in leaves])


def _outputs_before(states: Any, output: Any, zero_output: bool) -> Any:
    """What masked steps put out: zeros, or the output before, which is the first state (of a stack's last cell)."""
    if zero_output:
        return jax.tree.map(ops.zeros_like, output)
    first = states[0]
    if isinstance(first, list | tuple):
        first = states[-1][0]
    if not isinstance(output, Tensor) or b.shape_of(output) != b.shape_of(first):
        raise ArgumentError(
            f"under a mask the output of the step before is repeated, which is taken from the first state, but the "
            f"output {output!r} is not like the first state {first!r}; use zero_output_for_mask=True"
        )
    return first


def _places(output: Any, states: Any) -> list[int]:
    """For each tensor of ``output`` where in ``states`` it is too; nothing where one is not."""
    values = [leaf.value for leaf in jax.tree.leaves(states)]
    wanted: Sequence[Any] = [leaf.value for leaf in jax.tree.leaves(output)]
    if not all(any(w is v for v in values) for w in wanted):
        return []
    return [next(i for i, v in enumerate(values) if v is w) for w in wanted]


def _time_first(x: Tensor) -> Tensor:
    """Axes 0 and 1 swapped."""
    return b.transpose(x, (1, 0, *range(2, x.ndim)))


def _processed(x: Tensor, backwards: bool) -> Tensor:
    """Steps along axis 1 in the order in which they were taken."""
    return ops.flip(x, axis=1) if backwards else x
