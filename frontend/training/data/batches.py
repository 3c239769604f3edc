"""What a batch is: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, each a nest of arrays; and its leaves as NumPy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ....ir.errors import ArgumentError, DTypeError, ShapeError
from ...dtypes import floatx, is_float


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """The parts of a batch, with None for each that it lacks.

    Args:
        data: ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; a list counts as a tuple.

    Returns:
        ``(x, y, sample_weight)``.

    Raises:
        ArgumentError: a tuple of another length.
    """
    if not isinstance(data, tuple | list):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ArgumentError(
            f"a batch is x, (x,), (x, y) or (x, y, sample_weight); received a {type(data).__name__} of {len(data)}. "
            "Put several inputs into one list, tuple or dict: ((a, b), y)"
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch of its parts, in the form that ``train_step`` receives.

    Args:
        x: nest of inputs.
        y: nest of targets, or None.
        sample_weight: nest of weights, or None.

    Returns:
        ``(x, y, sample_weight)``, ``(x, y)``, or for ``x`` alone ``x`` itself, as ``(x,)`` where it is a tuple or list.
    """
    if y is None:
        return (x,) if isinstance(x, tuple | list) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def is_from(value: Any, module: str, *names: str) -> bool:
    """Whether the class of ``value``, or a base of it, is one of ``names`` from ``module`` or a module inside it.

    So that a library is recognized without being imported.
    """
    return any(
        base.__name__ in names and f"{base.__module__}.".startswith(f"{module}.") for base in type(value).__mro__
    )


def is_sparse(value: Any) -> bool:
    """Whether it is a sparse matrix of SciPy."""
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocsr")


def is_jax_sparse(value: Any) -> bool:
    """Whether it is a sparse array of JAX, which ``jax.tree`` would take apart."""
    return type(value).__module__.startswith("jax.experimental.sparse")


def is_nested(value: Any) -> bool:
    """Whether it is a container of arrays and not itself one."""
    return isinstance(value, list | tuple | Mapping)


def _is_leaf(value: Any) -> bool:
    """Whatever is no container; what JAX would otherwise take apart (its sparse arrays) or warn of (generators) too."""
    return value is not None and not is_nested(value)


def flatten(nest: Any) -> tuple[list[Any], Any]:
    """The leaves and the structure (of ``jax.tree``); None belongs to the structure."""
    return jax.tree.flatten(nest, is_leaf=_is_leaf)


def map_nest(function: Any, nest: Any) -> Any:
    """``function`` of each leaf, in the same structure."""
    return jax.tree.map(function, nest, is_leaf=_is_leaf)


def named_leaves(nest: Any, name: str) -> list[tuple[str, Any]]:
    """Each leaf with what messages call it: ``x``, ``y['age']``, ``x[0]``."""
    found = jax.tree_util.tree_flatten_with_path(nest, is_leaf=_is_leaf)[0]
    return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in found]


def plain_array(x: Any, name: str = "the data") -> np.ndarray:
    """An array of any kind as a dense NumPy array; without a copy where the memory is the host's.

    A ``pandas.Series`` becomes a column, shape ``(n, 1)``, as in Keras.

    Raises:
        DTypeError: it holds strings or Python objects.
        ArgumentError: it is no array.
    """
    if isinstance(x, np.ndarray):
        array = x
    elif is_from(x, "pandas", "Series"):
        array = x.to_numpy()[:, None]
    elif is_from(x, "pandas", "DataFrame"):
        array = x.to_numpy()
        if array.dtype == object:
            _refuse_columns(x, name)
    elif is_from(x, "torch", "Tensor"):
        x = x.detach().cpu()
        array = np.asarray(x.float() if str(x.dtype) == "torch.bfloat16" else x)
    elif is_from(x, "tensorflow", "RaggedTensor"):
        array = x.to_tensor().numpy()
    elif is_from(x, "tensorflow", "SparseTensor"):
        array = sys.modules["tensorflow"].sparse.to_dense(sys.modules["tensorflow"].sparse.reorder(x)).numpy()
    elif is_jax_sparse(x):
        array = np.asarray(x.todense())
    elif is_sparse(x):
        array = x.toarray()
    elif hasattr(x, "__array__") or isinstance(x, int | float):
        array = np.asarray(x)
    else:
        raise ArgumentError(f"{name} holds {shown(x)}, expected an array. Convert it with np.asarray first")
    if array.dtype.kind in "OUSMm":
        raise DTypeError(
            f"{name} has dtype {array.dtype}, expected numbers or bools. Turn strings and categories into numbers, "
            "and rows of unequal length into one length (keras.utils.pad_sequences), before training on them"
        )
    return array


