"""Products: matmul, dot, tensordot, einsum and their kin, all by dot_general."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, broadcast_dims, emit, match_shape, normalize_axis, promote
from ..convert import broadcast_to as stretch
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b


def contract(
    x: Tensor,
    y: Tensor,
    lhs_contract: Sequence[int],
    rhs_contract: Sequence[int],
    lhs_batch: Sequence[int] = (),
    rhs_batch: Sequence[int] = (),
    dtype: Any = None,
    what: str = "dot",
) -> Tensor:
    """``dot_general``: [batch, free of x, free of y]. Open equalities of sizes become guards."""
    target = list(b.shape_of(y))
    reason = (
        f"{what} of shapes {b.text(b.shape_of(x))} and {b.text(b.shape_of(y))}: contracted dimensions must be equal"
    )
    for i, j in zip((*lhs_batch, *lhs_contract), (*rhs_batch, *rhs_contract)):
        target[j] = b.shape_of(x)[i]
    y = match_shape(y, target, reason)
    return emit(
        "dot_general",
        x,
        y,
        lhs_batch=lhs_batch,
        rhs_batch=rhs_batch,
        lhs_contract=lhs_contract,
        rhs_contract=rhs_contract,
        dtype=dtype,
    )


def _accumulated(x1: Any, x2: Any) -> tuple[Tensor, Tensor, str | None]:
    """The operands promoted; int8 by int8 accumulates in int32."""
    narrow = all(str(getattr(x, "dtype", "")) == "int8" for x in (x1, x2))
    x, y = promote(x1, x2)
    return x, y, "int32" if narrow else None


@public_op
def matmul(x1: Any, x2: Any) -> Tensor:
    """The product of matrices in the last two axes; the axes before them broadcast; vectors are rows or columns."""
    x, y, dtype = _accumulated(x1, x2)
    return matrix_product(x, y, dtype)


def matrix_product(x: Tensor, y: Tensor, dtype: Any = None) -> Tensor:
    """:func:`matmul` on tensors of one type."""
    if not x.ndim or not y.ndim:
        raise ShapeError(f"matmul: expected tensors of rank 1 or more, received {x!r} and {y!r}")
    if x.ndim == 1 or y.ndim <= 2:
        return contract(x, y, (x.ndim - 1,), (max(y.ndim - 2, 0),), dtype=dtype, what="matmul")
    return _batched(x, y, dtype)


def _batched(x: Tensor, y: Tensor, dtype: Any) -> Tensor:
    """Batch axes of 1 are left out of the operand that has them, so that nothing is copied."""
    rank = max(x.ndim, y.ndim) - 2
    left, right = ((1,) * (rank + 2 - t.ndim) + b.shape_of(t) for t in (x, y))
    reason = f"matmul of shapes {b.text(b.shape_of(x))} and {b.text(b.shape_of(y))}: batch axes must broadcast"
    batch = [broadcast_dims(p, q, reason) for p, q in zip(left[:rank], right[:rank])]
    shared = [i for i in range(rank) if (left[i] != 1 and right[i] != 1) or left[i] == right[i]]
    only_left = [i for i in range(rank) if i not in shared and left[i] != 1]
    only_right = [i for i in range(rank) if i not in shared and right[i] != 1]
    a = b.reshape(x, [left[i] for i in range(rank) if i not in only_right] + list(left[rank:]))
    c = b.reshape(y, [right[i] for i in range(rank) if i not in only_left] + list(right[rank:]))
    left_axes = [i for i in range(rank) if i not in only_right]
    right_axes = [i for i in range(rank) if i not in only_left]
    result = contract(
        a,
        c,
        (a.ndim - 1,),
        (c.ndim - 2,),
        [left_axes.index(i) for i in shared],
        [right_axes.index(i) for i in shared],
        dtype,
        "matmul",
    )
    # [shared, only left, rows, only right, columns] -> [batch, rows, columns]
    names: list[Any] = [*shared, *only_left, "row", *only_right, "column"]
    result = b.transpose(result, [names.index(name) for name in [*range(rank), "row", "column"]])
    return match_shape(result, [*batch, *b.shape_of(result)[rank:]], reason)


@public_op
def dot(x1: Any, x2: Any) -> Tensor:
    """Products summed over the last axis of ``x1`` and the last but one of ``x2``; a number scales."""
    x, y = promote(x1, x2)
    if not x.ndim or not y.ndim:
        shape = b.shape_of(x) or b.shape_of(y)
        return emit("multiply", stretch(x, shape), stretch(y, shape))
    return contract(x, y, (x.ndim - 1,), (max(y.ndim - 2, 0),))


@public_op
def vdot(x1: Any, x2: Any) -> Tensor:
    """The sum of the products of all elements; ``x1`` is conjugated."""
    from .elementwise import conjugate

    x, y = (b.reshape(t, (t.value.type.size,)) for t in promote(x1, x2))
    return contract(conjugate.traced(x), y, (0,), (0,), what="vdot")


@public_op
def inner(x1: Any, x2: Any) -> Tensor:
    """Products summed over the last axes of both; a number scales."""
    x, y = promote(x1, x2)
    if not x.ndim or not y.ndim:
        shape = b.shape_of(x) or b.shape_of(y)
        return emit("multiply", stretch(x, shape), stretch(y, shape))
    return contract(x, y, (x.ndim - 1,), (y.ndim - 1,), what="inner")


@public_op
def outer(x1: Any, x2: Any) -> Tensor:
    """The products of all elements of ``x1`` (rows) with all of ``x2`` (columns)."""
    x, y = (b.reshape(t, (t.value.type.size,)) for t in promote(x1, x2))
    shape = (b.shape_of(x)[0], b.shape_of(y)[0])
    return emit("multiply", b.spread(x, shape, (0,)), b.spread(y, shape, (1,)))


@public_op(weak=False)
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Tensor:
    """Products summed over so many last axes of ``x1`` and first of ``x2``, or over the pairs of axes given."""
    x, y = promote(x1, x2)
    if isinstance(axes, int | np.integer):
        count = int(axes)
        if not 0 <= count <= min(x.ndim, y.ndim):
            raise ShapeError(
                f"tensordot: expected axes in 0..{min(x.ndim, y.ndim)} for {x!r} and {y!r}, received {axes}"
            )
        return contract(x, y, range(x.ndim - count, x.ndim), range(count), what="tensordot")
    first, second = (a if isinstance(a, tuple | list) else (a,) for a in axes)
    if len(first) != len(second):
        raise ShapeError(f"tensordot: expected as many axes of both, received {axes}")
    return contract(
        x,
        y,
        [normalize_axis(a, x.ndim, "axes") for a in first],
        [normalize_axis(a, y.ndim, "axes") for a in second],
        what="tensordot",
    )


@public_op
def kron(x1: Any, x2: Any) -> Tensor:
    """Kronecker's product: each element of ``x1`` times all of ``x2``."""
    x, y = promote(x1, x2)
    rank = max(x.ndim, y.ndim)
    left, right = ((1,) * (rank - t.ndim) + b.shape_of(t) for t in (x, y))
    shape = [d for pair in zip(left, right) for d in pair]
    product = emit(
        "multiply",
        b.spread(b.reshape(x, left), shape, range(0, 2 * rank, 2)),
        b.spread(b.reshape(y, right), shape, range(1, 2 * rank, 2)),
    )
    return b.reshape(product, [p * q for p, q in zip(left, right)])


