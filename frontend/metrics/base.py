"""The base class of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...ir.errors import ArgumentError
from .. import initializers, ops
from ..dispatch import EagerCache
from ..dtypes import floatx, get_policy
from ..names import auto_name, name_scope
from ..registry import builtin
from ..stateless import check_values, stateless
from ..variable import Variable


@builtin("keras.metrics", aliases=("keras.Metric",))
class Metric:
    """Base of all metrics: numbers gathered over batches, and what they come to.

    A subclass creates its Variables in the constructor by :meth:`add_variable`, gathers in ``update_state``, and
    computes in ``result``.

    Args:
        dtype: element type, or dtype policy, of its state and result; the default float type by default.
        name: by default made from the class's name.
    """

    _direction: str | None = None  # whether more ("up") or less ("down") is better, where that is known

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or auto_name(type(self).__name__)
        self._dtype = get_policy(dtype or floatx()).compute_dtype
        self._variables: list[Variable] = []
        self._programs = EagerCache()

    @property
    def dtype(self) -> str:
        """The type of its state and result."""
        return self._dtype

    # State

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """Create a Variable of the metric's state.

        Args:
            shape: its shape.
            initializer: an initializer, its name, or a callable ``(shape, dtype)``.
            dtype: the default float type by default.
            aggregation: how replicas of it are combined.
            name: last part of its path, behind the metric's name.
        """
        self._check_constructed()
        with name_scope(self.name.replace("/", ">"), caller=self):
            variable = Variable(
                initializers.get(initializer),
                shape=tuple(shape),
                dtype=dtype,
                trainable=False,
                aggregation=aggregation,
                synchronization="on_read",
                name=name,
            )
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """As :meth:`add_variable`; zeros by default."""
        return self.add_variable(shape, "zeros" if initializer is None else initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """Its Variables, and those of the metrics in its attributes."""
        self._check_constructed()
        attributes = [value for name, value in vars(self).items() if name != "_variables"]
        own = [leaf for leaf in _leaves(attributes) if isinstance(leaf, Variable)]
        inner = [v for leaf in _leaves(attributes) if isinstance(leaf, Metric) for v in leaf.variables]
        return list({id(v): v for v in [*self._variables, *own, *inner]}.values())

    def reset_state(self) -> None:
        """Forget what was gathered: all Variables become zero."""
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, variable._dtype))

    # What subclasses define

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Gather a batch."""
        raise TypeError(f"{type(self).__name__} must define update_state(self, ...)")

    def result(self) -> Any:
        """Return what the batches so far come to: a tensor, or a dict of them."""
        raise TypeError(f"{type(self).__name__} must define result(self)")

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Gather a batch and return the result so far."""
        self._check_constructed()
        self.update_state(*args, **kwargs)
        return self.result()

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """What the Variables would hold after ``update_state``, were they to hold ``metric_variables`` before.

        Args:
            metric_variables: a tensor for each Variable, in order.
            args, kwargs: what ``update_state`` takes.

        Raises:
            ArgumentError: there are not as many tensors as Variables.
        """
        return self._stateless("update_state", metric_variables, args, kwargs)[1]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The result that ``metric_variables``, in place of the Variables, come to."""
        return self._stateless("result", metric_variables, (), {})[0]

    def stateless_reset_state(self) -> list[Any]:
        """What the Variables hold after ``reset_state``, without assigning to them."""
        return self._stateless("reset_state", [ops.zeros(v.shape, v._dtype) for v in self.variables], (), {})[1]

    def _stateless(self, method: str, values: Sequence[Any], args: tuple, kwargs: dict[str, Any]) -> tuple[Any, list]:
        variables = self.variables
        check_values("metric_variables", variables, values, type(self).__name__)
        call = getattr(self, method)

        def body(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            return result if method == "result" else []

        key = (method, *map(id, variables))
        return stateless(body, variables, values, args, kwargs, self._programs, key)

    # Files

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras writes them."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Make a metric from what ``get_config`` returned."""
        return cls(**config)

    def _check_constructed(self) -> None:
        if "_variables" not in vars(self):
            raise ArgumentError(
                f"{type(self).__name__}: its __init__() must call super().__init__() before it does anything else"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _leaves(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        for value in item.values():
            yield from _leaves(value)
    elif isinstance(item, list | tuple | set):
        for value in item:
            yield from _leaves(value)
    else:
        yield item


def gather(variables: Sequence[Variable], increments: Sequence[Any]) -> None:
    """Add a tensor to each Variable."""
    for variable, increment in zip(variables, increments, strict=True):
        variable.assign(ops.add(variable, increment))
