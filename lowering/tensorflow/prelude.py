"""What an emitted source calls beside TensorFlow, where TensorFlow has no op of that meaning.

The text of a function stands in each source that uses it; nobody imports this file. Regions (``body``, ``before`` ...)
are functions of scalars that work on whole tensors, and give a list.
"""

# mypy: ignore-errors
import math
from itertools import product

import tensorflow as tf

UNSIGNED = {1: tf.uint8, 2: tf.uint16, 4: tf.uint32, 8: tf.uint64}
SIGNED = {1: tf.int8, 2: tf.int16, 4: tf.int32, 8: tf.int64}


# Integers


def truncating_divide(x, y):
    """The quotient toward zero; all ones for x/0; INT_MIN/-1 wraps."""
    zero, one = tf.zeros_like(y), tf.ones_like(y)
    ones = tf.bitwise.invert(zero)  # -1 where there is a sign
    by_zero = y == zero
    by_ones = (y == ones) & (not y.dtype.is_unsigned)
    quotient = tf.truncatediv(x, tf.where(by_zero | by_ones, one, y))
    return tf.where(by_zero, ones, tf.where(by_ones, zero - x, quotient))


def truncating_remainder(x, y):
    """The remainder with the sign of x; x for x%0."""
    zero, one = tf.zeros_like(y), tf.ones_like(y)
    by_zero = y == zero
    by_ones = (y == tf.bitwise.invert(zero)) & (not y.dtype.is_unsigned)
    safe = tf.where(by_zero | by_ones, one, y)
    return tf.where(by_zero, x, tf.where(by_ones, zero, x - tf.truncatediv(x, safe) * safe))


def integer_power(x, y):
    """X to the y, wrapping; a negative exponent leaves 0, or the sign where |x| is 1."""
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    result, square, left = one, x, tf.maximum(y, zero)
    for _ in range(8 * x.dtype.size):
        result = tf.where(left & one == one, result * square, result)
        square, left = square * square, tf.bitwise.right_shift(left, one)
    sign = tf.where(x == zero - one, one - (y & one) * tf.constant(2, x.dtype), zero)
    return tf.where(y < zero, tf.where(x == one, one, sign), result)


def too_far(by):
    """Where a shift reaches the width, and the others."""
    width = tf.constant(8 * by.dtype.size, by.dtype)
    far = (by < tf.zeros_like(by)) | (by >= width)
    return far, tf.where(far, tf.zeros_like(by), by)


def shift_left(x, by):
    """X << by; zeros for by past the width."""
    far, by = too_far(by)
    return tf.where(far, tf.zeros_like(x), tf.bitwise.left_shift(x, by))


def shift_right_logical(x, by):
    """X >> by, zeros enter."""
    far, by = too_far(by)
    kind = UNSIGNED[x.dtype.size]
    shifted = tf.bitcast(tf.bitwise.right_shift(tf.bitcast(x, kind), tf.bitcast(by, kind)), x.dtype)
    return tf.where(far, tf.zeros_like(x), shifted)


def shift_right_arithmetic(x, by):
    """X >> by, sign bits enter."""
    far, by = too_far(by)
    kind = SIGNED[x.dtype.size]
    by = tf.where(far, tf.constant(8 * x.dtype.size - 1, x.dtype), by)
    return tf.bitcast(tf.bitwise.right_shift(tf.bitcast(x, kind), tf.bitcast(by, kind)), x.dtype)


def count_bits(x):
    """How many bits are set."""
    return tf.cast(tf.raw_ops.PopulationCount(x=x), x.dtype)


def count_leading_zeros(x):
    """How many zeros there are above the highest set bit."""
    width = 8 * x.dtype.size
    bits = tf.bitcast(x, UNSIGNED[x.dtype.size])
    step = 1
    while step < width:
        bits, step = bits | tf.bitwise.right_shift(bits, tf.constant(step, bits.dtype)), 2 * step
    return tf.constant(width, x.dtype) - tf.cast(tf.raw_ops.PopulationCount(x=bits), x.dtype)


