"""Names of Keras 2's optimizers, ``keras.optimizers.legacy``, which say that they are not there."""

from __future__ import annotations

from typing import Any


class LegacyOptimizerWarning:
    """Stands for an optimizer of Keras 2. Making one raises ImportError, as in Keras 3."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(
            "keras.optimizers.legacy holds optimizers of Keras 2, which Keras 3 does not have; use the one of the same "
            "name in keras.optimizers"
        )


Adagrad = Adam = Ftrl = Optimizer = RMSprop = SGD = LegacyOptimizerWarning
