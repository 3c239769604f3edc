"""The Keras-compatible namespace: ``from lamina import keras``."""

from . import (
    activations,
    backend,
    callbacks,
    config,
    constraints,
    distribution,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    ops,
    optimizers,
    random,
    regularizers,
    saving,
    utils,
)
from .devices import device
from .dtypes import DTypePolicy, FloatDTypePolicy
from .functional import Functional
from .initializers import Initializer
from .input import Input
from .input_spec import InputSpec
from .keras_tensor import KerasTensor
from .layer import Layer
from .losses import Loss
from .metrics import Metric
from .model import Model, model_from_json
from .names import name_scope
from .operation import Operation
from .optimizers import Optimizer
from .regularizers import Regularizer
from .remat import RematScope
from .sequential import Sequential
from .transforms import remat
from .variable import Variable

__all__ = [
    "DTypePolicy", "FloatDTypePolicy", "Functional", "Initializer", "Input", "InputSpec", "KerasTensor", "Layer",
    "Loss", "Metric", "Model", "Operation", "Optimizer", "Regularizer", "RematScope", "Sequential", "Variable",
    "activations", "backend", "callbacks", "config", "constraints", "device", "distribution", "initializers", "layers",
    "losses", "metrics", "mixed_precision", "model_from_json", "models", "name_scope", "ops", "optimizers", "random",
    "regularizers", "remat", "saving", "utils", "version",
]  # fmt: skip


def version() -> str:
    """The Keras version whose behaviour this follows."""
    return "3.15.0"
