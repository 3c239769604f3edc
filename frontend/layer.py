"""``Layer``: computation with state. Keras's interface; calls run traced, recorded in a functional model, or
compiled."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from ..ir.errors import ArgumentError, LaminaError
from . import dtypes, regularizers
from .convert import as_array, as_tensor, cast
from .dispatch import EagerCache, run_eagerly
from .distribution.tensors import lay_out_outputs
from .input_spec import assert_input_compatibility
from .keras_tensor import KerasTensor, contains_keras_tensor
from .layer_losses import WithLosses, running
from .masking import are_tensors, fill_masks, mask_of, warn_of_lost_mask
from .names import current_path, name_scope
from .operation import shape_nest, symbolic_outputs
from .registry import builtin
from .remat import current_remat
from .stateless import check_values, stateless
from .tensor import Tensor
from .trace import current_trace
from .tracking import Changes, as_before_on_failure
from .variable import autocast

_training: ContextVar[bool | None] = ContextVar("training", default=None)


@builtin("keras", aliases=("keras.layers.Layer",))
class Layer(WithLosses):
    """The base of all layers and models.

    A subclass creates its weights in ``build(input_shape)`` (or the constructor) by :meth:`add_weight`, and computes in
    ``call``. Variables, layers and seed generators assigned to attributes, or kept in lists and dicts there, are
    tracked.

    Args:
        activity_regularizer: a penalty on the outputs.
        trainable: whether training changes its weights.
        dtype: a type name or policy; None for the global policy.
        autocast: whether float inputs are converted to the compute type.
        name: unique name; made from the class name by default.
    """

    _auto_config: dict[str, Any] | None
    #: Whether ``call`` runs a function of the user's, though the class is ours: calls on arrays then run it as Python.
    runs_users_code = False
    _whole: bool
    _regularized: bool
    _seen_state: tuple[int, ...]
    _seen_changes: int

    _rematerializes = True  # where it was made in a RematScope

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        object.__setattr__(layer, "_tracked", [])
        object.__setattr__(layer, "_auto_config", _constructor_arguments(cls, args, kwargs))
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name)
        shape = kwargs.pop("input_shape", None)
        if kwargs.get("input_dim") is not None:
            shape = (kwargs["input_dim"],)
        kwargs.pop("input_dim", None)
        if shape is not None:
            self._input_shape_arg = tuple(shape)
        if kwargs:
            raise _unknown_argument(type(self), next(iter(kwargs)))
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy = dtypes.get_policy(dtype)
        self.autocast = autocast
        self.input_spec: Any = None
        self.supports_masking = type(self).compute_mask is not Layer.compute_mask
        self.built = False
        self._trainable = bool(trainable)
        self._build_shapes: dict[str, Any] | None = None
        self._losses: list[Any] = []
        self._parent_path: str | None = None
        self._remat = current_remat() if self._rematerializes else None
        self._eager = EagerCache(self.name)
        object.__setattr__(self, "_seen_state", ())
        object.__setattr__(self, "_seen_changes", -1)

    # Types

    @property
    def dtype(self) -> str:
        return self.variable_dtype

    @property
    def compute_dtype(self) -> str:
        return self.dtype_policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        return self.compute_dtype

    # Building

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Create the weights for inputs of a shape: ``build(input_shape)``. The default builds nothing."""
        self.built = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _built_in_scope(cls.__dict__["build"])  # type: ignore[method-assign]

    def get_build_config(self) -> dict[str, Any] | None:
        """What :meth:`build_from_config` needs to build the layer as it is."""
        shapes = self._build_shapes
        if shapes is None:
            return None
        return {"input_shape": next(iter(shapes.values()))} if len(shapes) == 1 else {"shapes_dict": shapes}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build from what :meth:`get_build_config` returned."""
        if "input_shape" in config:
            shape = config["input_shape"]
            self.build(shape_nest(shape) if shape is not None else None)
        elif "shapes_dict" in config:
            self.build(**{k: shape_nest(v) for k, v in config["shapes_dict"].items()})
        self.built = True

    def _maybe_build(self, bound: inspect.BoundArguments) -> None:
        if self.built:
            return
        shapes = {
            f"{name}_shape": shape for name, value in bound.arguments.items() if (shape := _shape_of(value)) is not None
        }
        wanted = inspect.signature(self.build).parameters
        accepts_any = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
        with name_scope(self.name, caller=self) if current_trace() is None else _outside_trace(self):
            if len(shapes) <= 1 or (len(wanted) == 1 and not accepts_any):
                self.build(next(iter(shapes.values()), None))
            elif all(name in wanted for name in shapes) or accepts_any:
                self.build(**shapes)
            else:
                first = next(iter(wanted), None)
                named = {name: shape for name, shape in shapes.items() if name in wanted}
                if named:
                    self.build(**named)
                else:
                    self.build(**({first: next(iter(shapes.values()))} if first else {}))
            self.built = True

    # Calling

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes; subclasses write it."""
        raise ArgumentError(f"the layer class {type(self).__name__} has no call() method; define one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the layer to arrays, traced tensors, or symbolic tensors of a functional model."""
        symbolic = contains_keras_tensor(args) or contains_keras_tensor(kwargs)
        trace = current_trace()
        if not symbolic and trace is None:
            if self._compiles_whole():
                return self._call_compiled(args, kwargs)
            with autocast(None):
                args, kwargs = self._eager_inputs(args), self._eager_inputs(kwargs)
        elif trace is not None:
            args, kwargs = self._traced_inputs(args), self._traced_inputs(kwargs)
        else:
            args, kwargs = self._array_leaves(args), self._array_leaves(kwargs)
        bound = self._bind(args, kwargs)
        first = next(iter(bound.arguments.values()), None)
        assert_input_compatibility(self.input_spec, first, self.name)
        training = self._resolve_training(kwargs)
        given = dict(kwargs)
        token = _training.set(training)
        try:
            with as_before_on_failure(self) if symbolic and not self.built else nullcontext():
                self._maybe_build(bound)
                assert_input_compatibility(self.input_spec, first, self.name)
                if self._takes("training") and training is not None:
                    kwargs["training"] = training
                    if not given and _is_sole_tensor(args, self.compute_dtype):
                        given["training"] = training  # as Keras records it: nothing is added to other calls
                if symbolic:
                    return self._record(args, kwargs, given)
                return self._run(args, kwargs, bound)
        finally:
            _training.reset(token)

    def _run(self, args: tuple, kwargs: dict[str, Any], bound: inspect.BoundArguments) -> Any:
        trace = current_trace()
        self._begin_losses()
        with (
            running() if trace is None else nullcontext(),
            trace.layer(self.name) if trace else nullcontext(),
            name_scope(self.name, caller=self),
            autocast(self.compute_dtype if self.autocast else None),
        ):
            masks = self._fill_masks(bound, kwargs) if trace is not None else None  # only traced tensors carry masks
            again = self._remat if trace is not None else None
            call = self.call if again is None else again.apply(self)
            outputs = lay_out_outputs(call(*args, **kwargs), current_path())
            if self.activity_regularizer is not None:
                self._penalize_activity(outputs)
            if self.supports_masking and trace is not None:
                self._set_masks(bound, outputs, masks)
            elif masks is not None and any(m is not None for m in jax.tree.leaves(masks)):
                warn_of_lost_mask(self.path, type(self).__name__)
        return outputs

    def _fill_masks(self, bound: inspect.BoundArguments, kwargs: dict[str, Any]) -> Any:
        """Give ``call`` the masks of its tensors where it takes them; returns the mask of the first argument.

        As in Keras: where one argument is a tensor (or a nest of them), its mask is ``mask``; with more of them, that
        of each is ``<argument>_mask``.
        """
        given = bound.arguments
        tensors = {name: value for name, value in given.items() if are_tensors(value)}
        if len(tensors) == 1:
            wanted = {"mask": next(iter(tensors.values()))}
        else:
            wanted = {f"{name}_mask": value for name, value in tensors.items()}
        for name, value in wanted.items():
            if self._takes(name) and given.get(name) is None and (mask := mask_of(value)) is not None:
                kwargs[name] = mask
        explicit = kwargs.get("mask", given.get("mask"))
        return explicit if explicit is not None else mask_of(next(iter(given.values()), None))

    def _set_masks(self, bound: inspect.BoundArguments, outputs: Any, masks: Any) -> None:
        first = next(iter(bound.arguments.values()))
        fill_masks(outputs, self.compute_mask(first, masks))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs from that of the inputs; by default the same."""
        return previous_mask

    def _record(self, args: tuple, kwargs: dict[str, Any], given: dict[str, Any]) -> Any:
        """Note the call in the functional model, with the keywords that the user gave and ``training``."""
        outputs = self.compute_output_spec(*args, **kwargs)
        return self._add_node(args, given, outputs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic outputs for symbolic inputs: shapes and types, found by tracing :meth:`call`."""
        try:
            return symbolic_outputs(functools.partial(self._trace_call), args, kwargs, self.name)
        except LaminaError as error:
            shape = None if self._compiles_whole() else self._declared_output_shape(args)
            if shape is None:
                raise
            del error
            return jax.tree.map(
                lambda s: KerasTensor(s, self.compute_dtype), shape, is_leaf=lambda s: isinstance(s, tuple)
            )

    def _trace_call(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self._traced_inputs(args), self._traced_inputs(kwargs)
        return self._run(args, kwargs, self._bind(args, kwargs))

    def _declared_output_shape(self, args: tuple) -> Any:
        """The shape a subclass declares by its own ``compute_output_shape``, else None."""
        if type(self).compute_output_shape is Layer.compute_output_shape or not args:
            return None
        declared = self.compute_output_shape(_shape_of(args[0]))
        if isinstance(declared, list) and all(isinstance(d, int | type(None)) for d in declared):
            return tuple(declared)
        return declared

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shape of the output for an input shape (None for open dimensions)."""

        def symbolic(shape: Any) -> Any:
            return jax.tree.map(
                lambda s: KerasTensor(s, self.compute_dtype),
                shape_nest(shape),
                is_leaf=lambda s: isinstance(s, tuple) and all(isinstance(d, int | type(None)) for d in s),
            )

        specs = [symbolic(a) for a in args]
        named = {k.removesuffix("_shape"): symbolic(v) for k, v in kwargs.items()}
        if list(named) == ["input"]:
            specs, named = [named["input"]], {}
        if not self.built:
            self._maybe_build(self._bind(tuple(specs), named))
        outputs = self.compute_output_spec(*specs, **named)
        return jax.tree.map(lambda t: t.shape, outputs)

    # Eager calls

    def _compiles_whole(self) -> bool:
        """Whether it and all layers in it are lamina's own, so that nothing of the user's would be skipped."""
        changes = Changes.last
        if self._seen_changes != changes:
            layers = self._flatten_layers()
            state = tuple(layer._last_change for layer in layers)
            if state != self._seen_state:
                self._eager.clear()
                object.__setattr__(self, "_whole", all(_is_own(layer) for layer in layers))
                regularized = any(layer.activity_regularizer is not None for layer in layers)
                object.__setattr__(self, "_regularized", regularized)
                object.__setattr__(self, "_seen_state", state)
            object.__setattr__(self, "_seen_changes", changes)
        return self._whole

    def _call_compiled(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not self.built:
            bound = self._bind(args, kwargs)
            assert_input_compatibility(self.input_spec, next(iter(bound.arguments.values()), None), self.name)
            with as_before_on_failure(self):
                self._maybe_build(bound)
                self._compiles_whole()
                return self._call_compiled(args, kwargs)
        if _training.get() is not None and self._takes("training"):
            kwargs.setdefault("training", _training.get())
        key = (self.compute_dtype, _training.get())
        if not self._regularized:
            return run_eagerly(self, args, kwargs, key, self._eager, weak=False)
        outputs, losses = run_eagerly(self._call_with_losses, args, kwargs, key, self._eager, weak=False)
        self._begin_losses()
        for layer, own in zip(self._flatten_layers(), losses, strict=True):
            layer._losses.extend(own)
        return outputs

    def _call_with_losses(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs and, for each layer in it, what the call adds to the losses."""
        outputs = self(*args, **kwargs)
        return outputs, [list(layer._own_losses()) for layer in self._flatten_layers()]

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Call the layer on values for its Variables; these themselves stay as they are.

        Args:
            trainable_variables, non_trainable_variables: a tensor for each Variable in the lists of the same names.
            args, kwargs: what the layer is called with.
            return_losses: whether :attr:`losses` of the call are returned as well.

        Returns:
            The outputs, the new values of the non-trainable Variables, and the losses where asked for.

        Raises:
            ArgumentError: the layer is not built, or there are not as many values as Variables.
        """
        if not self.built:
            raise ArgumentError(f"{self.name!r} is not built, so it has no variables yet; call it on data first")
        trainable, others = self.trainable_variables, self.non_trainable_variables
        check_values("trainable_variables", trainable, trainable_variables, self.name)
        check_values("non_trainable_variables", others, non_trainable_variables, self.name)

        def body(*args: Any, **kwargs: Any) -> Any:
            outputs = self(*args, **kwargs)
            return outputs, self.losses if return_losses else []

        self._compiles_whole()  # forgets what was compiled before a change
        (outputs, losses), new = stateless(
            body,
            [*trainable, *others],
            [*trainable_variables, *non_trainable_variables],
            args,
            kwargs,
            self._eager,
            key=(id(self), return_losses, _training.get(), tuple(map(id, trainable))),
        )
        new = new[len(trainable) :]
        return (outputs, new, losses) if return_losses else (outputs, new)

    # Arguments

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.call)

    def _takes(self, name: str) -> bool:
        return name in self._signature.parameters

    def _bind(self, args: tuple, kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """The arguments of ``call`` by name; ``training`` may be given to a layer that does not take it."""
        if "training" in kwargs and not self._takes("training"):
            kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        try:
            return self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{type(self).__name__}.call() of layer {self.name!r}: {error}; its signature is call{self._signature}"
            ) from None

    def _resolve_training(self, kwargs: dict[str, Any]) -> bool | None:
        given = kwargs.get("training")
        if given is None:
            given = _training.get()
        if given is None and self._takes("training"):
            default = self._signature.parameters["training"].default
            given = None if default is inspect.Parameter.empty else default
        if not self._takes("training"):
            kwargs.pop("training", None)
        return given

    def _traced_inputs(self, nest: Any) -> Any:
        dtype = self.compute_dtype if self.autocast else None

        def convert(x: Any) -> Any:
            if isinstance(x, np.ndarray | jax.Array):
                x = as_tensor(x)
            if isinstance(x, Tensor) and dtype is not None and dtypes.is_float(x.dtype) and x.dtype != dtype:
                mask = x.keras_mask
                x = cast(x, dtype)
                x.keras_mask = mask
            return x

        return _map(convert, nest)

    def _array_leaves(self, nest: Any) -> Any:
        return _map(lambda x: jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x, nest)

    def _eager_inputs(self, nest: Any) -> Any:
        dtype = self.compute_dtype if self.autocast else None

        def convert(x: Any) -> Any:
            if isinstance(x, np.ndarray):
                x = jax.numpy.asarray(as_array(x))
            if isinstance(x, jax.Array) and dtype is not None and dtypes.is_float(x.dtype) and x.dtype.name != dtype:
                x = x.astype(dtype)
            return x

        return _map(convert, nest)

    # Files

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, from which :meth:`from_config` makes an equal layer."""
        config = {"name": self.name, "trainable": self.trainable, "dtype": _policy_config(self.dtype_policy)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if type(self).get_config is Layer.get_config and type(self).__init__ is not Layer.__init__:
            if self._auto_config is None:
                raise ArgumentError(
                    f"the layer class {type(self).__name__} takes constructor arguments that a config can't "
                    "hold; define get_config() to return them as plain values"
                )
            config = {**config, **self._auto_config}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer from what :meth:`get_config` returned."""
        from .saving.serialization import deserialize_keras_object

        config = dict(config)
        dtype = config.get("dtype")
        if isinstance(dtype, dict):
            config["dtype"] = deserialize_keras_object(dtype)
        try:
            return cls(**config)
        except LaminaError:
            raise
        except TypeError as error:
            raise ArgumentError(
                f"cannot make a {cls.__name__} from its config: {error}. The config was {config}"
            ) from error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _unknown_argument(cls: type, name: str) -> ArgumentError:
    constructors = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
    known = [p for constructor in constructors for p in inspect.signature(constructor).parameters]
    near = difflib.get_close_matches(name, [p for p in known if p not in ("self", "args", "kwargs")], 1)
    return ArgumentError(f"{cls.__name__} has no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _built_in_scope(build: Callable[..., None]) -> Callable[..., None]:
    """``build`` run under the layer's name, with what it was called with kept for files."""
    if getattr(build, "_in_scope", False):
        return build

    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        signature = inspect.signature(build)
        bound = signature.bind(self, *args, **kwargs)
        with name_scope(self.name, caller=self):
            if self._parent_path is None:
                from .names import current_path

                path = current_path()
                self._parent_path = path.rpartition("/")[0]
            with as_before_on_failure(self):
                build(self, *args, **kwargs)
        shapes = {k: v for k, v in list(bound.arguments.items())[1:] if v is not None}
        if shapes:
            object.__setattr__(self, "_build_shapes", shapes)
        self.built = True

    wrapped._in_scope = True  # type: ignore[attr-defined]
    return wrapped


def _default_build(self: Layer, input_shape: Any = None) -> None:
    """What ``Layer.build`` is: its argument has a name, by which files keep the shape."""
    self.built = True


Layer.build = _built_in_scope(_default_build)  # type: ignore[method-assign]


class _outside_trace:
    """Within the block no trace is current: building makes Variables, which is no part of the program."""

    def __init__(self, layer: Layer) -> None:
        self.scope = name_scope(layer.name, caller=layer)

    def __enter__(self) -> None:
        from .trace import _current

        self.token = _current.set(None)
        self.scope.__enter__()

    def __exit__(self, *exc: Any) -> None:
        from .trace import _current

        self.scope.__exit__(*exc)
        _current.reset(self.token)


def _constructor_arguments(cls: type, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments a layer was made with, defaults included, its name not; None where any is no plain value."""
    try:
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError:
        return None  # the constructor itself will say what is wrong
    bound.apply_defaults()
    given: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.POSITIONAL_ONLY or (kind is inspect.Parameter.VAR_POSITIONAL and value):
            return None  # can't be passed by name
        if kind is not inspect.Parameter.VAR_POSITIONAL:
            given.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
    given.pop("name", None)
    if isinstance(given.get("dtype"), dtypes.DTypePolicy):
        del given["dtype"]  # every layer's config has it
    return given if all(_plain_nest(v) for v in given.values()) else None


def _plain_nest(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain_nest(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _plain_nest(v) for k, v in value.items())
    return isinstance(value, bool | int | float | str | type(None))


def _policy_config(policy: dtypes.DTypePolicy) -> dict[str, Any]:
    from .saving.serialization import serialize_keras_object

    return serialize_keras_object(policy)


def _is_own(layer: Layer) -> bool:
    if layer.runs_users_code:
        return False
    return (type(layer).call.__module__ or "").startswith(__package__) and (
        type(layer).__call__ is Layer.__call__ or (type(layer).__call__.__module__ or "").startswith(__package__)
    )


def _map(function: Callable[[Any], Any], nest: Any) -> Any:
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(_map(function, x) for x in nest))
    if isinstance(nest, tuple | list):
        return type(nest)(_map(function, x) for x in nest)
    if isinstance(nest, dict):
        return {k: _map(function, v) for k, v in nest.items()}
    return function(nest)


def _shape_of(value: Any) -> Any:
    """The shape (None for open dimensions) of a tensor, or the nest of shapes of a nest of tensors; else None."""
    if isinstance(value, Tensor):
        return tuple(d if isinstance(d, int) else None for d in value.value.type.shape)
    if isinstance(value, KerasTensor | jax.Array | np.ndarray):
        return tuple(value.shape)
    if isinstance(value, tuple | list) and value:
        shapes = [_shape_of(v) for v in value]
        return type(value)(shapes) if all(s is not None for s in shapes) and type(value) in (list, tuple) else None
    if isinstance(value, dict) and value:
        shapes_by_name = {k: _shape_of(v) for k, v in value.items()}
        return shapes_by_name if all(s is not None for s in shapes_by_name.values()) else None
    return None


def _is_sole_tensor(args: tuple, dtype: str) -> bool:
    return len(args) == 1 and getattr(args[0], "dtype", None) == dtype
