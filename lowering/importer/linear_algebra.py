"""Rules for Fourier transforms and matrix equations, which the graph has as ops."""

from __future__ import annotations

from ...ir.graph import Value
from .reading import Source
from .scope import Rule, Scope


def fft(s: Scope, op: Source, x: Value) -> Value:
    """The last axes, as many as lengths are given."""
    return s.b.fft(x, kind=op.enum("fft_type"), length=op.ints("fft_length"))


def cholesky(s: Scope, op: Source, a: Value) -> Value:
    """Of one triangle."""
    return s.b.cholesky(a, lower=op.flag("lower"))


def triangular_solve(s: Scope, op: Source, a: Value, b: Value) -> Value:
    """On either side, with either triangle."""
    return s.b.triangular_solve(
        a,
        b,
        left_side=op.flag("left_side"),
        lower=op.flag("lower"),
        unit_diagonal=op.flag("unit_diagonal"),
        transpose=op.enum("transpose_a"),
    )


RULES: dict[str, Rule] = {
    "stablehlo.fft": fft,
    "stablehlo.cholesky": cholesky,
    "stablehlo.triangular_solve": triangular_solve,
}
