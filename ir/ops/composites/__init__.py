"""Composites: ops with a decomposition into primitives, which keep what a primitive loses."""

import importlib as _importlib

for _topic in (
    "activations",
    "special",
    "reductions",
    "normalization",
    "pooling",
    "cumulative",
    "indexing",
    "regularization",
    "attention",
    "resize",
    "recurrent",
    "factorization",
    "spectral",
):
    _importlib.import_module(f".{_topic}", __name__)
