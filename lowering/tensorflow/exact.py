"""A module as a ``tf.Module`` that calls its StableHLO program through XlaCallModule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.graph import Module
from .. import portable
from .source import Source, Text, tf_shape
from .writer import tf_type

#: XlaCallModule's calling convention, and a StableHLO version that every TensorFlow from 2.19 reads.
VERSION, STABLEHLO = 9, "1.8.0"


def exact_source(module: Module, trainable: Sequence[str] = ()) -> Source:
    """Write a module as a call of its program; arguments and errors as of :func:`.source.tensorflow_source`."""
    graph = module.main
    program = portable.encode(portable.program(module), "artifact", STABLEHLO)
    text = Text(module, trainable)
    arguments = ", ".join([*text.variables, *text.inputs])
    types = ", ".join(tf_type(v.dtype) for v in graph.results)
    shapes = ", ".join(tf_shape(v) for v in graph.results)
    text.writer.line(f"arguments = [{arguments}]")
    text.writer.line(f"types, shapes = [{types}], [{shapes}]")
    held = text.writer.fresh("program")
    text.writer.constants[held] = np.frombuffer(program, np.uint8)
    results = text.writer.assign(
        f"xla.call_module(arguments, version={VERSION}, module=self.{held}.tobytes(), Tout=types, Sout=shapes, "
        'platforms=["CPU"], disabled_checks=["platform"])',
        "results",
    )
    return text.finish(
        [f"{results}[{i}]" for i in range(len(graph.results))], ["from tensorflow.compiler.tf2xla.python import xla"]
    )
