"""What tests/frontend/test_distribution*.py look at, in a process whose CPU counts as eight devices: prints JSON.

    python tests/on_mesh.py training errors

runs the functions of these names and prints what each returned.
"""

import contextlib
import importlib.util
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import lamina
from lamina import keras
from lamina.ir.errors import LaminaError
from lamina.runtime import hlo

D = keras.distribution
RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 6)).astype(np.float32)
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3]], 1)


def models():
    """The models of the benchmarks."""
    path = Path(__file__).parents[1] / "benchmarks" / "models.py"
    spec = importlib.util.spec_from_file_location("models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_parallel():
    return D.DataParallel()


def layout_map(layouts, shape=(4, 2), axes=("batch", "model")):
    found = D.LayoutMap(D.DeviceMesh(shape, axes))
    for key, layout in layouts.items():
        found[key] = layout
    return found


def model_parallel(layouts, shape=(4, 2), axes=("batch", "model")):
    return D.ModelParallel(layout_map=layout_map(layouts, shape, axes))


#: A column-wise product, and a row-wise one after it.
PAIR = {
    ".*first/kernel": (None, "model"),
    ".*first/bias": ("model",),
    ".*second/kernel": ("model", None),
}
#: The ways to lay out a model of layers called first and second: replicas, parts, and parts of replicas.
WAYS = {
    "data": data_parallel,
    "model": lambda: model_parallel(PAIR, (1, 8)),
    "mixed": lambda: model_parallel(PAIR),
}


def under(distribution):
    """A fresh start under a distribution, or under none."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    return contextlib.nullcontext() if distribution is None else distribution.scope()


def difference(a, b):
    """The largest relative error over the arrays of two nests: the largest difference over the largest magnitude."""
    pairs = zip(a, b, strict=True) if isinstance(a, list | tuple) else [(a, b)]
    errors = [np.abs(np.asarray(p) - np.asarray(q)).max() / max(np.abs(np.asarray(q)).max(), 1e-30) for p, q in pairs]
    return float(max(errors))


def message(call):
    """What an error of ours says."""
    try:
        call()
    except LaminaError as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


def where(variable):
    """How the array of a Variable is laid out: the axes of each dimension, and over how many devices."""
    array = variable.value
    return [list(array.sharding.spec) if hasattr(array.sharding, "spec") else None, len(array.devices())]


def exchanged(compiled):
    """The collectives of a program: kind, how many, bytes, devices in a group."""
    found = hlo.collectives(compiled.as_text() if hasattr(compiled, "as_text") else compiled)
    return sorted([c.kind, c.count, c.bytes, c.group_size] for c in found)


def step_of(model, **dims):
    """What XLA made of a model's training step."""
    return next(iter(model.train_function.one._known.values())).compile_for(**dims)


# Models of all kinds


def mlp(**compiled):
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, activation="gelu", name="first"), layers.Dense(2, name="second")]
    )
    model.compile(compiled.pop("optimizer", "sgd"), compiled.pop("loss", "mse"), **compiled)
    return model


def with_all_kinds():
    """Batch normalization, dropout, noise, a convolution and a recurrent layer."""
    layers = keras.layers
    x = keras.Input((8, 6))
    h = layers.Conv1D(8, 3, padding="same", use_bias=False)(x)  # the gradient of a bias here would be noise alone
    h = layers.BatchNormalization()(h)
    h = layers.SpatialDropout1D(0.2)(layers.GaussianNoise(0.1)(h))
    h = layers.Bidirectional(layers.GRU(8, return_sequences=True))(h)
    h = layers.LSTM(8)(h)
    h = layers.Dropout(0.3)(layers.Dense(16, activation="relu", name="first")(h))
    model = keras.Model(x, layers.Dense(2, name="second")(h))
    model.compile(
        keras.optimizers.SGD(0.05, clipnorm=1.0), "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()]
    )
    return model


def steps():
    return RNG_STEPS


RNG_STEPS = np.random.default_rng(1).standard_normal((32, 8, 6)).astype(np.float32)


def mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(16, activation="relu", name="first"),
                layers.Dense(2, name="second"),
                layers.Activation("linear", dtype="float32"),
            ]
        )
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.compile("sgd", "mse")
    return model


