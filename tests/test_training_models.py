"""Training the benchmark models beside real Keras on JAX, from one seed: gradients, first steps, many steps.

Dropout rates are 0 in these, as masks are drawn otherwise here; tests of the masks follow, and of what training
compiles and of the memory that it takes.
"""

import gc
import importlib.util
import resource
import sys
import tracemalloc
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import jax
import keras as real
import numpy as np
import pytest
from model_pairs import start

import lamina
from lamina import keras as ours
from lamina import ops

_spec = importlib.util.spec_from_file_location("models", Path(__file__).parents[1] / "benchmarks" / "models.py")
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

NAMES = list(suite.MODELS)
#: The bound that float32 sums in another order keep, relative to a tensor's largest element.
RELATIVE = 1e-5
#: What terms as large as the model's largest gradient leave where they cancel: some roundings of 6e-8 each.
NOISE = 1e-6
STEPS = 30
#: Images of a batch at which these are compared, so few that an input of ReLU near 0 among them is no certainty.
IMAGES = {"mobilenet_block": 2, "resnet_block": 4}
#: Rows of the batch that many steps are taken on.
ROWS = 8
CLASSES, NUMBERS, MASKS = "sparse_categorical_crossentropy", "mse", "binary_crossentropy"
LOSSES = {
    "mlp": CLASSES,
    "lstm": NUMBERS,
    "gru_bidirectional": NUMBERS,
    "tcn": NUMBERS,
    "mobilenet_block": CLASSES,
    "resnet_block": CLASSES,
    "unet": MASKS,
    "transformer": CLASSES,
}
#: How to make each optimizer, and what its first step subtracts from a weight of gradient g, weight decay apart.
OPTIMIZERS = {
    "sgd": (lambda k: k.optimizers.SGD(0.01, momentum=0.9), lambda g: 0.01 * g),
    "adam": (lambda k: k.optimizers.Adam(), lambda g: 1e-3 * g / (np.abs(g) + 1e-7 / 0.001**0.5)),
    "rmsprop": (lambda k: k.optimizers.RMSprop(), lambda g: 1e-3 * g / np.sqrt(0.1 * g * g + 1e-7)),
    "adamw": (lambda k: k.optimizers.AdamW(), lambda g: 1e-3 * g / (np.abs(g) + 1e-7 / 0.001**0.5)),
}


class WithoutDropout:
    """A Keras whose layers drop nothing."""

    def __init__(self, keras):
        self.Input, self.Model, self.Sequential = keras.Input, keras.Model, keras.Sequential
        self.layers = SimpleNamespace(**vars(keras.layers))
        self.layers.Dropout = lambda rate: keras.layers.Dropout(0.0)
        self.layers.MultiHeadAttention = lambda heads, size, dropout: keras.layers.MultiHeadAttention(heads, size)


def build(name, keras):
    """The model as the seed makes it."""
    start()
    keras.utils.set_random_seed(7)
    return suite.MODELS[name].build(WithoutDropout(keras))


def batch_for(name, model, seed=0, size=None):
    """Inputs and targets, by default of the size that the benchmarks take."""
    draw, size = np.random.default_rng(seed), size or suite.MODELS[name].batch
    shape, vocabulary, targets = suite.MODELS[name].shape, suite.MODELS[name].vocabulary, model.output_shape[1:]
    if vocabulary is not None:
        x = draw.integers(0, vocabulary, (size, *shape)).astype(np.int32)
    else:
        x = draw.standard_normal((size, *shape)).astype(np.float32)
    if LOSSES[name] == CLASSES:
        return x, draw.integers(0, targets[-1], size).astype(np.int32)
    if LOSSES[name] == MASKS:
        return x, draw.integers(0, 2, (size, *targets)).astype(np.float32)
    return x, draw.standard_normal((size, *targets)).astype(np.float32)


def differences(values, expected):
    """How far tensors are apart, relative to the largest element of each."""
    return [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(values, expected, strict=True)]


