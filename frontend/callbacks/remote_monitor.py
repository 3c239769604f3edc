"""``RemoteMonitor``: logs sent to a server."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.errors import ArgumentError
from ..registry import builtin
from ..training.shares import writes_files
from .callback import Callback

TIMEOUT_S = 10


@builtin("keras.callbacks")
class RemoteMonitor(Callback):
    """Sends the logs of each epoch to a server by HTTP POST. One that can't be reached is a warning. Of
    several processes that train together the first sends them.

    Args:
        root: address of the server, ``http://`` or ``https://``.
        path: what follows it.
        field: name of the form's field that holds the JSON; only where ``send_as_json`` is False.
        headers: further headers.
        send_as_json: whether the body is JSON, and not a form with JSON in a field.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        if urllib.parse.urlsplit(root).scheme not in ("http", "https"):
            raise ArgumentError(f"root is the address of a server, http://... or https://..., received {root!r}")
        self.root = root
        self.path = path
        self.field = field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Send the logs."""
        if not writes_files():
            return
        values = {"epoch": epoch, **(logs or {})}
        text = json.dumps({k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in values.items()})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        body = text if self.send_as_json else urllib.parse.urlencode({self.field: text})
        request = urllib.request.Request(
            self.root + self.path, body.encode(), {"Content-Type": kind, **(self.headers or {})}
        )
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:  # the server was reached, and answered that it does not like it
            error.close()
        except (OSError, http.client.HTTPException):
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}", stacklevel=2)