KINDS = {
    "plain": (mlp, lambda: X),
    "all kinds of layers": (with_all_kinds, steps),
    "several steps at once": (lambda: mlp(steps_per_execution=2, optimizer="adam"), lambda: X),
    "accumulated": (
        lambda: mlp(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-3, gradient_accumulation_steps=2)),
        lambda: X,
    ),
    "averaged": (lambda: mlp(optimizer=keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True)), lambda: X),
    "eagerly": (lambda: mlp(run_eagerly=True), lambda: X),
    "bfloat16": (mixed_precision, lambda: X),
}


def trained(build, x, distribution):
    """Logs, outputs and weights of training, in all the ways there are."""
    with under(distribution):
        model = build()
        rest = (x[28:], Y[28:])
        fit = model.fit(x[:28], Y[:28], batch_size=16, epochs=2, verbose=0, validation_data=rest).history
        logs = [fit[name] for name in sorted(fit)]
        on_batch = np.ravel([model.train_on_batch(x[:16], Y[:16]), model.test_on_batch(*rest)])
        evaluated = np.ravel(model.evaluate(*rest, verbose=0))
        outputs = [
            model.predict(x[:28], batch_size=16, verbose=0),
            model.predict_on_batch(x[:16]),
            np.asarray(model(x[:5])),
        ]
        return [*logs, on_batch, evaluated], [*outputs, *model.get_weights()]


def training():
    warnings.filterwarnings("ignore", message=".* can't be split evenly")
    seen = {}
    for kind, (build, x) in KINDS.items():
        alone = trained(build, x(), None)
        for way, make in WAYS.items():
            logs, arrays = trained(build, x(), make())
            seen[f"{kind}, {way}"] = [difference(logs, alone[0]), difference(arrays, alone[1])]
    return seen


def quick():
    """As training(), for one model and fewer calls."""
    seen = {}

    def run(distribution):
        with under(distribution):
            model = mlp(optimizer="adam", metrics=["mae"])
            history = model.fit(X[:28], Y[:28], batch_size=16, epochs=2, verbose=0, shuffle=False).history
            logs = [*history.values(), model.evaluate(X[:16], Y[:16], verbose=0)]
            slots = [where(v) for v in model.optimizer.variables if v.path.endswith("first_kernel_velocity")]
            exchanges = exchanged(step_of(model, N=16))
            kernel = where(model.layers[0].kernel)
            return logs, [model.predict(X, verbose=0), *model.get_weights()], [kernel, *slots, exchanges]

    alone = None
    for way, make in {"alone": lambda: None, **WAYS}.items():
        logs, arrays, laid_out = run(make())
        alone = alone or (logs, arrays)
        seen[way] = [difference(logs, alone[0]), difference(arrays, alone[1]), *laid_out]
    return seen


def real_keras():
    """The same training in Keras on JAX, under its own distribution of the same kind."""
    import keras as real

    warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)  # Keras's own
    seen = {}
    for way in WAYS:
        results = []
        for library in (keras, real):
            d = library.distribution
            library.backend.clear_session()
            library.utils.set_random_seed(7)
            if way == "data":
                chosen = d.DataParallel()
            else:
                found = d.LayoutMap(d.DeviceMesh((1, 8) if way == "model" else (4, 2), ("batch", "model")))
                for key, layout in {**PAIR, ".*first/output": ("batch", "model")}.items():
                    found[key] = layout
                chosen = d.ModelParallel(layout_map=found)
            with chosen.scope():
                layers = library.layers
                first, second = layers.Dense(16, activation="gelu", name="first"), layers.Dense(2, name="second")
                model = library.Sequential([library.Input((6,)), first, second])
                model.compile("adam", "mse", metrics=["mae"])
                history = model.fit(X, Y, batch_size=16, epochs=3, verbose=0, shuffle=False).history
                laid_out = [list(v.value.sharding.spec) for v in (*model.weights, *model.optimizer.variables)]
                evaluated = model.evaluate(X, Y, batch_size=16, verbose=0)
                results.append(([*history.values(), evaluated], [np.asarray(w) for w in model.get_weights()], laid_out))
        mine, other = results
        seen[way] = [difference(mine[0], other[0]), difference(mine[1], other[1]), mine[2] == other[2], mine[2]]
    return seen


# Programs


def blocks(count=3):
    """Blocks of a column-wise product and a row-wise one."""
    x = h = keras.Input((16,))
    for i in range(count):
        inner = keras.layers.Dense(64, activation="gelu", name=f"up_{i}")(h)
        h = keras.layers.Add()([h, keras.layers.Dense(16, name=f"down_{i}")(inner)])
    model = keras.Model(x, h)
    model.compile("sgd", "mse")
    return model


