"""The declarations of all ops, by topic; importing this package fills the table ``OPS``."""

import importlib as _importlib

for _topic in (
    "elementwise",
    "bits",
    "shape",
    "contraction",
    "reduction",
    "indexing",
    "linalg",
    "spectral",
    "random",
    "control",
    "collectives",
    "composites",
):
    _importlib.import_module(f".{_topic}", __name__)
