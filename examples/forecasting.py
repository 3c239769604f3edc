"""Forecast two series that statsmodels ships with LSTM and GRU, and compare with the naive forecast "as it is now".

- Sunspots: next year's number from the last 22 years (two cycles); trained to 1920, tested on 1921 to 2008.
- Unemployment in the USA: next quarter's change from eight quarters of growth, inflation, interest and unemployment;
  trained to 1990, tested on 1991 to 2009.

pip install 'lamina[examples]'
python examples/forecasting.py [--small] [--plots FOLDER]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from statsmodels.datasets import macrodata, sunspots

from lamina import keras


def windows(series, length: int):
    """All runs of ``length`` rows of ``(time, features)`` that have a next row: ``(run, length, features)``."""
    runs = np.lib.stride_tricks.sliding_window_view(series[:-1], length, axis=0)
    return np.ascontiguousarray(np.moveaxis(runs, -1, 1))


def sunspot_task():
    """Windows, what to forecast, the naive forecast, time, how many are trained on, and the unit of errors."""
    data = sunspots.load_pandas().data
    length = 22
    # The square root makes the noise of low and high years alike.
    level = np.sqrt(data["SUNACTIVITY"].to_numpy()) / 10.0
    x = windows(level[:, np.newaxis], length)
    years = data["YEAR"].to_numpy()[length:]
    return x, level[length:], x[:, -1, 0], years, int(np.sum(years <= 1920))


def unemployment_task():
    data = macrodata.load_pandas().data
    length = 8
    growth = np.diff(np.log(data[["realgdp", "realinv", "realcons"]].to_numpy()), axis=0) * 100.0
    change = np.diff(data["unemp"].to_numpy())
    rates = data[["infl", "tbilrate"]].to_numpy()[1:]
    series = np.column_stack([growth, rates, change])
    quarters = (data["year"] + (data["quarter"] - 1) / 4.0).to_numpy()[1 + length :]
    trained = int(np.sum(quarters < 1991))
    known = series[: trained + length]
    x = windows((series - known.mean(axis=0)) / known.std(axis=0), length)
    target = change[length:]
    return x, target, np.zeros_like(target), quarters, trained


def build(cell, length: int, features: int) -> keras.Model:
    return keras.Sequential([keras.Input((length, features)), cell(24), keras.layers.Dense(1)])


def forecast(cell, x, target, trained: int, epochs: int):
    """Train on the first windows and forecast all."""
    keras.utils.set_random_seed(1)
    x, target = x.astype("float32"), target.astype("float32")[:, np.newaxis]
    model = build(cell, *x.shape[1:])
    model.compile(keras.optimizers.Adam(0.005), "mse")
    model.fit(x[:trained], target[:trained], batch_size=32, epochs=epochs, verbose=0)
    return model.predict(x, verbose=0)[:, 0]


def rmse(found, target) -> float:
    return float(np.sqrt(np.mean((found - target) ** 2)))


def run(name: str, task, unit, epochs: int):
    """Train both cells on a task and print their errors, measured in what ``unit`` makes of values."""
    x, target, naive, times, trained = task
    test = slice(trained, None)
    forecasts = {"naive": naive}
    for cell in (keras.layers.LSTM, keras.layers.GRU):
        forecasts[cell.__name__] = forecast(cell, x, target, trained, epochs)
    base = rmse(unit(naive[test]), unit(target[test]))
    for method, found in forecasts.items():
        error = rmse(unit(found[test]), unit(target[test]))
        print(f"{name}, {method:<5}: error {error:6.3f}, {error / base:.2f} of the naive one")
    return times[test], unit(target[test]), {method: unit(found[test]) for method, found in forecasts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer epochs")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()

    def number(level):
        return (10.0 * level) ** 2

    results = {
        "sunspots": run("sunspots", sunspot_task(), number, epochs=30 if options.small else 100),
        "unemployment": run("unemployment", unemployment_task(), np.asarray, epochs=10 if options.small else 15),
    }
    plot(options.plots, results)


def plot(folder: Path, results) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, (name, (times, target, forecasts)) in zip(figure.subplots(len(results)), results.items(), strict=True):
        axes.plot(times, target, color="black", label="true")
        for method in ("LSTM", "GRU"):
            axes.plot(times, forecasts[method], label=method)
        axes.set(title=name)
        axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "forecasting.png")
    print("plot:", folder / "forecasting.png")


if __name__ == "__main__":
    main()
