"""What training, evaluation and prediction do with one batch; each may be overridden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax

from ...ir.errors import ArgumentError
from .. import ops
from ..stateless import held, holding
from ..trace import current_trace
from ..variable import Variable
from .data import unpack_x_y_sample_weight
from .functions import StepFunction, takes_state
from .setup import Setup, first_size

#: What the state of a training step is made of.
TRAIN = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
_TEST = ("trainable_variables", "non_trainable_variables", "metrics_variables")
_PREDICT = ("trainable_variables", "non_trainable_variables")


def _traced(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method run in a trace in any case: in a step that runs eagerly in one whose tensors have values.

    Tensors carry masks. The arrays are inputs of the trace, so that other batches need no other executable.
    """

    @wraps(method)
    def call(self: Any, *args: Any) -> Any:
        from ..regions import run_on_arrays

        return method(self, *args) if current_trace() is not None else run_on_arrays(partial(method, self), args, {})

    return call


class Steps(Setup):
    """The steps of a model, and the functions that they are compiled to.

    A subclass overrides a step in one of two styles, told apart by its signature:

    ``train_step(self, data)`` reads and assigns Variables and returns the logs::

        def train_step(self, data):
            x, y = data
            loss, grads = self.compute_gradients(lambda: self.compute_loss(y=y, y_pred=self(x, training=True)))
            self.optimizer.apply(grads, self.trainable_variables)
            return {"loss": loss}

    ``train_step(self, state, data)``, as in Keras on JAX, takes lists of tensors (trainable, non-trainable, optimizer's
    and metrics' variables) and returns ``(logs, new state)``; it works with :meth:`stateless_call`,
    :meth:`stateless_compute_loss`, ``optimizer.stateless_apply`` and ``lamina.value_and_grad``. The state of
    ``test_step`` lacks the optimizer's, that of ``predict_step`` also the metrics' variables.

    ``super().train_step`` may be called in either style.
    """

    def compute_gradients(
        self, loss: Callable[[], Any], variables: Sequence[Variable] | None = None, has_aux: bool = False
    ) -> tuple[Any, list[Any]]:
        """The value of a loss and its gradients by Variables.

        Args:
            loss: returns a scalar; with ``has_aux`` a pair of it and anything else, such as the model's outputs.
            variables: what to differentiate by; the model's trainable Variables by default.
            has_aux: whether ``loss`` returns a pair.

        Returns:
            ``(loss, gradients)``, or ``((loss, aux), gradients)``: one gradient for each Variable. What ``loss``
            assigns to Variables stays assigned.

        Raises:
            DifferentiationError: there is no derivative. ShapeError: the loss is no scalar.
        """
        from ..transforms import gradients_of

        def body() -> tuple[Any, Any]:
            return loss() if has_aux else (loss(), None)

        body.__name__ = getattr(loss, "__name__", "the loss")
        value, aux, grads = gradients_of(body, self.trainable_variables if variables is None else list(variables))
        return ((value, aux), grads) if has_aux else (value, grads)

    def train_step(self, *args: Any) -> Any:
        """One step of training: ``train_step(data) -> logs``, or ``train_step(state, data) -> (logs, new state)``.

        ``data`` is a batch as ``fit`` gets it: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        """
        if len(args) == 2:
            return self._on_state(TRAIN, self._train, *args)
        return self._train(*args)

    def test_step(self, *args: Any) -> Any:
        """One step of evaluation: ``test_step(data) -> logs``, or ``test_step(state, data) -> (logs, new state)``."""
        if len(args) == 2:
            return self._on_state(_TEST, self._test, *args)
        return self._test(*args)

    def predict_step(self, *args: Any) -> Any:
        """One step of prediction: ``predict_step(data) -> outputs``, or ``predict_step(state, data) -> (outputs, new
        non-trainable variables)``."""
        if len(args) == 2:
            outputs, state = self._on_state(_PREDICT, self._predict, *args)
            return outputs, state[1]
        return self._predict(*args)

    def _train(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        if self.optimizer is None:
            raise ArgumentError(f"{self.name!r} was compiled without an optimizer, so it can't be trained")
        loss, y_pred, grads = self._gradients(x, y, sample_weight)
        self.optimizer.apply(grads, self.trainable_variables)
        return self._logs(loss, x, y, y_pred, sample_weight)

    @_traced
    def _gradients(self, x: Any, y: Any, sample_weight: Any) -> Any:
        """Loss, outputs and gradients for a batch."""

        def compute_loss() -> Any:
            y_pred = self(x, training=True)
            loss = self._compute_loss(x, y, y_pred, sample_weight, True)
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        (_, (loss, y_pred)), grads = self.compute_gradients(compute_loss, has_aux=True)
        return loss, y_pred, grads

    @_traced
    def _test(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self._compute_loss(x, y, y_pred, sample_weight, False)
        return self._logs(loss, x, y, y_pred, sample_weight)

    def _logs(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        if self._loss_tracker is not None:
            self._loss_tracker.update_state(loss, sample_weight=ops.cast(first_size(x), "float32"))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    @_traced
    def _predict(self, data: Any) -> Any:
        x, _, _ = unpack_x_y_sample_weight(data)
        return self(x, training=False)

    def _on_state(self, lists: Sequence[str], step: Callable[[Any], Any], state: Any, data: Any) -> tuple[Any, Any]:
        """Run a step while the Variables hold ``state``, and return what they hold after it."""
        groups = [self._state_variables(name) for name in lists]
        variables = [v for group in groups for v in group]
        values = [value for group in state for value in group]
        if len(values) != len(variables):
            names = ", ".join(f"{len(g)} {name}" for g, name in zip(groups, lists))
            raise ArgumentError(f"the state of {self.name!r} holds {names}; received {len(values)} tensors in all")
        with holding(variables, values):
            result = step(data)
            new = [held(group) for group in groups]
        return result, tuple(new)

    def _state_variables(self, name: str) -> list[Variable]:
        return list(self.optimizer.variables if name == "optimizer_variables" else getattr(self, name))

    # Functions

    def make_train_function(self, force: bool = False) -> StepFunction:
        """``train_function``, made where there is none: a list of batches to the logs after the last of them."""
        if self.train_function is None or force:
            self.train_function = StepFunction(self, "train_step", TRAIN)
        return self.train_function

    def make_test_function(self, force: bool = False) -> StepFunction:
        """``test_function``, made where there is none: a list of batches to the logs after the last of them."""
        if self.test_function is None or force:
            self.test_function = StepFunction(self, "test_step", _TEST)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> StepFunction:
        """``predict_function``, made where there is none: a list of batches to the outputs of all."""
        if self.predict_function is None or force:
            self.predict_function = StepFunction(self, "predict_step", _PREDICT)
        return self.predict_function

    # Building

    def _build_for(self, function: StepFunction, first_batch: Callable[[], Any]) -> None:
        """Make what must be there before a step is traced; the rest is made while it is.

        A batch is drawn where Keras draws one, so that shuffled data comes in the same order from the same seed.
        """
        method = function.method
        unbuilt = not all(layer.built for layer in self._flatten_layers())
        parts = () if method == "predict_step" else (self._compile_metrics, self._compile_loss)
        if unbuilt or any(part is not None and not part.built for part in parts):
            batch = first_batch()
            if unbuilt or takes_state(getattr(self, method)):
                self._symbolic_build(batch, method)
        optimizer = self.optimizer
        if method == "train_step" and optimizer is not None and not optimizer.built:
            trained = self.trainable_variables
            optimizer.build(trained)
            for variable in optimizer.variables if trained else ():
                variable._follow(trained[0])

    def _symbolic_build(self, batch: Any, method: str) -> None:
        """Make the model's Variables, for a step that takes the state also those of metrics, for a first batch.

        The step is traced for that and the trace is thrown away, so that nothing is computed.
        """
        from .step import Step

        everything = takes_state(getattr(self, method)) and method != "predict_step"

        def run(data: Any) -> Any:
            x, y, sample_weight = unpack_x_y_sample_weight(data)
            y_pred = self(x, training=False)
            if everything:
                self.compute_metrics(x, y, y_pred, sample_weight)
                self._compute_loss(x, y, y_pred, sample_weight, False)
            return []

        leaves, tree = jax.tree.flatten(batch)
        Step(run, self.name).trace(leaves, tree)
