"""The attributes of each StableHLO operation, out of those of the node it comes from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..ir.graph import Node
from .mlir import (
    array_attribute,
    bool_array,
    flag,
    int_array,
    integer,
    ir,
    layouts_array,
    matrix,
    precision,
    prepare_lapack,
    stablehlo,
    string,
)
from .precision import precision_of

Attributes = Mapping[str, ir.Attribute]


def compare(node: Node) -> Attributes:
    """Direction, and the total order of floats where it is asked for."""
    dtype = node.operands[0].dtype
    given: dict[str, ir.Attribute] = {
        "comparison_direction": stablehlo.ComparisonDirectionAttr.get(node.attributes["direction"])
    }
    if node.attributes.get("total_order"):
        given["compare_type"] = stablehlo.ComparisonTypeAttr.get("TOTALORDER" if dtype.kind in "fV" else "SIGNED")
    return given


def reduce_precision(node: Node) -> Attributes:
    """Bits of exponent and mantissa."""
    return {name: integer(node.attributes[name], 32) for name in ("exponent_bits", "mantissa_bits")}


def constant(node: Node) -> Attributes:
    """The array."""
    return {"value": array_attribute(node.attributes["value"])}


def iota(node: Node) -> Attributes:
    """The axis that counts."""
    return {"iota_dimension": integer(node.attributes["axis"])}


def transpose(node: Node) -> Attributes:
    """The permutation."""
    return {"permutation": int_array(node.attributes["permutation"])}


def broadcast_in_dim(node: Node) -> Attributes:
    """Where each dimension of the operand goes."""
    return {"broadcast_dimensions": int_array(node.attributes["dims"])}


def slice_(node: Node) -> Attributes:
    """Start, limit and stride of each axis."""
    a = node.attributes
    return {
        "start_indices": int_array(a["start"]),
        "limit_indices": int_array(a["limit"]),
        "strides": int_array(a["strides"]),
    }


def pad(node: Node) -> Attributes:
    """Padding before, after and between."""
    a = node.attributes
    return {
        "edge_padding_low": int_array(a["low"]),
        "edge_padding_high": int_array(a["high"]),
        "interior_padding": int_array(a["interior"]),
    }


def concatenate(node: Node) -> Attributes:
    """The axis that grows."""
    return {"dimension": integer(node.attributes["axis"])}


def reverse(node: Node) -> Attributes:
    """The axes that turn round."""
    return {"dimensions": int_array(node.attributes["axes"])}


def dynamic_slice(node: Node) -> Attributes:
    """The size of the slice."""
    return {"slice_sizes": int_array(node.attributes["sizes"])}


def dot_general(node: Node) -> Attributes:
    """Batch and contracting axes, precision."""
    a = node.attributes
    numbers = stablehlo.DotDimensionNumbers.get(
        [*a["lhs_batch"]], [*a["rhs_batch"]], [*a["lhs_contract"]], [*a["rhs_contract"]]
    )
    return {"dot_dimension_numbers": numbers, "precision_config": precision(precision_of(node))}


def convolution(node: Node) -> Attributes:
    """Window, roles of the axes, groups, precision."""
    a = node.attributes
    x, w, out = a["lhs_spec"], a["rhs_spec"], a["out_spec"]
    rank = len(x) - 2
    numbers = stablehlo.ConvDimensionNumbers.get(x[0], x[1], [*x[2:]], w[1], w[0], [*w[2:]], out[0], out[1], [*out[2:]])
    return {
        "window_strides": int_array(a["strides"]),
        "padding": matrix(a["padding"], 2),
        "lhs_dilation": int_array(a["lhs_dilation"]),
        "rhs_dilation": int_array(a["rhs_dilation"]),
        "window_reversal": bool_array(a["reversal"] or (False,) * rank),
        "dimension_numbers": numbers,
        "feature_group_count": integer(a["feature_groups"]),
        "batch_group_count": integer(a["batch_groups"]),
        "precision_config": precision(precision_of(node)),
    }


def reduce(node: Node) -> Attributes:
    """The axes that vanish."""
    return {"dimensions": int_array(node.attributes["axes"])}


def reduce_window(node: Node) -> Attributes:
    """Window and padding."""
    a = node.attributes
    return {
        "window_dimensions": int_array(a["window"]),
        "window_strides": int_array(a["strides"]),
        "base_dilations": int_array(a["base_dilation"]),
        "window_dilations": int_array(a["window_dilation"]),
        "padding": matrix(a["padding"], 2),
    }


def select_and_scatter(node: Node) -> Attributes:
    """Window and padding."""
    a = node.attributes
    return {
        "window_dimensions": int_array(a["window"]),
        "window_strides": int_array(a["strides"]),
        "padding": matrix(a["padding"], 2),
    }


def gather(node: Node) -> Attributes:
    """Roles of the axes, sizes of the slices."""
    a = node.attributes
    numbers = stablehlo.GatherDimensionNumbers.get(
        [*a["offset_dims"]],
        [*a["collapsed_slice_dims"]],
        [*a["operand_batching_dims"]],
        [*a["start_indices_batching_dims"]],
        [*a["start_index_map"]],
        a["index_vector_dim"],
    )
    return {
        "dimension_numbers": numbers,
        "slice_sizes": int_array(a["slice_sizes"]),
        "indices_are_sorted": flag(a["indices_are_sorted"]),
    }


def scatter(node: Node) -> Attributes:
    """Roles of the axes, what is known of the indices."""
    a = node.attributes
    numbers = stablehlo.ScatterDimensionNumbers.get(
        [*a["update_window_dims"]],
        [*a["inserted_window_dims"]],
        [*a["input_batching_dims"]],
        [*a["scatter_indices_batching_dims"]],
        [*a["scatter_dims_to_operand_dims"]],
        a["index_vector_dim"],
    )
    return {
        "scatter_dimension_numbers": numbers,
        "indices_are_sorted": flag(a["indices_are_sorted"]),
        "unique_indices": flag(a["unique_indices"]),
    }


def sort(node: Node) -> Attributes:
    """The axis, and whether equal elements keep their order."""
    return {"dimension": integer(node.attributes["axis"]), "is_stable": flag(node.attributes["stable"])}


def top_k(node: Node) -> Attributes:
    """How many."""
    return {"k": integer(node.attributes["k"])}


def fft(node: Node) -> Attributes:
    """The kind and the lengths of the axes."""
    return {
        "fft_type": stablehlo.FftTypeAttr.get(node.attributes["kind"]),
        "fft_length": int_array(node.attributes["length"]),
    }


def cholesky(node: Node) -> Attributes:
    """Which triangle."""
    return {"lower": flag(node.attributes["lower"])}


def triangular_solve(node: Node) -> Attributes:
    """Side, triangle, diagonal, transposition."""
    a = node.attributes
    return {
        "left_side": flag(a["left_side"]),
        "lower": flag(a["lower"]),
        "unit_diagonal": flag(a["unit_diagonal"]),
        "transpose_a": stablehlo.TransposeAttr.get(a["transpose"]),
    }


def custom_call(node: Node) -> Attributes:
    """The target and what it is told."""
    a = node.attributes
    if a["target"].startswith("lapack_"):
        prepare_lapack()
    config: ir.Attribute = string(a["backend_config"])
    if a["api_version"] == 4:  # typed FFI: the configuration is a dictionary
        config = ir.Attribute.parse(a["backend_config"] or "{}")
    layouts = {name: layouts_array(a[name]) for name in ("operand_layouts", "result_layouts") if a[name]}
    return {
        "call_target_name": string(a["target"]),
        "backend_config": config,
        "api_version": integer(a["api_version"], 32),
        "has_side_effect": flag(a["has_side_effect"]),
        **layouts,
    }


def _groups(node: Node) -> ir.Attribute:
    groups = node.attributes["groups"]
    return matrix(groups, len(groups[0]) if groups else 0)


def _channel() -> ir.Attribute:
    # Groups are of device ids over all partitions, which XLA reads off a channel; one number serves all, since under
    # SPMD every device meets the collectives in the same order.
    return stablehlo.ChannelHandle.get(1, 1)


def all_reduce(node: Node) -> Attributes:
    """Who takes part."""
    return {"replica_groups": _groups(node), "channel_handle": _channel(), "use_global_device_ids": ir.UnitAttr.get()}


def all_gather(node: Node) -> Attributes:
    """Who takes part, and the axis that grows."""
    return {**all_reduce(node), "all_gather_dim": integer(node.attributes["axis"])}


def reduce_scatter(node: Node) -> Attributes:
    """Who takes part, and the axis that is split."""
    return {**all_reduce(node), "scatter_dimension": integer(node.attributes["axis"])}


def all_to_all(node: Node) -> Attributes:
    """Who takes part, and the axes that are split and joined."""
    a = node.attributes
    return {
        "replica_groups": _groups(node),
        "channel_handle": _channel(),
        "split_count": integer(a["split_count"]),
        "split_dimension": integer(a["split_axis"]),
        "concat_dimension": integer(a["concat_axis"]),
    }


def collective_permute(node: Node) -> Attributes:
    """Pairs of source and target device."""
    pairs = node.attributes["pairs"]
    return {
        "source_target_pairs": array_attribute(np.array(pairs, np.int64).reshape(len(pairs), 2)),
        "channel_handle": _channel(),
    }
