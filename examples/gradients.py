"""Derivatives of small functions, each compared with a formula: grad, vmap, jvp, vjp, hessian, remat.

python examples/gradients.py
"""

import math

import numpy as np

import lamina
from lamina import ops


def normal_cdf(x):
    return 0.5 * (1.0 + ops.erf(x / math.sqrt(2.0)))


def call_price(spot, strike, rate, volatility, time):
    """What Black and Scholes (1973) pay for the right to buy at ``strike`` in ``time`` years."""
    spread = volatility * ops.sqrt(time)
    d1 = (ops.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / spread
    return spot * normal_cdf(d1) - strike * ops.exp(-rate * time) * normal_cdf(d1 - spread)


def greeks_by_formula(spot, strike, rate, volatility, time):
    d1 = (math.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / (volatility * math.sqrt(time))
    d2 = d1 - volatility * math.sqrt(time)
    density = math.exp(-0.5 * d1**2) / math.sqrt(2.0 * math.pi)
    cdf1, cdf2 = (0.5 * (1.0 + math.erf(d / math.sqrt(2.0))) for d in (d1, d2))
    discounted = strike * math.exp(-rate * time)
    return {
        "delta": cdf1,
        "gamma": density / (spot * volatility * math.sqrt(time)),
        "vega": spot * density * math.sqrt(time),
        "theta": -spot * density * volatility / (2.0 * math.sqrt(time)) - rate * discounted * cdf2,
        "rho": time * discounted * cdf2,
        "vanna": -density * d2 / volatility,
        "speed": -density * (d1 / (volatility * math.sqrt(time)) + 1.0) / (spot**2 * volatility * math.sqrt(time)),
    }


def black_scholes() -> None:
    """The greeks are derivatives of the price, some of them second and third ones: grad of grad of grad."""
    grad = lamina.grad
    found = {
        "delta": grad(call_price, 0),
        "gamma": grad(grad(call_price, 0), 0),
        "vega": grad(call_price, 3),
        "theta": lambda *market: -grad(call_price, 4)(*market),
        "rho": grad(call_price, 2),
        "vanna": grad(grad(call_price, 0), 3),
        "speed": grad(grad(grad(call_price, 0), 0), 0),
    }
    market = (100.0, 110.0, 0.03, 0.25, 0.5)
    formulas = greeks_by_formula(*market)
    values = lamina.jit(lambda *m: {name: f(*m) for name, f in found.items()})(*market)  # all in one program
    for name, value in values.items():
        check(f"{name} of a call", value, formulas[name])


def per_example_gradients() -> None:
    """The gradient of each example's loss, all at once: vmap of grad. Here d/dw (w.x - y)^2 = 2 (w.x - y) x."""
    generator = np.random.default_rng(0)
    x, y, w = (generator.normal(size=s).astype(np.float32) for s in ((64, 5), (64,), (5,)))

    def loss(w, x, y):
        return (ops.dot(w, x) - y) ** 2

    each = lamina.jit(lamina.vmap(lamina.grad(loss), in_axes=(None, 0, 0)))
    check("per-example gradients, vmap(grad)", each(w, x, y), 2.0 * (x @ w - y)[:, np.newaxis] * x)


def directions() -> None:
    """Along one direction forward (jvp), and back from one cotangent (vjp), without the whole matrix of derivatives."""
    generator = np.random.default_rng(1)
    a, b = (generator.normal(size=(4, 4)).astype(np.float32) for _ in range(2))
    a, b = a @ a.T + 4.0 * np.eye(4, dtype=np.float32), b + b.T
    inverse = np.linalg.inv(a)

    def invert(m):
        return ops.cholesky_inverse(ops.cholesky(m))

    _, along = lamina.jvp(invert, (a,), (b,))
    check("d inverse(a) along b, jvp", along, -inverse @ b @ inverse)
    _, back = lamina.vjp(invert, a)
    check("d <b, inverse(a)> by a, vjp", back(b)[0], -inverse @ b @ inverse)
    _, slope = lamina.value_and_grad(lambda m: 2.0 * ops.sum(ops.log(ops.diagonal(ops.cholesky(m)))))(a)
    check("d log det(a), value_and_grad", slope, inverse)


def second_derivatives() -> None:
    """The hessian of the logistic loss is X^T diag(p (1 - p)) X; Newton's method needs it."""
    generator = np.random.default_rng(2)
    x = generator.normal(size=(100, 3)).astype(np.float32)
    w = generator.normal(size=3).astype(np.float32)
    y = (generator.uniform(size=100) < 0.5).astype(np.float32)

    def loss(w):
        z = ops.matmul(x, w)
        return ops.sum(ops.softplus(z) - y * z)

    p = 1.0 / (1.0 + np.exp(-(x @ w)))
    formula = x.T @ ((p * (1.0 - p))[:, np.newaxis] * x)
    check("hessian of the logistic loss", lamina.jit(lamina.hessian(loss))(w), formula)

    @lamina.jit
    def newton(w):
        return w - ops.solve(lamina.hessian(loss)(w), lamina.grad(loss)(w))

    w = np.zeros(3, np.float32)
    for _ in range(6):
        w = newton(w)
    slope = float(np.max(np.abs(lamina.grad(loss)(w))))
    print(f"{'slope after 6 steps of Newton':<36} {slope:.1e}")


def rematerialized() -> None:
    """A chain of layers keeps what its derivative needs; remat keeps less, computes it again, and changes no value."""

    def layer(x):
        return ops.sin(ops.sin(ops.sin(x)))

    def chain(kept):
        def f(x):
            for _ in range(8):
                x = kept(x)
            return ops.sum(x)

        return lamina.grad(f)

    def formula(x):
        slope = np.ones_like(x)
        for _ in range(24):
            slope, x = slope * np.cos(x), np.sin(x)
        return slope

    x = np.linspace(0.0, 1.0, 1000, dtype=np.float32)
    check("24 sines, remat", lamina.jit(chain(lamina.remat(layer)))(x), formula(x))

    def sines(kept):
        return str(lamina.compile(chain(kept), lamina.Spec((1000,))).optimized).count("= sine(")

    print(f"sines in the program: {sines(layer)} as it is, {sines(lamina.remat(layer))} with remat")


def check(what: str, found, expected) -> None:
    """Print how far a derivative is from its formula, relative to the largest value, and refuse more than rounding."""
    found, expected = np.asarray(found), np.asarray(expected)
    error = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
    print(f"{what:<36} differs from the formula by {error:.1e}")
    if found.shape != expected.shape or not error < 1e-4:
        raise SystemExit(f"{what}: {found} is not {expected}")


def main() -> None:
    black_scholes()
    per_example_gradients()
    directions()
    second_derivatives()
    rematerialized()
    print("all derivatives are those of the formulas")


if __name__ == "__main__":
    main()
