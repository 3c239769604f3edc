"""Rules of linear algebra and of random bits."""

from __future__ import annotations

from ...ir.graph import Node
from ...ir.types import F32, is_complex
from ..source import Rule
from .writer import TensorFlowWriter, cast, tensor, tf_type


def _fft(writer: TensorFlowWriter, node: Node, x: str) -> str:
    kind, length, dtype = node.attributes["kind"], node.attributes["length"], node.result.dtype
    if 0 in (*node.result.shape, *node.operands[0].shape):
        return f"tf.zeros({writer.shape(node.result.shape)}, {tf_type(dtype)})"
    dimensions = "" if len(length) == 1 else f"{len(length)}d"
    given = f", {writer.shape(length)}" if kind == "IRFFT" else ""
    return f"tf.signal.{kind.lower()}{dimensions}({x}{given})"


def _cholesky(writer: TensorFlowWriter, node: Node, a: str) -> str:
    if 0 in node.result.shape:
        return a
    return f"{writer.helper('cholesky')}({a}, {node.attributes['lower']})"


def _triangular_solve(writer: TensorFlowWriter, node: Node, a: str, b: str) -> str:
    if 0 in node.result.shape:
        return b
    dtype = node.result.dtype
    if dtype.itemsize == 2:
        wide = [writer.assign(cast(t, F32), "wide") for t in (a, b)]
        return cast(_solve(writer, node, *wide), dtype)
    return _solve(writer, node, a, b)


def _solve(writer: TensorFlowWriter, node: Node, a: str, b: str) -> str:
    attributes = node.attributes
    kind = attributes["transpose"]
    adjoint = kind == "ADJOINT" or (kind == "TRANSPOSE" and not is_complex(node.result.dtype))
    lower = attributes["lower"]
    if attributes["unit_diagonal"]:
        a = writer.assign(f"tf.linalg.set_diag({a}, tf.ones(tf.shape({a})[:-1], {a}.dtype))", "matrix")
    if kind == "TRANSPOSE" and not adjoint:
        a = writer.assign(f"tf.linalg.band_part({a}, {'-1, 0' if lower else '0, -1'})", "matrix")
        a, lower = f"tf.linalg.matrix_transpose({a})", not lower
    if attributes["left_side"]:
        return f"tf.linalg.triangular_solve({a}, {b}, lower={lower}, adjoint={adjoint})"
    # x op(a) = b is op(a)^T x^T = b^T: transposed once more, which for an adjoint leaves the conjugate.
    if adjoint:
        a = f"tf.math.conj({a})" if is_complex(node.result.dtype) else a
    else:
        a, lower = f"tf.linalg.matrix_transpose({a})", not lower
    right = f"tf.linalg.matrix_transpose({b})"
    return f"tf.linalg.matrix_transpose(tf.linalg.triangular_solve({a}, {right}, lower={lower}))"


def _qr(writer: TensorFlowWriter, node: Node, a: str) -> str:
    return f"{writer.helper('qr')}({a}, {node.attributes['full']})"


def _decomposed(writer: TensorFlowWriter, node: Node, a: str) -> str | list[str]:
    """Eigenvalues or singular values."""
    if 0 in node.operands[0].shape:
        return [f"tf.zeros({writer.shape(r.shape)}, {tf_type(r.dtype)})" for r in node.results]
    return f"{writer.helper(node.op.name)}({a})"


def _threefry_bits(writer: TensorFlowWriter, node: Node, key: str) -> str:
    arguments = f"{writer.shape(node.attributes['shape'])}, {tf_type(node.result.dtype)}"
    return f"{writer.helper('threefry_bits')}({key_text(node, key)}, {arguments})"


def _threefry_split(writer: TensorFlowWriter, node: Node, key: str) -> str:
    return f"tf.stack({writer.helper('threefry_words')}({key_text(node, key)}, [{node.attributes['count']}]), -1)"


def _threefry_fold_in(writer: TensorFlowWriter, node: Node, key: str, data: str) -> str:
    data = tensor(data, node.operands[1].dtype)
    return f"{writer.helper('threefry_fold_in')}({key_text(node, key)}, {data})"


def _dropout_bits(writer: TensorFlowWriter, node: Node, seed: str) -> str:
    return f"{writer.helper('dropout_bits')}({key_text(node, seed)}, {writer.shape(node.attributes['shape'])})"


def key_text(node: Node, key: str) -> str:
    """A key as a tensor."""
    return tensor(key, node.operands[0].dtype)


RULES: dict[str, Rule] = {
    "fft": _fft,
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "qr": _qr,
    **dict.fromkeys(("eigh", "svd"), _decomposed),
    "threefry_bits": _threefry_bits,
    "threefry_split": _threefry_split,
    "threefry_fold_in": _threefry_fold_in,
    "dropout_bits": _dropout_bits,
}