BLOCKS = {"up_./kernel": (None, "model"), "up_./bias": ("model",), "down_./kernel": ("model", None)}


def collectives():
    """What XLA adds to the programs of a model of blocks, and to a step of models with all kinds of layers."""
    seen = {}
    x = RNG_STEPS.reshape(96, 16)[:32]
    for way, make in {
        "data": data_parallel,
        "model": lambda: model_parallel(BLOCKS, (1, 8)),
        "mixed": lambda: model_parallel(BLOCKS, (4, 2)),
    }.items():
        with under(make()):
            model = blocks()
            model.train_on_batch(x, x)
            seen[way] = {
                "inference": exchanged(lamina.compile(model).hlo(N=32)),
                "step": exchanged(step_of(model, N=32)),
                "trainable": sum(v.value.nbytes for v in model.trainable_variables),
                "whole": sum(
                    v.value.nbytes for v in model.trainable_variables if v.path.endswith("bias") and "up" not in v.path
                ),
            }
    with under(data_parallel()):
        model = with_all_kinds()
        model.train_on_batch(RNG_STEPS, Y)
        seen["all kinds"] = {
            "step": exchanged(step_of(model, N=32)),
            "trainable": sum(v.value.nbytes for v in model.trainable_variables),
            "moving": sum(v.value.nbytes for v in model.non_trainable_variables if "moving" in v.path),
        }
    return seen


#: How the models of the benchmarks are laid out: attention by heads, blocks as pairs of products, channels of images.
HEADS = {
    ".*(query|key|value)/kernel": (None, "model", None),
    ".*(query|key|value)/bias": ("model", None),
    ".*attention_output/kernel": ("model", None, None),
    "dense(_2|_4|_6)?/kernel": (None, "model"),
    "dense(_2|_4|_6)?/bias": ("model",),
    "dense_[1357]/kernel": ("model", None),
}
CHANNELS = {
    "conv2d.*/kernel": (None, None, None, "model"),
    "batch_normalization.*/(gamma|beta|moving_mean|moving_variance)": ("model",),
}
#: Layouts, a mesh to split the model, and the batch's size: for replicas, and else. A ReLU whose input is near 0 passes
#: a gradient or not by a rounding, and over ten steps the fewer the images, the less likely is one.
BENCHMARKS = {"transformer": (HEADS, (2, 4), (16, 16)), "resnet_block": (CHANNELS, (1, 8), (8, 4))}
#: With Adam's usual epsilon a gradient of 0, to rounding, makes as large a step as any.
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(1e-3, epsilon=1e-3),
}


def benchmark(name, optimizer):
    """Ten steps of a model of the benchmarks in each way: how far each loss, and then outputs and weights, are from
    those on one device, and what the devices exchange in a step."""
    suite = models()
    layouts, shape, sizes = BENCHMARKS[name]

    def run(distribution, size):
        with under(distribution):
            model = suite.MODELS[name].build(keras)
            model.set_weights(suite.weights_of(model))
            x, y = suite.inputs(name, size), suite.targets(name, model, size)
            model.compile(OPTIMIZERS[optimizer](), suite.training_of(name, keras)[0])
            losses = [model.train_on_batch(x, y) for _ in range(10)]
            # The gradient of a key's bias is 0, as softmax does not change with it: what it does is noise.
            weights = [w.numpy() for w in model.weights if not w.path.endswith("key/bias")]
            trainable = sum(v.value.nbytes for v in model.trainable_variables)
            step = exchanged(step_of(model, N=size)) if distribution is not None else []
            return [losses, model.predict(x, verbose=0), weights], step, trainable

    alone = {size: run(None, size)[0] for size in set(sizes)}
    seen = {}
    for way, make, size in (
        ("data", data_parallel, sizes[0]),
        ("model", lambda: model_parallel(layouts, shape), sizes[1]),
        ("mixed", lambda: model_parallel(layouts, (4, 2)), sizes[1]),
    ):
        found, step, trainable = run(make(), size)
        losses = [abs(a - b) / abs(b) for a, b in zip(found[0], alone[size][0], strict=True)]
        others = [difference(a, b) for a, b in zip(found[1:], alone[size][1:], strict=True)]
        seen[way] = {"errors": [max(losses), *others], "step": step, "trainable": trainable}
    return seen


def transformer_sgd():
    return benchmark("transformer", "sgd")


def transformer_adam():
    return benchmark("transformer", "adam")