class Twin:
    """A model here and on real Keras, each as the seed makes it, and the gradients of its loss for a batch."""

    def __init__(self, name):
        self.name, self.ours, self.theirs = name, build(name, ours), build(name, real)
        self.start = self.theirs.get_weights()
        self.paths = [v.path for v in self.ours.trainable_variables]
        self.theirs.compile("sgd", LOSSES[name])
        self.theirs._symbolic_build(data_batch=batch_for(name, self.theirs))
        self._keras = jax.jit(jax.grad(self._keras_loss))
        self.x, self.y = next(filter(None, map(self._smooth_at, range(20))))
        self.expected = self.keras_gradients(self.x, self.y)

    def _keras_loss(self, trainable, x, y):
        other = [[v.value for v in vs] for vs in (self.theirs.non_trainable_variables, self.theirs.metrics_variables)]
        loss, _ = self.theirs.compute_loss_and_updates(
            trainable, *other, x, y, None, training=True, optimizer_variables=[]
        )
        return loss

    def keras_gradients(self, x, y, noise=0.0, seed=0):
        """Gradients of real Keras, for weights that differ by a relative ``noise``."""
        draw = np.random.default_rng(seed)
        weights = [np.asarray(v) for v in self.theirs.trainable_variables]
        moved = [w * (1 + noise * draw.standard_normal(w.shape)).astype(np.float32) for w in weights]
        return [np.asarray(g) for g in self._keras(moved, x, y)]

    def _smooth_at(self, seed):
        """A batch, or None if it is where the gradient jumps.

        It does where an input of ReLU is 0, or two of those of a maximum are equal, up to rounding. There Keras's own
        gradients differ by more than the bound for weights that differ by a few roundings.
        """
        x, y = batch_for(self.name, self.theirs, seed, IMAGES.get(self.name))
        gradients = [self.keras_gradients(x, y, 1e-7, i) for i in range(4)]
        chosen = [i for i, path in enumerate(self.paths) if not is_zero(self.name, path)]
        for other in gradients[1:]:
            apart = differences([other[i] for i in chosen], [gradients[0][i] for i in chosen])
            if max(apart) > RELATIVE:
                return None
        return x, y

    def gradients(self):
        """What the loss here gives for the same batch."""
        self.ours.set_weights(self.start)
        self.ours.compile("sgd", LOSSES[self.name])
        _, found = self.ours.compute_gradients(
            lambda: self.ours.compute_loss(self.x, self.y, self.ours(self.x, training=True))
        )
        return [np.asarray(g) for g in found]

    def trained(self, keras, optimizer):
        """One of the two, compiled to train by an optimizer of this name."""
        model = self.ours if keras is ours else self.theirs
        return Trained(model, self.start, OPTIMIZERS[optimizer][0](keras), LOSSES[self.name])

    def gradient_noise(self):
        """For each trainable weight how far gradients may be apart: float32 sums, or what is left where all cancels."""
        largest = max(np.abs(g).max() for g in self.expected)
        return {
            path: NOISE * largest if is_zero(self.name, path) else RELATIVE * np.abs(g).max()
            for path, g in zip(self.paths, self.expected, strict=True)
        }


class Trained:
    """A model compiled for an optimizer, which begins again when asked."""

    def __init__(self, model, start, optimizer, loss):
        self.model = model
        model.set_weights(start)
        model.compile(optimizer, loss)
        optimizer.build(model.trainable_variables)
        self.variables = [*model.weights, *optimizer.variables]
        self.start = [np.asarray(v) for v in self.variables]

    def losses(self, x, y, steps, seed=None):
        """Those of the first steps on one batch; with a ``seed`` from weights that are each half a rounding away."""
        count = len(self.model.weights)
        draw = np.random.default_rng(seed)
        for i, (variable, value) in enumerate(zip(self.variables, self.start, strict=True)):
            moved = seed is not None and i < count and value.dtype == np.float32
            variable.assign(
                (value * (1 + 6e-8 * draw.choice([-1, 1], value.shape))).astype(np.float32) if moved else value
            )
        return np.array([self.model.train_on_batch(x, y) for _ in range(steps)])


