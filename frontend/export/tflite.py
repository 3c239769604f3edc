"""A module as a TensorFlow Lite (LiteRT) flatbuffer."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Module
from ...ir.errors import ArgumentError, UnsupportedError
from ...runtime.files import write_beside
from .saved_model import SERVING, signature
from .tf_function import make

_QUANTIZE = (None, "float16", "int8")


def save(module: Module, path: Path, *, quantize: str | None = None, select_ops: bool = False) -> None:
    """Write a ``.tflite`` file. It appears whole or not at all.

    Args:
        quantize: how weights are held: None as they are, ``"float16"``, or ``"int8"`` with activations quantized as
            they come (dynamic range).
        select_ops: allow ops of TensorFlow that TensorFlow Lite has no kernels for; whoever runs the file needs the
            Flex delegate.

    A file keeps no state: each run starts from what variables held at export.

    Raises:
        UnsupportedError: an op has no form in plain tf ops, or none in TensorFlow Lite.
    """
    content = convert(module, quantize, select_ops)
    write_beside(path, lambda file: file.write(content))


def convert(module: Module, quantize: str | None = None, select_ops: bool = False) -> bytes:
    """The flatbuffer of a module. Arguments and errors as :func:`save`."""
    import tensorflow as tf

    if quantize not in _QUANTIZE:
        raise ArgumentError(f"tflite: expected quantize None, 'float16' or 'int8'; received {quantize!r}")
    built = make(module, lite=True)
    function = signature(built).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], built.module)
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if select_ops:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with _stderr_held() as said:
        try:
            content: bytes = converter.convert()
        except Exception as error:  # a ConverterError, whose class has no public name
            lacking = _lacking(str(error))
            if lacking is None:
                error.add_note(f"TensorFlow Lite's converter said:\n{said()}")
                raise
            raise UnsupportedError(
                f"tflite: TensorFlow Lite has no kernels for {lacking}; give select_ops=True, and run the file with "
                "the Flex delegate, or export a SavedModel"
            ) from error
    return content


_one_at_a_time = threading.Lock()


@contextmanager
def _stderr_held() -> Iterator[Callable[[], str]]:
    """Hold back what the process writes to standard error, by C++ too, where the converter tells its progress in
    kilobytes. Yields what gives the text so far."""
    with _one_at_a_time, tempfile.TemporaryFile() as held:

        def said() -> str:
            sys.stderr.flush()
            held.seek(0)
            return held.read().decode(errors="replace")

        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


def _lacking(message: str) -> str | None:
    """The ops that a converter's message says are not there, or None where it says something else."""
    found = re.findall(r"(?:TF Select ops|Custom ops|Flex ops): ([^\n]+)", message)
    if not found and "TensorList" in message:
        found = ["TensorList"]
    return ", ".join(sorted({name.strip() for line in found for name in line.split(",")})) or None


def runner(
    module: Module, *, quantize: str | None = None, select_ops: bool = False
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A function of flat input arrays that runs the flatbuffer, by ai-edge-litert where that is installed, or else by
    TensorFlow's interpreter."""
    content = convert(module, quantize, select_ops)
    interpreter = make_interpreter(content)
    run_signature = interpreter.get_signature_runner(SERVING)
    built = make(module, lite=True)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = run_signature(**{spec.name: np.asarray(x) for spec, x in zip(built.specs, arrays)})
        return [np.asarray(found[name]) for name in built.outputs]

    return run


def make_interpreter(content: bytes) -> Any:
    """An interpreter of a flatbuffer."""
    if importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=content)
    import tensorflow as tf

    with warnings.catch_warnings():  # that the interpreter will move to the package looked for above
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        return tf.lite.Interpreter(model_content=content)
