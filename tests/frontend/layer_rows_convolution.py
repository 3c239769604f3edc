"""Convolutions: rows of the parity table."""

from layer_parity import Row

IMAGE, VOLUME, SEQUENCE = (2, 7, 6, 4), (2, 5, 6, 4, 3), (2, 9, 4)
FIRST = {"data_format": "channels_first"}
BIAS = {
    "bias_initializer": "ones",
    "bias_regularizer": "l1",
    "bias_constraint": "non_neg",
    "activity_regularizer": "l2",
}


def weights(*kinds):
    """Every argument about kernels of these kinds, and about the bias."""
    given = {}
    for kind in kinds:
        given[f"{kind}_initializer"] = "he_normal"
        given[f"{kind}_regularizer"] = "l2"
        given[f"{kind}_constraint"] = "max_norm"
    return {**given, **BIAS, "activation": "tanh", "activity_regularizer": "l2"}


KERNEL, DEPTHWISE, SEPARABLE = weights("kernel"), weights("depthwise"), weights("depthwise", "pointwise")

ROWS = [
    Row("Conv1D", {"filters": 5, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, SEQUENCE),
    Row("Conv1D", {"filters": 6, "kernel_size": 3, "groups": 2, "strides": 2, "padding": "same"}, SEQUENCE),
    Row("Conv1D", {"filters": 6, "kernel_size": 3, "padding": "causal", "strides": 2, **FIRST}, SEQUENCE),
    Row("Conv1D", {"filters": 2, "kernel_size": 2, "use_bias": False}, SEQUENCE),
    Row("Conv1D", {"filters": 2, "kernel_size": 1, **KERNEL}, SEQUENCE),
    Row("Conv2D", {"filters": 5, "kernel_size": 3, "activation": "relu"}, IMAGE),
    Row("Conv2D", {"filters": 5, "kernel_size": (3, 2), "strides": (2, 1), "padding": "same", **KERNEL}, IMAGE),
    Row("Conv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "groups": 2, "use_bias": False}, IMAGE),
    Row("Conv2D", {"filters": 4, "kernel_size": 3, **FIRST}, IMAGE),
    Row("Conv2D", {"filters": 7, "kernel_size": 3, "padding": "same", "groups": 7, **FIRST}, IMAGE),
    Row("Conv2D", {"filters": 3, "kernel_size": 2, "padding": "same", "dilation_rate": (1, 3)}, IMAGE),
    Row("Conv3D", {"filters": 5, "kernel_size": (2, 3, 1), "padding": "same"}, VOLUME),
    Row("Conv3D", {"filters": 3, "kernel_size": 2, "strides": 2, "groups": 3, **KERNEL}, VOLUME),
    Row("Conv3D", {"filters": 3, "kernel_size": 2, "dilation_rate": 2, "use_bias": False, **FIRST}, VOLUME),
    Row("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2}, SEQUENCE),
    Row("DepthwiseConv1D", {"kernel_size": 3, "strides": 2, "padding": "same", **DEPTHWISE}, SEQUENCE),
    Row("DepthwiseConv1D", {"kernel_size": 2, "dilation_rate": 2, "use_bias": False, **FIRST}, SEQUENCE),
    Row("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}, IMAGE),
    Row("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, **FIRST}, IMAGE),
    Row("DepthwiseConv2D", {"kernel_size": (2, 3), "dilation_rate": 2, "use_bias": False}, IMAGE),
    Row("DepthwiseConv2D", {"kernel_size": 2, "depth_multiplier": 3, **DEPTHWISE}, IMAGE),
    Row("SeparableConv1D", {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}, SEQUENCE),
    Row("SeparableConv1D", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", **SEPARABLE}, SEQUENCE),
    Row("SeparableConv1D", {"filters": 5, "kernel_size": 2, "dilation_rate": 2, "use_bias": False, **FIRST}, SEQUENCE),
    Row("SeparableConv2D", {"filters": 5, "kernel_size": 3, "padding": "same", "dilation_rate": 2}, IMAGE),
    Row("SeparableConv2D", {"filters": 5, "kernel_size": 3, "strides": 2, "depth_multiplier": 2, **SEPARABLE}, IMAGE),
    Row("SeparableConv2D", {"filters": 5, "kernel_size": (2, 3), "use_bias": False, **FIRST}, IMAGE),
    Row("Conv1DTranspose", {"filters": 5, "kernel_size": 3, "strides": 2}, SEQUENCE),
    Row("Conv1DTranspose", {"filters": 5, "kernel_size": 3, "strides": 2, "output_padding": 1, **KERNEL}, SEQUENCE),
    Row("Conv1DTranspose", {"filters": 5, "kernel_size": 3, "dilation_rate": 2, "padding": "same", **FIRST}, SEQUENCE),
    Row("Conv1DTranspose", {"filters": 5, "kernel_size": 2, "strides": 3, "use_bias": False}, SEQUENCE),
    Row("Conv2DTranspose", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    Row("Conv2DTranspose", {"filters": 5, "kernel_size": 2, "strides": 3, "output_padding": 1, **FIRST}, IMAGE),
    Row("Conv2DTranspose", {"filters": 5, "kernel_size": (1, 4), "strides": (1, 2), "use_bias": False}, IMAGE),
    Row("Conv2DTranspose", {"filters": 5, "kernel_size": 2, "dilation_rate": 2, "padding": "same", **KERNEL}, IMAGE),
    Row("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "dilation_rate": 2}, VOLUME),
    Row("Conv3DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", **KERNEL}, VOLUME),
    Row("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2, "output_padding": 1, **FIRST}, VOLUME),
    Row("Conv3DTranspose", {"filters": 2, "kernel_size": 1, "use_bias": False}, VOLUME),
]
