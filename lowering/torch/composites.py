"""Rules of composites that torch has under a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.graph import Node
from ...ir.types import F32, is_float, is_integer
from ..source import Rule
from .elementwise import formatted
from .writer import TorchWriter, held, narrowed, torch_type


def _decomposed(writer: TorchWriter, node: Node, operands: Sequence[str]) -> list[str]:
    assert node.op.decompose is not None
    return writer.expand(node.op.decompose, node, operands)


def activation(form: str) -> Rule:
    """An activation of floats by torch's function; of integers by its decomposition."""

    def rule(writer: TorchWriter, node: Node, x: str) -> Any:
        if not is_float(node.result.dtype):
            return _decomposed(writer, node, [x])
        return narrowed(form.format(x, **{k: repr(v) for k, v in node.attributes.items()}), node.result.dtype)

    return rule


def softplus(writer: TorchWriter, node: Node, x: str) -> str:
    """log(exp(x) + 1); above the bound x itself, which then is equal."""
    bound = 40.0 if node.result.dtype == np.float64 else 20.0
    return narrowed(f"F.softplus({x}, 1.0, {bound})", node.result.dtype)


def relu(writer: TorchWriter, node: Node, x: str) -> str:
    """Also of integers."""
    if is_integer(node.result.dtype):
        return x if node.result.dtype.kind == "u" else f"torch.clamp({x}, min=0)"
    return f"torch.relu({x})"


def along_axis(name: str) -> Rule:
    """Softmax or log_softmax."""

    def rule(writer: TorchWriter, node: Node, x: str) -> str:
        axis = node.attributes["axis"] % node.result.rank
        return narrowed(f"torch.{name}({x}, {axis})", node.result.dtype)

    return rule


def logsumexp(writer: TorchWriter, node: Node, x: str) -> Any:
    """Over axes."""
    value = node.operands[0]
    axes = sorted({i % value.rank for i in node.attributes["axes"]}) if value.rank else []
    if not axes or any(isinstance(value.shape[i], Dim) or value.shape[i] == 0 for i in axes):
        return _decomposed(writer, node, [x])
    return narrowed(f"torch.logsumexp({x}, {axes}, {node.attributes['keepdims']})", node.result.dtype)


# Normalization


def _weights(
    writer: TorchWriter, node: Node, texts: Sequence[str], first: int, flags: Sequence[bool], dtype: Any
) -> list[str]:
    """The texts of optional operands as ``dtype``, ``None`` for those that are not there."""
    values = iter(zip(node.operands[first:], texts, strict=True))
    given = []
    for on in flags:
        if not on:
            given.append("None")
            continue
        value, text = next(values)
        given.append(text if held(value.dtype) == held(dtype) else f"{text}.to({torch_type(dtype)})")
    return given


def layer_norm(writer: TorchWriter, node: Node, x: str, *weights: str) -> str:
    """Over the last axes, where the others are moved to if need be."""
    a, value = node.attributes, node.operands[0]
    flags = (a["scale"], a["center"]) if node.op.name == "layer_norm" else (a["scale"],)
    axes = sorted(i % value.rank for i in a["axes"])
    given = ", ".join(_weights(writer, node, weights, 1, flags, value.dtype))
    order = [*(i for i in range(value.rank) if i not in axes), *axes]
    shape = writer.shape(value.shape[i] for i in axes)
    name = "torch.layer_norm" if node.op.name == "layer_norm" else "torch.rms_norm"
    text = f"{name}({writer.permuted(x, order)}, {shape}, {given}, {a['epsilon']!r})"
    return narrowed(writer.permuted(text, sorted(range(len(order)), key=lambda i: order[i])), value.dtype)


def batch_norm(writer: TorchWriter, node: Node, x: str, mean: str, variance: str, *weights: str) -> Any:
    """With given statistics, along axis 1; torch's own has no derivative by statistics that were computed."""
    a, value = node.attributes, node.operands[0]
    axis = a["axis"] % value.rank
    if any(v.producer is not None for v in node.operands[1:3]):
        return _decomposed(writer, node, [x, mean, variance, *weights])
    # torch's own has no derivative by the statistics.
    fixed = all(v in writer.fixed for v in node.operands[1:3])
    if not fixed or value.rank < 2 or axis == 0 or value.dtype.itemsize < 4 or 0 in value.shape:
        return _decomposed(writer, node, [x, mean, variance, *weights])
    statistics = _weights(
        writer, node, [mean, variance, *weights], 1, (True, True, a["scale"], a["center"]), value.dtype
    )
    order = [i for i in range(value.rank) if i != axis]
    order.insert(1, axis)
    mean, variance, gamma, beta = statistics
    text = (
        f"torch.batch_norm({writer.permuted(x, order)}, {gamma}, {beta}, {mean}, {variance}, False, 0.0, "
        f"{a['epsilon']!r}, False)"
    )
    return writer.permuted(text, sorted(range(len(order)), key=lambda i: order[i]))


