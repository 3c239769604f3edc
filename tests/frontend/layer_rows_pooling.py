"""Pooling layers: rows of the parity table."""

import numpy as np
from layer_parity import Row

IMAGE, VOLUME, SEQUENCE = (2, 7, 6, 4), (2, 5, 6, 4, 3), (2, 9, 4)
FIRST = {"data_format": "channels_first"}
STEPS = np.arange(9) < np.array([[9], [4]])

ROWS = [
    Row("MaxPooling1D", {}, SEQUENCE),
    Row("MaxPooling1D", {"pool_size": 3, "strides": 2, "padding": "same", **FIRST}, SEQUENCE),
    Row("MaxPooling2D", {}, IMAGE),
    Row("MaxPooling2D", {"pool_size": (3, 2), "strides": 2, "padding": "same"}, IMAGE),
    Row("MaxPooling2D", {"pool_size": 2, "strides": (1, 3), **FIRST}, IMAGE),
    Row("MaxPooling3D", {}, VOLUME),
    Row("MaxPooling3D", {"pool_size": (2, 3, 1), "strides": 1, "padding": "same", **FIRST}, VOLUME),
    Row("AveragePooling1D", {"pool_size": 2}, SEQUENCE),
    Row("AveragePooling1D", {"pool_size": 3, "strides": 1, "padding": "same", **FIRST}, SEQUENCE),
    Row("AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    Row("AveragePooling2D", {"pool_size": 2, **FIRST}, IMAGE),
    Row("AveragePooling3D", {"pool_size": (2, 1, 2)}, VOLUME),
    Row("AveragePooling3D", {"pool_size": 2, "strides": 3, "padding": "same", **FIRST}, VOLUME),
    Row("GlobalMaxPooling1D", {}, SEQUENCE),
    Row("GlobalMaxPooling1D", {"keepdims": True, **FIRST}, SEQUENCE),
    Row("GlobalMaxPooling2D", {"keepdims": True}, IMAGE),
    Row("GlobalMaxPooling2D", FIRST, IMAGE),
    Row("GlobalMaxPooling3D", FIRST, VOLUME),
    Row("GlobalMaxPooling3D", {"keepdims": True}, VOLUME),
    Row("GlobalAveragePooling1D", {"keepdims": True}, SEQUENCE),
    Row("GlobalAveragePooling1D", {}, SEQUENCE, mask=STEPS),
    Row("GlobalAveragePooling1D", {"keepdims": True}, SEQUENCE, mask=STEPS),
    Row("GlobalAveragePooling1D", FIRST, (2, 4, 9), mask=STEPS),
    Row("GlobalAveragePooling2D", {}, IMAGE),
    Row("GlobalAveragePooling2D", {"keepdims": True, **FIRST}, IMAGE),
    Row("GlobalAveragePooling3D", {}, VOLUME),
    Row("GlobalAveragePooling3D", {"keepdims": True, **FIRST}, VOLUME),
    Row("AdaptiveAveragePooling1D", {"output_size": 4}, SEQUENCE),
    Row("AdaptiveAveragePooling1D", {"output_size": (2,), **FIRST}, SEQUENCE),
    Row("AdaptiveAveragePooling2D", {"output_size": (3, 2)}, IMAGE),
    Row("AdaptiveAveragePooling2D", {"output_size": 4, **FIRST}, IMAGE),
    Row("AdaptiveAveragePooling3D", {"output_size": (2, 4, 3)}, VOLUME),
    Row("AdaptiveMaxPooling1D", {"output_size": 4}, SEQUENCE),
    Row("AdaptiveMaxPooling2D", {"output_size": (4, 5)}, IMAGE),
    Row("AdaptiveMaxPooling2D", {"output_size": 2, **FIRST}, IMAGE),
    Row("AdaptiveMaxPooling3D", {"output_size": 2, **FIRST}, VOLUME),
]