def is_zero(name, path):
    """Whether the gradient is zero in exact arithmetic, so that what is computed is rounding.

    A bias of the keys adds the same to all scores of a query, which softmax takes away. The offset of a batch norm
    whose result only enters 1x1 convolutions that are followed by batch norms is taken away by their means.
    """
    if name == "transformer":
        return path.endswith("key/bias")
    return name == "mobilenet_block" and path.split("/")[-2:] in [
        [f"batch_normalization_{i}", "beta"] for i in (3, 6, 9)
    ]


TWINS = {}


@pytest.fixture(scope="module")
def twin(request):
    """Made once for each model; every test sets the weights that it starts from."""
    if request.param not in TWINS:
        TWINS[request.param] = Twin(request.param)
    return TWINS[request.param]


def each_model(*quick):
    """All models, those not among ``quick`` in the long sweep."""
    params = [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in NAMES]
    return pytest.mark.parametrize("twin", params, indirect=True)


@pytest.mark.parametrize("name", [n if n in ("mlp", "tcn") else pytest.param(n, marks=pytest.mark.long) for n in NAMES])
def test_the_seed_gives_the_initial_weights_of_keras(name):
    mine, theirs = build(name, ours), build(name, real)
    assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    for a, b in zip(mine.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), np.asarray(b), err_msg=a.path)


@each_model("mlp", "tcn")
def test_gradients_equal_those_of_keras(twin):
    noise = twin.gradient_noise()
    for path, mine, theirs in zip(twin.paths, twin.gradients(), twin.expected, strict=True):
        assert np.abs(mine - theirs).max() <= noise[path], path
        # What is held against an absolute bound is noise in Keras too, and nothing else is.
        assert (np.abs(theirs).max() <= noise[path]) == is_zero(twin.name, path), path


def spread_for(path, averages):
    """The most that a step could add to a moving mean whose inputs were of one sign.

    Means of what was normalized and then only weighted are zero in exact arithmetic; what is computed is small beside
    the deviation of what they are taken of. Moving variances begin at 1, and both keep 0.99 of what was.
    """
    if not path.endswith("moving_mean"):
        return 0.0
    variance = (averages[path.replace("moving_mean", "moving_variance")] - 0.99) / 0.01
    return 0.01 * np.sqrt(variance.max())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_model("mlp")
def test_the_first_step_gives_the_weights_of_keras(twin, optimizer):
    """Moving averages of batch norms included.

    Adam and RMSprop divide a gradient by its own size: where it is near 0, rounding decides on the sign of a whole
    step. A weight may be as far away as the optimizer makes it of gradients that differ by no more than they may: at
    most two steps. That concerns few elements where the gradient of a tensor is not zero altogether.
    """
    mine, theirs = twin.trained(ours, optimizer), twin.trained(real, optimizer)
    found, expected = mine.losses(twin.x, twin.y, 1), theirs.losses(twin.x, twin.y, 1)
    np.testing.assert_allclose(found, expected, rtol=RELATIVE)
    step, noise = OPTIMIZERS[optimizer][1], twin.gradient_noise()
    gradients = dict(zip(twin.paths, twin.expected, strict=True))
    beyond = 0
    averages = {w.path: np.asarray(w) for w in twin.theirs.non_trainable_variables}
    for a, b, before in zip(twin.ours.weights, twin.theirs.weights, twin.start, strict=True):
        value, wanted = a.numpy(), np.asarray(b)
        apart, bound = np.abs(value - wanted), RELATIVE * np.abs(wanted).max()
        assert np.abs(value - before).max() > 0, a.path
        if a.path not in gradients:
            assert apart.max() <= max(bound, RELATIVE * spread_for(a.path, averages)), a.path
            continue
        g = gradients[a.path].astype(np.float64)
        room = step(g + noise[a.path]) - step(g - noise[a.path])
        assert (apart <= bound + room).all(), a.path
        if not is_zero(twin.name, a.path):
            beyond += np.sum(apart > bound)
    assert beyond < 2e-3 * twin.ours.count_params()