# Attention


def attention(writer: TorchWriter, node: Node, *operands: str) -> str:
    """scaled_dot_product_attention, on heads before time; where nothing may be attended to it takes the mean."""
    a, (query, key, *_) = node.attributes, node.operands
    dtype = query.dtype
    given = dict(
        zip([n for n in ("bias", "mask") if a[n]], zip(operands[3:], node.operands[3:], strict=True), strict=True)
    )
    inner = F32 if dtype.itemsize < 4 else dtype
    texts = [f"{x}.to(torch.float32)" if held(dtype) != held(inner) else x for x in operands[:3]]
    q, k, v = (f"{x}.transpose(1, 2)" for x in texts)
    groups = query.shape[2] != key.shape[2]
    mask, causal = "None", a["causal"]
    if given:
        bias = given.get("bias")
        allowed = [given["mask"][0]] if "mask" in given else []
        if causal:
            time, source = query.shape[1], key.shape[1]
            allowed.append(f"({writer.arange(time)}.unsqueeze(1) >= {writer.arange(source)})")
            causal = False
        never = -0.7 * float(np.finfo(np.float32).max)
        base = "0.0"
        if bias is not None:
            base = bias[0] if held(bias[1].dtype) == held(inner) else f"{bias[0]}.to({torch_type(inner)})"
        if allowed:
            low = writer.full((), repr(never), inner)
            mask = writer.assign(f"torch.where({' & '.join(allowed)}, {base}, {low})", "mask")
        else:
            mask = base
    options = f"scale={_scale(node)}, enable_gqa={groups}"
    text = f"F.scaled_dot_product_attention({q}, {k}, {v}, {mask}, 0.0, {causal}, {options}).transpose(1, 2)"
    return narrowed(f"{text}.to({torch_type(dtype)})" if held(dtype) != held(inner) else text, dtype)


def _scale(node: Node) -> str:
    scale, depth = node.attributes["scale"], node.operands[0].shape[3]
    return repr(scale if scale is not None else float(depth) ** -0.5)  # type: ignore[arg-type]


def logaddexp(writer: TorchWriter, node: Node, x: str, y: str) -> str:
    """log(exp(x) + exp(y))."""
    return narrowed(formatted(writer, node, "torch.logaddexp({0}, {1})", x, y), node.result.dtype)


RULES: dict[str, Rule] = {
    "relu": relu,
    "relu6": activation("F.relu6({0})"),
    "leaky_relu": activation("F.leaky_relu({0}, {negative_slope})"),
    "elu": activation("F.elu({0}, {alpha})"),
    "selu": activation("torch.selu({0})"),
    "celu": activation("torch.celu({0}, {alpha})"),
    "silu": activation("F.silu({0})"),
    "log_sigmoid": activation("F.logsigmoid({0})"),
    "hard_sigmoid": activation("F.hardsigmoid({0})"),
    "hard_silu": activation("F.hardswish({0})"),
    "hard_tanh": activation("torch.clamp({0}, -1.0, 1.0)"),
    "mish": activation("F.mish({0})"),
    "soft_shrink": activation("F.softshrink({0}, {threshold})"),
    "hard_shrink": activation("torch.hardshrink({0}, {threshold})"),
    "threshold": activation("torch.threshold({0}, {threshold}, {value})"),
    "gelu": lambda w, n, x: narrowed(
        f"F.gelu({x}{', approximate=' + chr(34) + 'tanh' + chr(34) if n.attributes['approximate'] else ''})",
        n.result.dtype,
    ),
    "softplus": softplus,
    "logaddexp": logaddexp,
    "softmax": along_axis("softmax"),
    "log_softmax": along_axis("log_softmax"),
    "logsumexp": logsumexp,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "batch_norm": batch_norm,
    "attention": attention,
    "stop_gradient": lambda writer, node, x: f"{x}.detach()",
}
