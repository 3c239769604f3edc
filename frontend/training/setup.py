"""What ``compile`` sets up for training, and the loss and metrics that come of it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax

from ...ir.errors import ArgumentError
from .. import ops
from ..dtypes import floatx, is_float
from ..layer_losses import WithLosses
from ..stateless import check_values, stateless
from ..tracking import Changes
from .functions import StepFunction

#: Attributes that training sets on a model. They are no part of it: nothing is tracked in them, or compiled anew.
_ASIDE = frozenset(
    {
        "compiled", "optimizer", "loss", "history", "stop_training", "stop_evaluating", "stop_predicting",
        "train_function", "test_function", "predict_function", "run_eagerly", "jit_compile", "steps_per_execution",
        "_compile_loss", "_compile_metrics", "_loss_tracker", "_compile_config", "_compiled_trainable_state",
        "_initial_epoch", "_evaluation",
    }
)  # fmt: skip


class Setup(WithLosses):
    """The part of a model that knows optimizer, loss and metrics."""

    compiled = False
    optimizer: Any = None
    loss: Any = None
    history: Any = None
    run_eagerly = False
    jit_compile: Any = True
    steps_per_execution = 1
    stop_training = False
    stop_evaluating = False
    stop_predicting = False
    train_function: StepFunction | None = None
    test_function: StepFunction | None = None
    predict_function: StepFunction | None = None
    _compile_loss: Any = None
    _compile_metrics: Any = None
    _loss_tracker: Any = None
    _compile_config: Mapping[str, Any] = {}
    _compiled_trainable_state: Mapping[int, bool] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ASIDE:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Set the model up for training.

        Which Variables train is decided here: after setting ``trainable`` of a layer, call it again. Calling it again
        with equal settings uses the executables that are there.

        Args:
            optimizer: an Optimizer, its name or config.
            loss: a Loss, a function ``(y_true, y_pred) -> losses``, a name, or a list or dict of them, one for each
                output.
            loss_weights: number for each output's loss, as a list or dict.
            metrics: a list of metrics, functions or names; for several outputs a list or dict of such lists.
            weighted_metrics: metrics that sample weights apply to.
            run_eagerly: run the steps as Python, op by op on arrays, to look inside.
            steps_per_execution: how many batches one call of the executable runs, in a loop on the device.
            jit_compile: ``"auto"``, True, or False, which is taken as ``run_eagerly=True`` is not: steps are always
                compiled unless they run eagerly.
            auto_scale_loss: whether an optimizer is wrapped into a LossScaleOptimizer under ``mixed_float16``.

        Raises:
            ArgumentError: an argument is unknown by name, or of the wrong form.
        """
        from .. import metrics as metrics_module
        from .. import optimizers

        if isinstance(steps_per_execution, bool) or not isinstance(steps_per_execution, int) or steps_per_execution < 1:
            raise ArgumentError(f"steps_per_execution must be a positive integer, received {steps_per_execution!r}")
        if run_eagerly and jit_compile is True:
            warnings.warn("run_eagerly=True runs without compiling; jit_compile=True has no effect", stacklevel=2)
        chosen: Any = optimizers.get(optimizer) if optimizer is not None else None
        wrap = auto_scale_loss and self.dtype_policy.name == "mixed_float16" and chosen is not None
        scaled = wrap and not isinstance(chosen, optimizers.LossScaleOptimizer)
        config = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics, "weighted_metrics": weighted_metrics}
        compile_loss, compile_metrics = self._made_of(config)
        # Nothing is set before all arguments are known to be right.
        self.optimizer = optimizers.LossScaleOptimizer(chosen, name="loss_scale_optimizer") if scaled else chosen
        self.loss = loss
        self._compile_loss = compile_loss
        self._compile_metrics = compile_metrics
        self._loss_tracker = metrics_module.Mean(name="loss")
        self.run_eagerly = bool(run_eagerly)
        self.jit_compile = not run_eagerly if jit_compile == "auto" else bool(jit_compile) and not run_eagerly
        self.steps_per_execution = steps_per_execution
        self.stop_training = False
        self._compiled_trainable_state = {id(layer): layer.trainable for layer in self._flatten_layers()}
        self._forget_functions()
        self._compile_config = {
            "optimizer": chosen,
            **config,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": self.jit_compile,
        }
        self.compiled = True

    def _output_names(self) -> list[str] | None:
        """The names of a functional model's outputs, by which losses and metrics may be given."""
        return list(self.output_names) if hasattr(type(self), "operations") else None  # type: ignore[attr-defined]

    def _made_of(self, config: Mapping[str, Any]) -> tuple[Any, Any]:
        """The loss and the metrics of the arguments of :meth:`compile`, not yet settled by any data."""
        from .compiled_losses import CompileLoss
        from .compiled_metrics import CompileMetrics

        names = self._output_names()
        loss, metrics, weighted = config["loss"], config["metrics"], config["weighted_metrics"]
        made = None if loss is None else CompileLoss(loss, config["loss_weights"], output_names=names)
        any_metrics = metrics is not None or weighted is not None
        return made, CompileMetrics(metrics, weighted, output_names=names) if any_metrics else None

    def _renew_compiled(self) -> None:
        """Have loss and metrics settled anew by the next data."""
        if self.compiled:
            self._compile_loss, self._compile_metrics = self._made_of(self._compile_config)

    def _forget_functions(self) -> None:
        """Have the steps compiled anew."""
        self.train_function = self.test_function = self.predict_function = None

    def _assert_compile_called(self, method: str) -> None:
        if not self.compiled:
            raise ArgumentError(
                f"You must call `compile()` before `{method}()`: model.compile(optimizer=..., loss=...) of "
                f"{self.name!r}"
            )

    def _warn_of_changed_trainable(self) -> None:
        """Say so where ``trainable`` was set after ``compile``; once."""
        before = self._compiled_trainable_state
        now = {id(layer): layer.trainable for layer in self._flatten_layers()}
        changed = [y.name for y in self._flatten_layers() if before.get(id(y), y.trainable) != y.trainable]
        if changed:
            self._compiled_trainable_state = now
            warnings.warn(
                f"trainable of {', '.join(changed)} was changed since compile(); call compile() again, so that the "
                "optimizer follows",
                stacklevel=3,
            )

    # Files

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of :meth:`compile` as a config, from which :meth:`compile_from_config` sets a model up."""
        from ..saving.serialization import serialize_keras_object

        if not self.compiled:
            return {}
        return {name: serialize_keras_object(value) for name, value in self._compile_config.items()}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Set the model up as the one whose :meth:`get_compile_config` returned ``config``."""
        from ..saving.serialization import deserialize_keras_object

        if type(self).compile is not Setup.compile:
            warnings.warn(
                f"{self.name!r} is not set up for training: {type(self).__name__} has a compile() of its own. Define "
                "get_compile_config() and compile_from_config(config), or call compile() after loading",
                stacklevel=2,
            )
            return
        self.compile(**{name: deserialize_keras_object(value) for name, value in config.items()})
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    # Metrics

    @property
    def metrics(self) -> list[Any]:
        """The mean loss, the metrics of :meth:`compile`, those in attributes, and those of the layers."""
        found = self._compiled_metrics() + self._attribute_metrics()
        return list({id(m): m for m in found}.values())

    def _attribute_metrics(self) -> list[Any]:
        """Metrics in attributes, its own and its layers'; looked for again only after some attribute changed."""
        seen, found = self.__dict__.get("_seen_metrics", (-1, []))
        if seen != Changes.last:
            layers = [layer for layer in self._flatten_layers(include_self=False) if not isinstance(layer, Setup)]
            found = [metric for layer in (self, *layers) for metric in layer._own_metrics()]
            object.__setattr__(self, "_seen_metrics", (Changes.last, found))
        return found

    def _compiled_metrics(self) -> list[Any]:
        if not self.compiled:
            return []
        found = [m for m in (self._loss_tracker, self._compile_metrics) if m is not None]
        return found + (list(self._compile_loss.metrics) if self._compile_loss is not None else [])

    @property
    def metrics_variables(self) -> list[Any]:
        """The Variables of :attr:`metrics`."""
        return [v for metric in self.metrics for v in metric.variables]

    @property
    def metrics_names(self) -> list[str]:
        """The names of :attr:`metrics`."""
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Set all :attr:`metrics` to their start."""
        for metric in self.metrics:
            metric.reset_state()

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the metrics of :meth:`compile` by a batch; a subclass may define others.

        Returns:
            The logs of the step: name to value.
        """
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """The value of each of :attr:`metrics` by name; one that gives a dict gives several."""
        found: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            found.update(result if isinstance(result, dict) else {metric.name: result})
        return found

    # Loss

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The scalar that training makes smaller: the loss of :meth:`compile`, and :attr:`losses`. May be overridden.

        Args:
            x: the inputs.
            y, sample_weight: targets and weights, or None.
            y_pred: what the model made of ``x``.
            training: whether it is a step of training.

        Raises:
            ArgumentError: there is no loss at all to train on.
        """
        found = []
        if self._compile_loss is not None:
            loss = self._compile_loss(y, y_pred, sample_weight)
            if loss is not None:
                found.append(loss)
        found.extend(_scalar(loss) for loss in self.losses)
        if not found:
            if training:
                raise ArgumentError(
                    "No loss to compute. Provide a `loss` argument in `compile()`, or add_loss() in a layer; "
                    f"{self.name!r} has neither"
                )
            return ops.zeros(())
        total = found[0]
        for loss in found[1:]:
            total = ops.add(total, loss)
        return total

    def _compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        """:meth:`compute_loss`, which in a subclass may lack the argument ``training``."""
        if self._loss_takes_training:
            return self.compute_loss(x, y, y_pred, sample_weight, training=training)
        return self.compute_loss(x, y, y_pred, sample_weight)

    @cached_property
    def _loss_takes_training(self) -> bool:
        parameters = inspect.signature(self.compute_loss).parameters
        return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def stateless_compute_loss(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        metrics_variables: Any,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple[Any, tuple[list[Any], list[Any], list[Any]]]:
        """:meth:`compute_loss` on values for the Variables, which themselves stay as they are.

        Returns:
            The loss, and the new values: ``(loss, (trainable, non-trainable, metrics))``.
        """
        named = {
            "trainable_variables": (self.trainable_variables, trainable_variables),
            "non_trainable_variables": (self.non_trainable_variables, non_trainable_variables),
            "metrics_variables": (self.metrics_variables, metrics_variables),
        }
        for name, (variables, values) in named.items():
            check_values(name, variables, values, self.name)
        variables = [v for group, _ in named.values() for v in group]
        values = [v for _, group in named.values() for v in group]
        loss, new = stateless(self._compute_loss, variables, values, (x, y, y_pred, sample_weight, training))
        first = len(self.trainable_variables)
        second = first + len(self.non_trainable_variables)
        return loss, (new[:first], new[first:second], new[second:])


def _scalar(loss: Any) -> Any:
    """An additional loss as one float."""
    if not hasattr(loss, "dtype"):
        loss = ops.convert_to_tensor(loss)
    name = getattr(loss.dtype, "name", loss.dtype)
    return ops.sum(loss if is_float(name) else ops.cast(loss, floatx()))


def first_size(x: Any) -> Any:
    """The size of the batch: of the first axis of the first array."""
    leaves = [leaf for leaf in jax.tree.leaves(x) if getattr(leaf, "ndim", 0)]
    return ops.shape(leaves[0])[0] if leaves else 1