def resnet_block_sgd():
    return benchmark("resnet_block", "sgd")


def resnet_block_adam():
    return benchmark("resnet_block", "adam")


def compiled():
    import jax

    seen = {}
    elsewhere = jax.sharding.NamedSharding(jax.sharding.Mesh(np.array(jax.devices()[:2]), ("z",)), jax.P("z"))
    for way, make in WAYS.items():
        with under(make()):
            model = mlp()
            found = lamina.compile(model)
            expected = np.asarray(model(X))
            outputs = {
                "numpy": found(X),
                "that can't be split": found(X[:13]),
                "on one device": found(jax.device_put(X, jax.devices()[3])),
                "over another mesh": found(jax.device_put(X, elsewhere)),
            }
            errors = {name: difference(y, expected[: len(y)]) for name, y in outputs.items()}
            spec = list(outputs["numpy"].sharding.spec)
            text = found.stablehlo(N=16)
            static = lamina.compile(model, lamina.Spec((13, 6)))
            gradient = lamina.grad(lambda a, m=model: (m(a) ** 2).sum())
            seen[way] = {
                "errors": errors,
                "output": spec,
                "constraints": text.count("sdy.sharding"),
                "arguments": found.memory(N=32)["arguments"],
                "static": difference(static(X[:13]), expected[:13]),
                "hlo of what can't be split": "ENTRY" in found.hlo(N=13),
                "too many features": message(lambda f=found: f(np.ones((8, 7), np.float32))),
                "gradient": difference(gradient(X), lamina.jit(gradient)(X)),
                "vmap": difference(lamina.vmap(model)(X[:, None])[:, 0], expected),
            }
        outside = lamina.compile(model)
        seen[way]["outside"] = [difference(outside(X), expected), difference(model.predict(X, verbose=0), expected)]
        seen[way]["on one device"] = difference(lamina.compile(model, device="cpu:2")(X), expected)
    return seen


# Activations


class Sequences(D.ModelParallel):
    """Batches are split over the first axis, and sequences over the second."""

    def get_data_layout(self, data_shape):
        return D.TensorLayout(["batch", "seq", *[None] * len(data_shape)][: len(data_shape)], self.device_mesh)


def sequences():
    """A transformer block whose activations (N, T, D) are split over a batch and a sequence axis."""

    def build():
        layers = keras.layers
        x = keras.Input((8, 6))
        h = layers.Dense(8, name="embed")(x)
        attended = layers.MultiHeadAttention(2, 4, use_bias=False, name="attend")(h, h)
        h = layers.LayerNormalization(name="norm")(layers.Add()([h, attended]))
        h = layers.Dense(6, name="head")(h)
        model = keras.Model(x, h)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    def run(distribution):
        with under(distribution):
            model = build()
            losses = [model.train_on_batch(RNG_STEPS, RNG_STEPS[..., ::-1]) for _ in range(3)]
            program = next(iter(model.train_function.one._known.values()))
            laid_out = [n.result.type.sharding for n in program.graph.walk() if n.op.name == "sharding_constraint"]
            inputs = [v.type.sharding for v in program.graph.main.inputs]
            return [losses, [model.predict(RNG_STEPS, verbose=0), *model.get_weights()], laid_out, inputs]

    layouts = {"(embed|norm|attend)/output": ("batch", "seq", None), "head/output": ("batch", None, None)}
    alone, split = run(None), run(Sequences(layout_map=layout_map(layouts, (2, 4), ("batch", "seq"))))
    return [difference(alone[0], split[0]), difference(alone[1], split[1]), split[2], split[3]]


class Relaid(keras.layers.Layer):
    """Lays its input out by a layout of its own."""

    def __init__(self, layout):
        super().__init__()
        self.layout = layout

    def call(self, x):
        return keras.distribution.distribute_tensor(x * 2, self.layout) + 1


