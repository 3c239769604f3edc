"""EinsumDense: a dense layer whose product is given as an einsum equation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..initializers import VarianceScaling
from ..input_spec import InputSpec
from ..keras_tensor import KerasTensor
from ..registry import builtin
from .base import BuiltinLayer
from .core import _refuse

_FORM = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


@builtin("keras.layers")
class EinsumDense(BuiltinLayer):
    """``activation(einsum(equation, x, kernel) + bias)``.

    Args:
        equation: ``"ab,bc->ac"``, ``"...b,bc->...c"`` or ``"ab...,bc->ac..."``; the first axis is the batch.
        output_shape: the output's shape without the batch and the axes that ``...`` stands for; None for open axes.
        activation: function or name; None for none.
        bias_axes: letters of the output along which the bias varies; None for no bias.
        kernel_initializer: first values of the kernel, whose axes are the equation's second term.
        bias_initializer: first values of the bias.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each training step.
        bias_constraint: projection of the bias.
        lora_rank: not supported; None.
        lora_alpha: not supported; None.
        gptq_unpacked_column_size: not supported; None.
        quantization_config: not supported; None.
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _refuse(
            self,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            gptq_unpacked_column_size=gptq_unpacked_column_size,
            quantization_config=quantization_config,
        )
        self._keep(
            equation=equation,
            activation=activation,
            bias_axes=bias_axes,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=self.activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            quantization_config=None,
        )
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)

    def build(self, input_shape: Any) -> None:
        """Make the kernel and the bias, of the shapes that the equation gives them."""
        plan = self._plan(input_shape)
        initializer = self.kernel_initializer
        if isinstance(initializer, VarianceScaling) and None in (initializer.input_axes, initializer.output_axes):
            axes = {"input_axes": plan.input_axes, "output_axes": plan.output_axes, "seed": initializer.seed}
            initializer = type(initializer).from_config({**initializer.get_config(), **axes})
        self.kernel = self.add_weight(
            name="kernel",
            shape=plan.kernel,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = (
            self.add_weight(
                name="bias",
                shape=plan.bias,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
            if plan.bias is not None
            else None
        )
        self.input_spec = InputSpec(ndim=len(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """``inputs`` with the axes of the equation's first term to those of its result."""
        outputs = ops.einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The batch, ``output_shape``, and the axes that ``...`` stands for."""
        return self._plan(input_shape).output

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """Symbolic outputs; axes that ``output_shape`` leaves open are open, as in Keras."""
        return KerasTensor(self.compute_output_shape(inputs.shape), super().compute_output_spec(inputs).dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "output_shape": self.partial_output_shape}

    def _plan(self, input_shape: Any) -> _Plan:
        try:
            return _plan(self.equation, self.bias_axes, tuple(input_shape), self.partial_output_shape)
        except (ArgumentError, ShapeError) as error:
            raise type(error)(f"{self._who}: {error}") from None


@dataclass(frozen=True)
class _Plan:
    """Shapes of kernel, bias (None: there is none) and output; which of the kernel's axes are inputs, and outputs."""

    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None
    output: tuple[int | None, ...]
    input_axes: list[int]
    output_axes: list[int]


def _plan(equation: str, bias_axes: str | None, given: tuple, wanted: tuple) -> _Plan:
    """What the equation makes of an input of shape ``given``; ``wanted`` is the constructor's ``output_shape``."""
    source, kernel, result, left, right = _terms(equation)
    elided = len(given) - len(source)
    if elided < 0 or (elided and not (left or right)):
        raise ShapeError(f"equation {equation!r} takes {len(source)} axes, received inputs of shape {given}")
    # ``wanted`` has neither the batch nor what the dots stand for.
    output = (*given[: max(elided, 1) if left else 1], *wanted, *(given[len(given) - elided :] if right else ()))
    hidden = elided if left else 0
    if len(output) != len(result) + elided:
        raise ShapeError(
            f"equation {equation!r} makes {len(result) + elided} axes of inputs of shape {given}, "
            f"but output_shape={wanted} gives {len(output)}: {output}"
        )
    sizes = dict(zip(source, given[hidden:], strict=False))
    made = dict(zip(result, output[hidden:], strict=False))
    for letter in source:
        if letter in made and made[letter] not in (None, sizes[letter]):
            raise ShapeError(
                f"axis {letter!r} of equation {equation!r} is {sizes[letter]} in inputs of shape {given}, but "
                f"{made[letter]} by output_shape={wanted}"
            )
    known = {**sizes, **{letter: size for letter, size in made.items() if size is not None or letter not in sizes}}
    lost = set(result) - set(source) - set(kernel)
    if lost:
        raise ArgumentError(f"axis {min(lost)!r} of the result of equation {equation!r} is in neither operand")
    bias = None if bias_axes is None else _bias_shape(equation, bias_axes, result, made, 0 if left else elided)
    return _Plan(
        tuple(_kernel_size(letter, equation, known, given, wanted) for letter in kernel),
        bias,
        output,
        [i for i, letter in enumerate(kernel) if letter not in made],
        [i for i, letter in enumerate(kernel) if letter in made],
    )


def _terms(equation: str) -> tuple[str, str, str, bool, bool]:
    """Letters of input, kernel and result, and whether dots stand left and right of the input's and the result's."""
    match = _FORM.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
    if match is not None:
        left, source, right, kernel, result_left, result, result_right = match.groups()
        if left == result_left and right == result_right and not (left and right):
            return source, kernel, result, bool(left), bool(right)
    raise ArgumentError(
        f"expected an equation such as 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...', received {equation!r}"
    )


def _kernel_size(letter: str, equation: str, sizes: dict[str, Any], given: tuple, wanted: tuple) -> int:
    if letter not in sizes:
        raise ArgumentError(f"axis {letter!r} of the kernel in equation {equation!r} is in neither input nor result")
    if sizes[letter] is None:
        raise ShapeError(
            f"the kernel needs the size of axis {letter!r} of equation {equation!r}, which neither inputs of shape "
            f"{given} nor output_shape={wanted} gives"
        )
    return sizes[letter]


def _bias_shape(equation: str, bias_axes: str, result: str, made: dict[str, Any], trailing: int) -> tuple[int, ...]:
    """The result's shape from the first of ``bias_axes`` on, 1 along axes that are not among them."""
    for letter in bias_axes:
        if letter not in result:
            raise ArgumentError(
                f"bias_axes={bias_axes!r}: {letter!r} is no axis of the result of equation {equation!r}"
            )
        if made[letter] is None:
            raise ShapeError(f"bias_axes={bias_axes!r}: output_shape does not give the size of axis {letter!r}")
    first = min(result.index(letter) for letter in bias_axes)
    return (*(made[letter] if letter in bias_axes else 1 for letter in result[first:]), *[1] * trailing)
