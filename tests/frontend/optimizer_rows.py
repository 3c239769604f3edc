"""Optimizers with their arguments, and variables and gradients for them, for Keras and for this package."""

import jax
import keras
import numpy as np

from lamina import keras as ours
from lamina.frontend.names import clear_session

NAMES = (
    "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Adafactor", "Ftrl", "Lamb", "Lion",
    "Muon", "ScheduleFreeAdamW",
)  # fmt: skip

# Each optimizer's own arguments, and each of the base class's at least once.
ROWS = [
    *[(name, {}) for name in NAMES],
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"loss_scale_factor": 8.0, "clipvalue": 0.5}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True, "clipnorm": 0.3}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True, "global_clipnorm": 0.5}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2}),
    ("Adam", {"use_ema": True, "gradient_accumulation_steps": 2}),
    ("RMSprop", {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-3, "centered": True}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-3}),
    ("Adamax", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    ("Nadam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    ("Nadam", {"gradient_accumulation_steps": 3, "use_ema": True, "weight_decay": 0.1, "ema_overwrite_frequency": 1}),
    ("Adafactor", {"learning_rate": 0.5, "beta_2_decay": -0.5, "epsilon_1": 1e-4, "epsilon_2": 0.5}),
    ("Adafactor", {"relative_step": False, "clip_threshold": 0.5}),
    ("Ftrl", {"learning_rate": 0.1, "learning_rate_power": -0.7, "initial_accumulator_value": 0.3, "beta": 0.3}),
    (
        "Ftrl",
        {
            "l1_regularization_strength": 0.05,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.2,
        },
    ),
    ("Lamb", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.01}),
    ("Lion", {"beta_1": 0.5, "beta_2": 0.7}),
    ("Muon", {"nesterov": False, "rms_rate": None, "exclude_layers": ["v4"], "adam_lr_ratio": 0.5, "momentum": 0.7}),
    ("Muon", {"ns_steps": 2, "muon_a": 3.0, "muon_b": -4.0, "muon_c": 2.0, "exclude_embeddings": False}),
    ("Muon", {"adam_beta_1": 0.8, "adam_beta_2": 0.9, "adam_weight_decay": None, "epsilon": 1e-3, "weight_decay": 0.2}),
    ("ScheduleFreeAdamW", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "warmup_steps": 3, "weight_decay": 0.01}),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in arguments.items())}" for name, arguments in ROWS]

# A tall and a wide matrix, a vector, a number, a kernel; one has "embedding" in its name.
SHAPES = {"v0": (3, 4), "v1": (4,), "v2": (), "v3": (2, 3, 2), "v4": (5, 3), "embeddings": (4, 2)}
FEW = {"v0": (4, 3), "v1": (4,)}


def shapes_of(name, arguments):
    """All shapes where they matter; two where it is about arguments, since each takes time to compile."""
    return SHAPES if name == "Muon" or not arguments else FEW


def fresh_names():
    """Names start anew on both sides, so that paths can be compared."""
    clear_session(free_memory=False)
    keras.utils.clear_session(free_memory=False)


def variables(module, dtype="float32", shapes=SHAPES):
    """One Variable for each shape, of ``keras`` or of this package: the same values for both."""
    rng = np.random.default_rng(0)
    return [
        module.Variable(rng.normal(size=shape).astype("float32"), dtype=dtype, name=name)
        for name, shape in shapes.items()
    ]


def gradients(step, dtype="float32", shapes=SHAPES):
    """Gradients of one step, as arrays."""
    rng = np.random.default_rng(100 + step)
    return [np.asarray(rng.normal(size=shape), "float32").astype(dtype) for shape in shapes.values()]


def keras_steps(optimizer, trained, steps, dtype="float32", shapes=SHAPES):
    """Take steps by Keras, compiled, and store what comes out."""
    keras_steps_by(optimizer, trained, [gradients(number, dtype, shapes) for number in range(steps)])


def keras_steps_by(optimizer, trained, grads):
    """The same, by these gradients."""
    optimizer.build(trained)
    step = jax.jit(optimizer.stateless_apply)
    own, values = ([v.value for v in some] for some in (optimizer.variables, trained))
    for each in grads:
        values, own = step(own, each, values)
    for variable, value in zip([*trained, *optimizer.variables], [*values, *own], strict=True):
        variable.assign(value)


def our_steps(optimizer, trained, steps, dtype="float32", shapes=SHAPES):
    """Take the same steps by this package, at once on arrays."""
    for step in range(steps):
        optimizer.apply([ours.ops.convert_to_tensor(g) for g in gradients(step, dtype, shapes)], trained)


def assert_equal(found, expected, rtol=1e-6, atol=1e-8):
    """Variables hold the same. Both sides round to float32 in the same order, except where XLA fuses: some 8 eps.

    Args:
        atol: what is lost where nearly equal numbers of size 1 are subtracted.
    """
    assert [tuple(v.shape) for v in found] == [tuple(v.shape) for v in expected]
    for a, b in zip(found, expected, strict=True):
        x, y = (np.asarray(v.numpy(), "float64") for v in (a, b))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=b.path)
