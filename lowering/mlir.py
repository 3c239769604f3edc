"""MLIR's Python bindings: contexts, types, attributes, locations, verification.

The one place in lowering/ that touches names which jax and jaxlib do not promise to keep; everything else imports
``ir``, ``Attribute`` helpers and the rest from here. Functions that build types, attributes or locations do so in the
context that is current (``with context():``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import func, sdy, stablehlo
from jax.interpreters import mlir as jax_mlir
from jaxlib import lapack
from jaxlib.mlir import passmanager

from ..ir.errors import ParseError, UnsupportedError, VerificationError
from ..ir.location import UNKNOWN, Frame, Location
from ..ir.sharding import axes_of
from ..ir.types import ELEMENT_TYPES, TensorType, short_name

__all__ = [
    "array_attribute",
    "bool_array",
    "check_jax_version",
    "context",
    "element_type_of",
    "flag",
    "int_array",
    "integer",
    "ir",
    "layouts_array",
    "location",
    "matrix",
    "mlir_element_type",
    "mlir_errors",
    "parse_module",
    "parse_program",
    "precision",
    "run_passes",
    "sharding_attribute",
    "spelled_out",
    "stablehlo",
    "string",
    "symbol",
    "symbol_table",
    "tensor_type",
    "type_of",
    "verify_module",
]

SUPPORTED_JAX = ((0, 10, 2), (0, 13))


def check_jax_version(installed: str = jax.__version__) -> None:
    """Raise :class:`UnsupportedError` where the jax version is outside the range these bindings were tried with."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", installed)[:3])
    low, high = SUPPORTED_JAX
    if not low <= numbers < high:
        raise UnsupportedError(
            f"jax {installed} is installed; lamina supports >={'.'.join(map(str, low))},"
            f"<{'.'.join(map(str, high))} (its MLIR bindings change between releases): "
            f"pip install 'jax>={'.'.join(map(str, low))},<{'.'.join(map(str, high))}'"
        )


check_jax_version()


@contextmanager
def context() -> Iterator[ir.Context]:
    """Within the block a fresh MLIR context is current; it knows the func, stablehlo, chlo and sdy dialects.

    What is made in it keeps it alive, and names it (``module.context``).
    """
    with jax_mlir.make_ir_context() as made, ir.Location.unknown():
        yield made


# Types. Our text names are MLIR's, but for these.

_SPELLED = {
    "c64": "complex<f32>",
    "c128": "complex<f64>",
    "f8e4m3fn": "f8E4M3FN",
    "f8e5m2": "f8E5M2",
    "f8e4m3b11fnuz": "f8E4M3B11FNUZ",
    "f8e4m3fnuz": "f8E4M3FNUZ",
    "f8e5m2fnuz": "f8E5M2FNUZ",
    "f8e4m3": "f8E4M3",
    "f8e3m4": "f8E3M4",
    "f8e8m0fnu": "f8E8M0FNU",
    "f6e2m3fn": "f6E2M3FN",
    "f6e3m2fn": "f6E3M2FN",
    "f4e2m1fn": "f4E2M1FN",
}
_DTYPES = {_SPELLED.get(name, name): dtype for name, dtype in ELEMENT_TYPES.items()}


def mlir_element_type(dtype: np.dtype) -> ir.Type:
    """The MLIR type of one element."""
    name = short_name(dtype)
    return ir.Type.parse(_SPELLED.get(name, name))


def element_type_of(type: ir.Type) -> np.dtype:
    """The NumPy dtype of an MLIR element type. Raises :class:`UnsupportedError` where lamina has none for it."""
    found = _DTYPES.get(str(type))
    if found is None:
        raise UnsupportedError(f"MLIR element type {type} has no counterpart; expected one of {', '.join(_DTYPES)}")
    return found


def tensor_type(type: TensorType) -> ir.Type:
    """``tensor<...>``; a symbolic dimension becomes ``?``."""
    open_size = ir.ShapedType.get_dynamic_size()
    shape = [d if isinstance(d, int) else open_size for d in type.shape]
    return ir.RankedTensorType.get(shape, mlir_element_type(type.dtype))


def type_of(value: ir.Value) -> TensorType:
    """The type of an MLIR value, as ours."""
    type = ir.RankedTensorType(value.type)
    return TensorType(element_type_of(type.element_type), type.shape)