def to_integer(x, dtype):
    """A float toward zero; the nearest end where it does not fit, 0 for NaN."""
    x = tf.cast(x, tf.float32) if x.dtype.size < 4 else x
    low, high = tf.constant(dtype.min, dtype), tf.constant(dtype.max, dtype)
    inside = (x > float(dtype.min) - 1) & (x < float(dtype.max) + 1)
    whole = tf.cast(tf.where(inside, x, tf.zeros_like(x)), dtype)
    result = tf.where(inside, whole, tf.where(x > 0, high, low))
    return tf.where(tf.math.is_nan(x), tf.zeros_like(result), result)


# Floats


def round_away(x):
    """The nearest whole number, ties away from zero."""
    size = tf.abs(x)
    whole = tf.floor(size)
    near = tf.where(size - whole >= 0.5, whole + 1, whole)
    return with_sign(near, x)


def with_sign(size, x):
    """A size with the sign of x, that of -0 too."""
    kind = SIGNED[x.dtype.size]
    lowest = tf.constant(kind.min, kind)
    return tf.bitcast((tf.bitcast(size, kind) & kind.max) | (tf.bitcast(x, kind) & lowest), x.dtype)


def float_sign(x):
    """-1, 0 or 1; zeros and NaN stay."""
    return tf.where((x == 0) | tf.math.is_nan(x), x, tf.sign(x))


def complex_sign(x):
    """X / |x|, 0 for 0."""
    size = tf.abs(x)
    safe = tf.where(size == 0, tf.ones_like(size), size)
    sign = tf.complex(tf.math.real(x) / safe, tf.math.imag(x) / safe)
    nan = tf.constant(float("nan"), size.dtype)
    return tf.where(tf.math.is_nan(size), tf.complex(nan, nan), tf.where(size == 0, tf.zeros_like(x), sign))


def cbrt(x):
    """The cube root: a guess by pow, then a step of Newton's method."""
    size = tf.abs(x)
    safe = tf.where((size == 0) | ~tf.math.is_finite(size), tf.ones_like(size), size)
    root = safe ** tf.constant(1 / 3, x.dtype)
    root = root - (root - safe / (root * root)) / 3
    return tf.where((size == 0) | ~tf.math.is_finite(size), x, tf.sign(x) * root)


def erf_inv(x):
    """The inverse of erf: TensorFlow's, and a step of Newton's method from there, in float64."""
    wide = tf.cast(x, tf.float64)
    size, near = tf.abs(wide), tf.abs(tf.math.erfinv(wide))
    error = tf.where(size < 0.5, size - tf.math.erf(near), tf.math.erfc(near) - (1 - size))
    step = error * (math.pi**0.5 / 2) * tf.exp(tf.minimum(near * near, 700))
    step = tf.where(tf.math.is_finite(near), step, tf.zeros_like(step))
    return tf.cast(tf.math.erfinv(wide) + tf.stop_gradient(tf.where(wide < 0, -step, step)), x.dtype)


def complex_cbrt(x):
    """The principal cube root."""
    safe = tf.where(x == 0, tf.ones_like(x), x)
    return tf.where(x == 0, x, tf.exp(tf.math.log(safe) / 3))


def complex_atan2(y, x):
    """The angle by its formula with the complex logarithm."""
    i = tf.constant(1j, x.dtype)
    return -i * tf.math.log((x + i * y) / tf.sqrt(x * x + y * y))


def ordinal(x):
    """Integers in the total order of IEEE 754: -NaN < -inf < ... < -0 < 0 < ... < inf < NaN."""
    kind = SIGNED[x.dtype.size]
    bits = tf.bitcast(x, kind)
    return tf.where(bits < 0, bits ^ kind.max, bits)


def next_after(x, toward):
    """The neighbour of x in the direction of another number, by counting on the bits."""
    kind = SIGNED[x.dtype.size]
    one, lowest = tf.constant(1, kind), tf.constant(kind.min, kind)
    bits, target = tf.bitcast(x, kind), tf.bitcast(toward, kind)
    moved = tf.where((x < toward) == (x > 0), bits + one, bits - one)
    moved = tf.where(x == 0, (target & lowest) | one, moved)
    result = tf.bitcast(tf.where(x == toward, target, moved), x.dtype)
    return tf.where(tf.math.is_nan(x) | tf.math.is_nan(toward), x + toward, result)


