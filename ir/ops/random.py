"""Ops: random. Counter-based bits: threefry as JAX has it, and a cheaper hash for dropout.

``dropout_bits`` is made for targets without unsigned arithmetic: it needs wrapping 32-bit multiplication and addition,
xor, and logical right shifts (an arithmetic shift and a mask). With ``mix(x)``::

    x ^= x >> 17;  x *= MIX[0];  x ^= x >> 11;  x *= MIX[1];  x ^= x >> 15;  x *= MIX[2];  x ^= x >> 14

the seed becomes two keys, once and on scalars; this is a bijection of the 64 bits::

    k0 = mix(seed[0] ^ SEED_SALT);  k1 = mix(seed[1] ^ k0);  k0 = mix(k0 + k1);  k1 = mix(k1 ^ k0)

and the bits of the element at row-major position ``i`` are ``mix(i ^ k0)`` with ``x += k1`` put after the first
multiplication.
Constants and shifts of ``mix`` are those of triple32 (C. Wellons, "Prospecting for Hash Functions", 2018).

A key (or seed) is two words, the last dimension of its operand. Dimensions before it are those of a batch of keys: each
gives the bits that it would give alone, and the result has these dimensions first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..batching import rules as batching
from ..derivatives import rules
from ..dims import DimLike
from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import UI32, TensorType, bit_width, is_unsigned, static_shape
from .checks import operand_count

MIX = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
MIX_SHIFTS = (17, 11, 15, 14)
SEED_SALT = 0x9E3779B9

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _random(name: str, meaning: str, infer: Any, evaluate: Any, **attributes: Attribute) -> OpDef:
    """Declare an op on keys: it has no derivative to speak of, and a batch of keys is nothing new to it."""
    return declare(OpDef(name, meaning, infer, evaluate, attributes, jvp=rules.constant, batch=batching.elementwise))


def _batch_of(call: Call, key: TensorType) -> tuple[DimLike, ...]:
    """The dimensions of a batch of keys. Raises where the type is not that of keys."""
    if key.dtype != UI32 or not key.rank or key.shape[-1] != 2:
        raise (DTypeError if key.dtype != UI32 else ShapeError)(
            f"{call.op.name}: expected ui32[2], received {key}; a batch of keys is ui32[...,2]"
        )
    return key.shape[:-1]


def _each_key(rule: Callable[[Call, np.ndarray], np.ndarray]) -> Callable[[Call, np.ndarray], np.ndarray]:
    """Evaluation of a batch of keys from that of one."""

    def evaluate(call: Call, keys: np.ndarray) -> np.ndarray:
        if keys.ndim == 1:
            return rule(call, keys)
        type_ = call.result_types[0]
        results = [rule(call, key) for key in keys.reshape(-1, 2)]
        return np.array(results, type_.dtype).reshape(static_shape(type_))

    return evaluate


def threefry2x32(key: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Threefry-2x32 block cipher with 20 rounds (Salmon et al., "Parallel Random Numbers", 2011).

    Args:
        key: uint32[2], or uint32[2, ...] with one key for each counter.
        high, low: the counters, uint32 arrays of one shape.

    Returns:
        Two uint32 arrays of that shape.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):  # arithmetic modulo 2**32 is meant
        a, b = high + keys[0], low + keys[1]
        for block in range(5):
            for rotation in ROTATIONS[block % 2]:
                a = a + b
                b = a ^ (b << np.uint32(rotation) | b >> np.uint32(32 - rotation))
            a = a + keys[(block + 1) % 3]
            b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def _blocks(key: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two words for each element of ``shape``, whose counter is its row-major position."""
    positions = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64).reshape(shape)
    return threefry2x32(key, (positions >> np.uint64(32)).astype(np.uint32), positions.astype(np.uint32))


