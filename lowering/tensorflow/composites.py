"""Rules of the composites that TensorFlow has kernels for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.dims import ge
from ...ir.graph import Node
from ...ir.opdef import Call
from ...ir.ops.composites.attention_parts import scale_of
from ...ir.ops.composites.lookup import fill
from ...ir.types import BOOL, F32, F64, I32, I64, is_complex, is_float, short_name
from .contraction import is_same
from .elementwise import op
from .reduction import fold_name, native_reduction, neutral, summed_in
from .shape import padded
from .writer import TensorFlowWriter, cast, literal, plain_number, tensor, tf_type

Rule = Callable[..., Any]


def expanded(writer: TensorFlowWriter, node: Node, *operands: str) -> list[str]:
    """The decomposition, where TensorFlow's kernel does not do what is meant."""
    results: list[str] = writer.expand(node.op.decompose, node, operands)  # type: ignore[arg-type]
    return results


def _axes(node: Node) -> list[int]:
    rank = node.operands[0].rank
    axes = node.attributes["axes"] if "axes" in node.attributes else (node.attributes["axis"],)
    return sorted(axis % rank for axis in axes)


# Activations


def activation(form: str, *lacking: str) -> Rule:
    """The rule of ``form``, which may name attributes (``"{alpha}"``)."""

    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        filled = form.format("{0}", **{k: plain_number(v) for k, v in node.attributes.items() if k != "axis"})
        return op(filled, *lacking)(writer, node, x)

    return rule


