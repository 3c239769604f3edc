"""Connectionist temporal classification (Graves et al. 2006): loss and greedy decoding."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, cast, emit, match_shape, promoted
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from . import building as b
from .control import scan
from .indexing import elements_along
from .sorting import order

#: The logarithm of a probability that counts as none; finite, so that derivatives stay finite.
_NEVER = -1e5


def _check(target: Tensor, output: Tensor) -> None:
    if target.ndim != 2 or output.ndim != 3:
        raise ShapeError(
            f"ctc_loss: expected target [batch, labels] and output [batch, time, classes], received {target!r} and "
            f"{output!r}"
        )


@public_op(weak=False)
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Tensor:
    """Minus the log probability of the labels, summed over all ways to place them in time: [batch].

    Args:
        target: [batch, labels] classes, of which the first ``target_length`` count.
        output: [batch, time, classes] logits, of which the first ``output_length`` steps count.
        mask_index: the class of "no label".
    """
    labels = as_tensor(target, "int32")
    logits = as_tensor(output)
    logits = cast(logits, promoted(logits.dtype, "float32"))
    _check(labels, logits)
    batch, _, _ = b.shape_of(logits)
    labels = match_shape(labels, (batch, b.shape_of(labels)[1]), "ctc_loss: target and output must have one batch size")
    lengths, steps = (
        _per_sample(t, batch, n) for t, n in ((target_length, "target_length"), (output_length, "output_length"))
    )
    states = _with_blanks(labels, mask_index)  # [batch, 2 * labels + 1]
    time = b.shape_of(logits)[1]
    logs = emit("log_softmax", logits, axis=2)
    wide = b.spread(states, (batch, time, b.shape_of(states)[1]), (0, 2))
    scores = b.transpose(elements_along(logs, wide, 2), (1, 0, 2))  # [time, batch, states]
    alpha = _forward(scores, _skippable(states, mask_index), steps)
    ends = [b.multiply(lengths, 2), b.subtract(b.multiply(lengths, 2), 1)]
    last, before = (_at_state(alpha, place) for place in ends)
    nothing = b.compare("EQ", lengths, 0)
    before = b.select(nothing, _NEVER, before)
    return emit("negate", emit("logaddexp", last, before))


def _per_sample(x: Any, batch: Any, name: str) -> Tensor:
    tensor = as_tensor(x, "int32")
    if tensor.ndim != 1:
        raise ShapeError(f"ctc_loss: expected {name} of rank 1, one for each sample; received {tensor!r}")
    return match_shape(tensor, (batch,), f"ctc_loss: {name}")


def _with_blanks(labels: Tensor, blank: int) -> Tensor:
    """Blank, label, blank, label ... blank."""
    batch, count = b.shape_of(labels)
    wide = b.pad_with(b.reshape(labels, (batch, count, 1)), blank, (0, 0, 1), (0, 0, 0))
    return b.pad_with(b.reshape(wide, (batch, 2 * count)), blank, (0, 0), (0, 1))


def _skippable(states: Tensor, blank: int) -> Tensor:
    """Whether a state may be entered from two states before: a label that is not the same again."""
    size = b.shape_of(states)[1]
    differs = b.compare("NE", b.cut(states, 1, 2, size), b.cut(states, 1, 0, size - 2))
    differs = b.pad_with(differs, False, (0, 2), (0, 0))
    return emit("and", differs, b.compare("NE", states, blank))


def _shifted(x: Tensor, by: int) -> Tensor:
    """Each state gets what the one ``by`` before it has."""
    return b.cut(b.pad_with(x, _NEVER, (0, by), (0, 0)), 1, 0, b.shape_of(x)[1])


def _forward(scores: Tensor, skippable: Tensor, steps: Tensor) -> Tensor:
    """The log probabilities of being in each state after the last step that counts."""
    time, batch, size = b.shape_of(scores)
    first = b.compare("LT", b.iota((batch, size), 1), 2)
    start = b.select(first, b.reshape(b.cut(scores, 0, 0, 1), (batch, size)), _NEVER)

    def step(alpha: Tensor, x: Any) -> tuple[Tensor, None]:
        score, index = x
        one = emit("logaddexp", alpha, _shifted(alpha, 1))
        two = emit("logaddexp", one, b.select(skippable, _shifted(alpha, 2), _NEVER))
        counts = b.compare("LT", stretch(index, (batch,)), steps)
        return b.select(b.spread(counts, (batch, size), (0,)), b.add(two, score), alpha), None

    rest = b.cut(scores, 0, 1, time)
    numbers = b.add(b.iota((time - 1,), 0), 1)
    return scan.traced(step, start, (rest, numbers))[0]


def _at_state(alpha: Tensor, place: Tensor) -> Tensor:
    batch = b.shape_of(alpha)[0]
    inside = emit("maximum", place, b.like(place, 0))
    return b.reshape(elements_along(alpha, b.reshape(inside, (batch, 1)), 1), (batch,))


@public_op(weak=False)
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Tensor, Tensor]:
    """The likeliest class of each step, repetitions merged and blanks left out.

    Args:
        inputs: [batch, time, classes] scores.
        sequence_lengths: how many steps of each sample count.
        strategy: ``"greedy"``.

    Returns:
        [1, batch, time] classes, -1 behind the last; and [batch, 1] minus the sum of the scores.
    """
    if strategy != "greedy":
        raise ArgumentError(
            f"ctc_decode: expected strategy 'greedy', received {strategy!r}; beam search is not available"
        )
    scores = as_tensor(inputs)
    if scores.ndim != 3:
        raise ShapeError(f"ctc_decode: expected inputs [batch, time, classes], received {scores!r}")
    batch, time, _ = b.shape_of(scores)
    lengths = match_shape(as_tensor(sequence_lengths, "int32"), (batch,), "ctc_decode: sequence_lengths")
    classes = emit("argmax", scores, axis=2)
    best = b.reduce("reduce_max", scores, (2,))
    over = b.compare("GE", b.iota((batch, time), 1), b.spread(lengths, (batch, time), (0,)))
    classes, best = b.select(over, mask_index, classes), b.select(over, 0, best)
    if merge_repeated:
        again = b.compare("EQ", b.cut(classes, 1, 1, time), b.cut(classes, 1, 0, time - 1))
        classes = b.select(b.pad_with(again, False, (0, 1), (0, 0)), mask_index, classes)
    blank = b.compare("EQ", classes, mask_index)
    # Stable order: what is kept first, blanks behind.
    places = order(cast(blank, "int32"), 1)
    kept = elements_along(b.select(blank, -1, classes), places, 1)
    total = emit("negate", b.reduce("reduce_sum", best, (1,)))
    return b.reshape(kept, (1, batch, time)), b.reshape(total, (batch, 1))
