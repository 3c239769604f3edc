"""What tests/frontend/test_ahead.py looks at, in a process whose CPU counts as eight devices: prints JSON."""

import json

import lamina
from lamina import Spec, keras
from lamina.ir.errors import LaminaError


def mlp():
    layers = [keras.layers.Dense(64, activation="relu", name="up"), keras.layers.Dense(16, name="down")]
    model = keras.Sequential([keras.Input((16,)), *layers])
    model.compile("sgd", "mse")
    return model


def exchanged(compiled, **dims):
    return [[c.kind, c.count, c.bytes, [len(g) for g in c.groups]] for c in compiled.collectives(**dims)]


def main():
    mesh = keras.distribution.DeviceMesh((2, 4), ["batch", "model"])
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*up/kernel"] = (None, "model")
    layouts[".*up/bias"] = ("model",)
    layouts[".*down/kernel"] = ("model", None)
    with keras.distribution.ModelParallel(layout_map=layouts).scope():
        model = mlp()
        inference = lamina.compile(model, target="gpu:h100x8")
        batch = Spec((None, 16)), Spec((None, 16))
        training = lamina.compile(model, *batch, target="gpu:h100x8", training_step=True)
        found = {
            "inference": exchanged(inference, N=32),
            "training": exchanged(training, N=32),
            "memory": training.memory(N=32)["arguments"],
        }
        try:
            lamina.compile(model, target="gpu:h100x4")
        except LaminaError as error:
            found["other size"] = str(error)
    found["afterwards"] = exchanged(lamina.compile(model, target="gpu:h100x8"), N=32)
    found["data parallel"] = lamina.compile(mlp(), *batch, target="gpu:h100x8", training_step=True).memory(N=32)[
        "arguments"
    ]
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
