"""``keras.device``: where new Variables are made, and where what follows runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import jax

from ..ir.errors import ArgumentError
from ..runtime.devices import find_device

_chosen: ContextVar[jax.Device | None] = ContextVar("device", default=None)


def device(device_name: str | jax.Device) -> AbstractContextManager[None]:
    """Within the block, work is done on one device.

    New Variables are made there and stay there: a model that was built in the block trains and predicts there after it,
    too, and inputs are brought to it. Ops on arrays that were not put on a device run there, and so does what is
    compiled. Blocks nest; another thread has its own.

    Args:
        device_name: ``"cpu:0"``, ``"gpu:1"``, ``"cuda:0"``, in any case, or a ``jax.Device``.

    Raises:
        DeviceError: there is no such device; the message lists those present.
        ArgumentError: it is neither a name nor a device.
    """
    if not isinstance(device_name, str | jax.Device):
        raise ArgumentError(f"expected a name such as 'gpu:0', or a jax.Device. Received: device_name={device_name!r}")
    return _within(find_device(device_name))


@contextmanager
def _within(found: jax.Device) -> Iterator[None]:
    token = _chosen.set(found)
    try:
        with jax.default_device(found):
            yield
    finally:
        _chosen.reset(token)


def current_device() -> Any:
    """The ``jax.Device`` of the innermost block; None outside of all."""
    return _chosen.get()
