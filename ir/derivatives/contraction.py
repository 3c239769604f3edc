"""Derivatives of ops that multiply and sum.

Both are bilinear; what remains is where a cotangent goes. That of a product is a product again, and that of a
convolution a single convolution:

- the input's: the result's cotangent (dilated by the strides) with the kernel run backwards, inputs and outputs of the
  kernel exchanged; groups stay groups, so that of a depthwise convolution is depthwise;
- the kernel's: the input with the result's cotangent as the kernel (in a transposed convolution the other way round),
  batch and features exchanged. Groups of features become groups of the batch (``batch_groups``), and the other way
  round: that of a depthwise convolution of C features has ``batch_groups=C`` on an input whose batch axis is C long.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import Builder
from ..dims import DimLike
from ..graph import Value
from ..opdef import Call, Linear
from ..ops.checks import dilated
from .rules import Tangent, bilinear, is_linear

__all__ = ["bilinear", "convolution_transpose", "dot_general_transpose"]

Operand = Value | Linear


# dot_general


def dot_general_transpose(
    b: Builder, call: Call, cotangent: Value | None, lhs: Operand, rhs: Operand
) -> tuple[Tangent, Tangent]:
    """The transpose of ``dot_general`` in one operand: a product of the cotangent and the other operand."""
    if cotangent is None:
        return None, None
    if isinstance(lhs, Linear):
        assert isinstance(rhs, Value)
        return _factor_cotangent(b, call, cotangent, lhs, rhs, "lhs", "rhs"), None
    assert isinstance(rhs, Linear)
    return None, _factor_cotangent(b, call, cotangent, rhs, lhs, "rhs", "lhs")


def _factor_cotangent(
    b: Builder, call: Call, cotangent: Value, target: Linear, other: Value, side: str, other_side: str
) -> Value:
    """The cotangent of the factor ``target``, which is on ``side``; ``other`` is the known one."""
    batch, contract = call[f"{side}_batch"], call[f"{side}_contract"]
    other_batch, other_contract = call[f"{other_side}_batch"], call[f"{other_side}_contract"]
    free = [i for i in range(target.rank) if i not in (*batch, *contract)]
    other_free = [i for i in range(other.rank) if i not in (*other_batch, *other_contract)]
    # The cotangent's axes: batch, those of the left factor, those of the right one.
    start, count = len(batch), len(free) if side == "lhs" else len(other_free)
    first, second = range(start, start + count), range(start + count, cotangent.rank)
    summed = tuple(second if side == "lhs" else first)
    kept = [contract[other_contract.index(axis)] for axis in sorted(other_contract)]
    other = b.astype(other, cotangent.dtype)
    given = {"batch": tuple(range(start)), "contract": summed}
    known = {"batch": other_batch, "contract": tuple(other_free)}
    # Whichever order gives the axes as the factor has them; else the cotangent comes first.
    if [*batch, *kept, *free] == list(range(target.rank)):
        product = _product(b, call, other, known, cotangent, given)
    else:
        product = _product(b, call, cotangent, given, other, known)
        axes = [*batch, *free, *kept]
        if axes != list(range(target.rank)):
            product = b.transpose(product, permutation=tuple(axes.index(i) for i in range(target.rank)))
    return b.astype(product, target.dtype)


def _product(
    b: Builder,
    call: Call,
    lhs: Value,
    lhs_axes: dict[str, tuple[int, ...]],
    rhs: Value,
    rhs_axes: dict[str, tuple[int, ...]],
) -> Value:
    return b.dot_general(
        lhs,
        rhs,
        lhs_batch=lhs_axes["batch"],
        rhs_batch=rhs_axes["batch"],
        lhs_contract=lhs_axes["contract"],
        rhs_contract=rhs_axes["contract"],
        precision=call["precision"],
    )


# convolution


def convolution_transpose(
    b: Builder, call: Call, cotangent: Value | None, x: Operand, w: Operand
) -> tuple[Tangent, Tangent]:
    """The transpose of ``convolution`` in its input or in its kernel: one convolution."""
    if cotangent is None or 0 in cotangent.shape:
        return None, None
    if is_linear(x):
        assert isinstance(x, Linear) and isinstance(w, Value)
        return _input_cotangent(b, call, cotangent, x, w), None
    assert isinstance(x, Value) and isinstance(w, Linear)
    return None, _kernel_cotangent(b, call, cotangent, x, w)


def _input_cotangent(b: Builder, call: Call, cotangent: Value, x: Linear, w: Value) -> Value:
    out_axis, in_axis, *window = call["rhs_spec"]
    reversal = call["reversal"] or (False,) * len(window)
    backwards = tuple(axis for axis, already in zip(window, reversal) if not already and w.shape[axis] != 1)
    kernel = b.astype(w, cotangent.dtype)
    kernel = b.reverse(kernel, axes=backwards) if backwards else kernel
    groups = call["feature_groups"] * call["batch_groups"]  # one of them is 1
    rhs_spec = (in_axis, out_axis, *window)
    if groups > 1:
        if w.shape[in_axis] == 1 and w.shape[out_axis] == groups:  # depthwise: an input is an output's only one
            rhs_spec = call["rhs_spec"]
        else:
            kernel = _regrouped(b, kernel, out_axis, in_axis, groups)
    padding = []
    for i, j, k, (low, _), stride, dilation, window_dilation in _spatial(call):
        out, window_size = dilated(cotangent.shape[k], stride), dilated(w.shape[j], window_dilation)
        padding.append((window_size - 1 - low, (x.shape[i] - 1) * dilation + 1 + low - out))
    result = b.convolution(
        cotangent,
        kernel,
        strides=call["lhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=call["strides"],
        rhs_dilation=call["rhs_dilation"],
        lhs_spec=call["out_spec"],
        rhs_spec=rhs_spec,
        out_spec=call["lhs_spec"],
        feature_groups=groups,
        precision=call["precision"],
    )
    if call["batch_groups"] > 1:
        result = _regrouped(b, result, call["lhs_spec"][1], call["lhs_spec"][0], groups)
    return b.astype(result, x.dtype)


def _kernel_cotangent(b: Builder, call: Call, cotangent: Value, x: Value, w: Linear) -> Value:
    input_, kernel = b.astype(x, cotangent.dtype), cotangent
    specs = (_exchanged(call["lhs_spec"]), _exchanged(call["out_spec"]), _exchanged(call["rhs_spec"]))
    dilations = call["lhs_dilation"], call["strides"]
    # Of a transposed convolution the larger one is the cotangent: it is the input, and the places come out backwards.
    turned = call["feature_groups"] == call["batch_groups"] == 1 and any(n > 1 for n in call["lhs_dilation"])
    if turned:
        input_, kernel, specs = kernel, input_, (specs[1], specs[0], call["rhs_spec"])
        dilations = dilations[::-1]
    padding = []
    for n, (i, j, k, (low, _), _, _, window_dilation) in enumerate(_spatial(call)):
        span = (w.shape[j] - 1) * window_dilation
        before = span - low if turned else low
        given = dilated(input_.shape[k if turned else i], dilations[0][n])
        window = dilated(kernel.shape[i if turned else k], dilations[1][n])
        padding.append((before, span + window - given - before))
    result = b.convolution(
        input_,
        kernel,
        strides=call["rhs_dilation"],
        padding=tuple(padding),
        lhs_dilation=dilations[0],
        rhs_dilation=dilations[1],
        lhs_spec=specs[0],
        rhs_spec=specs[1],
        out_spec=specs[2],
        feature_groups=call["batch_groups"],
        batch_groups=call["feature_groups"],
        precision=call["precision"],
    )
    reversal = call["reversal"] or (False,) * len(padding)
    backwards = tuple(
        axis for axis, reverse in zip(call["rhs_spec"][2:], reversal) if reverse != turned and w.shape[axis] != 1
    )
    return b.astype(b.reverse(result, axes=backwards) if backwards else result, w.dtype)


def _exchanged(spec: Sequence[int]) -> tuple[int, ...]:
    return (spec[1], spec[0], *spec[2:])


def _spatial(call: Call) -> list[tuple[int, int, int, tuple[DimLike, DimLike], int, int, int]]:
    """Of each spatial dimension: its axes of input, kernel and result, padding, stride and both dilations."""
    return list(
        zip(
            call["lhs_spec"][2:],
            call["rhs_spec"][2:],
            call["out_spec"][2:],
            call["padding"],
            call["strides"],
            call["lhs_dilation"],
            call["rhs_dilation"],
        )
    )


def _regrouped(b: Builder, x: Value, source: int, target: int, groups: int) -> Value:
    """Take the outer factor ``groups`` out of the axis ``source`` and make it the outer factor of ``target``."""
    shape = list(x.shape)
    split = [*shape[:source], groups, shape[source] // groups, *shape[source + 1 :]]
    order = [i for i in range(len(split)) if i != source]
    order.insert(order.index(target + (target > source)), source)
    shape[source] = shape[source] // groups
    shape[target] = shape[target] * groups
    return b.reshape(b.transpose(b.reshape(x, shape=split), permutation=tuple(order)), shape=shape)
