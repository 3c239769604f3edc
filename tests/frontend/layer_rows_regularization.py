"""Dropout and noise, out of training and where they are off: rows of the parity table.

What they do in training is in test_layers.py: the noise is Keras's, dropout draws from a generator of ours.
"""

import numpy as np
from layer_parity import Row

IMAGE, VOLUME, SEQUENCE = (2, 7, 6, 4), (2, 5, 6, 4, 3), (2, 9, 4)
FIRST = {"data_format": "channels_first"}
STEPS = np.arange(9) < np.array([[9], [4]])
TRAINING = {"training": True}

ROWS = [
    Row("Dropout", {"rate": 0.3, "seed": 1}, (3, 4)),
    Row("Dropout", {"rate": 0.3, "noise_shape": (None, 1)}, (3, 4)),
    Row("Dropout", {"rate": 0}, SEQUENCE, mask=STEPS, call=TRAINING),
    Row("SpatialDropout1D", {"rate": 0.3, "seed": 1}, SEQUENCE, mask=STEPS),
    Row("SpatialDropout1D", {"rate": 0.0}, SEQUENCE, call=TRAINING),
    Row("SpatialDropout2D", {"rate": 0.3, "seed": 2}, IMAGE),
    Row("SpatialDropout2D", {"rate": 0.0, **FIRST}, IMAGE, call=TRAINING),
    Row("SpatialDropout3D", {"rate": 0.3, **FIRST}, VOLUME),
    Row("SpatialDropout3D", {"rate": 0.0, "seed": 3}, VOLUME, call=TRAINING),
    Row("GaussianNoise", {"stddev": 0.3, "seed": 1}, (3, 4)),
    Row("GaussianNoise", {"stddev": 0}, SEQUENCE, mask=STEPS, call=TRAINING),
    Row("GaussianDropout", {"rate": 0.3, "seed": 1}, (3, 4)),
    Row("GaussianDropout", {"rate": 0}, SEQUENCE, mask=STEPS, call=TRAINING),
    Row("AlphaDropout", {"rate": 0.3, "seed": 1, "noise_shape": (None, 1)}, (3, 4)),
    Row("AlphaDropout", {"rate": 0}, SEQUENCE, mask=STEPS, call=TRAINING),
]
