"""Errors that lamina raises: each says what was received, what was expected, how to mend it, and where."""

from __future__ import annotations


class LaminaError(Exception):
    """Base of every error that lamina raises on purpose."""


class ShapeError(LaminaError, ValueError):
    """A shape, rank or dimension does not fit."""


class DTypeError(LaminaError, TypeError):
    """An element type does not fit."""


class ArgumentError(LaminaError, ValueError):
    """An argument other than a shape or an element type has a value that cannot be used."""


class TracingError(LaminaError, TypeError):
    """Python asked a traced tensor for something only a run could answer (``if x > 0``, ``float(x)``)."""


class IntegerDimError(TracingError):
    """Python needed the integer value of a symbolic dimension (``range(x.shape[1])``).

    ``dim`` is the symbolic expression, ``where`` the user's source line.
    """

    def __init__(self, message: str, dim: object, where: str = "") -> None:
        super().__init__(message)
        self.dim = dim
        self.where = where


class DifferentiationError(LaminaError, TypeError):
    """There is no derivative of what was asked for: of an op that has none, or of a loop in reverse mode."""


class GuardError(LaminaError, ValueError):
    """Concrete dimensions break an assumption that the trace was made under."""


class VerificationError(LaminaError):
    """A graph breaks the rules of the IR; the message reprints it with a mark at the wrong node."""


class ParseError(LaminaError, ValueError):
    """Text is not IR."""


class PassError(LaminaError):
    """A pass is unknown, or broke the graph."""


class FileFormatError(LaminaError, ValueError):
    """A file is not what its name says, or is damaged, or asks for something that is refused."""


class DeviceError(LaminaError, ValueError):
    """A device that was asked for is not there."""


class ProcessError(LaminaError, RuntimeError):
    """The processes of a program do not fit together, or one of them is gone."""


class UnsupportedError(LaminaError):
    """A target or a library version cannot do what was asked."""


class RecompileWarning(UserWarning):
    """A program is compiled again for one size after another; the message says which dimension, and what to do."""