def reduce_precision(x, exponent_bits, mantissa_bits):
    """X rounded to a float of so many bits."""
    exponent, mantissa = {2: (8, 7) if x.dtype == tf.bfloat16 else (5, 10), 4: (8, 23), 8: (11, 52)}[x.dtype.size]
    kind = UNSIGNED[x.dtype.size]
    bits = tf.bitcast(x, kind)
    sign = bits & tf.constant(1 << (8 * x.dtype.size - 1), kind)
    size = bits ^ sign
    cut = mantissa - mantissa_bits
    if cut > 0:
        odd = tf.bitwise.right_shift(size, tf.constant(cut, kind)) & tf.constant(1, kind)
        mask = tf.bitwise.invert(tf.constant((1 << cut) - 1, kind))
        size = (size + odd + tf.constant((1 << (cut - 1)) - 1, kind)) & mask
    if exponent_bits < exponent:
        bias, reduced = (1 << (exponent - 1)) - 1, (1 << (exponent_bits - 1)) - 1
        power = tf.bitwise.right_shift(size, tf.constant(mantissa, kind))
        infinity = tf.constant(((1 << exponent) - 1) << mantissa, kind)
        size = tf.where(power > tf.constant(bias + reduced, kind), infinity, size)
        size = tf.where(power <= tf.constant(bias - reduced, kind), tf.zeros_like(size), size)
    return tf.where(tf.math.is_nan(x), x, tf.bitcast(sign | size, x.dtype))


# Parts of tensors


def pad(x, value, low, high, interior):
    """Padding at the edges (negative: cut off) and between elements."""
    rank = x.shape.rank
    for axis, gap in enumerate(interior):
        if gap:
            size = tf.shape(x)[axis]
            here = [[0, gap if i == axis + 1 else 0] for i in range(rank + 1)]
            spread = tf.pad(tf.expand_dims(x, axis + 1), here, constant_values=value)
            shape = tf.concat([tf.shape(x)[:axis], [size * (gap + 1)], tf.shape(x)[axis + 1 :]], 0)
            keep = tf.maximum(size * (gap + 1) - gap, 0)
            whole = [slice(None)] * rank
            x = tf.reshape(spread, shape)[(*whole[:axis], slice(0, keep))]
    edges = [[tf.maximum(lo, 0), tf.maximum(hi, 0)] for lo, hi in zip(low, high)]
    x = tf.pad(x, edges, constant_values=value)
    begin = [tf.maximum(-lo, 0) for lo in low]
    size = [n - b - tf.maximum(-hi, 0) for n, b, hi in zip(tf.unstack(tf.shape(x)), begin, high)]
    return tf.slice(x, begin, size)


def clamped(start, most):
    """An index of any integer type between 0 and ``most``."""
    start = tf.cast(
        tf.minimum(start, 2**31 - 1) if start.dtype.size == 8 or start.dtype == tf.uint32 else start, tf.int64
    )
    return tf.cast(tf.clip_by_value(start, 0, tf.cast(most, tf.int64)), tf.int32)


def dynamic_slice(x, starts, sizes):
    """The window of these sizes at the starts, moved inside where it sticks out."""
    begin = [clamped(s, n - size) for s, n, size in zip(starts, tf.unstack(tf.shape(x)), sizes)]
    return tf.slice(x, begin, sizes) if sizes else x


def dynamic_update_slice(x, update, starts):
    """X with the window at the starts, moved inside where it sticks out, replaced."""
    if not starts:
        return update
    sizes, whole = tf.shape(update), tf.shape(x)
    begin = tf.stack([clamped(s, whole[i] - sizes[i]) for i, s in enumerate(starts)])
    edges = tf.stack([begin, whole - sizes - begin], 1)
    inside = tf.pad(tf.fill(sizes, True), edges)
    return tf.ensure_shape(tf.where(inside, tf.pad(update, edges), x), x.shape)  # which loops must know


