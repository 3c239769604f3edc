"""Rules of Fourier transforms and factorizations, by torch.fft and torch.linalg."""

from __future__ import annotations

import numpy as np

from ...ir.graph import Node
from ..source import Rule
from .writer import TorchWriter, torch_type


def _wide(x: str, dtype: np.dtype) -> str:
    """Factorizations run in float32 at least."""
    return f"{x}.to(torch.float32)" if dtype.itemsize < 4 else x


def _back(text: str, dtype: np.dtype) -> str:
    return f"{text}.to({torch_type(dtype)})" if dtype.itemsize < 4 else text


def fft(writer: TorchWriter, node: Node, x: str) -> str:
    """Over the last dimensions."""
    length = node.attributes["length"]
    if 0 in (*node.result.shape, *node.operands[0].shape):
        return writer.full(node.result.shape, "0", node.result.dtype)
    name = node.attributes["kind"].lower() + "n"
    return f"torch.fft.{name}({x}, s={writer.shape(length)}, dim={[*range(-len(length), 0)]})"


def cholesky(writer: TorchWriter, node: Node, x: str) -> str:
    """NaN where the matrix is not positive definite."""
    dtype = node.result.dtype
    return _back(f"{writer.helper('cholesky')}({_wide(x, dtype)}, {not node.attributes['lower']})", dtype)


def triangular_solve(writer: TorchWriter, node: Node, a: str, b: str) -> str:
    """The transposed matrix is triangular the other way."""
    options, dtype = node.attributes, node.result.dtype
    lower, a, b = options["lower"], _wide(a, dtype), _wide(b, dtype)
    if options["transpose"] != "NO_TRANSPOSE":
        lower, a = not lower, f"{a}.transpose(-2, -1)"
    if options["transpose"] == "ADJOINT":
        a = f"{a}.conj()"
    solved = (
        f"torch.linalg.solve_triangular({a}, {b}, upper={not lower}, left={options['left_side']}, "
        f"unitriangular={options['unit_diagonal']})"
    )
    return _back(solved, dtype)


def qr(writer: TorchWriter, node: Node, x: str) -> list[str]:
    """Householder reflections with LAPACK's signs."""
    dtype, mode = node.operands[0].dtype, "complete" if node.attributes["full"] else "reduced"
    q, r = writer.fresh("q"), writer.fresh("r")
    writer.line(f'{q}, {r} = torch.linalg.qr({_wide(x, dtype)}, "{mode}")')
    return [_back(q, dtype), _back(r, dtype)]


def eigh(writer: TorchWriter, node: Node, x: str) -> list[str]:
    """Of the lower triangle."""
    values, vectors = writer.fresh("values"), writer.fresh("vectors")
    writer.line(f"{values}, {vectors} = torch.linalg.eigh({x})")
    return [values, f"{vectors} * {writer.helper('leading_factors')}({vectors})"]


def svd(writer: TorchWriter, node: Node, x: str) -> list[str]:
    """Both sides with the factors of the left one."""
    u, s, v, factors = (writer.fresh(name) for name in ("u", "s", "v", "factors"))
    writer.line(f"{u}, {s}, {v} = torch.linalg.svd({x}, full_matrices=False)")
    writer.line(f"{factors} = {writer.helper('leading_factors')}({u})")
    return [f"{u} * {factors}", s, f"{v} * {factors}.transpose(-2, -1)"]


def eig(writer: TorchWriter, node: Node, x: str) -> list[str]:
    """Complex numbers."""
    values, vectors = writer.fresh("values"), writer.fresh("vectors")
    writer.line(f"{values}, {vectors} = torch.linalg.eig({x})")
    return [values, f"{vectors} * {writer.helper('leading_factors')}({vectors})"]


def det(writer: TorchWriter, node: Node, x: str) -> str:
    """The product of the pivots."""
    dtype = node.result.dtype
    return _back(f"torch.linalg.det({_wide(x, dtype)})", dtype)


RULES: dict[str, Rule] = {
    "fft": fft,
    "cholesky": cholesky,
    "triangular_solve": triangular_solve,
    "qr": qr,
    "eigh": eigh,
    "svd": svd,
    "eig": eig,
    "det": det,
}
