"""Equal programs share one function given to ``jax.jit``, and so its traces and its executables.

A table finds that function by a key that says all the function depends on. It is there as long as any of the programs,
and the last :data:`KEPT` ones are there even without: whoever makes the same model again, as in a search or a notebook
cell that runs again, need not compile again.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, Generic, TypeVar

from ..ir.errors import LaminaError
from .executables import Executables
from .recompiles import Sizes

T = TypeVar("T")
V = TypeVar("V")

#: How many functions stay compiled though no program uses them.
KEPT = 256


class Bounded(Generic[V]):
    """A dictionary of the ``size`` entries that were used last; threads may use it at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The entry of ``key``, made by ``make`` (under the lock: once) where there is none."""
        with self._lock:
            if key not in self._entries:
                self._entries[key] = make()
                while len(self._entries) > self.size:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(key)
            return self._entries[key]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class Shared(Generic[T]):
    """A jitted function, and the programs (its owners) that call it.

    The function asks any owner for what is needed while jax traces it: equal owners trace alike. Owners are held
    weakly, since this object and what jax's caches hold of it may outlive them, and must not keep weights.

    Args:
        name: for messages.
        build: ``(shared, nested) -> jitted function``; nested: for calls inside another ``jax.jit``.
        sizes: counts what it is compiled for.
        executables: where those are found that need not be compiled.

    Attributes:
        jitted: what ``jax.jit`` made.
        call: calls it, or an executable that is found.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[Shared[T], bool], Callable[..., Any]],
        sizes: Sizes | None = None,
        executables: Executables | None = None,
    ) -> None:
        self.name = name
        self.sizes = sizes
        self._owners: list[weakref.ref[T]] = []
        self._lock = threading.Lock()
        self._build = build
        self.jitted = build(self, False)
        self.executables = executables
        self.call = self.jitted if executables is None else executables.calling(self.jitted)

    @cached_property
    def nested(self) -> Callable[..., Any]:
        """The same for calls inside another ``jax.jit``."""
        return self._build(self, True)

    def join(self, owner: T) -> None:
        """``owner`` calls the function from now on."""
        with self._lock:
            self._owners = [ref for ref in self._owners if ref() is not None] + [weakref.ref(owner)]

    def owner(self) -> T:
        """An owner that is there. Raises :class:`LaminaError` where all are gone."""
        with self._lock:
            for ref in self._owners:
                owner = ref()
                if owner is not None:
                    return owner
        raise LaminaError(f"the compiled program {self.name!r} is gone; keep it as long as what jax made of it")


class Table(Generic[T]):
    """Finds what equal programs share."""

    def __init__(self, kept: int = KEPT) -> None:
        self._alive: weakref.WeakValueDictionary[Hashable, Shared[T]] = weakref.WeakValueDictionary()
        self._recent: Bounded[Shared[T]] = Bounded(kept)
        self._lock = threading.Lock()

    def join(self, key: Hashable, owner: T, make: Callable[[], Shared[T]], keep: bool = True) -> Shared[T]:
        """What owners of ``key`` share, made by ``make`` for the first; ``owner`` joins them.

        Args:
            keep: whether it may stay after its last owner.
        """
        with self._lock:
            shared = self._alive.get(key)
            if shared is None:
                shared = self._alive[key] = make()
            shared.join(owner)
        found = shared
        if keep:
            self._recent.get(key, lambda: found)
        return found

    def clear(self) -> None:
        """Keep nothing that no program uses."""
        self._recent.clear()
