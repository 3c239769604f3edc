"""``keras.ops``: functions on tensors, one flat namespace."""

# isort: skip_file
# fmt: off
from __future__ import annotations

from . import image as image, linalg as linalg, nn as nn, numpy as numpy
from .core import (
    array, cast, convert_to_numpy, convert_to_tensor, copy, dtype, is_tensor, ndim, saturate_cast, shape, size,
    stop_gradient, view_as_complex, view_as_real,
)
from .elementwise import (
    abs, absolute, add, angle, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, ceil, clip,
    conj, conjugate, cos, cosh, deg2rad, divide, divide_no_nan, divmod, erf, erfc, erfinv, exp, exp2, expm1,
    fabs, floor, floor_divide, fmax, fmin, fmod, gcd, heaviside, hypot, i0, imag, isfinite, isinf, isnan,
    isneginf, isposinf, isreal, lcm, ldexp, log, log10, log1p, log2, logaddexp, logaddexp2, maximum, minimum,
    mod, multiply, nan_to_num, negative, nextafter, power, rad2deg, real, reciprocal, round, rsqrt, sign,
    signbit, sin, sinc, sinh, sqrt, square, subtract, tan, tanh, true_divide, trunc,
)
from .logic import (
    allclose, bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift,
    bitwise_xor, equal, greater, greater_equal, isclose, left_shift, less, less_equal, logical_and, logical_not,
    logical_or, logical_xor, not_equal, right_shift,
)
from .creation import (
    arange, bartlett, blackman, empty, empty_like, eye, full, full_like, geomspace, hamming, hanning, identity,
    kaiser, linspace, logspace, meshgrid, ones, ones_like, tri, tril, triu, zeros, zeros_like,
)
from .rearranging import (
    append, array_split, broadcast_to, concatenate, depth_to_space, dsplit, dstack, expand_dims, flip, fliplr,
    flipud, hsplit, hstack, moveaxis, ravel, repeat, reshape, roll, rot90, space_to_depth, split, squeeze,
    stack, swapaxes, tile, transpose, unstack, vsplit, vstack,
)
from .padding import diag, diagflat, diagonal, pad, trace
from .getitem import get_item
from .indexing import (
    bincount, digitize, isin, nonzero, scatter, scatter_update, searchsorted, segment_max, segment_min,
    segment_prod, segment_sum, select, slice, slice_update, take, take_along_axis, unravel_index, view, where,
)
from .reduction import (
    all, amax, amin, any, argmax, argmin, average, corrcoef, count_nonzero, cumprod, cumsum, diff, logsumexp,
    max, mean, min, moments, nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean, nanmin, nanprod,
    nanstd, nansum, nanvar, prod, ptp, std, sum, trapezoid, var,
)
from .sorting import (
    argpartition, argsort, histogram, in_top_k, median, nanmedian, nanpercentile, nanquantile, percentile,
    quantile, sort, top_k, unique,
)
from .product import correlate, cross, dot, einsum, inner, kron, matmul, outer, tensordot, vdot
from .linalg import (
    cholesky, cholesky_inverse, det, inv, jvp, logdet, lu_factor, norm, qr, slogdet, solve, solve_triangular, vander,
)
from .spectral import eig, eigh, lstsq, matrix_rank, pinv, svd
from .activation import (
    celu, elu, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_swish, hard_tanh, leaky_relu, log_sigmoid,
    log_softmax, mish, polar, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign,
    sparse_plus, sparse_sigmoid, sparsemax, squareplus, swish, tanh_shrink, threshold,
)
from .neural import (
    batch_normalization, binary_crossentropy, categorical_crossentropy, cdist, dot_product_attention,
    layer_normalization, multi_hot, normalize, one_hot, psnr, rms_normalization, sparse_categorical_crossentropy,
)
from .convolution import (
    adaptive_average_pool, adaptive_max_pool, average_pool, conv, conv_transpose, depthwise_conv,
    extract_sequences, fold, max_pool, separable_conv, unfold,
)
from .fourier import fft, fft2, ifft2, irfft, istft, rfft, stft
from .einops import rearrange
from .control import associative_scan, cond, fori_loop, map, scan, switch, while_loop
from .gradient import custom_gradient
from .vectorized import vectorize, vectorized_map
from .ctc import ctc_decode, ctc_loss

