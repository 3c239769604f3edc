"""Rules of the random bits, which are those of every other target."""

from __future__ import annotations

import numpy as np

from ...ir.graph import Node
from ...ir.types import bit_width
from ..source import Rule
from .elementwise import converted
from .writer import TorchWriter

_UI32 = np.dtype(np.uint32)


def dropout_bits(writer: TorchWriter, node: Node, seed: str) -> str:
    """The hash of ir/ops/random.py."""
    return f"{writer.helper('dropout_bits')}({seed}, {_sizes(writer, node.attributes['shape'])})"


def _sizes(writer: TorchWriter, shape: tuple) -> str:
    """A list of integers, which TorchScript can't tell from an empty one."""
    return writer.shape(shape) if shape else "torch.jit.annotate(List[int], [])"


def threefry_bits(writer: TorchWriter, node: Node, key: str) -> str:
    """``jax.random.bits``."""
    first, second = writer.fresh("high"), writer.fresh("low")
    sizes = _sizes(writer, node.attributes["shape"])
    writer.line(f"{first}, {second} = {writer.helper('threefry_words')}({key}, {sizes})")
    dtype = node.result.dtype
    if bit_width(dtype) == 64:
        return f"({first} << 32) | {second}"
    return converted(writer, f"({first} ^ {second})", _UI32, dtype)


def threefry_split(writer: TorchWriter, node: Node, key: str) -> str:
    """``jax.random.split``."""
    first, second = writer.fresh("high"), writer.fresh("low")
    writer.line(f"{first}, {second} = {writer.helper('threefry_words')}({key}, [{node.attributes['count']}])")
    return f"torch.stack([{first}, {second}], -1)"


def threefry_fold_in(writer: TorchWriter, node: Node, key: str, data: str) -> str:
    """``jax.random.fold_in``."""
    first, second = writer.fresh("high"), writer.fresh("low")
    data = writer.assign(f"{data}.unsqueeze(-1)", "data")
    writer.line(f"{first}, {second} = {writer.helper('threefry')}({key}, torch.zeros_like({data}), {data})")
    return f"torch.cat([{first}, {second}], -1)"


RULES: dict[str, Rule] = {
    "dropout_bits": dropout_bits,
    "threefry_bits": threefry_bits,
    "threefry_split": threefry_split,
    "threefry_fold_in": threefry_fold_in,
}