def starts_of(x, indices, vector_dim, mapped, batch, indices_batch):
    """For each dimension of x, where the slices at index vectors start: tensors of the batch shape."""
    rank = indices.shape.rank
    indices = tf.cast(
        tf.minimum(indices, tf.constant(2**62, indices.dtype)) if indices.dtype == tf.uint64 else indices, tf.int64
    )
    if vector_dim == rank:
        vectors = tf.expand_dims(indices, -1)
    else:
        vectors = tf.transpose(indices, [*(i for i in range(rank) if i != vector_dim), vector_dim])
    shape = tf.shape(vectors)[:-1]
    starts = [tf.zeros(shape, tf.int64) for _ in range(x.shape.rank)]
    for i, dim in enumerate(mapped):
        starts[dim] = vectors[..., i]
    for dim, where in zip(batch, indices_batch):
        axis = where - (where > vector_dim)
        ones = [1] * (vectors.shape.rank - 1)
        along = tf.reshape(tf.range(tf.cast(shape[axis], tf.int64)), [*ones[:axis], -1, *ones[axis + 1 :]])
        starts[dim] = tf.broadcast_to(along, shape)
    return starts


def places_of(starts, window, window_dims):
    """For each dimension, the index of each element of each slice, of the batch shape and that of the window."""
    shape = tf.concat([tf.shape(starts[0]), tf.cast(tf.stack(window), tf.int32)], 0) if window else tf.shape(starts[0])
    places = []
    for dim, start in enumerate(starts):
        place = tf.reshape(start, tf.concat([tf.shape(start), [1] * len(window)], 0))
        if dim in window_dims:
            axis = window_dims.index(dim)
            place += tf.reshape(tf.range(tf.cast(window[axis], tf.int64)), [-1] + [1] * (len(window) - axis - 1))
        places.append(tf.broadcast_to(place, shape))
    return places


def gather_slices(x, indices, vector_dim, mapped, collapsed, batch, indices_batch, offset_dims, sizes):
    """Slices of x at index vectors, moved inside where they stick out."""
    if not sizes:
        rank = indices.shape.rank
        kept = [i for i in range(rank) if i != vector_dim]
        return tf.broadcast_to(x, tf.gather(tf.shape(indices), kept))
    starts = starts_of(x, indices, vector_dim, mapped, batch, indices_batch)
    room = [tf.cast(n - size, tf.int64) for n, size in zip(tf.unstack(tf.shape(x)), sizes)]
    starts = [tf.clip_by_value(s, 0, tf.maximum(most, 0)) for s, most in zip(starts, room)]
    window_dims = [d for d in range(x.shape.rank) if d not in collapsed and d not in batch]
    places = places_of(starts, [sizes[d] for d in window_dims], window_dims)
    found = tf.gather_nd(x, tf.stack(places, -1))
    order = [i for i in range(found.shape.rank) if i not in offset_dims] + list(offset_dims)
    return tf.transpose(found, [order.index(i) for i in range(len(order))])


def scatter_places(x, indices, updates, vector_dim, mapped, inserted, batch, indices_batch, update_window_dims):
    """The row-major place in x of each element of updates (as many as x has where its slice sticks out), and these
    elements in the same order."""
    window_dims = [d for d in range(x.shape.rank) if d not in inserted and d not in batch]
    rank = updates[0].shape.rank
    order = [i for i in range(rank) if i not in update_window_dims] + list(update_window_dims)
    values = [tf.reshape(tf.transpose(u, order), [-1]) for u in updates]
    shape, sizes = tf.shape(x, tf.int64), tf.shape(updates[0], tf.int64)
    total = tf.size(x, tf.int64)
    if not x.shape.rank:
        return tf.zeros_like(values[0], tf.int64), values
    window = [sizes[d] for d in update_window_dims]
    starts = starts_of(x, indices, vector_dim, mapped, batch, indices_batch)
    fits = tf.fill(tf.shape(starts[0]), True)
    for dim, start in enumerate(starts):
        size = window[window_dims.index(dim)] if dim in window_dims else 1
        fits &= (start >= 0) & (start <= shape[dim] - size)
    linear = tf.zeros([], tf.int64)
    for dim, place in enumerate(places_of(starts, window, window_dims)):
        linear = linear * shape[dim] + place
    fits = tf.reshape(fits, tf.concat([tf.shape(fits), [1] * len(window)], 0))
    return tf.reshape(tf.where(fits, linear, total), [-1]), values


