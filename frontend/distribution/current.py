"""The distribution that new Variables and calls follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...ir.errors import ArgumentError

if TYPE_CHECKING:
    from .strategies import Distribution

_current: list[Distribution | None] = [None]


def distribution() -> Distribution | None:
    """The distribution that is set for this process; None where there is none."""
    return _current[0]


def set_distribution(value: Distribution | None) -> None:
    """Make ``value`` the distribution of models that are made from now on, and of the batches they are given.

    Raises :class:`ArgumentError` where it is no distribution; None ends it.
    """
    if value is not None and not _is_distribution(value):
        raise ArgumentError(f"a Distribution is expected, such as DataParallel(), or None; received {value!r}")
    _current[0] = value


def _is_distribution(value: Any) -> bool:
    needed = ("device_mesh", "get_data_layout", "get_variable_layout", "warn_of_unused")
    return all(hasattr(value, name) for name in needed)