@pytest.mark.long
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_model()
def test_losses_stay_as_near_to_those_of_keras_as_its_own_after_a_rounding(twin, optimizer):
    """Rows in another order change how sums over the batch are rounded, and nothing else: what is computed for each row
    stays as it is. Here that is rounded otherwise, too (a convolution as shifted sums, say), so weights that differ by
    a rounding are the other measure of what a step makes of one.
    """
    x, y = batch_for(twin.name, twin.ours, size=IMAGES.get(twin.name, ROWS))
    mine, theirs = twin.trained(ours, optimizer), twin.trained(real, optimizer)
    found, expected = mine.losses(x, y, STEPS), theirs.losses(x, y, STEPS)
    assert expected[-1] < expected[0]
    orders = [np.random.default_rng(i).permutation(len(x)) for i in range(2)]
    others = [theirs.losses(x[order], y[order], STEPS) for order in orders]
    others += [theirs.losses(x, y, STEPS, seed) for seed in range(3)]
    spread = max(np.abs(other - expected).max() for other in others)
    # The spread can't be told finer than the losses are rounded.
    assert np.abs(found - expected).max() <= 3 * max(spread, np.spacing(expected.max(), dtype=np.float32))


# Mixed precision


@contextmanager
def policy(name):
    """New layers of both take the policy."""
    before = ours.config.dtype_policy().name
    for keras in (ours, real):
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        for keras in (ours, real):
            keras.config.set_dtype_policy(before)


def train_in(policy_name, keras, steps=5):
    """The MLP, and its losses and weights after some steps."""
    with policy(policy_name):
        model = build("mlp", keras)
    model.compile(OPTIMIZERS["sgd"][0](keras), CLASSES)
    x, y = batch_for("mlp", model)
    return (
        model,
        np.array([model.train_on_batch(x, y) for _ in range(steps)]),
        [np.asarray(w) for w in model.get_weights()],
    )


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_as_near_to_that_of_keras_as_that_is_to_float32(name):
    """Both are roundings of the same step, which differ where products are rounded in other places."""
    mine, losses, weights = train_in(name, ours)
    theirs, expected, wanted = train_in(name, real)
    _, exact, precise = train_in("float32", real)
    assert [w.dtype for w in weights] == [w.dtype for w in wanted]
    assert np.abs(losses - expected).max() <= np.abs(expected - exact).max() + RELATIVE
    for a, b, c, w in zip(weights, wanted, precise, mine.weights, strict=True):
        assert np.abs(a - b).max() <= np.abs(b - c).max() + RELATIVE * np.abs(c).max(), w.path
    assert type(mine.optimizer).__name__ == type(theirs.optimizer).__name__


def test_steps_that_overflow_are_left_out_and_halve_the_scale():
    x, y = 30 * np.random.default_rng(4).standard_normal((8, 6)).astype(np.float32), np.full((8, 1), 100, np.float32)
    after = {}
    for keras in (ours, real):
        keras.utils.set_random_seed(7)
        with policy("mixed_float16"):
            model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
        # XLA may keep float16 in wider registers, so the gradient, of about 1000, is made too large for float32 too.
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-4), initial_scale=2.0**127)
        model.compile(scaled, "mse")
        before = [np.array(w) for w in model.get_weights()]
        for _ in range(5):
            model.train_on_batch(x, y)
        for a, b in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(a, b)
        assert float(np.asarray(scaled.dynamic_scale)) == 2.0**122 and int(np.asarray(scaled.step_counter)) == 0
        scaled.dynamic_scale.assign(1.0)
        model.train_on_batch(x, y)
        assert int(np.asarray(scaled.step_counter)) == 1
        after[keras] = [np.asarray(a) - b for a, b in zip(model.get_weights(), before, strict=True)]
    for a, b in zip(after[ours], after[real], strict=True):
        assert np.abs(a - b).max() <= 2e-2 * np.abs(b).max() > 0  # float16 has 11 bits, and sums of 8 cancel


# What is compiled, and when


def executables(call):
    """How many programs XLA compiles during a call."""
    count = 0

    def listen(event, duration, **_):
        nonlocal count
        count += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return count


