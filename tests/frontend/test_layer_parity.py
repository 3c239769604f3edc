"""The parity table: every row of layer_rows_*.py against real Keras (see layer_parity.py), and no layer left out."""

import inspect

import keras
import pytest
from layer_parity import POLICIES, check, check_policy
from layer_rows import ROWS

from lamina import keras as ours

# In keras.layers, and no layer that computes from tensors: bases and things that go with layers.
NO_ROW = {"Input", "InputLayer", "InputSpec", "Layer", "Wrapper"}
# What real Keras has and lamina does not (yet): preprocessing of images, text and tables, layers of other frameworks.
MISSING = {
    "AugMix",
    "AutoContrast",
    "CategoryEncoding",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "CutMix",
    "Discretization",
    "Equalization",
    "FlaxLayer",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "JaxLayer",
    "MaxNumBoundingBoxes",
    "MelSpectrogram",
    "MixUp",
    "Normalization",
    "Pipeline",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Rescaling",
    "STFTSpectrogram",
    "Solarization",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}
# Arguments that no row gives: refused as not supported, or values that a config does not hold.
NOT_GIVEN = {
    "BatchNormalization": {"synchronized"},
    "Dense": {"lora_rank", "lora_alpha", "quantization_config"},
    "EinsumDense": {"lora_rank", "lora_alpha", "gptq_unpacked_column_size", "quantization_config"},
    "Embedding": {"lora_rank", "lora_alpha", "quantization_config", "weights"},
    "Bidirectional": {"weights"},
    "Lambda": {"mask"},
    "Resizing": {"fill_mode"},
    "SimpleRNN": {"activity_regularizer"},  # Keras forgets it
}
EVERYWHERE = {"self", "kwargs", "args", "name", "dtype"}

QUICK_POLICIES = ("float16", "mixed_bfloat16")
FIRST_ROWS = {row.layer: row for row in reversed(ROWS)}.values()
QUICK = [pytest.param(policy, row, id=f"{policy}-{row.id}") for policy in QUICK_POLICIES for row in FIRST_ROWS]
LONG = [
    pytest.param(policy, row, id=f"{policy}-{row.id}", marks=pytest.mark.long)
    for policy in POLICIES
    for row in ROWS
    if not (policy in QUICK_POLICIES and any(row is first for first in FIRST_ROWS))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_layer_is_keras(row):
    check(row)


@pytest.mark.parametrize("policy, row", QUICK + LONG)
def test_narrow_types_are_keras(policy, row):
    check_policy(row, policy)


def layer_names(k):
    return {
        name
        for name, value in vars(k.layers).items()
        if inspect.isclass(value) and issubclass(value, k.layers.Layer) and not name.startswith("_")
    }


def test_every_layer_has_a_row():
    """Under its own name or that of which it is an alias."""
    with_rows = {getattr(ours.layers, row.layer) for row in ROWS}
    without = {n for n in layer_names(ours) if getattr(ours.layers, n) not in with_rows}
    assert without == NO_ROW & layer_names(ours)


def test_what_is_missing_is_known():
    assert layer_names(keras) - layer_names(ours) == MISSING


@pytest.mark.parametrize("layer", sorted({row.layer for row in ROWS}))
def test_every_argument_is_in_a_row(layer):
    given = {name for row in ROWS if row.layer == layer for name in row.config}
    arguments = set(inspect.signature(getattr(keras.layers, layer).__init__).parameters) - EVERYWHERE
    assert arguments - given == NOT_GIVEN.get(layer, set())
