"""Layouts by the paths of variables and layers."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .mesh import DeviceMesh, TensorLayout


class LayoutMap(MutableMapping[str, Any]):
    """Paths, or regular expressions for them, and the layouts of what they name.

    A Variable is found by its path, the output of a layer by ``path/output``. An expression has to match the whole
    path. What no key names has no layout (None): a Variable is whole on every device.

    Args:
        device_mesh: the mesh of layouts that come without one, as tuples of axes do.
    """

    def __init__(self, device_mesh: DeviceMesh | None = None) -> None:
        self.device_mesh = device_mesh
        self._layouts: dict[str, TensorLayout] = {}
        self._asked: dict[str, None] = {}  # paths that were looked up
        self._silent: set[str] = set()  # keys that named something, or that a warning was about

    def __getitem__(self, key: str) -> TensorLayout | None:
        """The layout of a path. Raises :class:`ArgumentError` where several expressions match it."""
        self._asked[key] = None
        if key in self._layouts:
            self._silent.add(key)
            return self._layouts[key]
        found = [pattern for pattern in self._layouts if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ArgumentError(f"the layout of {key!r} is open: {', '.join(map(repr, found))} match it")
        self._silent.update(found)
        return self._layouts[found[0]] if found else None

    def __setitem__(self, key: str, layout: TensorLayout | Sequence[Any]) -> None:
        """Add a layout, or the axes of one. Raises :class:`ArgumentError` where there is one, or the key is no regular
        expression."""
        if key in self._layouts:
            raise ArgumentError(f"there is a layout for {key!r} already: {self._layouts[key]}; delete it first")
        try:
            re.compile(key)
        except re.error as error:
            raise ArgumentError(f"{key!r} is no path and no regular expression: {error}") from None
        if isinstance(layout, tuple):
            layout = TensorLayout(layout)
        if not isinstance(layout, TensorLayout):
            raise ArgumentError(f"expected a TensorLayout or a tuple of axes for {key!r}, received {layout!r}")
        if layout.device_mesh is None and self.device_mesh is not None:
            layout.device_mesh = self.device_mesh
        self._layouts[key] = layout

    def warn_of_unused(self) -> None:
        """Warn of keys that named no Variable and no output of a layer so far, once of each, with paths like it."""
        for key in [key for key in self._layouts if key not in self._silent]:
            self._silent.add(key)
            plain = re.sub(r"[^\w/]+", "", key)
            near = difflib.get_close_matches(plain, self._asked, n=3, cutoff=0.5)
            own = [path for path in near if path.endswith("/output") == key.endswith("/output")] or near
            warnings.warn(
                f"the layout of {key!r} names no Variable and no output of a layer that there is. A key is a whole "
                "path, or an expression that matches the whole of it"
                + (f"; there are {', '.join(map(repr, own))}" if own else ""),
                stacklevel=2,
            )

    def __delitem__(self, key: str) -> None:
        del self._layouts[key]

    def __len__(self) -> int:
        return len(self._layouts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layouts)