def scatter(x, places, values, update):
    """X with values put in at places by one of tf.tensor_scatter_nd_*; there is room for what is dropped at the end."""
    flat = tf.concat([tf.reshape(x, [-1]), tf.zeros([1], x.dtype)], 0)
    return tf.reshape(update(flat, tf.expand_dims(places, 1), values)[:-1], tf.shape(x))


def scatter_fold(body, xs, places, values):
    """Xs with values folded in at places, those to one place in order: each round takes one value for each place."""
    count = tf.size(places)
    order = tf.argsort(places, stable=True)
    places, values = tf.gather(places, order), [tf.gather(v, order) for v in values]
    index = tf.range(count)
    first = tf.concat([tf.ones([tf.minimum(count, 1)], tf.bool), places[1:] != places[:-1]], 0)
    begin = tf.gather(tf.where(first)[:, 0], tf.cumsum(tf.cast(first, tf.int32)) - 1)
    turn = index - tf.cast(begin, tf.int32)
    flat = [tf.concat([tf.reshape(x, [-1]), tf.zeros([1], x.dtype)], 0) for x in xs]

    def one_round(now, *flat):
        chosen = tf.boolean_mask(index, turn == now)
        where = tf.gather(places, chosen)
        new = body(*(tf.gather(x, where) for x in flat), *(tf.gather(v, chosen) for v in values))
        return now + 1, *(tf.tensor_scatter_nd_update(x, where[:, None], v) for x, v in zip(flat, new))

    most = tf.reduce_max(tf.concat([turn, [-1]], 0))
    _, *flat = tf.while_loop(lambda now, *_: now <= most, one_round, (tf.constant(0), *flat))
    return [tf.reshape(f[:-1], tf.shape(x)) for f, x in zip(flat, xs)]


# Folds with any region


def each(body, types):
    """A region that has ops on whole tensors, applied to each element."""

    def run(*arrays):
        shape = tf.shape(arrays[0])
        flat = tuple(tf.reshape(a, [-1]) for a in arrays)
        found = tf.map_fn(lambda xs: tuple(body(*xs)), flat, fn_output_signature=tuple(types))
        return [tf.reshape(f, shape) for f in found]

    return run


def reduce(body, xs, inits, axes):
    """The elements along axes folded from initial values: neighbours first, which keeps the order."""
    rank = xs[0].shape.rank
    kept = [i for i in range(rank) if i not in axes]
    shape = tf.gather(tf.shape(xs[0]), tf.constant(kept, tf.int32))
    length = tf.reduce_prod(tf.gather(tf.shape(xs[0]), tf.constant(sorted(axes), tf.int32)))
    rows = [tf.reshape(tf.transpose(x, kept + sorted(axes)), tf.concat([shape, [length]], 0)) for x in xs]
    start = [tf.broadcast_to(i, shape) for i in inits]
    open_shapes = [r.shape[:-1].concatenate(tf.TensorShape([None])) for r in rows]

    def halve(*parts):
        pairs = tf.shape(parts[0])[-1] // 2
        folded = body(*(p[..., 0 : 2 * pairs : 2] for p in parts), *(p[..., 1 : 2 * pairs : 2] for p in parts))
        return [tf.concat([f, p[..., 2 * pairs :]], -1) for f, p in zip(folded, parts)]

    rows = tf.while_loop(lambda *p: tf.shape(p[0])[-1] > 1, halve, rows, shape_invariants=open_shapes)
    # Of nothing, the initial values: one element of them, to be left out again.
    rows = [tf.concat([r, tf.expand_dims(s, -1)], -1)[..., 0] for r, s in zip(rows, start)]
    return [tf.where(length > 0, f, s) for f, s in zip(body(*start, *rows), start)]


def window_slices(x, window, counts, strides, dilation):
    """For each place inside the window, in row-major order, the elements that all windows have there."""
    for place in product(*map(range, window)):
        begin = [p * d for p, d in zip(place, dilation)]
        end = [b + tf.maximum((n - 1) * s + 1, 0) for b, n, s in zip(begin, counts, strides)]
        yield tf.strided_slice(x, begin, end, strides)


