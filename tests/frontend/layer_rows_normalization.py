"""Normalization layers: rows of the parity table."""

import numpy as np
from layer_parity import Row, made

IMAGE, SEQUENCE = (2, 7, 6, 4), (2, 9, 4)
STEPS = np.arange(9) < np.array([[9], [4]])
TRAINING = {"training": True}
AFFINE = {
    "beta_initializer": "ones",
    "gamma_initializer": "ones",
    "beta_regularizer": "l1",
    "gamma_regularizer": "l2",
    "beta_constraint": "non_neg",
    "gamma_constraint": "max_norm",
}
BATCH = {**AFFINE, "moving_mean_initializer": "ones", "moving_variance_initializer": "ones"}
RENORM = {"renorm": True, "renorm_momentum": 0.9, "renorm_clipping": {"rmin": 0.3, "rmax": 3.0, "dmax": 5.0}}
DENSE = made(lambda k: k.layers.Dense(3))
CONV = made(lambda k: k.layers.Conv2D(3, 2))

ROWS = [
    Row("BatchNormalization", {}, IMAGE),
    Row("BatchNormalization", {"axis": 1, "epsilon": 1e-2, "momentum": 0.9}, IMAGE),
    Row("BatchNormalization", {"scale": False}, (5, 4)),
    Row("BatchNormalization", {"center": False, "scale": False}, (5, 4)),
    Row("BatchNormalization", {"renorm": True, "renorm_clipping": {"rmax": 3.0}}, (5, 4)),
    Row("BatchNormalization", BATCH, IMAGE, call=TRAINING),
    Row("BatchNormalization", {"momentum": 0.5}, SEQUENCE, mask=STEPS, call=TRAINING),
    Row("BatchNormalization", {"trainable": False}, SEQUENCE, mask=STEPS, call=TRAINING),
    Row("BatchNormalization", RENORM, (5, 4), call=TRAINING, units=16),
    Row("LayerNormalization", {}, SEQUENCE),
    Row("LayerNormalization", {"axis": [1, 2], "epsilon": 1e-5}, SEQUENCE),
    Row("LayerNormalization", {"axis": 1, "scale": False}, SEQUENCE),
    Row("LayerNormalization", {"axis": [1, -1]}, IMAGE),
    Row("LayerNormalization", {"axis": -2, "center": False}, SEQUENCE),
    Row("LayerNormalization", AFFINE, SEQUENCE, mask=STEPS),
    Row("RMSNormalization", {}, SEQUENCE),
    Row("RMSNormalization", {"axis": [1, 2], "epsilon": 1e-3}, SEQUENCE),
    Row("UnitNormalization", {}, SEQUENCE),
    Row("BatchNormalization", {}, (3, 4), dtype="int32"),
    Row("GroupNormalization", {"groups": 2}, (3, 2, 4), dtype="int32"),
    Row("UnitNormalization", {"axis": [1, 2]}, SEQUENCE, mask=STEPS),
    Row("GroupNormalization", {"groups": 2}, IMAGE),
    Row("GroupNormalization", {"groups": -1, "axis": 1, "center": False}, IMAGE),
    Row("GroupNormalization", {"groups": 1, "scale": False, "epsilon": 0.1}, SEQUENCE),
    Row("GroupNormalization", {**AFFINE, "groups": 4}, SEQUENCE, mask=STEPS),
    Row("SpectralNormalization", {"layer": DENSE}, SEQUENCE),
    Row("SpectralNormalization", {"layer": DENSE, "power_iterations": 3}, (2, 4), call=TRAINING),
    Row("SpectralNormalization", {"layer": CONV}, IMAGE, call=TRAINING),
]
