"""Single ops: compiled by lamina, by plain XLA (``jax.jit`` of the same mathematics in jax), and in PyTorch.

python benchmarks/ops.py [--turns 20] [--only conv,sort] [--goal 1.05]

Each row runs lamina and jax in turns, then lamina and PyTorch, all in this process; each side keeps the threads that it
takes by itself. Arrays lie on the device, in the layout that each side prefers. PyTorch is named as missing where it is
not installed.
"""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import Ratio, compare, judged, seconds
from jax import lax

import lamina
from lamina import Spec, keras

layers, ops = keras.layers, keras.ops
RNG = np.random.default_rng(0)
HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    import torch.nn.functional as F


@dataclass(frozen=True)
class Row:
    """One op.

    Attributes:
        arrays: what each side is called with.
        ours: for ``lamina.compile``.
        jax: for ``jax.jit``.
        torch: ``(tensors of the arrays) -> call``, so that layouts may be changed before timing.
        exact: whether results of lamina and jax have to be equal; None: they are random.
        tolerance: else the relative error they may have.
        options: static keywords of ``ours``.
    """

    arrays: Sequence[Any]
    ours: Callable[..., Any]
    jax: Callable[..., Any]
    torch: Callable[..., Callable[[], Any]] | None = None
    exact: bool | None = False
    tolerance: float = 1e-5
    options: tuple[tuple[str, Any], ...] = ()


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def calling(function: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """The torch side of an op that takes the arrays as they are."""
    return lambda *xs: lambda: function(*xs)


def convolution(strides: int = 1, padding: Any = "SAME", groups: int = 1) -> Callable[..., Any]:
    """What jax runs, channels last."""

    def run(x: Any, w: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC") if x.ndim == 4 else ("NWC", "WIO", "NWC")
        return lax.conv_general_dilated(
            x, w, (strides,) * (x.ndim - 2), padding, dimension_numbers=numbers, feature_group_count=groups
        )

    return run


def torch_convolution(groups: int = 1, padding: int = 1, transposed: bool = False) -> Callable[..., Any]:
    """The same in torch, in its channels_last format."""

    def prepare(x: Any, w: Any) -> Callable[[], Any]:
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        if transposed:  # kernel [h, w, out, in]
            w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            return lambda: F.conv_transpose2d(x, w, stride=2)
        w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        return lambda: F.conv2d(x, w, padding=padding, groups=groups)

    return prepare


def torch_causal(x: Any, w: Any) -> Callable[[], Any]:
    x, w = x.permute(0, 2, 1).contiguous(), w.permute(2, 1, 0).contiguous()
    return lambda: F.conv1d(F.pad(x, (2, 0)), w, groups=x.shape[1])


def torch_resize(x: Any) -> Callable[[], Any]:
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return lambda: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def causal_depthwise(x: Any, w: Any) -> Any:
    """keras.ops: [time, features, 1] kernels, zeros before the first step."""
    return ops.depthwise_conv(ops.pad(x, ((0, 0), (2, 0), (0, 0))), w, padding="valid")


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.var(x, -1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-3) * gamma + beta


def dropout_of(rate: float) -> tuple[Any, Callable[..., Any]]:
    """The layer, and what keras.random.dropout on jax does."""

    def run(x: Any) -> Any:
        kept = jax.random.bernoulli(jax.random.key(7), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return layers.Dropout(rate, seed=1), run


# Recurrent layers: the last output; gates in Keras's order.


def recurrent(kind: str, batch: int, steps: int, features: int, units: int) -> Row:
    layer = (layers.LSTM if kind == "lstm" else layers.GRU)(units)
    layer.build((batch, steps, features))
    weights = [normal(*w.shape, scale=0.1) for w in layer.weights]
    layer.set_weights(weights)
    run = partial(_lstm if kind == "lstm" else _gru, *map(jnp.asarray, weights))

    def torch_side(x: Any) -> Callable[[], Any]:
        module = (torch.nn.LSTM if kind == "lstm" else torch.nn.GRU)(features, units, batch_first=True)
        return lambda: module(x)[0][:, -1]

    return Row([normal(batch, steps, features)], layer, run, torch_side)


def _lstm(kernel: Any, recurrent_kernel: Any, bias: Any, x: Any) -> Any:
    def step(carry: Any, x_t: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((x.shape[0], recurrent_kernel.shape[0]))
    return lax.scan(step, (zeros, zeros), x.transpose(1, 0, 2))[0][0]


def _gru(kernel: Any, recurrent_kernel: Any, bias: Any, x: Any) -> Any:
    def step(h: Any, x_t: Any) -> Any:
        a = jnp.split(x_t @ kernel + bias[0], 3, -1)
        b = jnp.split(h @ recurrent_kernel + bias[1], 3, -1)
        z, r = jax.nn.sigmoid(a[0] + b[0]), jax.nn.sigmoid(a[1] + b[1])
        return z * h + (1 - z) * jnp.tanh(a[2] + r * b[2]), None

    return lax.scan(step, jnp.zeros((x.shape[0], recurrent_kernel.shape[0])), x.transpose(1, 0, 2))[0]


def _rows() -> dict[str, Callable[[], Row]]:
    """Each row is made when it runs, so that arrays do not pile up."""
    image = partial(normal, 8, 28, 28, 128)
    hidden = partial(normal, 4096, 768)
    small = partial(normal, 1024, 1000)
    wide = partial(normal, 64, 4096)
    ids = RNG.integers(0, 1000, 4096).astype(np.int32)

    def elementwise(ours: Any, theirs: Any, torch_name: str, **options: Any) -> Row:
        return Row([hidden()], ours, theirs, calling(lambda x: getattr(F, torch_name)(x, **options)))

    return {
        "depthwise conv 3x3, 8x28x28x128": lambda: Row(
            [image(), normal(3, 3, 128, 1, scale=0.1)],
            lambda x, w: ops.depthwise_conv(x, w, padding="same"),
            lambda x, w: convolution(groups=128)(x, w.reshape(3, 3, 1, 128)),
            lambda x, w: torch_convolution(128)(x, w.permute(0, 1, 3, 2)),
        ),
        "causal depthwise conv1d k3, 32x256x64": lambda: Row(
            [normal(32, 256, 64), normal(3, 64, 1)],
            causal_depthwise,
            lambda x, w: convolution(padding=[(2, 0)], groups=64)(x, w.reshape(3, 1, 64)),
            lambda x, w: torch_causal(x, w.permute(0, 2, 1)),
        ),
        "grouped conv 3x3 g8, 8x28x28x128": lambda: Row(
            [image(), normal(3, 3, 16, 128, scale=0.1)],
            lambda x, w: ops.conv(x, w, padding="same"),
            convolution(groups=8),
            torch_convolution(8),
        ),
        "conv 3x3 64ch, 8x56x56x64": lambda: Row(
            [normal(8, 56, 56, 64), normal(3, 3, 64, 64, scale=0.1)],
            lambda x, w: ops.conv(x, w, padding="same"),
            convolution(),
            torch_convolution(),
        ),
        "conv 1x1 256->64, 8x28x28x256": lambda: Row(
            [normal(8, 28, 28, 256), normal(1, 1, 256, 64, scale=0.1)],
            lambda x, w: ops.conv(x, w, padding="same"),
            convolution(),
            torch_convolution(padding=0),
        ),
        "conv2d transpose 2x2 s2, 8x28x28x64": lambda: Row(
            [normal(8, 28, 28, 64), normal(2, 2, 64, 64, scale=0.1)],
            lambda x, w: ops.conv_transpose(x, w, strides=2, padding="valid"),
            lambda x, w: lax.conv_transpose(
                x, w, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), transpose_kernel=True
            ),
            torch_convolution(transposed=True),
        ),
        "resize bilinear x2, 8x56x56x64": lambda: Row(
            [normal(8, 56, 56, 64)],
            lambda x: ops.image.resize(x, (112, 112), interpolation="bilinear"),
            lambda x: jax.image.resize(x, (8, 112, 112, 64), "bilinear"),
            torch_resize,
        ),
        "cumsum, 32x4096": lambda: Row(
            [normal(32, 4096)],
            lambda x: ops.cumsum(x, -1),
            lambda x: jnp.cumsum(x, -1),
            calling(lambda x: torch.cumsum(x, -1)),
        ),
        "argmax, 1024x1000": lambda: Row(
            [small()],
            lambda x: ops.argmax(x, -1),
            lambda x: jnp.argmax(x, -1),
            calling(lambda x: torch.argmax(x, -1)),
            exact=True,
        ),
        "sort, 64x4096": lambda: Row(
            [wide()],
            lambda x: ops.sort(x, -1),
            lambda x: jnp.sort(x, -1),
            calling(lambda x: torch.sort(x, -1)),
            exact=True,
        ),
        "argsort, 64x4096": lambda: Row(
            [wide()],
            lambda x: ops.argsort(x, -1),
            lambda x: jnp.argsort(x, -1),
            calling(lambda x: torch.argsort(x, dim=-1, stable=True)),
            exact=True,
        ),
        "top_k k10, 64x4096": lambda: Row(
            [wide()],
            lambda x: ops.top_k(x, 10),
            lambda x: lax.top_k(x, 10),
            calling(lambda x: torch.topk(x, 10)),
            exact=True,
        ),
        "scatter-add 4096 rows into 1000x128": lambda: Row(
            [normal(4096, 128), ids],
            lambda x, i: ops.segment_sum(x, i, 1000),
            lambda x, i: jax.ops.segment_sum(x, i, 1000),
            calling(lambda x, i: torch.zeros(1000, 128).index_add_(0, i, x)),
        ),
        "bfloat16 matmul, 512": lambda: Row(
            [normal(512, 512).astype(jnp.bfloat16), normal(512, 512).astype(jnp.bfloat16)],
            ops.matmul,
            jnp.matmul,
            calling(lambda x, y: x @ y),
            tolerance=2**-8,
        ),
        "gelu (erf), 4096x768": lambda: elementwise(
            lambda x: ops.gelu(x, approximate=False), partial(jax.nn.gelu, approximate=False), "gelu"
        ),
        "gelu (tanh), 4096x768": lambda: elementwise(ops.gelu, jax.nn.gelu, "gelu", approximate="tanh"),
        "sigmoid, 4096x768": lambda: elementwise(ops.sigmoid, jax.nn.sigmoid, "sigmoid"),
        "sum over the last axis, 4096x768": lambda: Row(
            [hidden()], lambda x: ops.sum(x, -1), lambda x: jnp.sum(x, -1), calling(lambda x: x.sum(-1))
        ),
        "sum over the first axis, 4096x768": lambda: Row(
            [hidden()], lambda x: ops.sum(x, 0), lambda x: jnp.sum(x, 0), calling(lambda x: x.sum(0))
        ),
        "layer norm, 4096x768": lambda: Row(
            [hidden(), normal(768), normal(768)],
            lambda x, g, b: ops.layer_normalization(x, g, b, epsilon=1e-3),
            layer_norm,
            calling(lambda x, g, b: F.layer_norm(x, (768,), g, b, 1e-3)),
        ),
        "softmax, 4096x512": lambda: Row(
            [normal(4096, 512)],
            lambda x: ops.softmax(x, -1),
            lambda x: jax.nn.softmax(x, -1),
            calling(lambda x: torch.softmax(x, -1)),
        ),
        "dropout 0.5 in training, 4096x768": lambda: Row(
            [hidden()],
            *dropout_of(0.5),
            calling(lambda x: F.dropout(x, 0.5, True)),
            exact=None,
            options=(("training", True),),
        ),
        "lstm 64 units, 32x64x32": lambda: recurrent("lstm", 32, 64, 32, 64),
        "gru 64 units, 32x64x32": lambda: recurrent("gru", 32, 64, 32, 64),
    }


def to_torch(array: np.ndarray) -> Any:
    """The array as a tensor of its own."""
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(array.copy())


def check(name: str, row: Row, ours: Any, theirs: Any) -> None:
    """Times of unequal results would say nothing."""
    if row.exact is None:
        return
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype, f"{name}: {a.dtype}{a.shape} is not {b.dtype}{b.shape}"
        if row.exact:
            assert np.array_equal(a, b), f"{name}: the results differ"
        else:
            a, b = a.astype(np.float64), b.astype(np.float64)
            error = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
            assert error <= row.tolerance, f"{name}: the results differ by {error:.1e}"


def measure(name: str, row: Row, turns: int) -> tuple[Ratio, Ratio | None]:
    """lamina against jax, and against PyTorch."""
    specs = [Spec(x.shape, x.dtype.name) for x in row.arrays]
    compiled = lamina.compile(row.ours, *specs, **dict(row.options))
    jitted = jax.jit(row.jax)
    arrays = [jax.device_put(x) for x in row.arrays]
    ours, theirs = lambda: jax.block_until_ready(compiled(*arrays)), lambda: jax.block_until_ready(jitted(*arrays))
    check(name, row, ours(), theirs())
    against_xla = compare(ours, theirs, turns)
    if not HAS_TORCH or row.torch is None:
        return against_xla, None
    with torch.inference_mode():
        return against_xla, compare(ours, row.torch(*map(to_torch, row.arrays)), turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--only", default="", help="rows whose name holds one of these, separated by commas")
    parser.add_argument("--goal", type=float, default=1.05)
    options = parser.parse_args()
    wanted = [part for part in options.only.split(",") if part]
    print("single ops, lamina over plain XLA and over PyTorch: times, ratio of medians (10th to 90th percentile)")
    print(f"  jax {jax.__version__}, PyTorch {torch.__version__ if HAS_TORCH else 'missing: pip install torch'}")
    verdicts = []
    for name, make in _rows().items():
        if wanted and not any(part in name for part in wanted):
            continue
        xla, peer = measure(name, make(), options.turns)
        verdicts.append(judged(xla, options.goal))
        beside = f"   PyTorch {seconds(peer.theirs):>8} ratio {peer}" if peer else ""
        line = f"lamina {seconds(xla.ours):>8}  XLA {seconds(xla.theirs):>8} ratio {xla} {verdicts[-1]}"
        print(f"  {name:<38} {line}{beside}", flush=True)
    missed = verdicts.count("missed")
    print(f"  goal {options.goal} against plain XLA: {len(verdicts) - missed} of {len(verdicts)} rows")


if __name__ == "__main__":
    main()