def reduce_window(body, xs, inits, window, strides, base_dilation, window_dilation, padding, counts):
    """The elements of each window folded from initial values."""
    low, high = [p for p, _ in padding], [p for _, p in padding]
    frames = [pad(x, i, low, high, [d - 1 for d in base_dilation]) for x, i in zip(xs, inits)]
    results = [tf.broadcast_to(i, counts) for i in inits]
    for parts in zip(*(window_slices(f, window, counts, strides, window_dilation) for f in frames)):
        results = body(*results, *parts)
    return results


def fold_windows(fold, x, init, window, strides, base_dilation, window_dilation, padding):
    """As reduce_window by a commutative op and from its neutral element: one axis after the other."""
    x = pad(x, init, [p for p, _ in padding], [p for _, p in padding], [d - 1 for d in base_dilation])
    for axis, (size, stride, dilation) in enumerate(zip(window, strides, window_dilation)):
        count = (tf.shape(x)[axis] - (size - 1) * dilation - 1) // stride + 1
        parts = []
        for place in range(size):
            begin = place * dilation
            end = begin + tf.maximum((count - 1) * stride + 1, 0)
            parts.append(x[(*[slice(None)] * axis, slice(begin, end, stride))])
        x = parts[0]
        for part in parts[1:]:
            x = fold(x, part)
    return x


def select_and_scatter(prefer, body, x, source, init, window, strides, padding):
    """Of each window one element is selected; the element of source is folded into its place."""
    low, high, none = [p for p, _ in padding], [p for _, p in padding], [0] * len(window)
    ones = [1] * len(window)
    counts = tf.unstack(tf.shape(source))
    flat = tf.reshape(tf.range(tf.size(x)), tf.shape(x))
    values = list(window_slices(pad(x, init, low, high, none), window, counts, strides, ones))
    places = list(window_slices(pad(flat, -1, low, high, none), window, counts, strides, ones))
    best, where = values[0], places[0]
    for value, place in zip(values[1:], places[1:]):
        taken = (place >= 0) & ((where < 0) | ~prefer(best, value)[0])
        best, where = tf.where(taken, value, best), tf.where(taken, place, where)
    where = tf.cast(tf.reshape(tf.where(where >= 0, where, tf.size(x)), [-1]), tf.int64)
    return scatter_fold(body, [tf.fill(tf.shape(x), init)], where, [tf.reshape(source, [-1])])[0]


def cumulate(fold, x, axis, reverse):
    """The cumulative fold along an axis of any length: the elements twice as far away join in each turn."""
    x = tf.reverse(x, [axis]) if reverse else x
    length = tf.shape(x)[axis]
    whole = [slice(None)] * axis

    def double(step, x):
        later = fold(x[(*whole, slice(0, length - step))], x[(*whole, slice(step, None))])
        return 2 * step, tf.ensure_shape(tf.concat([x[(*whole, slice(0, step))], later], axis), shape)

    shape = x.shape
    _, x = tf.while_loop(lambda step, _: step < length, double, (tf.constant(1), x))
    return tf.reverse(x, [axis]) if reverse else x


# Order


def sort_keys(x, descending, total_order):
    """Integers whose ascending order is the order of x; -0 equals 0 and NaN comes last but in the total order."""
    if x.dtype == tf.bool:
        x = tf.cast(x, tf.int32)
    if x.dtype.is_integer:
        return tf.bitwise.invert(x) if descending else x
    keys = ordinal(x)
    if not total_order:
        keys = tf.where(x == 0, tf.zeros_like(keys), keys)
    keys = tf.bitwise.invert(keys) if descending else keys
    return keys if total_order else tf.where(tf.math.is_nan(x), tf.constant(keys.dtype.max, keys.dtype), keys)


def sort_by_keys(xs, key, axis, descending, total_order):
    """Arrays in the order of one of them along an axis; equal elements stay in order."""
    rank = xs[0].shape.rank
    turn = [i for i in range(rank) if i != axis] + [axis]
    rows = [tf.transpose(x, turn) for x in xs]
    order = tf.argsort(sort_keys(rows[key], descending, total_order), stable=True)
    back = [turn.index(i) for i in range(rank)]
    return [tf.transpose(tf.gather(r, order, batch_dims=rank - 1), back) for r in rows]