def tensors():
    import jax

    mesh = D.DeviceMesh((4, 2), ("batch", "model"))
    layout = D.TensorLayout(("batch", "model"), mesh)
    moved = D.distribute_tensor(X, layout)
    with under(model_parallel({".*relaid/output": (None, "model")})):
        model = keras.Sequential([keras.Input((6,)), Relaid(layout)])
        got = lamina.compile(model)
        module = lamina.trace(model)
        gradient = lamina.grad(lambda x: (model(x) ** 2).sum())(X)
        seen = {
            "constraints": [n.result.type.sharding for n in module.walk() if n.op.name == "sharding_constraint"],
            "outputs": [difference(f(X), X * 2 + 1) for f in (got, model, lamina.jit(model))],
            "laid out": list(got(X).sharding.spec),
            "gradient": difference(gradient, 4 * (2 * X + 1)),
            "vmap": difference(lamina.vmap(model)(X[:, None])[:, 0], X * 2 + 1),
            "rank": message(lambda: D.distribute_tensor(X, D.TensorLayout(("batch",), mesh))),
            "axis": message(lambda: lamina.jit(lambda x: D.distribute_tensor(x, D.TensorLayout(("z", None))))(X)),
        }
    with under(model_parallel({"wrong/output": ("model",)})):
        seen["output's rank"] = message(lambda: keras.layers.Dense(3, name="wrong")(keras.Input((4,))))
    return {
        **seen,
        "moved": [list(moved.sharding.spec), difference(moved, X)],
        "symbolic": type(D.distribute_tensor(keras.Input((6,)), layout)).__name__,
        "by jax's sharding": list(D.distribute_tensor(X, layout.backend_layout).sharding.spec),
        "devices": len(jax.devices()),
    }


# Files


def files():
    """Weights and an optimizer's state, saved under one distribution and restored under another, are bit-equal."""
    seen = {}
    others = {"alone": lambda: None, "other mesh": lambda: model_parallel(PAIR, (2, 4))}
    with tempfile.TemporaryDirectory() as folder:
        for way, make in {**WAYS, "alone": lambda: None}.items():
            path = Path(folder) / way
            with under(make()):
                model = mlp(optimizer="adam")
                backup = keras.callbacks.BackupAndRestore(f"{path}_backup", delete_checkpoint=False)
                checkpoint = keras.callbacks.ModelCheckpoint(f"{path}_best.keras", monitor="loss")
                model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[backup, checkpoint])
                model.save(f"{path}.keras")
                model.save_weights(f"{path}.weights.h5")
                lamina.compile(model, lamina.Spec((None, 6))).save(f"{path}.lamina")
                weights, state = model.get_weights(), model.optimizer.get_weights()
                outputs = model.predict(X, verbose=0)
            for other, make_other in {**others, **WAYS}.items():
                with under(make_other()):
                    loaded = keras.models.load_model(f"{path}.keras")
                    best = keras.models.load_model(f"{path}_best.keras")
                    fresh = mlp(optimizer="adam")
                    fresh.optimizer.build(fresh.trainable_variables)
                    fresh.load_weights(f"{path}.weights.h5")
                    cloned = keras.models.clone_model(loaded)
                    cloned.set_weights(weights)
                    again = mlp(optimizer="adam")
                    restore = keras.callbacks.BackupAndRestore(f"{path}_backup", delete_checkpoint=False)
                    again.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[restore])
                    program = lamina.load(f"{path}.lamina")
                    models = (loaded, best, fresh, cloned, again)
                    kept = all(equal(m.get_weights(), weights) for m in models)
                    optimizers = all(equal(m.optimizer.get_weights(), state) for m in (loaded, best, again))
                    laid_out = {json.dumps(where(m.layers[0].kernel)) for m in models}
                    found = [loaded.predict(X, verbose=0), program(X), program(X[:5])]
                    errors = difference(found, [outputs, outputs, outputs[:5]])
                    slot = next(v for v in loaded.optimizer.variables if v.path.endswith("first_kernel_velocity"))
                    seen[f"{way} to {other}"] = [kept, optimizers, sorted(laid_out), where(slot), errors]
    return seen


def equal(a, b):
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


# What was there before, and what can't be


def made_before():
    """Models that were made, trained or loaded before a distribution was set follow it from then on."""
    with under(None):
        expected = mlp(optimizer="adam")
        expected.fit(X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False)
    seen = {}
    for way, make in WAYS.items():
        for trained_before in (False, True):
            with under(None):
                model = mlp(optimizer="adam")
                if trained_before:
                    model.fit(X, Y, batch_size=16, epochs=1, verbose=0, shuffle=False)
            with make().scope():
                model.fit(X, Y, batch_size=16, epochs=1 if trained_before else 2, verbose=0, shuffle=False)
                slot = next(v for v in model.optimizer.variables if v.path.endswith("first_kernel_velocity"))
                error = difference(model.get_weights(), expected.get_weights())
                seen[f"{way}, {trained_before}"] = [error, where(model.layers[0].kernel), where(slot)]
            outside = model.predict(X, verbose=0)
            seen[f"{way}, {trained_before}"].append(difference(outside, expected.predict(X, verbose=0)))
    return seen


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught]