def _refuse_columns(frame: Any, name: str) -> None:
    """Say which columns of a data frame are no numbers."""
    kinds = {str(column): np.asarray(frame[column]).dtype.kind for column in frame.columns}
    wrong = [column for column, kind in kinds.items() if kind in "OUSMm"]
    raise DTypeError(
        f"the columns {', '.join(map(repr, wrong))} of the data frame {name} hold no numbers. Leave them out, or "
        "encode them as numbers (pandas.get_dummies, .astype)"
    )


def with_default_float(array: Any) -> Any:
    """Floats of another type as the default float type, as in Keras; all else as it is."""
    dtype = floatx()
    return array.astype(dtype) if array.dtype.name != dtype and is_float(array.dtype.name) else array


def ready(batch: Any) -> Any:
    """A batch from outside with its leaves as arrays that a step takes: jax arrays as they are, the rest as NumPy.

    float64 becomes the default float type, as JAX does on the way to the device; other types stay.
    """
    return map_nest(_ready_leaf, batch)


def _ready_leaf(x: Any) -> Any:
    if isinstance(x, jax.Array):
        return x
    array = x if isinstance(x, np.ndarray) and x.dtype.kind not in "OUSMm" else plain_array(x, "a batch")
    return array.astype(floatx()) if array.dtype == np.float64 else array


def class_weight_to_sample_weights(y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each sample from the weight of its class.

    Args:
        y: classes as numbers, shape ``(n,)`` or ``(n, 1)``, or one-hot rows.
        class_weight: weight by class; a class that it lacks weighs 1.

    Returns:
        Array of shape ``(n,)`` in the default float type.

    Raises:
        ArgumentError: ``y`` is nested, or ``class_weight`` is no dict.
    """
    if is_nested(y):
        raise ArgumentError(
            "class_weight is for a model with one output, and y is nested; pass sample_weight with the structure of y"
        )
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(f"class_weight is a dict from class to weight, received {class_weight!r}")
    classes = plain_array(y, "y")
    if classes.ndim > 1:
        classes = np.argmax(classes, axis=-1) if classes.shape[-1] != 1 else np.squeeze(classes, axis=-1)
    if classes.ndim != 1:
        raise ShapeError(
            f"class_weight needs one class for each sample, but y has shape {plain_array(y).shape}; pass sample_weight"
        )
    present, place = np.unique(np.round(classes).astype("int32"), return_inverse=True)
    return np.array([class_weight.get(int(c), 1.0) for c in present], dtype=floatx())[place.reshape(-1)]


def with_class_weight(batch: Any, class_weight: Mapping[int, float] | None) -> Any:
    """A batch ``(x, y)`` with the sample weights that ``class_weight`` means.

    Raises:
        ArgumentError: the batch has sample weights, or no targets.
    """
    if class_weight is None:
        return batch
    x, y, sample_weight = unpack_x_y_sample_weight(batch)
    if sample_weight is not None:
        raise both_weights()
    if y is None:
        raise ArgumentError("class_weight needs targets, and the batches have none: expected (x, y)")
    return x, y, class_weight_to_sample_weights(y, class_weight)


def both_weights() -> ArgumentError:
    """The error for ``class_weight`` along with ``sample_weight``."""
    return ArgumentError(
        "received class_weight and sample_weight; only one can be given. Multiply the classes' weights into the other"
    )


def shown(value: Any) -> str:
    """What messages show of a value: the start of its repr, and its type."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} (a {type(value).__name__})"