def sort_by(before, xs, axis):
    """Arrays in the order of any comparator along an axis, by odd-even exchange of neighbours."""
    rank = xs[0].shape.rank
    turn = [i for i in range(rank) if i != axis] + [axis]
    rows = [tf.transpose(x, turn) for x in xs]
    shape = tf.shape(rows[0])
    length = shape[-1]
    index = tf.range(length)

    def exchange(now, order):
        partner = tf.where((index - now) % 2 == 0, index + 1, index - 1)
        partner = tf.where((partner < 0) | (partner >= length), index, partner)
        other = tf.gather(order, partner, axis=-1)
        left, right = tf.where(index < partner, order, other), tf.where(index < partner, other, order)
        pairs = [tf.gather(r, side, batch_dims=rank - 1) for r in rows for side in (right, left)]
        return now + 1, tf.where(before(*pairs)[0] & (index != partner), other, order)

    start = tf.broadcast_to(index, shape)
    invariant = tf.TensorShape([None] * rank)
    _, order = tf.while_loop(
        lambda now, _: now < length, exchange, (tf.constant(0), start), shape_invariants=(tf.TensorShape([]), invariant)
    )
    back = [turn.index(i) for i in range(rank)]
    return [tf.transpose(tf.gather(r, order, batch_dims=rank - 1), back) for r in rows]


def top_k(x, k):
    """The k largest of the last axis and their indices; floats in total order, so that NaN is largest."""
    keys = tf.cast(x, tf.int32) if x.dtype == tf.bool else x if x.dtype.is_integer else ordinal(x)
    order = tf.math.top_k(keys, k).indices
    return tf.gather(x, order, batch_dims=x.shape.rank - 1), order


def arg_extreme(find, x, axis, dtype):
    """What tf.argmax or tf.argmin finds, but for NaN, which is the greatest and the least."""
    nan = tf.math.is_nan(x)
    first = tf.argmax(tf.cast(nan, tf.int32), axis, tf.int64)
    return tf.cast(tf.where(tf.reduce_any(nan, axis), first, find(x, axis, tf.int64)), dtype)


# Lookup


def take(x, indices, axis, fill):
    """Slices of x at indices along an axis; negative ones count from the end, out of range gives fill."""
    size = tf.cast(tf.shape(x)[axis], indices.dtype)
    places = tf.where(indices < 0, indices + size, indices) if not indices.dtype.is_unsigned else indices
    inside = places < size if indices.dtype.is_unsigned else (places >= 0) & (places < size)
    found = tf.gather(x, tf.where(inside, places, tf.zeros_like(places)), axis=axis)
    inside = tf.reshape(inside, tf.concat([tf.shape(inside), [1] * (x.shape.rank - axis - 1)], 0))
    return tf.where(inside, found, fill)


# Random bits


def positions(shape, dtype):
    """The row-major position of each element."""
    return (
        tf.reshape(tf.cast(tf.range(tf.reduce_prod(tf.cast(tf.stack(shape), tf.int64))), dtype), shape)
        if shape
        else tf.zeros([], dtype)
    )


def threefry(first, second, high, low):
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011) of the counter (high, low)."""
    keys = (first, second, first ^ second ^ tf.constant(0x1BD11BDA, tf.uint32))
    x, y = high + first, low + second
    for group in range(5):
        for bits in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            x += y
            left, right = tf.constant(bits, tf.uint32), tf.constant(32 - bits, tf.uint32)
            y = x ^ (tf.bitwise.left_shift(y, left) | tf.bitwise.right_shift(y, right))
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return x, y


def words(key, rank):
    """The two words of each key, with so many dimensions of 1 behind those of the batch."""
    shape = tf.concat([tf.shape(key)[:-1], [1] * rank], 0)
    return tf.reshape(key[..., 0], shape), tf.reshape(key[..., 1], shape)


def threefry_words(key, shape):
    """Two words for each element of a shape, whose counter is its position."""
    place = positions(shape, tf.uint64)
    high = tf.cast(tf.bitwise.right_shift(place, tf.constant(32, tf.uint64)), tf.uint32)
    first, second = words(key, len(shape))
    return threefry(first, second, high, tf.cast(place, tf.uint32))


def threefry_bits(key, shape, dtype):
    """Random bits as jax.random.bits has them, partitionable."""
    high, low = threefry_words(key, shape)
    if dtype.size < 8:
        return tf.cast(high ^ low, dtype)
    return tf.bitwise.left_shift(tf.cast(high, dtype), tf.constant(32, dtype)) | tf.cast(low, dtype)


def threefry_fold_in(key, data):
    """A new key from a key and an integer."""
    return tf.stack(threefry(key[..., 0], key[..., 1], tf.zeros_like(data), data), -1)


def mix(x, addend=None):
    """The hash of dropout_bits; ``addend`` is added after the first multiplication."""
    for bits, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = (x ^ tf.bitwise.right_shift(x, tf.constant(bits, tf.uint32))) * tf.constant(factor, tf.uint32)
        if bits == 17 and addend is not None:
            x += addend
    return x ^ tf.bitwise.right_shift(x, tf.constant(14, tf.uint32))


def dropout_bits(seed, shape):
    """A hash of the seed and of each element's position."""
    first, second = words(seed, len(shape))
    one = mix(first ^ tf.constant(0x9E3779B9, tf.uint32))
    two = mix(second ^ one)
    one = mix(one + two)
    two = mix(two ^ one)
    return mix(positions(shape, tf.uint32) ^ one, two)


