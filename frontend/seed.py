"""Where random functions take their seeds from."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np

from ..ir.errors import ArgumentError
from .names import auto_name, name_scope, on_clear_session
from .random_eager import as_key
from .registry import builtin

_lock = threading.RLock()  # two threads must not draw the same seed
_global_generator: SeedGenerator | None = None
_chosen_seed: int | None = None


@builtin("keras.random")
class SeedGenerator:
    """A source of seeds: each draw gives another one.

    Its state is a Variable, so that a traced function that draws from it carries the state on.

    Args:
        seed: an integer from 0 to 2**32 - 1 that fixes the whole sequence; None for one from Python's ``random``.
        name: name of the generator, for the path of its state.

    Attributes:
        state: Variable of type uint32 and shape ``(2,)``: the seed, and how many have been drawn.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        if seed is not None and not isinstance(seed, int):
            raise ArgumentError(f"seed must be an integer or None, got {seed!r}")
        self.name = name or auto_name(type(self).__name__)
        self._initial_seed = seed
        from .variable import Variable  # it builds on initializers, and they on this module

        key = as_key(make_default_seed() if seed is None else seed)
        with name_scope(self.name, caller=self):
            self.state = Variable(key, dtype="uint32", trainable=False, name="seed_generator_state")

    def next(self, ordered: bool = True) -> Any:
        """Return the present state, a key of two uint32, and move on to the next.

        Args:
            ordered: True counts up. False jumps about below 933,199, as the global generator does.
        """
        with _lock:
            key = self.state.value
            if ordered:
                self.state.assign(key + np.array([0, 1], "uint32"))
            else:
                self.state.assign((key + np.uint32(1)) * np.uint32(5387) % np.uint32(933199))
        return key

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; the state is not among them."""
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """Make a generator from what ``get_config`` returned; it starts at the beginning of its sequence."""
        return cls(**config)


def make_default_seed() -> int:
    """Return a seed from Python's ``random``, so that ``random.seed`` fixes it."""
    return random.randint(1, int(1e9))


def global_seed_generator() -> SeedGenerator:
    """Return the generator behind ``seed=None``; it is made when first needed."""
    global _global_generator
    with _lock:
        if _global_generator is None:
            _global_generator = SeedGenerator()
        return _global_generator


def draw_seed(seed: Any) -> Any:
    """Return the key, two uint32, for a ``seed`` argument.

    Args:
        seed: an integer (the same key each time), a SeedGenerator (its next key), None (the global generator's next
            key) or an array that is a key already.

    Raises:
        ArgumentError: it is none of these.
    """
    if seed is None:
        return global_seed_generator().next(ordered=False)
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, int | np.integer):
        return as_key(int(seed))
    if tuple(getattr(seed, "shape", ())) == (2,):
        return seed
    raise ArgumentError(f"seed must be an integer, a SeedGenerator or None, got {seed!r}")


def set_random_seed(seed: int) -> None:
    """Fix all randomness: Python's ``random``, NumPy's global generator, and the global seed generator.

    Args:
        seed: an integer.
    """
    if not isinstance(seed, int):
        raise ArgumentError(f"seed must be an integer, got {seed!r}")
    global _chosen_seed
    _forget_global_generator()
    random.seed(seed)
    np.random.seed(seed)
    _chosen_seed = seed


def random_seed() -> int | None:
    """The seed of the last :func:`set_random_seed`; None where there was none."""
    return _chosen_seed


@on_clear_session
def _forget_global_generator() -> None:
    global _global_generator
    with _lock:
        _global_generator = None
