"""What each callback does to a training: one small network, trained with each of them, and a table of what they did.

The network forecasts the course of diabetes from ten measurements; it is large for 330 patients, so it overfits soon.

pip install 'lamina[examples]'
python examples/callbacks_effects.py [--small]

Real Keras runs this file too: put `import keras` in place of `from lamina import keras`.
"""

import argparse
import csv
import math
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes

from lamina import keras

callbacks = keras.callbacks
BATCH = 32


class Task:
    """The data, and how a network is trained on it; what a callback writes goes to ``folder``."""

    def __init__(self, epochs: int, folder: Path) -> None:
        self.epochs = epochs
        self.folder = folder
        x, y = load_diabetes(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = (x[order] * 20.0).astype("float32"), ((y[order, np.newaxis] - 150.0) / 77.0).astype("float32")
        self.train, self.test = (x[:330], y[:330]), (x[330:], y[330:])

    def build(self, optimizer=None) -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(64, activation="relu")]
        model = keras.Sequential([keras.Input((10,)), *layers, keras.layers.Dense(1)])
        model.compile(optimizer or keras.optimizers.Adam(0.003), "mse")
        return model

    def fit(self, model: keras.Model, *given, epochs: int | None = None):
        """The history of a training; in the order of the data, so that two of them can be compared."""
        x, y = self.train
        return model.fit(
            x, y, batch_size=BATCH, epochs=epochs or self.epochs, validation_data=self.test,
            callbacks=list(given), shuffle=False, verbose=0,
        ).history  # fmt: skip

    def test_loss(self, model: keras.Model) -> float:
        return float(model.evaluate(*self.test, verbose=0))


def nothing(task: Task):
    losses = task.fit(task.build())["val_loss"]
    return f"{len(losses)} epochs; test loss {losses[-1]:.3f} at the end, {min(losses):.3f} at best"


def early_stopping(task: Task):
    model = task.build()
    losses = task.fit(model, callbacks.EarlyStopping(patience=4, restore_best_weights=True))["val_loss"]
    return f"stopped after {len(losses)} of {task.epochs} epochs; test loss {task.test_loss(model):.3f}, its best"


def reduce_on_plateau(task: Task):
    rates = task.fit(task.build(), callbacks.ReduceLROnPlateau(factor=0.5, patience=3, min_lr=1e-4))["learning_rate"]
    drops = int(np.sum(np.diff(rates) < 0.0))
    return f"learning rate halved {drops} times, from {rates[0]:.5f} to {rates[-1]:.5f}"


def scheduler(task: Task):
    rates = task.fit(
        task.build(), callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch < 3 else rate * 0.8)
    )["learning_rate"]
    return "learning rates " + ", ".join(f"{rate:.5f}" for rate in rates[:5]) + ", ..."


def checkpoint(task: Task):
    path = task.folder / "best.keras"
    best = callbacks.ModelCheckpoint(str(path), monitor="val_loss", save_best_only=True)
    losses = task.fit(task.build(), best)["val_loss"]
    loaded = keras.models.load_model(path)
    return f"the file's test loss is {task.test_loss(loaded):.3f}; the best of all epochs was {min(losses):.3f}"


def csv_logger(task: Task):
    path = task.folder / "log.csv"
    task.fit(task.build(), callbacks.CSVLogger(str(path)))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return f"{len(rows)} rows of {', '.join(rows[0])}"


def terminate_on_nan(task: Task):
    """Steps so long that the weights overflow."""
    batches = []
    counting = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    losses = task.fit(task.build(keras.optimizers.SGD(1e6)), counting, callbacks.TerminateOnNaN())["loss"]
    planned = task.epochs * math.ceil(len(task.train[0]) / BATCH)
    return f"stopped after {len(batches)} of {planned} batches, at a loss of {losses[-1]}"


def swap_averages(task: Task):
    """Long steps make the weights jump about; their average lies quieter."""

    def losses(*given):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.98)
        return task.fit(task.build(optimizer), *given)["val_loss"][-5:]

    jumping, averaged = np.mean(losses()), np.mean(losses(callbacks.SwapEMAWeights()))
    return f"test loss {averaged:.3f} of the averaged weights, {jumping:.3f} of the weights themselves"


def backup(task: Task):
    """A training that is interrupted and begun again ends where one that was not does."""

    class Interruption(Exception):
        pass

    def interrupt(epoch, logs=None):
        if epoch == task.epochs // 2:
            raise Interruption

    def backing_up():
        return callbacks.BackupAndRestore(str(task.folder / "backup"))

    whole = task.build()
    task.fit(whole)
    try:
        task.fit(task.build(), backing_up(), callbacks.LambdaCallback(on_epoch_begin=interrupt))
    except Interruption:
        again = task.build()  # as a new process would
        epochs = len(task.fit(again, backing_up())["loss"])
    pairs = zip(whole.get_weights(), again.get_weights(), strict=True)
    difference = max(float(np.max(np.abs(a - b))) for a, b in pairs)
    return f"the next fit ran the {epochs} epochs that were left; weights differ from a whole run's by {difference:.0e}"


def lambda_callback(task: Task):
    seen = {"epochs": 0, "batches": 0}

    def count(what):
        def called(index, logs=None):
            seen[what] += 1

        return called

    task.fit(task.build(), callbacks.LambdaCallback(on_epoch_end=count("epochs"), on_train_batch_end=count("batches")))
    return f"was called after {seen['epochs']} epochs and {seen['batches']} batches"


EFFECTS = {
    "none": nothing,
    "EarlyStopping": early_stopping,
    "ReduceLROnPlateau": reduce_on_plateau,
    "LearningRateScheduler": scheduler,
    "ModelCheckpoint": checkpoint,
    "CSVLogger": csv_logger,
    "TerminateOnNaN": terminate_on_nan,
    "SwapEMAWeights": swap_averages,
    "BackupAndRestore": backup,
    "LambdaCallback": lambda_callback,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer epochs")
    options = parser.parse_args()
    table = Table("callback", "what it did")
    with tempfile.TemporaryDirectory() as folder:
        task = Task(epochs=16 if options.small else 40, folder=Path(folder))
        for name, effect in EFFECTS.items():
            table.add_row(name, effect(task))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
