"""XLA's failures in lamina's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from ..ir.errors import ArgumentError, DeviceError, LaminaError, UnsupportedError

# XLA's status code -> the error it is, and what to do about it.
_KINDS: dict[str, tuple[type[LaminaError], str]] = {
    "RESOURCE_EXHAUSTED": (DeviceError, "the device has not enough memory: use smaller shapes, or another device"),
    "UNIMPLEMENTED": (UnsupportedError, "this device's compiler cannot do it: use another element type or device"),
    "NOT_FOUND": (UnsupportedError, "something the program names is not registered for this device"),
    "INVALID_ARGUMENT": (ArgumentError, "XLA refuses the program, its options or its arguments"),
    "INTERNAL": (UnsupportedError, "XLA's compiler failed"),
}


def translate(error: Exception, what: str) -> LaminaError:
    """The :class:`LaminaError` for an error of XLA: ``what`` was being done, the kind of failure, XLA's own words."""
    text = str(error).strip()
    match = re.match(r"([A-Z_]+): (.*)", text, re.DOTALL)
    code, detail = match.groups() if match else ("", text)
    kind, advice = _KINDS.get(code, (UnsupportedError, "XLA's compiler or runtime failed"))
    return kind(f"{what}: {advice}. XLA says: {code + ': ' if code else ''}{detail}")


@contextmanager
def xla_errors(what: str) -> Iterator[None]:
    """Within the block, an error of XLA becomes a :class:`LaminaError`; see :func:`translate`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        raise translate(error, what) from None
