"""lamina: a compiler for Keras-style models.

``trace`` a model to a typed graph, ``compile`` it through XLA, look at every stage on the way.
"""

from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "trace": "frontend.api", "compile": "frontend.api", "jit": "frontend.jit", "Spec": "frontend.api",
    "Compiled": "compiled", "evaluate": "ir", "parse": "ir", "load": "frontend.saving.models",
    "LaminaError": "ir.errors", "RecompileWarning": "ir.errors",
    "Module": "ir", "Graph": "ir", "export": "frontend.export.api", "verify": "frontend.verify",
    "from_stablehlo": "lowering.importer", "devices": "runtime.devices",
    **dict.fromkeys(("call_module", "from_jax", "from_keras", "from_tf"), "frontend.importing"),
    **dict.fromkeys(
        ("grad", "gradients_of", "hessian", "jacobian", "jvp", "remat", "value_and_grad", "vjp", "vmap"),
        "frontend.transforms",
    ),
    "custom_gradient": "frontend.ops.gradient", "stop_gradient": "frontend.ops.core",
}  # fmt: skip

__all__ = ["__version__", "ir", "keras", *_WHERE]


def __getattr__(name: str) -> Any:
    """Public names load what they need when first used, so that ``import lamina`` stays quick."""
    import importlib

    if name in _WHERE:
        value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    elif name == "keras":
        value = importlib.import_module(".frontend", __name__)
    elif name in ("ops", "layers", "random"):
        value = importlib.import_module(f".frontend.{name}", __name__)
    elif name in ("ir", "passes", "lowering", "runtime", "frontend", "compiler"):
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
