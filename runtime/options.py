"""The options that XLA compiles programs with, beside its own defaults."""

from __future__ import annotations

import os
from functools import cache
from types import MappingProxyType

import jaxlib

_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
# XLA of jaxlib 0.10 gives a convolution on the CPU to YNNPACK by itself, which runs it on one core. Without that it is
# XLA's own, on all cores: 1.7 times as fast on two. Products, and graphs that end in a reduction, stay YNNPACK's.
_CPU = MappingProxyType({_YNNPACK: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"})


@cache
def compiler_options(platform: str) -> MappingProxyType[str, str]:
    """Options for ``jax.jit(..., compiler_options=...)`` of programs on ``platform``, by XLA's names.

    They were measured with one release of XLA and are for that one. What ``XLA_FLAGS`` says of an option stands.
    """
    measured = jaxlib.__version__.startswith("0.10.")
    if platform != "cpu" or not measured or _YNNPACK in os.environ.get("XLA_FLAGS", ""):
        return MappingProxyType({})
    return _CPU


def is_refusal(error: BaseException) -> bool:
    """Whether jax says that a function with options was called inside another ``jax.jit``, whose own options count."""
    return isinstance(error, ValueError) and "compiler_options" in str(error) and "top-level" in str(error)
