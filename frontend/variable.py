"""Variables: named state that lives between calls and becomes a parameter of the graphs that read it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..ir.errors import ArgumentError, ShapeError, TracingError
from ..ir.sharding import Sharding, splits
from ..ir.types import element_type
from ..runtime import placement
from ..runtime.devices import put_on
from . import initializers as _initializers
from .convert import as_tensor
from .devices import current_device
from .distribution.current import distribution
from .distribution.mesh import TensorLayout
from .dtypes import is_float, standardize_dtype
from .names import auto_name, current_path
from .registry import builtin
from .tensor import Tensor, TensorOperators
from .trace import current_trace

if TYPE_CHECKING:
    from .distribution.strategies import Distribution

_autocast: ContextVar[str | None] = ContextVar("autocast", default=None)
_values_follow: ContextVar[bool] = ContextVar("values_follow", default=False)
_assign_lock = threading.Lock()


@contextmanager
def values_follow(follow: bool = True) -> Iterator[None]:
    """Within the block, initializers of new Variables are not run, since values from a file replace theirs; with False
    they are run, whatever is around the block."""
    token = _values_follow.set(follow)
    try:
        yield
    finally:
        _values_follow.reset(token)


@contextmanager
def autocast(dtype: str | None) -> Iterator[None]:
    """Within the block, float Variables made with ``autocast=True`` read as ``dtype``."""
    token = _autocast.set(dtype)
    try:
        yield
    finally:
        _autocast.reset(token)


@builtin("keras")
class Variable(TensorOperators):
    """A tensor that keeps its value between calls.

    Args:
        initializer: a value (array, list, number), or a callable ``(shape, dtype) -> array``, or an initializer's name.
        shape: needed where ``initializer`` is a callable.
        dtype: element type; by default that of the value, or the default float type.
        trainable: whether training changes it.
        autocast: whether layers of mixed precision read it in their compute type.
        aggregation: how replicas of it are combined; kept for Keras's sake.
        name: last part of its path.
        layout: how it is laid over a mesh, a ``TensorLayout``; by default as the distribution says that is set.
    """

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = None,
        synchronization: str | None = None,
        name: str | None = None,
        layout: TensorLayout | None = None,
        **ignored: Any,
    ) -> None:
        if ignored:
            raise ArgumentError(f"Variable has no argument {next(iter(ignored))!r}")
        self.name = name or auto_name(type(self).__name__)
        if "/" in self.name:
            raise ArgumentError(f"a Variable's name has no '/', received {name!r}")
        parent = current_path()
        self.path = f"{parent}/{self.name}" if parent else self.name
        self._trainable = self._declared_trainable = bool(trainable)
        self.autocast = bool(autocast)
        self.aggregation = "none" if aggregation is None else aggregation
        self.synchronization = "auto" if synchronization is None else synchronization
        self.regularizer: Any = None
        self.constraint: Any = None
        self.overwrite_with_gradient = False
        if isinstance(initializer, str):
            initializer = _initializers.get(initializer)
        if callable(initializer):
            if shape is None:
                raise ArgumentError(f"Variable {self.name!r}: an initializer that is a callable needs shape=")
            shape = _checked_shape(shape, self.name)
            initializer = _at_once(initializer, shape, standardize_dtype(dtype))
        dtype = standardize_dtype(dtype) if dtype is not None else _default_dtype(initializer)
        self._layout: TensorLayout | None = None
        self._like: Variable | None = None  # whose layout it takes
        self._array = _copied(initializer, dtype)
        self._lent = True
        if shape is not None and tuple(shape) != self._array.shape:
            raise ShapeError(
                f"Variable {self.path!r}: expected shape {tuple(shape)}, the initial value has {self._array.shape}"
            )
        self._dtype = dtype
        self._version = 0
        chosen = distribution()
        if layout is not None and not isinstance(layout, TensorLayout):
            raise ArgumentError(f"Variable {self.path!r}: layout is a TensorLayout, received {layout!r}")
        self._layout = layout if layout is not None or chosen is None else chosen.get_variable_layout(self)
        self._array = self._laid_out(self._array, current_device())

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be a copy: arrays that come out of a pickle are laid out as they were."""
        self.__dict__.update(state)
        if self._layout is not None:
            self._array = self._laid_out(self._array, None)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def dtype(self) -> str:
        """The type it reads as: in a mixed-precision layer the layer's compute type."""
        return self._read_dtype() or self._dtype

    @property
    def sharding(self) -> Sharding | None:
        """How it is laid over the axes of a mesh; None where it is on one device."""
        return None if self._layout is None else self._layout.sharding

    def _laid_out(self, array: jax.Array, device: jax.Device | None) -> jax.Array:
        """An array where this Variable's are: by its layout, or on a device; where it is for neither."""
        if self._layout is None:
            return array if device is None else put_on(array, device)
        if len(self._layout.axes) != array.ndim:
            raise ShapeError(
                f"Variable {self.path!r} has {array.ndim} dimensions, {array.shape}; its layout has "
                f"{len(self._layout.axes)} axes: {self._layout.axes}"
            )
        sizes = self._layout.backend_layout.mesh.shape
        if not splits(array.shape, self._layout.sharding, sizes):
            raise ShapeError(
                f"Variable {self.path!r} of shape {array.shape} can't be split evenly by {self._layout.axes} over the "
                f"mesh {dict(sizes)}; choose another dimension or axis for it"
            )
        return placement.put(array, self._layout.backend_layout)

    def _lay_out(self, chosen: Distribution) -> None:
        """Follow a distribution, where this Variable has no layout yet: it was made before that was set."""
        if self._layout is None:
            layout = chosen.get_variable_layout(self if self._like is None else self._like)
            self._layout, before = layout, self._layout
            try:
                array = self._laid_out(self._array, None)
            except BaseException:
                self._layout = before
                raise
            self._set(array)

    @property
    def _home(self) -> jax.Device | None:
        """The device that its values stay on; None where jax may move them, or they are on several."""
        return next(iter(self._array.devices())) if self._array.committed and len(self._array.devices()) == 1 else None

    def _follow(self, other: Variable) -> None:
        """Move to the device that the values of ``other`` stay on, so that programs of both need not bring it there."""
        if other._home is not None and self._layout is None:
            self._set(put_on(self._array, other._home))

    @property
    def version(self) -> int:
        """How often a value was assigned."""
        return self._version

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)

    def _read_dtype(self) -> str | None:
        dtype = _autocast.get()
        return dtype if dtype is not None and self.autocast and is_float(self._dtype) else None

    @property
    def value(self) -> Any:
        """What it holds: a ``jax.Array``, or inside a traced call the tensor that stands for it."""
        trace = current_trace()
        dtype = self._read_dtype()
        if trace is None:
            return self._value if dtype is None or dtype == self._dtype else self._value.astype(dtype)
        with autocast(None):
            held: Any = trace.read(self)
        if dtype is not None and dtype != self._dtype:
            return Tensor(trace.emit("convert", (held,), {"dtype": dtype})[0].value, trace)
        return held

    def assign(self, value: Any) -> Any:
        """Store ``value``, converted to this Variable's type; return it. Inside a traced call it becomes a state
        update.

        Raises :class:`ShapeError` where the shape differs; the Variable then keeps its value.
        """
        trace = current_trace()
        if trace is None:
            if isinstance(value, Variable):
                value = value._value
            array = _copied(value, self._dtype)
            self._check_shape(array.shape)
            array = self._laid_out(array, self._home)
            self._set(array)
            return array
        with autocast(None):
            tensor = as_tensor(value, self._dtype)
            self._check_shape(tensor.value.type.shape)
            trace.write(self, tensor)
        return tensor

    def assign_add(self, value: Any) -> Any:
        """Add ``value`` in place."""
        return self.assign(self + value)

    def assign_sub(self, value: Any) -> Any:
        """Subtract ``value`` in place."""
        return self.assign(self - value)

    def _check_shape(self, shape: tuple[Any, ...]) -> None:
        if tuple(shape) != self.shape:
            raise ShapeError(
                f"Variable {self.path!r} has shape {self.shape}; it can't hold a value of shape {tuple(shape)}"
            )

    @property
    def _value(self) -> jax.Array:
        """The array it holds. Whoever reads it may keep it, so it is no longer this Variable's alone."""
        self._lent = True
        return self._array

    def _take(self) -> jax.Array:
        """The array it holds, for a program that takes over its memory: a copy where anybody else may hold it."""
        if self._lent:
            with jax.enable_x64(self._array.dtype.itemsize == 8):
                place = self._array.sharding if self._array.committed else None  # to name one would keep it there
                self._array = jax.device_put(self._array, place, may_alias=False)  # jnp.array would compile each shape
            self._lent = False
        return self._array

    def _set(self, array: jax.Array, own: bool = False) -> None:
        """Store an array that nobody else will change; ``own`` where nobody else holds it (a program's result)."""
        if isinstance(array, jax.core.Tracer):
            raise TracingError(
                f"Variable {self.path!r} can't be assigned inside jax.jit or another transform of jax: it would keep a "
                "value that ends with the transform; use lamina.jit"
            )
        with _assign_lock:  # two threads that assign at once make two versions
            self._array = array
            self._lent = not own
            self._version += 1

    def numpy(self) -> np.ndarray:
        """Its value as a NumPy array."""
        return placement.read(self._value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if current_trace() is not None:
            return np.asarray(self.value)  # raises the tracing error, with the user's line
        return np.asarray(placement.read(self._value), dtype=dtype)

    def __jax_array__(self) -> jax.Array:
        return self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return iter(self.value)

    def __repr__(self) -> str:
        value = placement.read(self._value)
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype}, value={value}>"


def _checked_shape(shape: Sequence[Any], name: str) -> tuple[int, ...]:
    if any(d is None for d in shape):
        raise ShapeError(f"Variable {name!r}: every dimension must be known, received shape {tuple(shape)}")
    return tuple(int(d) for d in shape)


def _at_once(initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str) -> Any:
    """Run an initializer outside any trace: a Variable's first value is no part of the program."""
    if _values_follow.get():
        return np.zeros(shape, element_type(dtype))
    from .trace import _current

    token = _current.set(None)
    try:
        return initializer(shape, dtype=dtype)
    finally:
        _current.reset(token)


def _default_dtype(value: Any) -> str:
    if isinstance(value, Variable):
        return value._dtype
    found = getattr(value, "dtype", None)
    if found is not None:
        return standardize_dtype(found)
    return standardize_dtype(None)


def _copied(value: Any, dtype: str) -> jax.Array:
    """A device array of ``dtype`` that shares no memory with ``value``."""
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer) and value.dtype.name == dtype:
        return value  # immutable
    wide = dtype in ("int64", "uint64", "float64", "complex128")
    if wide:
        with jax.enable_x64(True):
            return jnp.array(value, dtype)
    return jnp.array(value, dtype)