@public_op(weak=False)
def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    """The vector product of vectors of two or three elements along an axis; of two pairs the third element only."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = promote(x1, x2)
    x = b.move_axis(x, normalize_axis(axisa, x.ndim, "axisa"), x.ndim - 1)
    y = b.move_axis(y, normalize_axis(axisb, y.ndim, "axisb"), y.ndim - 1)
    sizes = [b.shape_of(t)[-1] for t in (x, y)]
    if any(size not in (2, 3) for size in sizes):
        raise ShapeError(f"cross: expected vectors of 2 or 3 elements, received {x!r} and {y!r}")
    from .rearranging import broadcast_all

    def parts(t: Tensor) -> list[Tensor | None]:
        split = [
            b.reshape(b.cut(t, t.ndim - 1, i, i + 1), b.shape_of(t)[:-1])
            for i in range(b.static_dim(b.shape_of(t)[-1], "cross", "the vectors' size"))
        ]
        return [*split, *[None] * (3 - len(split))]

    (a0, a1, a2), (c0, c1, c2) = parts(x), parts(y)

    def minor(p: Tensor | None, q: Tensor | None, r: Tensor | None, s: Tensor | None) -> Tensor:
        """p*q - r*s, where what is missing is 0."""
        products = [emit("multiply", *broadcast_all(pair, "cross")) for pair in ((p, q), (r, s)) if None not in pair]
        if len(products) == 2:
            return b.subtract(*products)
        return products[0] if None not in (p, q) else emit("negate", products[0])

    third = minor(a0, c1, a1, c0)
    if sizes == [2, 2]:
        return third
    both = [minor(a1, c2, a2, c1), minor(a2, c0, a0, c2), third]
    shape = b.shape_of(third)
    result = b.concatenate([b.reshape(stretch(t, shape), (*shape, 1)) for t in both], len(shape))
    return b.move_axis(result, result.ndim - 1, normalize_axis(axisc, result.ndim, "axisc"))


@public_op(weak=False)
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Tensor:
    """The sums of products of ``x1`` with ``x2`` moved along it; ``mode`` is ``"valid"``, ``"same"`` or ``"full"``."""
    x, y = promote(b.no_bool(x1), b.no_bool(x2))
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"correlate: expected two vectors, received {x!r} and {y!r}")
    if mode not in ("valid", "same", "full"):
        raise ArgumentError(f"correlate: expected mode 'valid', 'same' or 'full', received {mode!r}")
    n, m = (b.static_dim(b.shape_of(t)[0], "correlate", "the length") for t in (x, y))
    swapped = n < m
    long, short = (y, x) if swapped else (x, y)
    size = min(n, m)
    dtype = long.dtype
    if not b.is_float(long):
        long, short = (as_tensor(t, "float32") for t in (long, short))
    edge = {"valid": (0, 0), "full": (size - 1, size - 1), "same": (size // 2, size - size // 2 - 1)}[mode]
    if mode == "same" and swapped:
        edge = (size - size // 2 - 1, size // 2)
    result = emit(
        "convolution",
        b.reshape(long, (1, 1, max(n, m))),
        b.reshape(short, (1, 1, size)),
        strides=(1,),
        padding=(edge,),
        lhs_dilation=(1,),
        rhs_dilation=(1,),
        lhs_spec=(0, 1, 2),
        rhs_spec=(0, 1, 2),
        out_spec=(0, 1, 2),
    )
    result = b.reshape(result, b.shape_of(result)[2:])
    return as_tensor(emit("reverse", result, axes=(0,)) if swapped else result, dtype)


# einsum.


@public_op(weak=False)
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Tensor:
    """Einstein's sum: ``einsum("bij,bjk->bik", x, y)``, with ``...`` for axes that broadcast.

    More than two operands are contracted in the order that is cheapest by size.
    """
    unknown = [name for name in kwargs if name not in ("optimize", "precision")]
    if unknown:
        raise ArgumentError(f"einsum has no argument {unknown[0]!r}")
    narrow = {str(getattr(x, "dtype", "")) for x in operands} == {"int8"}
    tensors = promote(*operands)
    terms, result = _parse(subscripts, tensors)
    parts = [_diagonals(t, term) for t, term in zip(tensors, terms)]
    if len(parts) == 1:
        return _finished(*parts[0], result)
    for first, second in _path(parts, result):
        right, left = parts.pop(max(first, second)), parts.pop(min(first, second))
        kept = set(result).union(*(term for _, term in parts))
        parts.append(_pair(left, right, kept, "int32" if narrow else None))
    return _finished(*parts[0], result)


def _parse(subscripts: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, ``...`` replaced by letters that are free."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ArgumentError(f"einsum: {subscripts!r} has {len(terms)} operands, received {len(tensors)}")
    free = [c for c in string.ascii_letters if c not in text]
    ranks = [t.ndim - len(term.replace("...", "")) for t, term in zip(tensors, terms)]
    wide = max((r for r, term in zip(ranks, terms) if "..." in term), default=0)
    letters = "".join(free[: max(wide, 0)])
    full = []
    for tensor, term, rank in zip(tensors, terms, ranks):
        if rank < 0 or (rank and "..." not in term):
            raise ShapeError(f"einsum: {term!r} of {subscripts!r} does not fit {tensor!r}")
        full.append(term.replace("...", letters[wide - rank :]))
    for term in (*full, right.replace("...", "")):
        if not all(c in string.ascii_letters for c in term):
            raise ArgumentError(f"einsum: expected letters, ',', '...' and '->', received {subscripts!r}")
    if not arrow:
        everything = "".join(full)
        right = letters + "".join(sorted(c for c in set(everything) - set(letters) if everything.count(c) == 1))
    else:
        right = right.replace("...", letters)
    missing = set(right) - set("".join(full))
    if missing or len(set(right)) != len(right):
        raise ArgumentError(f"einsum: the result of {subscripts!r} names axes twice, or that no operand has")
    return full, right


def _diagonals(x: Tensor, term: str) -> tuple[Tensor, str]:
    """A letter that occurs twice in one operand stands for the diagonal."""
    from .padding import diagonal

    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            x = diagonal.traced(x, 0, first, second)
            term = "".join(c for i, c in enumerate(term) if i not in (first, second)) + letter
    return x, term


def _path(parts: list[tuple[Tensor, str]], result: str) -> list[tuple[int, int]]:
    """In which pairs to contract: for two operands as they are, for more by NumPy's greedy plan on their sizes."""
    if len(parts) == 2:
        return [(0, 1)]
    known: dict[str, int] = {}
    for tensor, term in parts:
        for letter, dim in zip(term, b.shape_of(tensor)):
            size = require_trace().root.hints.get(str(dim), 32) if isinstance(dim, Dim) else dim
            known[letter] = max(size, known.get(letter, 1))
    arrays = [np.broadcast_to(np.zeros((), np.float32), [known[c] for c in term]) for _, term in parts]
    text = ",".join(term for _, term in parts) + "->" + result
    plan = np.einsum_path(text, *arrays, optimize="greedy")[0][1:]
    return plan if all(len(step) == 2 for step in plan) else [(0, 1)] * (len(parts) - 1)


