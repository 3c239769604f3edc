"""Functions of one element applied to many at once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor, broadcast_to
from ..dispatch import public_op
from ..tensor import Tensor
from . import building as b


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """``function`` applied to each element along the first axis of a tensor, or of each in a nest, at once."""
    from ..transforms import vmap

    return vmap(function)(elements)


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Collection[int] | None = None, signature: str | None = None
) -> Any:
    """A function that applies ``pyfunc`` to all elements of arrays, which broadcast against each other.

    Args:
        pyfunc: takes and returns scalars, or arrays of the dimensions that ``signature`` names.
        excluded: numbers of arguments that are passed on as they are.
        signature: the dimensions that ``pyfunc`` works on, such as ``"(m,n),(n)->(m)"``; none by default.
    """
    if signature is not None and not re.fullmatch(rf"{_TERMS}->{_TERMS}", signature.replace(" ", "")):
        raise ArgumentError(f"vectorize: expected a signature such as '(m,n),(n)->(m)', received {signature!r}")
    ranks = None if signature is None else [_rank(term) for term in _split(signature.split("->")[0])]
    left_out = frozenset(excluded or ())

    @functools.wraps(pyfunc)
    def vectorized(*args: Any) -> Any:
        places = [i for i in range(len(args)) if i not in left_out]
        core = [0] * len(places) if ranks is None else ranks
        if len(core) != len(places):
            raise ArgumentError(
                f"vectorize: the signature {signature!r} is of {len(core)} arguments, received {len(places)}"
            )
        return _over_leading(pyfunc, args, places, core)

    return vectorized


_TERM = r"\(\w*(?:,\w+)*\)"
_TERMS = rf"{_TERM}(?:,{_TERM})*"


def _split(terms: str) -> list[str]:
    return re.findall(_TERM, terms.replace(" ", ""))


def _rank(term: str) -> int:
    inner = term[1:-1]
    return len(inner.split(",")) if inner else 0


@public_op
def _spread_leading(arrays: Sequence[Any], core: Sequence[int]) -> list[Tensor]:
    """Arrays whose dimensions before the last ``core`` ones are broadcast to one shape."""
    tensors = [as_tensor(x) for x in arrays]
    for x, rank in zip(tensors, core, strict=True):
        if x.ndim < rank:
            raise ShapeError(f"vectorize: expected {rank} dimensions or more, received {x!r}")
    leading = [b.filled(b.shape_of(x)[: x.ndim - rank], 0, "int32") for x, rank in zip(tensors, core, strict=True)]
    shape = b.shape_of(functools.reduce(_added, leading))
    return [broadcast_to(x, (*shape, *b.shape_of(x)[x.ndim - rank :])) for x, rank in zip(tensors, core, strict=True)]


def _added(x: Tensor, y: Tensor) -> Tensor:
    from .elementwise import add

    return add(x, y)


def _over_leading(f: Callable[..., Any], args: Sequence[Any], places: Sequence[int], core: Sequence[int]) -> Any:
    from ..transforms import vmap

    spread = _spread_leading([args[i] for i in places], tuple(core))
    depth = max((np.ndim(x) if not isinstance(x, Tensor) else x.ndim) - rank for x, rank in zip(spread, core))

    def call(*arrays: Any) -> Any:
        full = list(args)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return f(*full)

    for _ in range(depth):
        call = vmap(call)
    return call(*spread)


__all__ = ["vectorize", "vectorized_map"]
