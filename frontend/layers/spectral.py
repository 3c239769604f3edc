"""``SpectralNormalization``: a layer whose kernel is kept at spectral norm 1."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError
from .. import ops
from ..initializers import TruncatedNormal
from ..input_spec import InputSpec
from ..registry import builtin
from .recurrent.wrapper import Wrapper


@builtin("keras.layers")
class SpectralNormalization(Wrapper):
    """In training, the kernel of a layer is divided by its greatest singular value (arXiv:1802.05957).

    That value is estimated by power iteration, which goes on from call to call: the weight ``vector_u`` keeps the
    singular vector found so far. Kernels with more than two axes count as matrices with the last axis as columns.

    Args:
        layer: a layer with a weight ``kernel`` or ``embeddings``.
        power_iterations: steps of the iteration in a call.
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self._keep(power_iterations=self._positive("power_iterations", power_iterations))

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside, and make the singular vector."""
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ArgumentError(
                f"{self._who}: expected layer to have a weight 'kernel' or 'embeddings', received a "
                f"{type(self.layer).__name__}"
            )
        self.kernel: Any = kernel
        self.vector_u = self.add_weight(
            name="vector_u",
            shape=(1, kernel.shape[-1]),
            initializer=TruncatedNormal(stddev=0.02),
            trainable=False,
            dtype=kernel.dtype,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Apply the layer; in training its kernel is normalized before."""
        if training:
            vector, kernel = self._normalized()
            known = ops.any(ops.not_equal(self.kernel.value, 0))  # a kernel of zeros has no direction: it stays
            self.vector_u.assign(ops.where(known, vector, self.vector_u.value))
            self.kernel.assign(ops.where(known, kernel, self.kernel.value))
        return ops.cast(self.layer(inputs), inputs.dtype)

    def _normalized(self) -> tuple[Any, Any]:
        """The singular vector after some more iterations, and the kernel divided by the singular value."""
        kernel = self.kernel.value
        matrix = ops.reshape(kernel, (-1, self.kernel.shape[-1]))
        right = self.vector_u.value
        for _ in range(self.power_iterations):
            left = ops.normalize(ops.matmul(right, ops.transpose(matrix)), axis=None)
            right = ops.normalize(ops.matmul(left, matrix), axis=None)
        left, right = ops.stop_gradient(left), ops.stop_gradient(right)
        size = ops.matmul(ops.matmul(left, matrix), ops.transpose(right))
        return right, ops.reshape(ops.divide(kernel, size), self.kernel.shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the layer inside."""
        return self.layer.compute_output_shape(input_shape)