__all__ = [
    "abs", "absolute", "adaptive_average_pool", "adaptive_max_pool", "add", "all", "allclose", "amax", "amin",
    "angle", "any", "append", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "argmax", "argmin", "argpartition", "argsort", "array", "array_split", "associative_scan",
    "average", "average_pool", "bartlett", "batch_normalization", "binary_crossentropy", "bincount",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "blackman", "broadcast_to", "cast", "categorical_crossentropy", "cbrt", "cdist", "ceil",
    "celu", "cholesky", "cholesky_inverse", "clip", "concatenate", "cond", "conj", "conjugate", "conv",
    "conv_transpose", "convert_to_numpy", "convert_to_tensor", "copy", "corrcoef", "correlate", "cos", "cosh",
    "count_nonzero", "cross", "ctc_decode", "ctc_loss", "cumprod", "cumsum", "custom_gradient", "deg2rad",
    "depth_to_space", "depthwise_conv", "det", "diag", "diagflat", "diagonal", "diff", "digitize", "divide",
    "divide_no_nan", "divmod", "dot", "dot_product_attention", "dsplit", "dstack", "dtype", "eig", "eigh",
    "einsum", "elu",
    "empty", "empty_like", "equal", "erf", "erfc", "erfinv", "exp", "exp2", "expand_dims", "expm1",
    "extract_sequences", "eye", "fabs", "fft", "fft2", "flip", "fliplr", "flipud", "floor", "floor_divide",
    "fmax", "fmin", "fmod", "fold", "fori_loop", "full", "full_like", "gcd", "gelu", "geomspace", "get_item",
    "glu", "greater", "greater_equal", "hamming", "hanning", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "heaviside", "histogram", "hsplit", "hstack", "hypot", "i0", "identity", "ifft2",
    "imag", "in_top_k", "inner", "inv", "irfft", "is_tensor", "isclose", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "isreal", "istft", "jvp", "kaiser", "kron", "layer_normalization", "lcm", "ldexp",
    "leaky_relu", "left_shift", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2",
    "log_sigmoid", "log_softmax", "logaddexp", "logaddexp2", "logdet", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logspace", "logsumexp", "lstsq",
    "lu_factor", "map", "matmul", "matrix_rank", "max", "max_pool",
    "maximum", "mean", "median", "meshgrid", "min", "minimum", "mish", "mod", "moments", "moveaxis",
    "multi_hot", "multiply", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax",
    "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar",
    "ndim", "negative", "nextafter", "nonzero", "norm", "normalize", "not_equal", "one_hot", "ones",
    "ones_like", "outer", "pad", "percentile", "pinv", "polar", "power", "prod", "psnr", "ptp", "qr", "quantile",
    "rad2deg", "ravel", "real", "rearrange", "reciprocal", "relu", "relu6", "repeat", "reshape", "rfft",
    "right_shift", "rms_normalization", "roll", "rot90", "round", "rsqrt", "saturate_cast", "scan", "scatter",
    "scatter_update", "searchsorted", "segment_max", "segment_min", "segment_prod", "segment_sum", "select",
    "selu", "separable_conv", "shape", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "size",
    "slice", "slice_update", "slogdet", "soft_shrink", "softmax", "softplus", "softsign", "solve",
    "solve_triangular", "sort", "space_to_depth", "sparse_categorical_crossentropy", "sparse_plus",
    "sparse_sigmoid", "sparsemax", "split", "sqrt", "square", "squareplus", "squeeze", "stack", "std", "stft",
    "stop_gradient", "subtract", "sum", "svd", "swapaxes", "swish", "switch", "take", "take_along_axis", "tan", "tanh",
    "tanh_shrink", "tensordot", "threshold", "tile", "top_k", "trace", "transpose", "trapezoid", "tri", "tril",
    "triu", "true_divide", "trunc", "unfold", "unique", "unravel_index", "unstack", "vander", "var", "vdot",
    "vectorize", "vectorized_map",
    "view", "view_as_complex", "view_as_real", "vsplit", "vstack", "where", "while_loop", "zeros", "zeros_like",
]
