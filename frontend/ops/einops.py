"""``rearrange``: reshaping and transposing by a pattern of names, after einops."""

from __future__ import annotations

import re
from typing import Any

from ...ir.dims import DimLike
from ...ir.errors import ArgumentError, ShapeError
from ..convert import as_tensor
from ..dispatch import public_op
from ..tensor import Tensor
from ..trace import require_trace
from . import building as b


@public_op(weak=False)
def rearrange(tensor: Any, pattern: str, **axes_lengths: Any) -> Tensor:
    """``tensor`` with axes split, merged and moved as ``pattern`` says: ``"b (h w) c -> b c h w"``.

    Args:
        pattern: names of axes before and after ``->``; parentheses hold axes that are one together; ``...`` stands for
            axes that are not named, 1 for an axis of 1.
        axes_lengths: sizes of axes inside parentheses; one of each group may be left out.
    """
    x = as_tensor(tensor)
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise ArgumentError(f"rearrange: expected a pattern such as 'a b -> b a', received {pattern!r}")
    before, after = _groups(left, pattern), _groups(right, pattern)
    rest = x.ndim - sum(group != ["..."] for group in before)
    hidden = [f"...{i}" for i in range(max(rest, 0))]
    before, after = (_unfolded(groups, hidden) for groups in (before, after))
    if len(before) != x.ndim:
        raise ShapeError(f"rearrange: the pattern {pattern!r} names {len(before)} axes, received {x!r}")
    sizes: dict[str, DimLike] = {name: b.dims_arg(value, "rearrange", name)[0] for name, value in axes_lengths.items()}
    for group, dim in zip(before, b.shape_of(x)):
        _solve(group, dim, sizes, pattern)
    names = [name for group in before for name in group]
    wanted = [name for group in after for name in group]
    if sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise ArgumentError(f"rearrange: both sides of {pattern!r} must name the same axes, each once")
    x = b.transpose(b.reshape(x, [sizes[name] for name in names]), [names.index(name) for name in wanted])
    return b.reshape(x, [b.size_of([sizes[name] for name in group]) for group in after])


def _groups(text: str, pattern: str) -> list[list[str]]:
    """``"b (h w) 1"`` -> [["b"], ["h", "w"], []]."""
    tokens = re.findall(r"\.\.\.|[A-Za-z_]\w*|1|[()]|\S", text)
    groups: list[list[str]] = []
    inside = False
    for token in tokens:
        if token in "()":
            if inside == (token == "("):
                raise ArgumentError(f"rearrange: parentheses of {pattern!r} do not match")
            inside = token == "("
            if inside:
                groups.append([])
        elif token != "..." and token != "1" and not token.isidentifier():
            raise ArgumentError(f"rearrange: {token!r} in {pattern!r} is no name of an axis")
        elif inside:
            groups[-1].extend([] if token == "1" else [token])
        else:
            groups.append([] if token == "1" else [token])
    if inside:
        raise ArgumentError(f"rearrange: parentheses of {pattern!r} do not match")
    return groups


def _unfolded(groups: list[list[str]], hidden: list[str]) -> list[list[str]]:
    """``...`` replaced by the axes that it stands for."""
    found: list[list[str]] = []
    for group in groups:
        if group == ["..."]:
            found.extend([name] for name in hidden)
        else:
            found.append([n for name in group for n in (hidden if name == "..." else [name])])
    return found


def _solve(group: list[str], dim: DimLike, sizes: dict[str, DimLike], pattern: str) -> None:
    """Find the one size of a group that is not given."""
    open_ = [name for name in group if name not in sizes]
    if len(open_) > 1:
        raise ArgumentError(
            f"rearrange: the sizes of {', '.join(open_)} in {pattern!r} are not known; give all but one"
        )
    known = b.size_of([sizes[name] for name in group if name in sizes])
    if open_:
        sizes[open_[0]] = dim // known if known != 0 else 0
        known = known * sizes[open_[0]]
    require_trace().require_equal(dim, known, f"rearrange {pattern!r}: an axis and the product of its parts")
