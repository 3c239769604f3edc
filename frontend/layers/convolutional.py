"""Convolutions: plain, depthwise, separable, transposed; in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from ...ir.errors import ArgumentError, ShapeError
from .. import ops
from ..dtypes import standardize_data_format
from ..input_spec import InputSpec
from ..registry import builtin
from .base import BuiltinLayer, channel_axis, sliding_size, spatial, with_spatial


class _Convolution(BuiltinLayer):
    """What all convolutions share: window arguments, bias, activation, the output's shape."""

    rank: int

    def _keep_window(
        self,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        data_format: str | None,
        dilation_rate: Any,
        causal: bool = False,
    ) -> None:
        names = ("valid", "same", "causal") if causal else ("valid", "same")
        self._keep(
            kernel_size=self._integers("kernel_size", kernel_size, self.rank),
            strides=self._integers("strides", strides, self.rank),
            padding=self._one_of("padding", padding, names),
            data_format=standardize_data_format(data_format),
            dilation_rate=self._integers("dilation_rate", dilation_rate, self.rank),
        )
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _not_both(self) -> None:
        """Refuse strides together with dilation, as Keras does."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise self._wrong("strides", self.strides, f"1 where dilation_rate={self.dilation_rate} is more than 1")

    def _channels(self, input_shape: Any) -> int:
        """The number of input channels, which the input spec fixes from then on."""
        axis = channel_axis(self.data_format)
        channels = self._known(input_shape[axis], "the number of channels", input_shape)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _weight(self, name: str, shape: tuple[int, ...], kind: str = "") -> Any:
        """A weight with the initializer, regularizer and constraint that the arguments ``{kind}_...`` gave."""
        kind = kind or name
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _bias(self, size: int) -> Any:
        return self._weight("bias", (size,)) if self.use_bias else None

    def _finish(self, outputs: Any) -> Any:
        """Add the bias and apply the activation."""
        if self.bias is not None:
            last = self.data_format == "channels_last"
            bias = self.bias if last else ops.reshape(self.bias, (1, self.bias.shape[0], *(1,) * self.rank))
            outputs = ops.add(outputs, bias)
        return self.activation(outputs)

    def _output_shape(self, input_shape: Any, channels: int) -> tuple[Any, ...]:
        if len(input_shape) != self.rank + 2:
            raise ShapeError(
                f"{self._who}: expected an input of rank {self.rank + 2}, received shape {tuple(input_shape)}"
            )
        sizes = [
            sliding_size(size, window, stride, self.padding, dilation)
            for size, window, stride, dilation in zip(
                spatial(input_shape, self.data_format), self.kernel_size, self.strides, self.dilation_rate, strict=True
            )
        ]
        if any(size is not None and size <= 0 for size in sizes):
            raise ShapeError(
                f"{self._who}: kernel_size={self.kernel_size} with "
                f"dilation_rate={self.dilation_rate} does not fit into input shape {tuple(input_shape)} "
                f"(padding={self.padding!r})"
            )
        return with_spatial(input_shape, sizes, channels, self.data_format)


class _Conv(_Convolution):
    """A kernel slides over the spatial axes; each place gives ``filters`` sums of products.

    Args:
        filters: number of output channels.
        kernel_size: size of the kernel: an integer or one for each spatial axis.
        strides: how far it moves.
        padding: ``"valid"``; ``"same"`` for as many places as positions over the stride; in one dimension also
            ``"causal"``, where no output sees later steps.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        dilation_rate: distance between the kernel's taps.
        groups: input channels and filters are cut into so many groups that do not see each other.
        activation: function or name; None for none.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: first values.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties on kernel, bias and output.
        kernel_constraint, bias_constraint: projections after each training step.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(filters=self._positive("filters", filters), groups=self._positive("groups", groups))
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate, causal=self.rank == 1)
        self._keep(
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        if filters % groups:
            raise self._wrong("filters", filters, f"a multiple of groups={groups}")
        self._not_both()

    def build(self, input_shape: Any) -> None:
        """Make the kernel ``(*kernel_size, channels / groups, filters)`` and the bias."""
        self.compute_output_shape(input_shape)
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ArgumentError(
                f"{self._who}: groups={self.groups} do not divide the {channels} "
                f"channels of input shape {tuple(input_shape)}"
            )
        self.kernel = self._weight("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        self.bias = self._bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias, apply the activation."""
        padding: Any = self.padding
        if padding == "causal":
            padding = [(self.dilation_rate[0] * (self.kernel_size[0] - 1), 0)]
        return self._finish(
            ops.conv(
                inputs,
                self.kernel,
                strides=self.strides,
                padding=padding,
                data_format=self.data_format,
                dilation_rate=self.dilation_rate,
            )
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes are the numbers of places; the channels are ``filters``."""
        return self._output_shape(input_shape, self.filters)


@builtin("keras.layers", aliases=("keras.layers.Convolution1D",))
class Conv1D(_Conv):
    """Convolution over ``(batch, steps, channels)``. ``_Conv`` lists the arguments."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.Convolution2D",))
class Conv2D(_Conv):
    """Convolution over ``(batch, rows, columns, channels)``. ``_Conv`` lists the arguments."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.Convolution3D",))
class Conv3D(_Conv):
    """Convolution over three spatial axes. ``_Conv`` lists the arguments."""

    rank = 3


class _DepthwiseConv(_Convolution):
    """Each input channel is convolved alone, with ``depth_multiplier`` kernels. ``_Conv`` has the other arguments."""

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(depth_multiplier=self._positive("depth_multiplier", depth_multiplier))
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._keep(
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        """Make the kernel ``(*kernel_size, channels, depth_multiplier)`` and the bias."""
        self.compute_output_shape(input_shape)
        channels = self._channels(input_shape)
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        self.bias = self._bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias, apply the activation."""
        return self._finish(
            ops.depthwise_conv(
                inputs,
                self.kernel,
                strides=self.strides,
                padding=self.padding,
                data_format=self.data_format,
                dilation_rate=self.dilation_rate,
            )
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes are the numbers of places; channels are multiplied by ``depth_multiplier``."""
        channels = input_shape[channel_axis(self.data_format)]
        return self._output_shape(input_shape, self.depth_multiplier * channels)


@builtin("keras.layers")
class DepthwiseConv1D(_DepthwiseConv):
    """Depthwise convolution over ``(batch, steps, channels)``. ``_DepthwiseConv`` lists the arguments."""

    rank = 1


@builtin("keras.layers")
class DepthwiseConv2D(_DepthwiseConv):
    """Depthwise convolution over ``(batch, rows, columns, channels)``. ``_DepthwiseConv`` lists the arguments."""

    rank = 2


class _SeparableConv(_Convolution):
    """A depthwise convolution, then one of kernel size 1 that mixes the channels. ``_Conv`` has the other arguments."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(
            depth_multiplier=self._positive("depth_multiplier", depth_multiplier),
            filters=self._positive("filters", filters),
        )
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._keep(
            activation=activation,
            use_bias=use_bias,
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape: Any) -> None:
        """Make the two kernels and the bias."""
        self.compute_output_shape(input_shape)
        channels = self._channels(input_shape)
        self.depthwise_kernel = self._weight(
            "depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise"
        )
        self.pointwise_kernel = self._weight(
            "pointwise_kernel", (*(1,) * self.rank, channels * self.depth_multiplier, self.filters), "pointwise"
        )
        self.bias = self._bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve twice, add the bias, apply the activation."""
        return self._finish(
            ops.separable_conv(
                inputs,
                self.depthwise_kernel,
                self.pointwise_kernel,
                strides=self.strides,
                padding=self.padding,
                data_format=self.data_format,
                dilation_rate=self.dilation_rate,
            )
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes are the numbers of places; the channels are ``filters``."""
        return self._output_shape(input_shape, self.filters)


@builtin("keras.layers", aliases=("keras.layers.SeparableConvolution1D",))
class SeparableConv1D(_SeparableConv):
    """Separable convolution over ``(batch, steps, channels)``. ``_SeparableConv`` lists the arguments."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.SeparableConvolution2D",))
class SeparableConv2D(_SeparableConv):
    """Separable convolution over ``(batch, rows, columns, channels)``. ``_SeparableConv`` lists the arguments."""

    rank = 2


class _ConvTranspose(_Convolution):
    """The transpose of a convolution, which makes spatial sizes grow by the strides. ``_Conv`` has the other arguments.

    Args:
        output_padding: how many positions are added at one end of each spatial axis, less than the stride; None for
            the usual size.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(filters=self._positive("filters", filters))
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        if output_padding is not None:
            output_padding = self._integers("output_padding", output_padding, self.rank, least=0)
            if any(extra >= stride for extra, stride in zip(output_padding, self.strides, strict=True)):
                raise self._wrong("output_padding", output_padding, f"less than strides={self.strides}")
        self._keep(
            output_padding=output_padding,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self._not_both()

    def build(self, input_shape: Any) -> None:
        """Make the kernel ``(*kernel_size, filters, channels)`` and the bias."""
        self.kernel = self._weight("kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        self.bias = self._bias(self.filters)

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias, apply the activation."""
        return self._finish(
            ops.conv_transpose(
                inputs,
                self.kernel,
                strides=self.strides,
                padding=self.padding,
                output_padding=self.output_padding,
                data_format=self.data_format,
                dilation_rate=self.dilation_rate,
            )
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial sizes grow by the strides; the channels are ``filters``."""
        extras = self.output_padding or (None,) * self.rank
        before = spatial(input_shape, self.data_format)
        windows = zip(before, self.kernel_size, self.strides, self.dilation_rate, extras, strict=True)
        sizes = [self._grown(*window) for window in windows]
        return with_spatial(input_shape, sizes, self.filters, self.data_format)

    def _grown(self, size: int | None, window: int, stride: int, dilation: int, extra: int | None) -> int | None:
        if size is None:
            return None
        window = (window - 1) * dilation + 1
        if self.padding == "valid":
            return (size - 1) * stride + window + (max(window, stride) - window if extra is None else extra)
        return size * stride if extra is None else (size - 1) * stride + window % 2 + extra


@builtin("keras.layers", aliases=("keras.layers.Convolution1DTranspose",))
class Conv1DTranspose(_ConvTranspose):
    """Transposed convolution over ``(batch, steps, channels)``. ``_ConvTranspose`` lists the arguments."""

    rank = 1


@builtin("keras.layers", aliases=("keras.layers.Convolution2DTranspose",))
class Conv2DTranspose(_ConvTranspose):
    """Transposed convolution over ``(batch, rows, columns, channels)``. ``_ConvTranspose`` lists the arguments."""

    rank = 2


@builtin("keras.layers", aliases=("keras.layers.Convolution3DTranspose",))
class Conv3DTranspose(_ConvTranspose):
    """Transposed convolution over three spatial axes. ``_ConvTranspose`` lists the arguments."""

    rank = 3


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