def test_a_short_last_batch_is_compiled_once_and_equal_settings_never():
    model = suite.MODELS["mlp"].build(ours)
    x, y = batch_for("mlp", model)

    def compile_again():
        model.compile(ours.optimizers.Adam(2e-3), CLASSES, metrics=["accuracy"])

    def fit(count, epochs):
        return executables(lambda: model.fit(x[:count], y[:count], batch_size=50, epochs=epochs, verbose=0))

    compile_again()
    assert fit(100, 1) > 0
    assert fit(100, 2) == 0
    assert fit(130, 3) == 1  # batches of 50, 50 and 30
    assert fit(130, 2) == 0
    compile_again()
    assert fit(130, 2) == 0


# Memory


def statistics(program):
    """XLA's own: all that is there at once, where what is donated counts once."""
    found = program.memory_analysis()
    return (
        found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes + found.temp_size_in_bytes
    )


def memory_of_step(model, x, y):
    model.train_on_batch(x, y)
    program = model.train_function.one.program(*jax.tree.flatten((x, y)))
    return statistics(program.compile_for(N=len(x)))


def memory_of_keras_step(model, x, y):
    model._symbolic_build(data_batch=(x, y))
    model.optimizer.build(model.trainable_variables)
    lists = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
    state = tuple([v.value for v in variables] for variables in lists)
    return statistics(jax.jit(model.train_step, donate_argnums=0).lower(state, (x, y)).compile())


def transformer(keras, scope=None):
    """The benchmark's model, its dropout included, made for training by Adam; its layers rematerialize in a scope."""
    start()
    keras.utils.set_random_seed(7)
    with scope or nullcontext():
        model = suite.MODELS["transformer"].build(keras)
    model.compile("adam", CLASSES)
    return model


@pytest.mark.long
def test_the_step_of_the_transformer_takes_no_more_memory_than_that_of_keras_and_less_with_remat():
    kept, again, theirs = transformer(ours), transformer(ours, ours.RematScope(mode="full")), transformer(real)
    x, y = batch_for("transformer", kept)
    memory = memory_of_step(kept, x, y)
    assert memory <= memory_of_keras_step(theirs, x, y)
    assert memory_of_step(again, x, y) < 0.9 * memory
    for a, b in zip(kept.weights, again.weights, strict=True):  # masks are drawn again as they were
        if not is_zero("transformer", a.path) and a.dtype == "float32":
            assert (np.abs(a.numpy() - b.numpy()) > RELATIVE * np.abs(a.numpy()).max()).mean() < 0.02, a.path


def peak_resident():
    """Bytes; of this process since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def check_no_growth(step, calls=2000, state=0):
    """Neither Python's memory, nor arrays, nor what the process has from its system; a call could leave ``state``."""
    counts = []
    tracemalloc.start()
    try:
        for _ in range(20):
            step()
        for _ in range(2):
            gc.collect()
            counts.append(
                (len(jax.live_arrays()), len(gc.get_objects()), tracemalloc.get_traced_memory()[0], peak_resident())
            )
            if len(counts) == 1:
                for _ in range(calls):
                    step()
    finally:
        tracemalloc.stop()
    arrays, objects, memory, resident = (after - before for before, after in zip(*counts, strict=True))
    assert arrays <= 0
    assert objects < calls / 10  # a leak leaves at least one object a call
    assert memory < 64 * calls
    assert resident < calls * state / 20