def _but_f64(rule: Rule) -> Rule:
    """The decomposition for float64, since TensorFlow holds the constants of this function as float32."""

    def chosen(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        return expanded(writer, node, x) if node.result.dtype == F64 else rule(writer, node, x)

    return chosen


def _elu(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    if node.attributes["alpha"] != 1:
        return expanded(writer, node, x)
    return op("tf.nn.elu({0})")(writer, node, x)


def softmax(function: str) -> Rule:
    """The rule of tf.nn.softmax or its logarithm."""

    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        (axis,) = _axes(node)
        where = "" if axis == node.operands[0].rank - 1 else f", {axis}"
        return op(f"{function}({{0}}{where})")(writer, node, x)

    return rule


# Reductions


def _keep(node: Node) -> str:
    return ", keepdims=True" if node.attributes["keepdims"] else ""


def reduction(binary: str) -> Rule:
    """The rule of tf.reduce_sum and its like."""

    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        dtype, axes = node.operands[0].dtype, _axes(node)
        if not axes:
            return x
        name, inner = native_reduction(binary, dtype), summed_in(dtype, binary)
        assert name is not None
        if inner == dtype:
            return f"{name}({x}, {axes}{_keep(node)})"
        return cast(f"{name}({cast(x, inner)}, {axes}{_keep(node)})", dtype)

    return rule


def _in_wide(function: str) -> Rule:
    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        dtype, axes = node.operands[0].dtype, _axes(node)
        inner = summed_in(dtype)
        made = f"{function}({x if inner == dtype else cast(x, inner)}, {axes}{_keep(node)})"
        return made if inner == dtype else cast(made, dtype)

    return rule


def _logsumexp(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    return (
        op(f"tf.reduce_logsumexp({{0}}, {_axes(node)}{_keep(node)})")(writer, node, x)
        if _axes(node)
        else expanded(writer, node, x)
    )


def arg(function: str) -> Rule:
    """The rule of tf.argmax and tf.argmin."""

    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        (axis,), dtype, result = _axes(node), node.operands[0].dtype, node.result.dtype
        if is_float(dtype):
            wide = cast(x, F32) if dtype.itemsize == 1 else x
            return f"{writer.helper('arg_extreme')}({function}, {wide}, {axis}, {tf_type(result)})"
        made = cast(x, I32) if dtype == BOOL else x
        if result in (I32, I64):
            return f"{function}({made}, {axis}, {tf_type(result)})"
        return cast(f"{function}({made}, {axis})", result)

    return rule


def cumulative(binary: str, native: str | None = None) -> Rule:
    """The rule of tf.cumsum and its like; without one, the decomposition where the length is known."""

    def rule(writer: TensorFlowWriter, node: Node, x: str) -> Any:
        (axis,), dtype, reverse = _axes(node), node.operands[0].dtype, node.attributes["reverse"]
        if native is not None:
            inner = summed_in(dtype)
            made = f"{native}({x if inner == dtype else cast(x, inner)}, {axis}{', reverse=True' if reverse else ''})"
            return made if inner == dtype else cast(made, dtype)
        if isinstance(node.operands[0].shape[axis], int):
            return expanded(writer, node, x)
        return f"{writer.helper('cumulate')}({fold_name(binary, dtype)}, {x}, {axis}, {reverse})"

    return rule


# Normalization


def _spread(
    writer: TensorFlowWriter, weight: str, node: Node, axes: Sequence[int], dtype: np.dtype, own: np.dtype
) -> str:
    """A weight with the dimensions ``axes`` of the operand, so that it broadcasts against it."""
    shape, rank = node.operands[0].shape, node.operands[0].rank
    if own != dtype:
        weight = cast(weight, dtype)
    if list(axes) == list(range(rank - len(axes), rank)):
        return weight
    return writer.reshaped(weight, [d if i in axes else 1 for i, d in enumerate(shape)][min(axes) :])


def _weights(
    writer: TensorFlowWriter, node: Node, texts: Sequence[str], axes: Sequence[int], inner: np.dtype
) -> list[str]:
    values = node.operands[len(node.operands) - len(texts) :]
    return [_spread(writer, t, node, axes, inner, v.dtype) for t, v in zip(texts, values)]


def _layer_norm(writer: TensorFlowWriter, node: Node, x: str, *weights: str) -> Any:
    axes, dtype = _axes(node), node.result.dtype
    inner = summed_in(dtype)
    if inner != dtype:
        x = writer.assign(cast(x, inner), "wide")
    rest = _weights(writer, node, weights, axes, inner)
    scale = rest.pop(0) if node.attributes["scale"] else "None"
    offset = rest.pop(0) if node.attributes["center"] else "None"
    mean, variance = writer.fresh("mean"), writer.fresh("variance")
    writer.line(f"{mean}, {variance} = tf.nn.moments({x}, {axes}, keepdims=True)")
    epsilon = plain_number(node.attributes["epsilon"])
    made = f"tf.nn.batch_normalization({x}, {mean}, {variance}, {offset}, {scale}, {epsilon})"
    return made if inner == dtype else cast(made, dtype)


def _batch_norm(writer: TensorFlowWriter, node: Node, x: str, *rest: str) -> Any:
    (axis,), dtype, operand = _axes(node), node.result.dtype, node.operands[0]
    inner = summed_in(dtype)
    if inner != dtype:
        x = writer.assign(cast(x, inner), "wide")
    weights = _weights(writer, node, rest, [axis], inner)
    mean, variance, *weights = weights
    scale = weights.pop(0) if node.attributes["scale"] else None
    offset = weights.pop(0) if node.attributes["center"] else None
    epsilon = plain_number(node.attributes["epsilon"])
    last = axis == operand.rank - 1
    if operand.rank == 4 and last and inner == F32 and 0 not in operand.shape:  # grappler fuses it with a convolution
        scale = scale or f"tf.ones_like({mean})"
        offset = offset or f"tf.zeros_like({mean})"
        call = f"x={x}, scale={scale}, offset={offset}, mean={mean}, variance={variance}, epsilon={epsilon}"
        made = f"tf.raw_ops.FusedBatchNormV3({call}, is_training=False).y"
    else:
        made = f"tf.nn.batch_normalization({x}, {mean}, {variance}, {offset}, {scale}, {epsilon})"
    return made if inner == dtype else cast(made, dtype)


# Attention


def _attention(writer: TensorFlowWriter, node: Node, query: str, key: str, value: str, *rest: str) -> Any:
    a, dtype = node.attributes, node.result.dtype
    (batch, time, heads, depth), (_, source, groups, _) = (v.shape for v in node.operands[:2])
    inner = summed_in(dtype)
    texts = [
        writer.assign(f"tf.transpose({x}, [0, 2, 1, 3])", hint)
        for x, hint in ((query, "query"), (key, "key"), (value, "value"))
    ]
    q, k, v = texts
    if heads != groups:
        q = writer.assign(f"tf.reshape({q}, {writer.shape([batch, groups, heads // groups * time, depth])})", "query")
    if inner != dtype:
        q, k, v = (writer.assign(cast(t, inner), "wide") for t in (q, k, v))
    scores = writer.assign(f"tf.matmul({q}, {k}, transpose_b=True)", "scores")
    if heads != groups:
        scores = writer.assign(f"tf.reshape({scores}, {writer.shape([batch, heads, time, source])})", "scores")
    scale = scale_of(Call(node.op, a), depth)
    scores = writer.assign(f"{scores} * {plain_number(scale)}", "scores")
    given = dict(zip([n for n in ("bias", "mask") if a[n]], zip(rest, node.operands[3:])))
    if "bias" in given:
        text, bias = given["bias"]
        scores = writer.assign(f"{scores} + {text if bias.dtype == inner else cast(text, inner)}", "scores")
    masks = [given["mask"][0]] if "mask" in given else []
    if a["causal"]:
        rows, columns = (f"tf.range({writer.dim(d)})" for d in (time, source))
        masks.append(writer.assign(f"{rows}[:, None] >= {columns}", "earlier"))
    if masks:
        # Finite, so that a row where nothing may be attended to gives the plain mean and no NaN.
        never = literal(np.array(-0.7 * float(np.finfo(np.float32).max)).astype(inner))
        scores = writer.assign(f"tf.where({' & '.join(masks)}, {scores}, {never})", "scores")
    weights = writer.assign(f"tf.nn.softmax({scores})", "weights")
    if heads != groups:
        weights = writer.assign(
            f"tf.reshape({weights}, {writer.shape([batch, groups, heads // groups * time, source])})", "weights"
        )
    mixed = writer.assign(f"{weights} @ {v}", "mixed")
    if heads != groups:
        shape = writer.shape([batch, heads, time, node.operands[2].shape[3]])
        mixed = writer.assign(f"tf.reshape({mixed}, {shape})", "mixed")
    made = f"tf.transpose({mixed}, [0, 2, 1, 3])"
    return made if inner == dtype else cast(made, dtype)


# Pooling and resizing


def _pooled(node: Node) -> bool:
    """Whether TensorFlow's pooling takes it: windows along one or two inner dimensions of a channels-last array."""
    a, shape = node.attributes, node.operands[0].shape
    edges = [a["window"][i] == 1 and a["strides"][i] == 1 and a["padding"][i] == (0, 0) for i in (0, -1)]
    return len(shape) in (3, 4) and all(edges) and is_float(node.result.dtype) and 0 not in (*shape, *node.result.shape)


def _pool_padding(node: Node) -> str | None:
    """TensorFlow's name for the padding, or None."""
    a = node.attributes
    if all(pair == (0, 0) for pair in a["padding"]):
        return "'VALID'"
    ones = (1,) * node.operands[0].rank
    return (
        "'SAME'" if all(map(is_same, node.operands[0].shape, a["window"], a["strides"], ones, a["padding"])) else None
    )


def _pool_call(writer: TensorFlowWriter, node: Node, x: str, kind: str, padding: str) -> str:
    a, rank = node.attributes, node.operands[0].rank - 2
    return f"tf.nn.{kind}_pool{rank}d({x}, {list(a['window'][1:-1])}, {list(a['strides'][1:-1])}, {padding})"


def _max_pool(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    if not _pooled(node) or node.result.dtype.itemsize == 1:
        return expanded(writer, node, x)
    padding = _pool_padding(node)
    if padding is None:
        lowest = writer.array(np.asarray(neutral("maximum", node.result.dtype)).astype(node.result.dtype))
        x = writer.assign(padded(writer, x, node.attributes["padding"], lowest, None), "padded")
        padding = "'VALID'"
    return _pool_call(writer, node, x, "max", padding)


def _avg_pool(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    dtype, padding = node.result.dtype, _pool_padding(node)
    if not _pooled(node) or (padding is None and not node.attributes["count_padding"]):
        return expanded(writer, node, x)
    inner = summed_in(dtype)
    if inner != dtype:
        x = writer.assign(cast(x, inner), "wide")
    if padding != "'VALID'" and node.attributes["count_padding"]:
        x, padding = writer.assign(padded(writer, x, node.attributes["padding"], "", np.zeros(())), "padded"), "'VALID'"
    assert padding is not None
    made = _pool_call(writer, node, x, "avg", padding)
    return made if inner == dtype else cast(made, dtype)


def resize(writer: TensorFlowWriter, node: Node, x: str) -> Any:
    """Bilinear resizing of images by TensorFlow's kernel, which has the same places; others by the decomposition."""
    a, operand = node.attributes, node.operands[0]
    shape, target = operand.shape, a["shape"]
    images = operand.rank == 4 and shape[0] == target[0] and shape[3] == target[3] and 0 not in (*shape, *target)
    grows = all(ge(t, s) is True for s, t in zip(shape, target))
    if a["method"] != "bilinear" or not images or not grows or operand.dtype != F32:
        return expanded(writer, node, x)
    return f"tf.image.resize({x}, {writer.shape(target[1:3])}, 'bilinear')"


# Lookup


def _take(writer: TensorFlowWriter, node: Node, x: str, indices: str) -> Any:
    (axis,), (operand, where) = _axes(node), node.operands
    if operand.shape[axis] == 0 or 0 in node.result.shape:
        return expanded(writer, node, x, indices)
    text = tensor(indices, where.dtype)
    if short_name(where.dtype) not in ("i32", "i64"):
        text = cast(text, I32 if where.dtype.itemsize < 4 else I64)
        if short_name(where.dtype) == "ui64":
            return expanded(writer, node, x, indices)
    missing = writer.array(np.asarray(fill(operand.dtype)).astype(operand.dtype))
    return f"{writer.helper('take')}({x}, {text}, {axis}, {missing})"


def _one_hot(writer: TensorFlowWriter, node: Node, indices: str) -> Any:
    rank, dtype = node.operands[0].rank, node.result.dtype
    axis = node.attributes["axis"] % (rank + 1)
    text = tensor(indices, node.operands[0].dtype)
    kind = node.operands[0].dtype
    if short_name(kind) not in ("i32", "i64", "ui8"):
        text = cast(text, I32 if kind.itemsize < 4 else I64)
    on, off = (literal(np.asarray(v).astype(dtype)) for v in (1, 0))
    where = "" if axis == rank else f", axis={axis}"
    if dtype == F32:
        return f"tf.one_hot({text}, {node.attributes['depth']}{where})"
    return f"tf.one_hot({text}, {node.attributes['depth']}, {on}, {off}{where})"


# Linear algebra


def _det(writer: TensorFlowWriter, node: Node, a: str) -> Any:
    dtype = node.operands[0].dtype
    if dtype not in (F32, F64) and not is_complex(dtype):
        return cast(f"tf.linalg.det({cast(a, F32)})", dtype)
    return f"tf.linalg.det({a})"


def _slogdet(writer: TensorFlowWriter, node: Node, a: str) -> Any:
    dtype = node.operands[0].dtype
    sign, size = writer.fresh("sign"), writer.fresh("log_size")
    wide = a if dtype in (F32, F64) or is_complex(dtype) else cast(a, F32)
    writer.line(f"{sign}, {size} = tf.linalg.slogdet({wide})")
    if is_complex(dtype):
        size = f"tf.math.real({size})"
    return (sign, size) if wide == a else (cast(sign, dtype), cast(size, dtype))


RULES: dict[str, Rule] = {
    "relu": activation("tf.nn.relu({0})"),
    "relu6": activation("tf.nn.relu6({0})"),
    "leaky_relu": _but_f64(activation("tf.nn.leaky_relu({0}, {negative_slope})")),
    "elu": _elu,
    "selu": activation("tf.nn.selu({0})"),
    "gelu": _but_f64(activation("tf.nn.gelu({0}, approximate={approximate})")),
    "silu": activation("tf.nn.silu({0})"),
    "softplus": activation("tf.nn.softplus({0})"),
    "softsign": activation("tf.nn.softsign({0})"),
    "log_sigmoid": activation("tf.math.log_sigmoid({0})"),
    "softmax": softmax("tf.nn.softmax"),
    "log_softmax": softmax("tf.nn.log_softmax"),
    "logsumexp": _logsumexp,
    "reduce_sum": reduction("add"),
    "reduce_prod": reduction("multiply"),
    "reduce_max": reduction("maximum"),
    "reduce_min": reduction("minimum"),
    "reduce_any": reduction("or"),
    "reduce_all": reduction("and"),
    "reduce_mean": _in_wide("tf.reduce_mean"),
    "reduce_variance": _in_wide("tf.math.reduce_variance"),
    "argmax": arg("tf.argmax"),
    "argmin": arg("tf.argmin"),
    "cumsum": cumulative("add", "tf.cumsum"),
    "cumprod": cumulative("multiply", "tf.math.cumprod"),
    "cummax": cumulative("maximum"),
    "cummin": cumulative("minimum"),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "attention": _attention,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "resize": resize,
    "take": _take,
    "one_hot": _one_hot,
    "stop_gradient": lambda writer, node, x: f"tf.stop_gradient({x})",
    "det": _det,
    "slogdet": _slogdet,
}
