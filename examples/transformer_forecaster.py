"""A small transformer that forecasts sunspots: at each year of a window it says what the next year will be.

Attention is causal, so one window trains as many forecasts as it has years. At the end the model goes on alone, feeding
on its own forecasts, for two solar cycles.

pip install 'lamina[examples]'
python examples/transformer_forecaster.py [--small] [--plots FOLDER]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from statsmodels.datasets import sunspots

from lamina import keras

LENGTH = 33  # three solar cycles
WIDTH = 32
TRAINED_TO = 1920


class Positions(keras.layers.Layer):
    """Adds a learned vector for each place in the window."""

    def build(self, input_shape) -> None:
        self.table = self.add_weight(shape=input_shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


def block(x, heads: int, rate: float):
    """Attention to the past, then a network for each place; both added to what comes in."""
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.MultiHeadAttention(heads, WIDTH // heads, dropout=rate)(y, y, use_causal_mask=True)
    x = keras.layers.Add()([x, y])
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(2 * WIDTH, activation="gelu")(y)
    y = keras.layers.Dropout(rate)(keras.layers.Dense(WIDTH)(y))
    return keras.layers.Add()([x, y])


def build(blocks: int = 2) -> keras.Model:
    level = keras.Input((LENGTH, 1), name="level")
    x = Positions()(keras.layers.Dense(WIDTH)(level))
    for _ in range(blocks):
        x = block(x, heads=4, rate=0.1)
    change = keras.layers.Dense(1, kernel_initializer="zeros")(keras.layers.LayerNormalization()(x))
    return keras.Model(level, keras.layers.Add()([level, change]), name="forecaster")  # it begins as "as it is now"


def number(level):
    """The sunspot number of a level: its square root makes the noise of low and high years alike."""
    return (5.0 * level) ** 2


def rmse(found, target) -> float:
    return float(np.sqrt(np.mean((found - target) ** 2)))


def go_on(model: keras.Model, level, years: int):
    """The model's forecast for one year after another, from the last window of ``level``."""
    window = list(level[-LENGTH:])
    for _ in range(years):
        forecast = model.predict(np.array(window[-LENGTH:], "float32")[np.newaxis, :, np.newaxis], verbose=0)
        window.append(max(float(forecast[0, -1, 0]), 0.0))
    return np.array(window[LENGTH:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="one block, fewer epochs")
    parser.add_argument("--plots", type=Path, default=Path("plots"), help="folder for the plot")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    data = sunspots.load_pandas().data
    years = data["YEAR"].to_numpy().astype(int)
    level = (np.sqrt(data["SUNACTIVITY"].to_numpy()) / 5.0).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(level, LENGTH + 1)
    x, y = windows[:, :-1, np.newaxis], windows[:, 1:, np.newaxis]
    last = years[LENGTH:]  # the year that a window's last forecast is for
    train, test = last <= TRAINED_TO, last > TRAINED_TO

    model = build(blocks=1 if options.small else 2)
    epochs = 30 if options.small else 60
    rate = keras.optimizers.schedules.CosineDecay(0.002, decay_steps=epochs * (int(np.sum(train)) // 16 + 1))
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
    history = model.fit(x[train], y[train], batch_size=16, epochs=epochs, verbose=0)
    print(f"loss {history.history['loss'][0]:.3f} -> {history.history['loss'][-1]:.3f} in {epochs} epochs")

    target = number(y[test, -1, 0])
    forecast = number(model.predict(x[test], verbose=0)[:, -1, 0])
    naive = rmse(number(x[test, -1, 0]), target)
    error = rmse(forecast, target)
    print(f"sunspots of 1921 to 2008: error {error:.1f}, naive {naive:.1f}; {error / naive:.2f} of the naive one")

    alone = number(go_on(model, level, years=22))
    peak = int(years[-1] + 1 + alone[:11].argmax())
    print(f"the model alone expects the next maximum in {peak}")
    plot(options.plots, last[test], target, forecast, alone)


def plot(folder: Path, years, target, forecast, alone) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(years, target, color="black", label="true")
    axes.plot(years, forecast, label="forecast a year before")
    axes.plot(years[-1] + 1 + np.arange(len(alone)), alone, linestyle="dotted", label="the model alone")
    axes.set(xlabel="year", ylabel="sunspots")
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "transformer_forecaster.png")
    print("plot:", folder / "transformer_forecaster.png")


if __name__ == "__main__":
    main()