@pytest.mark.long
@pytest.mark.parametrize("kind", ["train_on_batch", "fit", "predict"])
def test_2000_steps_leave_nothing_behind(kind):
    layers = ours.layers
    hidden = [layers.Dense(256, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(256)]
    model = ours.Sequential([ours.Input((64,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = np.ones((8, 64), np.float32), np.ones((8, 1), np.float32)
    calls = {
        "train_on_batch": lambda: model.train_on_batch(x, y),
        "fit": lambda: model.fit(x, y, batch_size=4, verbose=0),
        "predict": lambda: model.predict(x, verbose=0),
    }
    state = sum(w.numpy().nbytes for w in model.weights)
    check_no_growth(calls[kind], 1000 if kind == "fit" else 2000, state)


# Dropout


class Seen(ours.layers.Layer):
    """Keeps its last input, and the sum of all."""

    def build(self, shape):
        self.last = self.add_weight(shape=SIZE, trainable=False, initializer="zeros")
        self.total = self.add_weight(shape=SIZE, trainable=False, initializer="zeros")

    def call(self, x):
        batch = ops.reshape(x, SIZE)
        self.last.assign(batch)
        self.total.assign_add(batch)
        return x


SIZE = (64, 64)


def with_dropouts(rate, **compiled):
    """A model of ones with two dropouts side by side, and the layers that see what they make of them."""
    ours.utils.set_random_seed(3)
    x = ours.Input((64,))
    seen = [Seen(), Seen()]
    dropped = [layer(ours.layers.Dropout(rate)(x)) for layer in seen]
    model = ours.Model(x, ours.layers.Dense(1)(ours.layers.Add()(dropped)))
    model.compile("sgd", "mse", **compiled)
    return model, seen


def fit_ones(model, epochs, steps, callbacks=()):
    x, y = np.ones((SIZE[0] * steps, SIZE[1]), np.float32), np.zeros((SIZE[0] * steps, 1), np.float32)
    model.fit(x, y, batch_size=SIZE[0], epochs=epochs, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_masks_in_fit_are_independent_over_positions_steps_and_layers(rate):
    model, seen = with_dropouts(rate)
    drawn = []

    class Collect(ours.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            drawn.extend(layer.last.numpy().ravel() for layer in seen)

    fit_ones(model, epochs=3, steps=8, callbacks=[Collect()])
    values = np.array(drawn)  # 48 masks: 3 epochs of 8 steps, each of 2 layers
    keep = 1 - rate
    np.testing.assert_allclose(np.unique(values), [0, 1 / keep], rtol=1e-6)
    kept, count = values > 0, values.shape[1]
    # Of independent draws these are normal with deviation 1, and one in two million is beyond 5.
    assert np.abs((kept.mean(axis=1) - keep) / np.sqrt(keep * rate / count)).max() < 5
    masks = (kept - kept.mean(axis=1, keepdims=True)) / kept.std(axis=1, keepdims=True)
    transformed = np.fft.rfft(masks, axis=1)
    worst = 0.0
    for i, one in enumerate(transformed):  # with each later mask, and itself, moved by any number of positions
        products = np.fft.irfft(transformed[i:] * one.conj(), n=count, axis=1) / np.sqrt(count)
        products[0, 0] = 0.0
        worst = max(worst, np.abs(products).max())
    assert worst < 6.5  # of 4.8 million
    rows = masks.reshape(-1, *SIZE)
    for each in (rows.sum(axis=1) / np.sqrt(SIZE[0]), rows.sum(axis=2) / np.sqrt(SIZE[1])):
        assert np.abs(each).max() < 5.5 and abs(each.std() - 1) < 0.1  # no row or column is kept or dropped as one


def test_masks_differ_in_a_loop_on_the_device():
    """Of 16 steps in one execution, a position is kept as often as independent draws would: with variance 16/4."""
    model, seen = with_dropouts(0.5, steps_per_execution=16)
    fit_ones(model, epochs=1, steps=16)
    times = np.array([layer.total.numpy() / 2 for layer in seen])
    assert abs(times.mean() - 8) < 0.15
    assert abs(times.var() - 4) < 0.5  # the same mask in all steps: 64
    assert abs(np.corrcoef(times[0].ravel(), times[1].ravel())[0, 1]) < 5 / 64


@pytest.mark.parametrize("again", [False, True], ids=["kept", "rematerialized"])
def test_the_gradient_drops_what_the_value_dropped(again):
    layer = ours.layers.Dropout(0.5, seed=5)
    factors = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)

    def dropped(x):
        return layer(x, training=True)

    def loss(x):
        y = (lamina.remat(dropped) if again else dropped)(x)
        return ops.sum(y * y * factors), y

    (_, y), gradient = lamina.value_and_grad(loss, has_aux=True)(np.ones(SIZE, np.float32))
    y = np.asarray(y)
    assert 0.4 < (y == 0).mean() < 0.6
    np.testing.assert_allclose(np.asarray(gradient), 4 * y * factors, rtol=1e-6)
