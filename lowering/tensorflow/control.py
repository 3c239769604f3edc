"""Rules of control flow and of what wraps a region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.dims import Dim
from ...ir.graph import Graph, Node, Value
from ...ir.types import BOOL, has_tangent
from ..source import Rule
from .recurrent import hoisted, steps_on_inputs
from .writer import TensorFlowWriter, tensor, tf_type


def bound(writer: TensorFlowWriter, texts: Sequence[str], values: Sequence[Value]) -> list[str]:
    """Names for texts, so that a variable is read once and a literal made once, outside the region."""
    made = []
    for text, value in zip(texts, values):
        if text.startswith("self."):
            text = writer.assign(f"tf.convert_to_tensor({text})", text.rpartition(".")[2])
        elif not text.isidentifier():
            text = writer.assign(tensor(text, value.dtype), value.name or "start")
        made.append(text)
    return made


def invariant(value: Value) -> str:
    """``tf.TensorShape([None, 4])``."""
    return f"tf.TensorShape({_static(value)})"


def _loop(
    writer: TensorFlowWriter,
    names: Sequence[str],
    test: str,
    step: str,
    start: Sequence[str],
    shapes: Sequence[str] | None,
    extra: str = "",
) -> None:
    """Write a tf.while_loop whose results get ``names``; ``shapes``: those that stay, where sizes are open."""
    invariants = "" if shapes is None else f", shape_invariants=[{', '.join(shapes)}]"
    made = f"tf.while_loop({test}, {step}, [{', '.join(start)}]{extra}{invariants})"
    writer.line(f"{', '.join(names)}{',' if len(names) == 1 else ''} = {made}")


def _open_shapes(values: Sequence[Value]) -> list[str] | None:
    """The invariants of values some of which have open sizes, else None."""
    return [invariant(v) for v in values] if any(isinstance(d, Dim) for v in values for d in v.shape) else None


def _function(writer: TensorFlowWriter, region: Graph, fixed: Sequence[str], hint: str, single: bool = False) -> str:
    """Write a region as a function of what its first ``fixed`` inputs leave."""
    name = writer.fresh(hint)
    moving = region.inputs[len(fixed) :]
    arguments = [writer.fresh(v.name or "a") for v in moving]
    with writer.block(f"def {name}({', '.join(arguments)}):"):
        results = writer.graph(region, [*fixed, *arguments])
        texts = [tensor(r, v.dtype) for r, v in zip(results, region.results)]
        if single:
            writer.line(f"return {texts[0]}")
        else:
            writer.line(f"return [{', '.join(texts)}]")
    return name


def _while_(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    count = node.attributes["consts"]
    texts = bound(writer, operands, node.operands)
    fixed, carries = texts[:count], texts[count:]
    if not carries:
        return []
    test = _function(writer, node.regions[0], fixed, "condition", single=True)
    body = _function(writer, node.regions[1], fixed, "step")
    names = [writer.fresh(v.name or "carry") for v in node.results]
    _loop(writer, names, test, body, carries, _open_shapes(node.operands[count:]))
    return names


def scan(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    """A loop over the slices of arrays, with the products that all steps have in common written before it."""
    consts, count, length = (node.attributes[k] for k in ("consts", "carries", "length"))
    if length == 0:
        empty = [f"tf.zeros({writer.shape(r.shape)}, {tf_type(r.dtype)})" for r in node.results[count:]]
        return [*operands[consts : consts + count], *empty]
    texts = bound(writer, operands, node.operands)
    made = _Scan(writer, node, texts[:consts], texts[consts : consts + count], texts[consts + count :])
    return made.indexed() if writer.lite else made.with_arrays()


class _Scan:
    """A scan as a tf.while_loop; texts are those of what stays, of the first carries, and of the scanned arrays."""

    def __init__(
        self, writer: TensorFlowWriter, node: Node, fixed: Sequence[str], carries: Sequence[str], xs: Sequence[str]
    ) -> None:
        self.writer, self.node, self.region = writer, node, node.regions[0]
        self.fixed, self.carries = fixed, carries
        self.length = writer.dim(node.attributes["length"])
        self.yields = self.region.outputs[len(carries) :]
        self.steps = steps_on_inputs(node)
        projected = hoisted(writer, node, fixed, xs)
        slices = self.region.inputs[len(fixed) + len(carries) :]
        others = [n for n in self.region.nodes if n not in self.steps]
        needed = {v for n in others for v in n.operands}.union(
            self.region.outputs, *(step.operands[1:] for step in self.steps)
        )
        self.used = [value in needed for value in slices]
        self.arrays = [*(x for x, on in zip(xs, self.used) if on), *projected]

    def with_arrays(self) -> list[str]:
        """Reading from TensorArrays and writing into others."""
        writer, length = self.writer, self.length
        arrays = [writer.assign(f"{_array(x, length)}.unstack({x})", "steps") for x in self.arrays]
        targets = [writer.assign(_array_of(v, length), "found") for v in self.yields]
        names = self._loop(
            targets,
            lambda i: [f"{array}.read({i})" for array in arrays],
            lambda target, i, row, value: f"{target}.write({i}, {row})",
            ["tf.TensorShape(None)"] * len(targets),
            f", maximum_iterations={length}, parallel_iterations=32",
        )
        count = len(self.carries)
        return [*names[:count], *(f"{name}.stack()" for name in names[count:])]

    def indexed(self) -> list[str]:
        """Reading rows of tensors and replacing rows of others.

        TensorFlow Lite has no TensorArrays of rows whose size is open.
        """
        writer, found = self.writer, self.node.results[len(self.carries) :]
        targets = [writer.assign(f"tf.zeros({writer.shape(v.shape)}, {tf_type(v.dtype)})", "found") for v in found]

        def replaced(target: str, i: str, row: str, value: Value) -> str:
            text = f"tf.concat([{target}[:{i}], tf.expand_dims({row}, 0), {target}[{i} + 1 :]], 0)"
            return writer.reshaped(text, (self.node.attributes["length"], *value.shape))  # the length is not seen else

        return self._loop(
            targets,
            lambda i: [f"tf.gather({x}, {i})" for x in self.arrays],
            replaced,
            [invariant(v) for v in found],
            "",
        )

    def _loop(
        self,
        targets: Sequence[str],
        read: Callable[[str], list[str]],
        put: Callable[[str, str, str, Value], str],
        shapes: Sequence[str],
        extra: str,
    ) -> list[str]:
        """Write the loop; names of the last carries and of what the targets became."""
        writer, region, count = self.writer, self.region, len(self.carries)
        step, index = writer.fresh("step"), writer.fresh("i")
        inner = [writer.fresh(v.name or "a") for v in region.inputs[len(self.fixed) : len(self.fixed) + count]]
        ys = [writer.fresh("ys") for _ in targets]
        with writer.block(f"def {step}({', '.join([index, *inner, *ys])}):"):
            place = index
            if self.node.attributes["reverse"]:
                place = writer.assign(f"{self.length} - 1 - {index}", "place")
            rows = [writer.assign(text, "x") for text in read(place)]
            given = iter(rows)
            slices = [next(given) if on else "" for on in self.used]
            writer.projected.update(zip(self.steps, given))
            results = writer.graph(region, [*self.fixed, *inner, *slices])
            results = [tensor(r, v.dtype) for r, v in zip(results, region.results)]
            written_rows = [put(y, place, r, v) for y, r, v in zip(ys, results[count:], self.yields)]
            writer.line(f"return [{', '.join([f'{index} + 1', *results[:count], *written_rows])}]")
        kept = [writer.fresh(v.name or "carry") for v in self.node.results[:count]]
        names = [writer.fresh("_"), *kept, *(writer.fresh("found") for _ in targets)]
        invariants = _open_shapes(self.node.results)
        if invariants is not None or writer.lite:
            invariants = ["tf.TensorShape([])", *map(invariant, self.node.results[:count]), *shapes]
        test = f"lambda {index}, *_: {index} < {self.length}" if writer.lite else "lambda *_: True"
        _loop(writer, names, test, step, ["tf.constant(0)", *self.carries, *targets], invariants, extra)
        return names[1:]


def _static(value: Value) -> str:
    return f"[{', '.join('None' if isinstance(d, Dim) else str(d) for d in value.shape)}]"


def _array(x: str, length: str) -> str:
    return f"tf.TensorArray({x}.dtype, {length}, element_shape={x}.shape[1:])"


def _array_of(slice_: Value, length: str) -> str:
    return f"tf.TensorArray({tf_type(slice_.dtype)}, {length}, element_shape={_static(slice_)})"


def _cond(writer: TensorFlowWriter, node: Node, index: str, *operands: str) -> Any:
    texts = bound(writer, operands, node.operands[1:])
    names = [_function(writer, region, texts, "branch") for region in node.regions]
    index = tensor(index, node.operands[0].dtype)
    if not node.results:
        return []
    if node.operands[0].dtype == BOOL:
        made = f"tf.cond({index}, {names[0]}, {names[1]})"
    else:
        last = len(names) - 1
        where = writer.assign(f"tf.where(({index} < 0) | ({index} > {last}), {last}, {index})", "branch_index")
        made = f"tf.switch_case({where}, [{', '.join(names)}])"
    made = writer.assign(made, "chosen")
    return [f"{made}[{i}]" for i in range(len(node.results))]


def body(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    """What the region says, in place."""
    return writer.graph(node.regions[0], operands)


def custom_vjp(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    """A function with the gradient that the graph gives it."""
    primal, forward, backward = node.regions
    texts = bound(writer, operands, node.operands)
    count = len(primal.outputs)
    name, gradient = writer.fresh("f"), writer.fresh("gradient")
    arguments = [writer.fresh(v.name or "a") for v in forward.inputs]
    has_tangent = [_is_inexact(v) for v in primal.outputs]
    cotangents = [writer.fresh("g") for _ in primal.outputs]
    writer.line("@tf.custom_gradient")
    with writer.block(f"def {name}({', '.join(arguments)}):"):
        results = writer.graph(forward, arguments)
        results = [tensor(r, v.dtype) for r, v in zip(results, forward.outputs)]
        with writer.block(f"def {gradient}({', '.join(cotangents)}):"):
            given = [g for g, on in zip(cotangents, has_tangent) if on]
            slopes = iter(writer.graph(backward, [*results[count:], *given]))
            back = [next(slopes) if _is_inexact(v) else "None" for v in forward.inputs]
            writer.line(f"return [{', '.join(back)}]")
        writer.line(f"return [{', '.join(results[:count])}], {gradient}")
    made = writer.assign(f"{name}({', '.join(texts)})", "results")
    return [f"{made}[{i}]" for i in range(count)]


def _is_inexact(value: Value) -> bool:
    return has_tangent(value.type)


def _barrier(writer: TensorFlowWriter, node: Node, *operands: str) -> Any:
    return list(operands)


RULES: dict[str, Rule] = {
    "while": _while_,
    "scan": scan,
    "cond": _cond,
    "remat": body,
    "composite": body,
    "custom_vjp": custom_vjp,
    "optimization_barrier": _barrier,
    "sharding_constraint": lambda writer, node, x: x,
}
