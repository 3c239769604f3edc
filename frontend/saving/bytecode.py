"""Lambdas as Keras writes them: marshalled bytecode. Reading one runs whatever the file's author wrote."""

from __future__ import annotations

import builtins
import codecs
import marshal
import types
from typing import Any


def dump_lambda(function: types.FunctionType) -> tuple[str, tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """Return code (base64 text), default arguments and closure values of a function."""
    code = codecs.encode(marshal.dumps(function.__code__), "base64").decode("ascii")
    closure = tuple(cell.cell_contents for cell in function.__closure__) if function.__closure__ else None
    return code, function.__defaults__, closure


def load_lambda(dumped: Any) -> types.FunctionType:
    """Return the function that ``dump_lambda`` wrote. Only for files whose author is trusted.

    Raises:
        ValueError: this is no dumped function, or one of another version of Python.
    """
    try:
        code, defaults, closure = dumped
        body = marshal.loads(codecs.decode(code.encode("ascii"), "base64"))
        return types.FunctionType(
            body,
            {"__builtins__": builtins},
            body.co_name,
            None if defaults is None else tuple(defaults),
            None if closure is None else tuple(types.CellType(value) for value in closure),
        )
    except (TypeError, ValueError, AttributeError, EOFError) as error:
        raise ValueError(f"not the bytecode of a function for this version of Python: {error}") from error
