"""Ops: random. Counter-based bits: threefry as JAX has it, and a cheaper hash for dropout.

``dropout_bits`` is made for targets without unsigned arithmetic: it needs wrapping 32-bit multiplication and addition,
xor, and logical right shifts (an arithmetic shift and a mask). With ``mix(x)``::

    x ^= x >> 17;  x *= MIX[0];  x ^= x >> 11;  x *= MIX[1];  x ^= x >> 15;  x *= MIX[2];  x ^= x >> 14

the seed becomes two keys, once and on scalars; this is a bijection of the 64 bits::

    k0 = mix(seed[0] ^ SEED_SALT);  k1 = mix(seed[1] ^ k0);  k0 = mix(k0 + k1);  k1 = mix(k1 ^ k0)

and the bits of the element at row-major position ``i`` are ``mix(i ^ k0)`` with ``x += k1`` put after the first
multiplication.
Constants and shifts of ``mix`` are those of triple32 (C. Wellons, "Prospecting for Hash Functions", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..opdef import Attribute, Call, OpDef, declare
from ..types import UI32, TensorType, bit_width, is_unsigned
from .checks import operand_count

MIX = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
MIX_SHIFTS = (17, 11, 15, 14)
SEED_SALT = 0x9E3779B9

_KEY = TensorType(UI32, (2,))
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _check_operands(call: Call, types: Sequence[TensorType], *expected: TensorType) -> None:
    operand_count(call, types, len(expected))
    for received, wanted in zip(types, expected, strict=True):
        if received != wanted:
            raise (DTypeError if received.dtype != wanted.dtype else ShapeError)(
                f"{call.op.name}: expected {', '.join(map(str, expected))}, received {', '.join(map(str, types))}"
            )


def threefry2x32(key: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Threefry-2x32 block cipher with 20 rounds (Salmon et al., "Parallel Random Numbers", 2011).

    Args:
        key: uint32[2].
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
    _check_operands(call, types, _KEY)
    if not is_unsigned(call["dtype"]) or bit_width(call["dtype"]) < 8:
        raise DTypeError(f"threefry_bits: dtype should be ui8, ui16, ui32 or ui64, received {call['dtype']}")
    return TensorType(call["dtype"], call["shape"])


def _evaluate_bits(call: Call, key: np.ndarray) -> np.ndarray:
    first, second = _blocks(key, call["shape"])
    if bit_width(call["dtype"]) == 64:
        return first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
    return (first ^ second).astype(call["dtype"])  # the low bits


THREEFRY_BITS = declare(
    OpDef(
        "threefry_bits",
        "Random bits of a key (jax.random.bits with the partitionable Threefry-2x32)",
        _infer_bits,
        _evaluate_bits,
        {"shape": Attribute("dims"), "dtype": Attribute("dtype", UI32)},
    )
)


def _infer_split(call: Call, *types: TensorType) -> TensorType:
    _check_operands(call, types, _KEY)
    if call["count"] < 0:
        raise ArgumentError(f"threefry_split: count should be at least 0, received {call['count']}")
    return TensorType(UI32, (call["count"], 2))


THREEFRY_SPLIT = declare(
    OpDef(
        "threefry_split",
        "New keys from a key (jax.random.split)",
        _infer_split,
        lambda call, key: np.stack(_blocks(key, (call["count"],)), axis=-1),
        {"count": Attribute("int", 2)},
    )
)


def _infer_fold_in(call: Call, *types: TensorType) -> TensorType:
    _check_operands(call, types, _KEY, TensorType(UI32))
    return _KEY


THREEFRY_FOLD_IN = declare(
    OpDef(
        "threefry_fold_in",
        "A new key from a key and an integer (jax.random.fold_in)",
        _infer_fold_in,
        lambda call, key, data: np.stack(threefry2x32(key, np.zeros_like(data), data)),
    )
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
    _check_operands(call, types, _KEY)
    return TensorType(UI32, call["shape"])


def _evaluate_dropout_bits(call: Call, seed: np.ndarray) -> np.ndarray:
    positions = np.arange(np.prod(call["shape"], dtype=np.int64), dtype=np.uint64).astype(np.uint32)
    return dropout_hash(seed, positions).reshape(call["shape"])


DROPOUT_BITS = declare(
    OpDef(
        "dropout_bits",
        "Random bits: a hash of the seed and each element's row-major position modulo 2**32 (defined in "
        "ir/ops/random.py)",
        _infer_dropout_bits,
        _evaluate_dropout_bits,
        {"shape": Attribute("dims")},
    )
)