# Contraction


def convolve(x, w, strides, padding, lhs_dilation, rhs_dilation, counts):
    """Any convolution of [batch, spatial..., in] by [spatial..., in, out]: a product for each element of the kernel."""
    edges = [(0, 0), *padding, (0, 0)]
    gaps = [0, *(d - 1 for d in lhs_dilation), 0]
    x = pad(x, tf.zeros([], x.dtype), [p for p, _ in edges], [p for _, p in edges], gaps)
    batch, features = tf.shape(x)[0], tf.shape(x)[-1]
    window = [1, *w.shape[:-2], 1]
    parts = window_slices(x, window, [batch, *counts, features], [1, *strides, 1], [1, *rhs_dilation, 1])
    total = tf.zeros([batch, *counts, w.shape[-1]], x.dtype)
    for part, place in zip(parts, product(*map(range, w.shape[:-2]))):
        total += tf.tensordot(part, w[place], 1)
    return total


# Linear algebra


def cholesky(a, lower):
    """The factor from one triangle; all is NaN where the matrix is not positive definite."""
    a = a if lower else tf.linalg.adjoint(a)
    factor = tf.linalg.cholesky(a)
    nan = tf.math.is_nan(tf.math.real(factor)) | tf.math.is_nan(tf.math.imag(factor))
    zero = tf.linalg.diag_part(factor)[..., None] == 0  # how a failure of complex numbers is told
    wrong = tf.reduce_any(nan, [-2, -1], keepdims=True) | tf.reduce_any(zero, -2, keepdims=True)
    factor = tf.where(wrong, tf.constant(float("nan"), factor.dtype), factor)
    return factor if lower else tf.linalg.adjoint(factor)


def qr(a, full):
    """Orthogonal times upper triangular, in the type that there is a kernel for."""
    wide = tf.cast(a, tf.float32) if a.dtype.size == 2 else a
    q, r = tf.linalg.qr(wide, full_matrices=full)
    return tf.cast(q, a.dtype), tf.cast(r, a.dtype)


def leading_factors(vectors):
    """1 or -1, which makes the first large element of each column positive."""
    size = tf.abs(vectors)
    large = size >= 0.99 * tf.reduce_max(size, -2, keepdims=True)
    place = tf.argmax(tf.cast(large, tf.int32), -2, output_type=tf.int32)
    own = tf.linalg.matrix_transpose(tf.one_hot(place, tf.shape(vectors)[-2], dtype=vectors.dtype))
    leading = tf.stop_gradient(tf.reduce_sum(own * vectors, -2, keepdims=True))
    return tf.where(leading < 0, -tf.ones_like(leading), tf.ones_like(leading))


def eigh(a):
    """Eigenvalues and eigenvectors of symmetric matrices, from their lower triangles."""
    values, vectors = tf.linalg.eigh(a)
    return values, vectors * leading_factors(vectors)


def svd(a):
    """Such u, s and v that a = u diag(s) v."""
    s, u, v = tf.linalg.svd(a)
    factors = leading_factors(u)
    return u * factors, s, tf.linalg.matrix_transpose(v * factors)
