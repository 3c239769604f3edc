"""What all variables of one step have in common (learning rate, bias corrections...) is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Each entry keeps what its key names by id, so that no other object gets that id meanwhile.
_table: ContextVar[dict[Any, tuple[Any, Any]] | None] = ContextVar("shared_in_step", default=None)


@contextmanager
def one_step() -> Iterator[None]:
    """Within the block, :func:`once` remembers what it computed."""
    token = _table.set({})
    try:
        yield
    finally:
        _table.reset(token)


def once(compute: Callable[[], Any], *key: Any) -> Any:
    """What ``compute()`` returns; inside :func:`one_step` it runs once for each ``key``.

    Args:
        compute: takes nothing.
        key: strings, and objects of which each stands for itself only.
    """
    table = _table.get()
    if table is None:
        return compute()
    place = tuple(part if isinstance(part, str) else id(part) for part in key)
    if place not in table:
        table[place] = (compute(), key)
    return table[place][0]
