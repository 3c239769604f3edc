"""Gradients and optimizers for what is no neural network: a curve, a valley, a portfolio.

Each is a function of a Variable; one compiled step takes its gradient and lets an optimizer change the Variable.

- Rosenbrock's function, whose minimum is known.
- A trend and a wave through measured carbon dioxide, compared with scipy's least squares.
- The portfolio of eleven American firms (1935 to 1954) with the smallest variance, no firm above 30 %. The problem is
  convex, so a bound says how far from the best it can be at most.

pip install 'lamina[examples]'
python examples/optimize_anything.py [--small] [--plots FOLDER]
"""

import argparse
import importlib.util
import math
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit
from statsmodels.datasets import co2, grunfeld

import lamina
from lamina import keras, ops


def minimize(objective, variable: keras.Variable, optimizer: keras.Optimizer, steps: int):
    """Let an optimizer change a Variable to make ``objective(variable)`` small; returns the value before each step."""

    @lamina.jit
    def step():
        value, gradient = lamina.value_and_grad(objective)(variable.value)
        optimizer.apply([gradient], [variable])
        return value

    optimizer.build([variable])
    return np.array([step() for _ in range(steps)])


def rosenbrock(steps: int) -> np.ndarray:
    """A curved valley whose lowest point is (1, 1): hard for steps straight down."""

    def valley(p):
        return (1.0 - p[0]) ** 2 + 100.0 * (p[1] - p[0] ** 2) ** 2

    place = keras.Variable(np.float32([-1.2, 1.0]), name="place")
    rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=steps)
    values = minimize(valley, place, keras.optimizers.Adam(rate, beta_2=0.99), steps)
    x, y = np.asarray(place)
    print(f"Rosenbrock: at ({x:.3f}, {y:.3f}) of (1, 1), value {float(valley(np.asarray(place))):.1e}")
    return values


def curve(steps: int):
    """A trend and a wave through the carbon dioxide of Mauna Loa, 1958 to 2001. The wave's period is not told."""
    weekly = co2.load_pandas().data["co2"].dropna()
    years = (weekly.index.year + weekly.index.day_of_year / 365.25).to_numpy()
    time = ((years - 1980.0) / 20.0).astype(np.float32)
    parts = ((weekly - 340.0) / 10.0).to_numpy(np.float32)

    def model(t, p, sin, cos):
        level, slope, bend, sine, cosine, faster = p
        angle = 2.0 * math.pi * 20.0 * t * (1.0 + 0.01 * faster)  # faster: how many percent, than once a year
        return level + slope * t + bend * t**2 + sine * sin(angle) + cosine * cos(angle)

    def loss(p):
        return ops.mean((model(time, [p[i] for i in range(6)], ops.sin, ops.cos) - parts) ** 2)

    start = np.float32([0.0, 1.0, 0.0, 0.1, 0.1, 1.0])
    parameters = keras.Variable(start, name="parameters")
    rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=steps)
    minimize(loss, parameters, keras.optimizers.Adam(rate), steps)

    best, _ = curve_fit(lambda t, *p: model(t, p, np.sin, np.cos), time.astype(float), parts.astype(float), p0=start)
    found = np.asarray(parameters)
    ours, least = (float(np.sqrt(np.mean((model(time, p, np.sin, np.cos) - parts) ** 2))) for p in (found, best))
    print(f"carbon dioxide: error {ours * 10.0:.4f} ppm, scipy's least squares {least * 10.0:.4f} ppm")
    print(f"carbon dioxide: period {1.0 / (1.0 + 0.01 * found[-1]):.4f} years")
    return years, weekly.to_numpy(), model(time, found, np.sin, np.cos) * 10.0 + 340.0


class Shares(keras.constraints.Constraint):
    """Puts weights at the nearest place where they sum to one and each is between zero and ``largest``."""

    def __init__(self, largest: float) -> None:
        self.largest = largest

    def __call__(self, w):
        # That place is w minus a shift, clipped; the larger the shift, the smaller the sum, so bisect for it.
        def halve(_, bounds):
            low, high = bounds
            middle = (low + high) / 2.0
            too_much = ops.sum(ops.clip(w - middle, 0.0, self.largest)) > 1.0
            return ops.where(too_much, middle, low), ops.where(too_much, high, middle)

        low, high = ops.fori_loop(0, 40, halve, (ops.min(w) - 1.0, ops.max(w)))
        return ops.clip(w - (low + high) / 2.0, 0.0, self.largest)


def portfolio(steps: int):
    """The least variance of yearly changes of value; each step goes down and back to what is allowed."""
    values = grunfeld.load_pandas().data.pivot(index="year", columns="firm", values="value")
    changes = (values / values.shift(1) - 1.0).dropna()
    covariance = changes.cov().to_numpy(np.float32)
    largest = 0.3

    def variance(w):
        return ops.dot(w, ops.matmul(covariance, w))

    weights = keras.Variable(np.full(len(covariance), 1.0 / len(covariance), np.float32), name="weights")
    weights.constraint = Shares(largest)
    equal = float(variance(np.asarray(weights)))
    steepest = 2.0 * float(np.linalg.eigvalsh(covariance)[-1])
    minimize(variance, weights, keras.optimizers.SGD(1.0 / steepest, momentum=0.9), steps)

    # A convex function lies above its tangents: no allowed weights are better than the best ones of the tangent.
    found = np.asarray(weights)
    slope = 2.0 * covariance @ found
    best_of_tangent = np.zeros_like(found)
    for firm in np.argsort(slope):
        best_of_tangent[firm] = min(largest, 1.0 - best_of_tangent.sum())
    reached = float(variance(found))
    gap = max(float(slope @ (found - best_of_tangent)), 0.0) / reached
    for firm, share in sorted(zip(changes.columns, found, strict=True), key=lambda pair: -pair[1]):
        if share > 0.0005:
            print(f"  {firm:<18} {share:6.1%}")
    print(f"portfolio: shares sum to {found.sum():.4f}, the largest is {found.max():.1%}")
    print(f"portfolio: deviation {equal**0.5:.1%} with equal shares, {reached**0.5:.1%} now")
    print(f"portfolio: variance at most {gap:.1e} of itself above the least")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer steps")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()
    descent = rosenbrock(1500 if options.small else 3000)
    fit = curve(800 if options.small else 3000)
    portfolio(400 if options.small else 2000)
    plot(options.plots, descent, fit)


def plot(folder: Path, descent, fit) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(descent)
    left.set(xlabel="step", title="Rosenbrock's function")
    years, measured, fitted = fit
    right.plot(years, measured, ".", markersize=2, label="carbon dioxide, ppm")
    right.plot(years, fitted, linewidth=1, label="trend and wave")
    right.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "optimize_anything.png")
    print("plot:", folder / "optimize_anything.png")


if __name__ == "__main__":
    main()