def _pair(left: tuple[Tensor, str], right: tuple[Tensor, str], kept: set[str], dtype: Any) -> tuple[Tensor, str]:
    """Contract two operands over the letters that nothing else needs."""
    (x, a), (y, c) = (_summed(t, term, kept | set(other)) for (t, term), (_, other) in ((left, right), (right, left)))
    x, a, y, c = _without_ones(x, a, y, c)
    both = [letter for letter in a if letter in c]
    contracted = [letter for letter in both if letter not in kept]
    batch = [letter for letter in both if letter in kept]
    result = contract(
        x,
        y,
        [a.index(i) for i in contracted],
        [c.index(i) for i in contracted],
        [a.index(i) for i in batch],
        [c.index(i) for i in batch],
        dtype,
        "einsum",
    )
    return result, "".join(batch + [i for i in a if i not in both] + [i for i in c if i not in both])


def _without_ones(x: Tensor, a: str, y: Tensor, c: str) -> tuple[Tensor, str, Tensor, str]:
    """A shared axis that is 1 in one operand only broadcasts: that operand does without it."""
    for letter in [i for i in a if i in c]:
        m, n = b.shape_of(x)[a.index(letter)], b.shape_of(y)[c.index(letter)]
        if m == 1 and n != 1:
            x, a = _dropped(x, a.index(letter)), a.replace(letter, "")
        elif n == 1 and m != 1:
            y, c = _dropped(y, c.index(letter)), c.replace(letter, "")
    return x, a, y, c


def _dropped(x: Tensor, axis: int) -> Tensor:
    return b.reshape(x, [d for i, d in enumerate(b.shape_of(x)) if i != axis])


def _summed(x: Tensor, term: str, kept: set[str]) -> tuple[Tensor, str]:
    axes = [i for i, letter in enumerate(term) if letter not in kept]
    return b.reduce("reduce_sum", x, axes), "".join(letter for letter in term if letter in kept)


def _finished(x: Tensor, term: str, result: str) -> Tensor:
    x, term = _summed(x, term, set(result))
    return b.transpose(x, [term.index(letter) for letter in result])