# Attributes.


def array_attribute(array: np.ndarray) -> ir.Attribute:
    """``dense<...>`` of any element type; an array that holds one value everywhere is kept as that one value."""
    shape = array.shape
    data = np.ascontiguousarray(array)
    if array.size > 1:
        raw = data.reshape(-1).view(np.uint8).reshape(array.size, -1)
        if (raw == raw[0]).all():  # bit for bit, so that NaN and -0 count
            data = data.reshape(-1)[:1]
    if data.dtype.kind == "V" or short_name(data.dtype) in ("i2", "ui2", "i4", "ui4"):
        # What is no type of NumPy's own is no buffer.
        data = data.view(f"u{data.dtype.itemsize}")
    buffer: Any = data.reshape(-1)  # NumPy's stubs do not say that arrays are buffers
    return ir.DenseElementsAttr.get(buffer, type=mlir_element_type(array.dtype), shape=shape)


def int_array(values: Sequence[object]) -> ir.Attribute:
    """``array<i64: ...>``."""
    return ir.DenseI64ArrayAttr.get([int(v) for v in values])  # type: ignore[call-overload]


def bool_array(values: Sequence[bool]) -> ir.Attribute:
    """``array<i1: ...>``."""
    return ir.DenseBoolArrayAttr.get([bool(v) for v in values])


def matrix(rows: Sequence[Sequence[object]], columns: int) -> ir.Attribute:
    """``dense<[[...]]> : tensor<?x?xi64>``; ``columns`` says the width where there are no rows."""
    data = np.array([[int(v) for v in row] for row in rows], np.int64).reshape(len(rows), columns)  # type: ignore[call-overload]
    return array_attribute(data)


def layouts_array(layouts: Sequence[Sequence[int]]) -> ir.Attribute:
    """``[dense<[0, 1]> : tensor<2xindex>, ...]``."""
    index = ir.IndexType.get()
    make: Any = ir.DenseIntElementsAttr.get  # NumPy's stubs do not say that arrays are buffers
    return ir.ArrayAttr.get([make(np.array(order, np.int64), type=index, shape=[len(order)]) for order in layouts])


def integer(value: object, bits: int = 64) -> ir.Attribute:
    """An integer attribute of ``bits`` bits."""
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(bits), int(value))  # type: ignore[call-overload]


def flag(value: bool) -> ir.Attribute:
    """``true`` or ``false``."""
    return ir.BoolAttr.get(bool(value))


def string(value: str) -> ir.Attribute:
    """A string attribute."""
    return ir.StringAttr.get(value)


def sharding_attribute(sharding: Sequence[Any], mesh: Mapping[str, int]) -> ir.Attribute:
    """``#sdy.sharding`` with its mesh written out; ``mesh`` gives the size of each axis, major first.

    Axes that the mesh lacks, as in a program that was made for another, are left out.
    """
    axes = [sdy.MeshAxisAttr.get(name, size) for name, size in mesh.items()]
    found = [[sdy.AxisRefAttr.get(axis) for axis in axes_of(entry) if axis in mesh] for entry in sharding]
    dims = [sdy.DimensionShardingAttr.get(each, is_closed=True) for each in found]
    return sdy.TensorShardingAttr.get(sdy.MeshAttr.get(axes), dims)


def symbol(name: str) -> ir.Attribute:
    """``@name``."""
    return ir.FlatSymbolRefAttr.get(name)


def precision(name: str) -> ir.Attribute:
    """The precision of both operands of a contraction: default, high or highest."""
    return ir.ArrayAttr.get([stablehlo.PrecisionAttr.get(name.upper())] * 2)


# Locations.


def location(where: Location, op: str) -> ir.Location:
    """``"layer/op"`` over the Python frames; XLA's metadata shows them as op_name and stack frames."""
    layers = "+".join(where.layers)
    return ir.Location.name(f"{layers}/{op}" if layers else op, childLoc=_frames(where.frames))


def _frames(frames: Sequence[Frame]) -> ir.Location:
    located = [ir.Location.name(f.function, childLoc=ir.Location.file(f.file, f.line, 0)) for f in frames]
    if not located:
        return ir.Location.unknown()
    return ir.Location.callsite(located[0], located[1:]) if len(located) > 1 else located[0]