def _infer_bits(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    batch = _batch_of(call, types[0])
    if not is_unsigned(call["dtype"]) or bit_width(call["dtype"]) < 8:
        raise DTypeError(f"threefry_bits: dtype should be ui8, ui16, ui32 or ui64, received {call['dtype']}")
    return TensorType(call["dtype"], (*batch, *call["shape"]))


def _evaluate_bits(call: Call, key: np.ndarray) -> np.ndarray:
    first, second = _blocks(key, call["shape"])
    if bit_width(call["dtype"]) == 64:
        return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
    return (first ^ second).astype(call["dtype"])  # the low bits


THREEFRY_BITS = _random(
    "threefry_bits",
    "Random bits of a key (jax.random.bits with the partitionable Threefry-2x32)",
    _infer_bits,
    _each_key(_evaluate_bits),
    shape=Attribute("dims"),
    dtype=Attribute("dtype", UI32),
)


def _infer_split(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    batch = _batch_of(call, types[0])
    if call["count"] < 0:
        raise ArgumentError(f"threefry_split: count should be at least 0, received {call['count']}")
    return TensorType(UI32, (*batch, call["count"], 2))


THREEFRY_SPLIT = _random(
    "threefry_split",
    "New keys from a key (jax.random.split)",
    _infer_split,
    _each_key(lambda call, key: np.stack(_blocks(key, (call["count"],)), axis=-1)),
    count=Attribute("int", 2),
)


def _infer_fold_in(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 2)
    key, data = types
    expected = TensorType(UI32, _batch_of(call, key))
    if data != expected:
        raise (DTypeError if data.dtype != UI32 else ShapeError)(
            f"threefry_fold_in: expected {key}, {expected}, received {key}, {data}"
        )
    return key


def _evaluate_fold_in(call: Call, key: np.ndarray, data: np.ndarray) -> np.ndarray:
    return np.stack(threefry2x32(np.moveaxis(key, -1, 0), np.zeros_like(data), data), axis=-1)


THREEFRY_FOLD_IN = _random(
    "threefry_fold_in", "A new key from a key and an integer (jax.random.fold_in)", _infer_fold_in, _evaluate_fold_in
)


def _mix(x: np.ndarray, addend: np.ndarray | int = 0) -> np.ndarray:
    shifts = [np.uint32(shift) for shift in MIX_SHIFTS]
    x = (x ^ x >> shifts[0]) * np.uint32(MIX[0]) + np.asarray(addend, np.uint32)
    x = (x ^ x >> shifts[1]) * np.uint32(MIX[1])
    x = (x ^ x >> shifts[2]) * np.uint32(MIX[2])
    return x ^ x >> shifts[3]


def dropout_keys(seed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two keys of :func:`dropout_hash`: a bijection of the seed, uint32[2]."""
    with np.errstate(over="ignore"):
        k0 = _mix(seed[0] ^ np.uint32(SEED_SALT))
        k1 = _mix(seed[1] ^ k0)
        k0 = _mix(k0 + k1)
        k1 = _mix(k1 ^ k0)
    return k0, k1


def dropout_hash(seed: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The random bits, uint32, of elements at row-major ``positions`` (uint32 array) under ``seed`` (uint32[2])."""
    k0, k1 = dropout_keys(seed)
    with np.errstate(over="ignore"):
        return _mix(positions ^ k0, k1)


def _infer_dropout_bits(call: Call, *types: TensorType) -> TensorType:
    operand_count(call, types, 1)
    return TensorType(UI32, (*_batch_of(call, types[0]), *call["shape"]))


def _evaluate_dropout_bits(call: Call, seed: np.ndarray) -> np.ndarray:
    positions = np.arange(np.prod(call["shape"], dtype=np.int64), dtype=np.uint64).astype(np.uint32)
    return dropout_hash(seed, positions).reshape(call["shape"])


DROPOUT_BITS = _random(
    "dropout_bits",
    "Random bits: a hash of the seed and each element's row-major position modulo 2**32 (defined in ir/ops/random.py)",
    _infer_dropout_bits,
    _each_key(_evaluate_dropout_bits),
    shape=Attribute("dims"),
)
