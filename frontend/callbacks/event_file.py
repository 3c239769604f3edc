"""TensorBoard's event files, written with the ``tensorboard`` package and without TensorFlow."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError, UnsupportedError

HISTOGRAM_BUCKETS = 30
MAX_IMAGES = 3


@cache
def _tensorboard() -> Any:
    """What is needed of the package, by name.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.histogram import metadata as histograms
        from tensorboard.plugins.image import metadata as images
        from tensorboard.plugins.scalar import metadata as scalars
        from tensorboard.summary.writer.record_writer import RecordWriter
        from tensorboard.util.tensor_util import make_tensor_proto
    except ImportError as error:
        raise UnsupportedError(
            f"the TensorBoard callback needs the package tensorboard ({error}). Install it: pip install tensorboard"
        ) from error

    class Found:
        event, summary, tensor, record_writer = event_pb2, summary_pb2, make_tensor_proto, RecordWriter
        metadata: Mapping[str, Any] = {"scalar": scalars, "histogram": histograms, "image": images}

    return Found


def require_tensorboard() -> None:
    """Raise :class:`UnsupportedError` where the package is not installed."""
    _tensorboard()


class EventFile:
    """One event file, in a folder that becomes a run in TensorBoard.

    Events gather until :meth:`flush` adds them to the file, so that it is never open in between.

    Args:
        folder: the folder; made where it is not there.
        writes: whether anything is written at all; another process may write the same.
    """

    _count = 0

    def __init__(self, folder: str, writes: bool = True) -> None:
        self._library = _tensorboard()
        self._writes = writes
        if writes:
            os.makedirs(folder, exist_ok=True)
        EventFile._count += 1
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{EventFile._count}.v2"
        self._path = os.path.join(folder, name)
        self._pending = io.BytesIO()
        self._records = self._library.record_writer(self._pending)
        self._add(file_version="brain.Event:2")
        self.flush()

    def _add(self, **fields: Any) -> None:
        self._records.write(self._library.event.Event(wall_time=time.time(), **fields).SerializeToString())

    def _add_value(self, tag: str, tensor: Any, metadata: Any, step: int) -> None:
        summary = self._library.summary.Summary()
        summary.value.add(tag=tag, tensor=self._library.tensor(tensor), metadata=metadata)
        self._add(step=int(step), summary=summary)

    def _metadata(self, kind: str) -> Any:
        return self._library.metadata[kind].create_summary_metadata(display_name="", description="")

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Write a number."""
        array = np.asarray(value, "float32")
        if array.ndim:
            raise ArgumentError(f"a scalar of TensorBoard has no axes, but {tag!r} has shape {array.shape}")
        self._add_value(tag, array, self._metadata("scalar"), step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Write how values are distributed: rows of left edge, right edge and count."""
        flat = np.asarray(values, "float64").ravel()
        flat = flat[np.isfinite(flat)]
        counts, edges = np.histogram(flat, HISTOGRAM_BUCKETS)
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=1) if flat.size else np.zeros((0, 3))
        self._add_value(tag, buckets, self._metadata("histogram"), step)

    def images(self, tag: str, images: np.ndarray, step: int) -> None:
        """Write images of shape ``(n, height, width, channels)``, values from 0 to 1; the first few only."""
        pixels = (np.clip(images[:MAX_IMAGES].astype("float64"), 0, 1) * 255).round().astype("uint8")
        _, height, width, _ = pixels.shape
        texts = [str(width).encode(), str(height).encode(), *map(png, pixels)]
        self._add_value(tag, np.array(texts, dtype=object), self._metadata("image"), step)

    def text(self, tag: str, text: str, plugin: str, content: bytes, step: int) -> None:
        """Write a text for one of TensorBoard's plugins."""
        metadata = self._library.summary.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin
        metadata.plugin_data.content = content
        self._add_value(tag, np.array(text.encode(), dtype=object), metadata, step)

    def flush(self) -> None:
        """Add what is pending to the file."""
        if self._writes:
            with open(self._path, "ab") as file:
                file.write(self._pending.getvalue())
        self._pending.seek(0)
        self._pending.truncate()


def png(pixels: np.ndarray) -> bytes:
    """A PNG of pixels: uint8, shape ``(height, width, channels)`` with 1, 3 or 4 channels."""
    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((height, 1), "uint8"), pixels.reshape(height, -1)], axis=1)  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")
