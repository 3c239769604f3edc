"""Keras's names for ops in files: each is a class, and its constructor takes the arguments that are no tensors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Module of keras.src.ops -> op functions; ":Name" where the class is not named after the function, and in parentheses
# the constructor's arguments. All other arguments belong to the call.
_TABLE = {
    "numpy": """
        abs:Absolute; absolute; add; all(axis keepdims); allclose:AllClose(rtol atol equal_nan); amax(axis keepdims);
        amin(axis keepdims); angle; any(axis keepdims); append(axis); arange(dtype); arccos; arccosh; arcsin; arcsinh;
        arctan; arctan2; arctanh; argmax(axis keepdims); argmin(axis keepdims); argpartition(kth axis); argsort(axis);
        array(dtype); array_split(indices_or_sections axis); average(axis); bincount(weights minlength sparse);
        bitwise_and; bitwise_invert; bitwise_left_shift; bitwise_not; bitwise_or; bitwise_right_shift; bitwise_xor;
        broadcast_to(shape); cbrt; ceil; clip(x_min x_max); concatenate(axis); conj:Conjugate; conjugate; copy;
        corrcoef; correlate(mode); cos; cosh; count_nonzero(axis); cross(axisa axisb axisc axis); cumprod(axis dtype);
        cumsum(axis dtype); deg2rad; diag(k); diagflat(k); diagonal(offset axis1 axis2); diff(n axis); digitize; divide;
        divide_no_nan; dot; dsplit(indices_or_sections); dstack; einsum(subscripts); empty_like(dtype); equal; exp;
        exp2; expand_dims(axis); expm1; fabs; flip(axis); fliplr; flipud; floor; floor_divide; fmax; fmin; fmod;
        full(shape dtype); full_like(dtype); gcd; geomspace(num endpoint dtype axis); get_item; greater; greater_equal;
        heaviside; histogram(bins range); hsplit(indices_or_sections); hstack; hypot; i0; imag; inner;
        isclose(equal_nan); isfinite; isin:IsIn(assume_unique invert); isinf; isnan; isneginf; isposinf; isreal; kron;
        lcm; ldexp; left_shift; less; less_equal; linspace(num endpoint retstep dtype axis); log; log10; log1p; log2;
        logaddexp; logaddexp2; logical_and; logical_not; logical_or; logical_xor; logspace(num endpoint base dtype
        axis); matmul; max(axis keepdims initial); maximum; mean(axis keepdims); median(axis keepdims);
        meshgrid(indexing); min(axis keepdims initial); minimum; mod; moveaxis(source destination); multiply;
        nan_to_num(nan posinf neginf); nanargmax(axis keepdims); nanargmin(axis keepdims); nancumprod(axis dtype);
        nancumsum(axis dtype); nanmax(axis keepdims); nanmean(axis keepdims); nanmedian(axis keepdims); nanmin(axis
        keepdims); nanpercentile(axis method keepdims); nanprod(axis keepdims); nanquantile(axis method keepdims);
        nanstd(axis keepdims); nansum(axis keepdims); nanvar(axis keepdims); ndim; negative; nextafter; nonzero;
        not_equal; ones_like(dtype); outer; pad(pad_width mode); percentile(axis method keepdims); power; prod(axis
        keepdims dtype); ptp(axis keepdims); quantile(axis method keepdims); rad2deg; ravel; real; reciprocal;
        repeat(repeats axis); reshape(newshape); right_shift; roll(shift axis); rot90(k axes); round(decimals);
        searchsorted:SearchSorted(side); select; sign; signbit; sin; sinc; sinh; size; slogdet; sort(axis);
        split(indices_or_sections axis); sqrt; square; squeeze(axis); stack(axis); std(axis keepdims); subtract;
        sum(axis keepdims); swapaxes(axis1 axis2); take(axis); take_along_axis(axis); tan; tanh; tensordot(axes);
        tile(repeats); trace(offset axis1 axis2); transpose(axes); trapezoid(x dx axis); tril(k); triu(k); true_divide;
        trunc; unique(sorted return_index return_inverse return_counts axis size fill_value); unravel_index(shape);
        vander(N increasing); var(axis keepdims); vdot; view(dtype); vsplit(indices_or_sections); vstack; where;
        zeros_like(dtype)
    """,
    "nn": """
        adaptive_average_pool(output_size data_format); adaptive_max_pool(output_size data_format);
        average_pool(pool_size strides padding data_format); batch_normalization:BatchNorm(axis epsilon);
        binary_crossentropy(from_logits); categorical_crossentropy(from_logits axis); celu(alpha); conv(strides padding
        data_format dilation_rate); conv_transpose(strides padding output_padding data_format dilation_rate);
        ctc_decode:CTCDecode(strategy beam_width top_paths merge_repeated mask_index); ctc_loss:CTCLoss(mask_index);
        depth_to_space(block_size data_format); depthwise_conv(strides padding data_format dilation_rate);
        dot_product_attention(is_causal flash_attention attn_logits_soft_cap); elu(alpha); fold(output_size kernel_size
        dilation padding stride); gelu(approximate); glu(axis); hard_shrink(threshold); hard_sigmoid; hard_silu;
        hard_swish:HardSilu; hard_tanh; layer_normalization:LayerNorm(axis epsilon rms_scaling);
        leaky_relu(negative_slope); log_sigmoid; log_softmax(axis); max_pool(pool_size strides padding data_format);
        moments(axes keepdims synchronized); multi_hot(num_classes axis dtype sparse); normalize(axis order epsilon);
        one_hot(num_classes axis dtype sparse); polar; psnr:PSNR(max_val); relu; relu6; rms_normalization:RMSNorm(axis
        epsilon); selu; separable_conv(strides padding data_format dilation_rate); sigmoid; silu;
        soft_shrink(threshold); softmax(axis); softplus; softsign; space_to_depth(block_size data_format);
        sparse_categorical_crossentropy(from_logits axis); sparse_plus; sparse_sigmoid; sparsemax(axis); squareplus(b);
        swish:Silu; tanh_shrink; threshold(threshold default_value); unfold(kernel_size dilation padding stride)
    """,
    "core": """
        associative_scan(reverse axis); cast(dtype); cond; convert_to_tensor(dtype sparse ragged); fori_loop(lower upper
        body_fun); map; saturate_cast(dtype); scan(length reverse unroll); scatter(shape); scatter_update(reduction);
        slice(shape); slice_update; stop_gradient; switch; unstack(num axis); vectorized_map(function); while_loop(cond
        body maximum_iterations)
    """,
    "math": """
        cdist:CDist; erf; erfc; erfinv; extract_sequences(sequence_length sequence_stride); fft:FFT; fft2:FFT2;
        ifft2:IFFT2; in_top_k(k); irfft:IRFFT(fft_length); istft:ISTFT(sequence_length sequence_stride fft_length length
        window center); logdet; logsumexp(axis keepdims); rfft:RFFT(fft_length); rsqrt; segment_max(num_segments
        sorted); segment_min(num_segments sorted); segment_prod(num_segments sorted); segment_sum(num_segments sorted);
        stft:STFT(sequence_length sequence_stride fft_length window center); top_k(k sorted); view_as_complex;
        view_as_real
    """,
    "linalg": """
        cholesky(upper); cholesky_inverse(upper); det; eig; eigh; inv; jvp:JVP(has_aux); lstsq(rcond); lu_factor;
        matrix_rank(tol); norm(ord axis keepdims); pinv(rcond); qr(mode); solve; solve_triangular(lower);
        svd:SVD(full_matrices compute_uv)
    """,
    "einops": """
        rearrange
    """,
    "image": """
        affine_transform(interpolation fill_mode fill_value data_format); crop_images(top_cropping left_cropping
        bottom_cropping right_cropping target_height target_width data_format); elastic_transform(alpha sigma
        interpolation fill_mode fill_value seed data_format); extract_patches(size strides dilation_rate padding
        data_format); extract_patches_3d:ExtractPatches(size strides dilation_rate padding data_format);
        gaussian_blur(kernel_size sigma data_format); hsv_to_rgb:HSVToRGB(data_format); map_coordinates(order fill_mode
        fill_value); pad_images(top_padding left_padding bottom_padding right_padding target_height target_width
        data_format); perspective_transform(interpolation fill_value data_format); resize(size interpolation antialias
        crop_to_aspect_ratio pad_to_aspect_ratio fill_mode fill_value data_format);
        rgb_to_grayscale:RGBToGrayscale(data_format); rgb_to_hsv:RGBToHSV(data_format); scale_and_translate(spatial_dims
        method antialias); sobel_edges(data_format); ssim:SSIM(max_val filter_size filter_sigma k1 k2 data_format)
    """,
}


@dataclass(frozen=True)
class OpClass:
    """How Keras's files name an op.

    Attributes:
        module: such as ``"keras.src.ops.numpy"``.
        name: of the class, such as ``"ExpandDims"``.
        function: name of the op, ``"expand_dims"``.
        static: arguments that its constructor takes: those are in the config, others in the node.
    """

    module: str
    name: str
    function: str
    static: tuple[str, ...]


@functools.cache
def _by_function() -> Mapping[str, OpClass]:
    found = {}
    for module, rows in _TABLE.items():
        for row in " ".join(rows.split()).split("; "):
            named, _, static = row.removesuffix(")").partition("(")
            function, _, name = named.partition(":")
            name = name or _camel(function)
            found[function] = OpClass(f"keras.src.ops.{module}", name, function, tuple(static.split()))
    return found


@functools.cache
def _by_class() -> Mapping[str, OpClass]:
    found: dict[str, OpClass] = {}
    for op in _by_function().values():
        if op.name not in found or op.name == _camel(op.function):  # not an alias such as abs, for Absolute
            found[op.name] = op
    return found


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def class_of(function: Callable[..., Any]) -> OpClass:
    """What Keras calls an op; a function that Keras has not is named after itself."""
    name = function.__name__
    return _by_function().get(name) or OpClass("keras.src.ops.numpy", _camel(name), name, ())


def find_class(name: str) -> OpClass | None:
    """The op of a class name in a file, or None where there is none such."""
    return _by_class().get(name)


def split_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Arguments of an op as Keras's files have them: those of the constructor, then those of the call."""
    static = class_of(function).static
    if not static:
        return {}, list(args), dict(kwargs)
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    config = {name: bound.arguments[name] for name in static if name in bound.arguments}
    call: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in bound.signature.parameters.items():
        if name not in static and name in bound.arguments:
            value = bound.arguments[name]
            if parameter.kind is parameter.VAR_KEYWORD:
                named.update(value)
            else:
                call.extend(value if parameter.kind is parameter.VAR_POSITIONAL else [value])
    return config, call, named


def join_arguments(
    function: Callable[..., Any], config: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The reverse of :func:`split_arguments`: the arguments to call the op with."""
    if function.__name__ == "get_item":  # JSON made a list of the index's parts
        return [tuple(arg) if isinstance(arg, list) else arg for arg in args], dict(kwargs)
    if not config:
        return list(args), dict(kwargs)
    positional: list[Any] = []
    named = dict(kwargs)
    rest = list(args)
    open_ = True  # whether arguments can still be given by place
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += rest
            rest, open_ = [], False
        elif name in named:
            open_ = False
        elif name in config or rest:
            value = config[name] if name in config else rest.pop(0)
            if open_ and parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(value)
            else:
                named[name] = value
        else:
            open_ = False
    return [*positional, *rest], named