# Modules and errors.


def symbol_table(module: ir.Module) -> ir.SymbolTable:
    """The symbol table of a module; inserting an operation renames it where its name is taken."""
    return ir.SymbolTable(module.operation)


def verify_module(module: ir.Module) -> None:
    """Check a module by MLIR's verifier. Raises :class:`VerificationError` with what it found and where."""
    with mlir_errors("the StableHLO module does not verify"):
        module.operation.verify()


def parse_module(text: str | bytes) -> ir.Module:
    """Read a module from text or bytecode in the current context. Raises :class:`VerificationError`."""
    with mlir_errors("this is no valid MLIR module"):
        return ir.Module.parse(text)


@contextmanager
def mlir_errors(what: str, where: Location = UNKNOWN) -> Iterator[None]:
    """Within the block, an error of MLIR becomes a :class:`VerificationError`: ``what``, each diagnostic, the layer."""
    try:
        yield
    except ir.MLIRError as error:
        lines = [f"{what}{'' if where is UNKNOWN else f' (at {where})'}:"]
        lines += [f"  {d.message} at {d.location}" for d in error.error_diagnostics] or [f"  {error.message}"]
        raise VerificationError("\n".join(lines)) from None


# Reading programs.

#: How a portable artifact names its producer, after the first bytes of MLIR's bytecode.
_ARTIFACT = b"StableHLO_v"


@functools.cache
def prepare_lapack() -> None:
    """Register LAPACK's functions with XLA, and find them: else a program that calls one crashes the process."""
    lapack.prepare_lapack_call("syevd_ffi", np.dtype(np.float32))


def parse_program(source: str | bytes) -> ir.Module:
    """Read a module from text, MLIR bytecode or a StableHLO portable artifact in the current context, and verify it.

    Raises :class:`ParseError` with what MLIR found, and where; :class:`UnsupportedError` for quantized types, which are
    of a dialect that jaxlib does not have.
    """
    try:
        with mlir_errors("this is no valid StableHLO program"):
            if isinstance(source, bytes) and _ARTIFACT in source[:64]:
                module = stablehlo.deserialize_portable_artifact(ir.Context.current, source)
            else:
                module = ir.Module.parse(source)
            module.operation.verify()
    except (VerificationError, ValueError, RuntimeError) as error:
        if re.search(r"quant.*uniform", str(error)):
            raise UnsupportedError(
                "the program has quantized types (!quant.uniform), which are not supported; turn them into arithmetic "
                f"of integers first, with StableHLO's pass stablehlo-legalize-quant-to-math\n{error}"
            ) from None
        raise ParseError(str(error)) from None
    return module


def run_passes(module: ir.Module, pipeline: str) -> None:
    """Run MLIR's and StableHLO's passes on a module, in place. Raises :class:`VerificationError` where one fails."""
    _register_passes()
    with module.context, mlir_errors(f"the passes {pipeline} fail"):
        passmanager.PassManager.parse(f"builtin.module({pipeline})").run(module.operation)


@functools.cache
def _register_passes() -> None:
    stablehlo.register_stablehlo_passes()


def spelled_out(operation: ir.Operation, types: Sequence[tuple[np.dtype, Sequence[Any]]]) -> ir.Module:
    """A module with one function: a CHLO operation without regions on arguments of given types, in StableHLO's "
    "words."""
    open_size = ir.ShapedType.get_dynamic_size()
    with operation.context, ir.Location.unknown():
        arguments = [
            ir.RankedTensorType.get([d if isinstance(d, int) else open_size for d in shape], mlir_element_type(dtype))
            for dtype, shape in types
        ]
        results = [r.type for r in operation.results]
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            make: Any = func.FuncOp  # as in emitter.py
            function = make("main", (arguments, results))
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            given = {name: operation.attributes[name] for name in operation.attributes}
            operands = list(block.arguments)
            made = ir.Operation.create(operation.name, results=results, operands=operands, attributes=given)
            func.ReturnOp(list(made.results))
    run_passes(module, "func.func(chlo-legalize-to-stablehlo,shape-legalize-to-stablehlo,canonicalize)")
    return module
