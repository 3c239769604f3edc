"""StableHLO for another process: with how arguments are laid over a mesh, and whose memory the results may take."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..ir.graph import Graph, Module, Value, clone_module
from ..ir.sharding import Sharding
from ..ir.types import TensorType
from . import stablehlo
from .mlir import integer, ir, sharding_attribute


def emit_ahead(
    module: Module,
    mesh: Mapping[str, int],
    layouts: Sequence[Sharding | None] = (),
    given: Collection[int] = (),
    donated: Collection[int] = (),
) -> bytes:
    """The bytecode of a module with concrete shapes.

    Args:
        mesh: the size of each axis of the mesh; none for one device.
        layouts: of the inputs; None: whole on every device, as parameters are of which nothing is said.
        given: numbers of parameters whose next value takes the place of the last.
        donated: numbers of inputs whose memory results may take.

    Raises as :func:`~lamina.lowering.stablehlo.emit`.
    """
    module = clone_module(module)
    main = module.main
    if mesh:
        for parameter in main.parameters:
            _lay_out(parameter.value, parameter.type.sharding)
        for value, layout in zip(main.inputs, layouts, strict=True):
            _lay_out(value, layout)
    made = stablehlo.emit(module, mesh)
    with made.context, ir.Location.unknown():
        function = next(o for o in made.body.operations if o.attributes["sym_name"] == ir.StringAttr.get("main"))
        arguments = _attributes(function, "arg_attrs", len(main.parameters) + len(main.inputs))
        results = _attributes(function, "res_attrs", len(main.results))
        _mark(main, mesh, set(given), donated, arguments, results)
        for key, attributes in (("arg_attrs", arguments), ("res_attrs", results)):
            function.attributes[key] = ir.ArrayAttr.get([ir.DictAttr.get(a) for a in attributes])
    stored = io.BytesIO()
    made.operation.write_bytecode(stored)
    return stored.getvalue()


def _mark(
    main: Graph,
    mesh: Mapping[str, int],
    given: Collection[int],
    donated: Collection[int],
    arguments: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any]],
) -> None:
    """Say where updates are laid out, and which arguments' memory results may take."""
    places = {id(p): i for i, p in enumerate(main.parameters)}
    for number, update in enumerate(main.updates, start=len(main.outputs)):
        if mesh:
            results[number]["sdy.sharding"] = sharding_attribute(update.parameter.type.sharding or (), mesh)
        if places[id(update.parameter)] in given:
            arguments[places[id(update.parameter)]]["tf.aliasing_output"] = integer(number, 32)
    for i in donated:
        arguments[len(main.parameters) + i]["jax.buffer_donor"] = ir.BoolAttr.get(True)


def _lay_out(value: Value, sharding: Sharding | None) -> None:
    value.type = TensorType(value.dtype, value.shape, sharding if sharding is not None else (None,) * value.rank)


def _attributes(function: Any, key: str, count: int) -> list[dict[str, Any]]:
    if key not in function.attributes:
        return [{} for _ in range(count)]
    said: Any = ir.DictAttr  # its stub does not say that it is iterated
    return [{a.name: a.attr for a in said(each)} for each in ir.ArrayAttr(function.attributes[key])]
