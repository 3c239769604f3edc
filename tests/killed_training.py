"""Training that ends by a kill in the middle of a save; run in a process of its own."""

import os
import signal
import zipfile

import numpy as np

from lamina import keras


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def model():
    keras.utils.set_random_seed(7)
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1, name="out")], name="small")
    made.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    return made


def train(kind, folder, at):
    """Train with a checkpoint or a backup, and die in its second save: at a part of the file, or at a rename."""
    x = np.random.RandomState(0).rand(24, 3).astype("float32")
    made = model()
    if kind == "checkpoint":
        callback = keras.callbacks.ModelCheckpoint(folder / "m.keras")
    else:
        callback = keras.callbacks.BackupAndRestore(folder)

    def arm(epoch, logs):
        if epoch == 0 and kind == "checkpoint":
            np.savez(folder / "first.npz", *made.get_weights())
            write = zipfile.ZipFile.writestr
            parts = []

            def dying(self, info, data, *args):
                parts.append(info)
                if len(parts) == 3:
                    data = bytes(data)[: len(data) // 2]
                write(self, info, data, *args)
                if len(parts) == 3:
                    self.fp.flush()
                    die()

            zipfile.ZipFile.writestr = dying
        elif epoch == 0:
            replace, calls = os.replace, []

            def counted(*args):
                calls.append(args)
                replace(*args)
                if len(calls) == at:
                    die()

            os.replace = counted

    watcher = keras.callbacks.LambdaCallback(on_epoch_end=arm)
    made.fit(x, x.sum(axis=1, keepdims=True), batch_size=8, epochs=4, verbose=0, shuffle=False,
             callbacks=[callback, watcher])  # fmt: skip
