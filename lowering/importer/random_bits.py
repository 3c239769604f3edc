"""The rule of ``rng_bit_generator``: Threefry and Philox, with the order of counters and words that XLA has.

The specification names the algorithms, and XLA (xla/hlo/builder/lib/prng.cc) decides how elements are numbered: results
are equal bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...ir.builder import Builder
from ...ir.errors import UnsupportedError
from ...ir.graph import Value
from ...ir.types import UI32, bit_width, element_type, static_shape
from ..expansions import threefry
from .reading import Source
from .scope import Rule, Scope

UI64 = element_type("ui64")
_PHILOX_FACTORS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_STEPS = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10


def rng_bit_generator(s: Scope, op: Source, state: Value) -> Sequence[Value]:
    """The next state, and bits of the result's type."""
    dtype, shape = op.dtype(1), op.shape(1)
    width = bit_width(dtype)
    algorithm = op.enum("rng_algorithm")
    if None in shape or state.dtype != UI64 or state.rank != 1 or width < 8:
        raise UnsupportedError(
            f"{op.name}: expected a state of ui64 and a result of a static shape, received {state.type}"
        )
    words = [_element(s.b, state, i) for i in range(static_shape(state.type)[0])]
    rule = _threefry_bits if algorithm == "THREE_FRY" else _philox_bits  # XLA's default on the CPU
    bits, counter = rule(s.b, words[0], words[1:], shape, width)  # type: ignore[arg-type]
    unsigned = element_type(f"ui{width}")
    bits = s.b.astype(bits, unsigned)
    result = bits if dtype == unsigned else s.b.bitcast_convert(bits, dtype=dtype)
    parts = [s.b.reshape(w, shape=(1,)) for w in (words[0], *counter)]
    return s.b.concatenate(*parts, axis=0), result


def _element(b: Builder, vector: Value, place: int) -> Value:
    return b.reshape(b.slice(vector, start=(place,), limit=(place + 1,), strides=(1,)), shape=())


def _halves(b: Builder, x: Value) -> tuple[Value, Value]:
    """The low and the high word."""
    return b.astype(x, UI32), b.astype(b.shift_right_logical(x, b.full_like(x, 32)), UI32)


def _joined(b: Builder, low: Value, high: Value) -> Value:
    wide = b.astype(high, UI64)
    return b.or_(b.astype(low, UI64), b.shift_left(wide, b.full_like(wide, 32)))


def _threefry_bits(
    b: Builder, key: Value, counter: Sequence[Value], shape: Sequence[int], width: int
) -> tuple[Value, list[Value]]:
    """Wide elements take both words of a counter; others are side by side along an axis that is halved."""
    if width == 64:
        first, second, after = _threefry_words(b, key, counter[0], shape)
        return _joined(b, first, second), [after]
    if not shape:
        first, _, after = _threefry_words(b, key, counter[0], (1,))
        return b.reshape(first, shape=()), [after]
    even = [i for i, d in enumerate(shape) if d % 2 == 0]
    axis = even[0] if even else max(range(len(shape)), key=lambda i: shape[i])
    half = -(-shape[axis] // 2)
    first, second, after = _threefry_words(b, key, counter[0], (*shape[:axis], half, 1, *shape[axis + 1 :]))
    both = b.concatenate(first, second, axis=axis + 1)
    both = b.reshape(both, shape=(*shape[:axis], 2 * half, *shape[axis + 1 :]))
    return b.slice(both, start=(0,) * len(shape), limit=tuple(shape), strides=(1,) * len(shape)), [after]


def _threefry_words(b: Builder, key: Value, counter: Value, shape: Sequence[int]) -> tuple[Value, Value, Value]:
    count = math.prod(shape)
    places = b.reshape(b.iota(dtype=UI64, shape=(count,), axis=0), shape=tuple(shape))
    counters = b.add(places, b.broadcast_to(counter, places.shape))
    keys = [b.broadcast_to(word, places.shape) for word in _halves(b, key)]
    low, high = _halves(b, counters)
    first, second = threefry(b, keys, low, high)
    return first, second, b.add(counter, b.full_like(counter, count))


def _philox_bits(
    b: Builder, key: Value, counter: Sequence[Value], shape: Sequence[int], width: int
) -> tuple[Value, list[Value]]:
    """Four words of each counter in turn; wide elements take two. A state without the counter's high word has the key
    in its place."""
    count = math.prod(shape)
    low, high = (*counter, key)[:2]
    blocks = -(-count * (2 if width == 64 else 1) // 4)
    places = b.iota(dtype=UI64, shape=(blocks,), axis=0)
    words = [w for part in _add_wide(b, low, high, places) for w in _halves(b, part)]
    words = _philox(b, words, list(_halves(b, key)))
    if width == 64:
        words = [_joined(b, words[0], words[1]), _joined(b, words[2], words[3])]
    columns = [b.reshape(w, shape=(blocks, 1)) for w in words]
    flat = b.reshape(b.concatenate(*columns, axis=1), shape=(blocks * len(words),))
    result = b.reshape(b.slice(flat, start=(0,), limit=(count,), strides=(1,)), shape=tuple(shape))
    after = _add_wide(b, low, high, b.full_like(low, blocks))
    return result, after[: len(counter)]


def _add_wide(b: Builder, low: Value, high: Value, x: Value) -> list[Value]:
    """A number of two words plus one of one word, element by element."""
    low, high = b.broadcast_to(low, x.shape), b.broadcast_to(high, x.shape)
    total = b.add(low, x)
    carry = b.astype(b.compare(total, low, direction="LT"), UI64)
    return [total, b.add(high, carry)]


def _philox(b: Builder, words: Sequence[Value], key: list[Value]) -> list[Value]:
    """Philox-4x32 with 10 rounds (Salmon et al. 2011)."""
    x = list(words)
    for turn in range(_PHILOX_ROUNDS):
        if turn:
            key = [b.add(k, b.full_like(k, np.uint32(step))) for k, step in zip(key, _PHILOX_STEPS)]
        (low0, high0), (low1, high1) = (_product(b, x[2 * i], factor) for i, factor in enumerate(_PHILOX_FACTORS))
        first, second = (b.broadcast_to(k, x[0].shape) for k in key)
        x = [b.xor(b.xor(high1, x[1]), first), low1, b.xor(b.xor(high0, x[3]), second), low0]
    return x


def _product(b: Builder, x: Value, factor: int) -> tuple[Value, Value]:
    """Both words of a product."""
    wide = b.astype(x, UI64)
    return _halves(b, b.multiply(wide, b.full_like(wide, np.uint64(factor))))


RULES: dict[str, Rule] = {"stablehlo.rng_bit_generator": rng_bit_generator}