def warns():
    seen = {}
    wrong = {"first/kernel": (None, "model"), "attend/output": (None, None)}
    with under(model_parallel({**wrong, ".*second/kernel": ("model", None)})):
        model = mlp()
        seen["unused"] = warned(lambda: [model.fit(X, Y, batch_size=16, verbose=0) for _ in range(2)])
        seen["again"] = warned(lambda: lamina.compile(model))
    with under(model_parallel({"firsst/kernel": (None, "model")})):
        seen["compiled"] = warned(lambda: lamina.compile(mlp()))
    with under(data_parallel()):
        model = mlp()
        seen["batches of 12"] = warned(lambda: model.fit(X, Y, batch_size=12, epochs=2, verbose=0))
        other = mlp()
        seen["a short last batch"] = warned(lambda: other.fit(X[:28], Y[:28], batch_size=16, epochs=3, verbose=0))
        third = mlp(steps_per_execution=2)
        seen["several at once"] = warned(lambda: third.fit(X[:24], Y[:24], batch_size=6, epochs=2, verbose=0))
    with under(None):
        mesh = D.DeviceMesh((4, 2), ("a", "b"))
        seen["two axes"] = warned(lambda: D.DataParallel(mesh))
    return seen


def errors():
    import jax

    mesh = D.DeviceMesh((4, 2), ("batch", "model"))
    seen = {
        "too many devices": message(lambda: D.DeviceMesh((4, 4), ("batch", "model"))),
        "too few devices": message(lambda: D.DeviceMesh((4,), ("batch",))),
        "names": message(lambda: D.DeviceMesh((4, 2), ("batch",))),
        "same names": message(lambda: D.DeviceMesh((4, 2), ("batch", "batch"))),
        "absent device": message(lambda: D.DeviceMesh((1,), ("batch",), ["gpu:7"]).backend_mesh),
        "axis": message(lambda: D.TensorLayout(("z",), mesh)),
        "axis twice": message(lambda: D.TensorLayout(("batch", "batch"), mesh)),
        "no mesh": message(lambda: D.TensorLayout(("batch",)).backend_layout),
        "batch axis": message(lambda: D.ModelParallel(layout_map=layout_map({}), batch_dim_name="z")),
        "no map": message(lambda: D.ModelParallel(layout_map={"kernel": (None,)})),
        "no distribution": message(lambda: D.set_distribution("data")),
        "not a mesh": message(lambda: D.DataParallel(device_mesh=[1, 2])),
        "twice": message(lambda: layout_map({"a": ("batch",)}).__setitem__("a", ("batch",))),
        "no expression": message(lambda: layout_map({"(": ("batch",)})),
        "no layout": message(lambda: layout_map({"a": "batch"})),
        "two keys": message(lambda: layout_map({"a.*": ("batch",), ".*b": ("batch",)})["ab"]),
    }
    with under(model_parallel({".*kernel": (None, "model")})):
        seen["can't be split"] = message(lambda: keras.layers.Dense(3, name="odd").build((None, 4)))
    with under(model_parallel({".*kernel": ("model",)})):
        seen["rank"] = message(lambda: keras.layers.Dense(4, name="flat").build((None, 4)))
    with under(data_parallel()):
        first = keras.layers.Dense(4, name="first")
        first.build((None, 6))
        model = keras.Sequential([keras.Input((6,)), first])
        model.compile("sgd", "mse")
    with model_parallel({}).scope():
        seen["another mesh"] = message(lambda: model.fit(X, X[:, :4], verbose=0))
        seen["compiled for another mesh"] = message(lambda: lamina.compile(model))
        second = keras.layers.Dense(4, name="second")
        second.build((None, 4))
    both = keras.Sequential([keras.Input((6,)), first, second])
    seen["two meshes"] = message(lambda: lamina.compile(both))
    with keras.device("cpu:1"):
        alone = keras.layers.Dense(4, name="alone")
        alone.build((None, 4))
    mixed = keras.Sequential([keras.Input((6,)), first, alone])
    seen["mesh and device"] = message(lambda: lamina.compile(mixed))
    seen["still there"] = [difference(model.predict(X, verbose=0), np.asarray(model(X))), len(jax.devices())]
    return seen


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps({name: globals()[name]() for name in sys.argv[1:]}))
