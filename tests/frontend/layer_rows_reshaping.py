"""Layers that rearrange, pad and resize: rows of the parity table."""

from layer_parity import Row

IMAGE, VOLUME, SEQUENCE = (2, 7, 6, 4), (2, 5, 6, 4, 3), (2, 9, 4)
FIRST = {"data_format": "channels_first"}

ROWS = [
    Row("Flatten", {}, IMAGE),
    Row("Flatten", FIRST, IMAGE),
    Row("Flatten", {}, (3,)),
    Row("Reshape", {"target_shape": (6, 4)}, (3, 4, 6)),
    Row("Reshape", {"target_shape": (2, -1)}, (3, 4, 6)),
    Row("Permute", {"dims": (2, 1, 3)}, IMAGE),
    Row("RepeatVector", {"n": 3}, (2, 5)),
    Row("ZeroPadding1D", {"padding": (1, 2)}, SEQUENCE),
    Row("ZeroPadding1D", {"padding": 2, **FIRST}, SEQUENCE),
    Row("ZeroPadding2D", {}, IMAGE),
    Row("ZeroPadding2D", {"padding": ((1, 0), (2, 3)), **FIRST}, IMAGE),
    Row("ZeroPadding2D", {"padding": (1, 2)}, IMAGE),
    Row("ZeroPadding3D", {"padding": ((1, 0), (2, 3), (0, 1))}, VOLUME),
    Row("Cropping1D", {"cropping": (1, 2)}, SEQUENCE),
    Row("Cropping1D", {"cropping": (1, 0)}, SEQUENCE),
    Row("Cropping2D", {"cropping": ((1, 0), (2, 1))}, IMAGE),
    Row("Cropping2D", {"cropping": 1, **FIRST}, IMAGE),
    Row("Cropping3D", {}, VOLUME),
    Row("UpSampling1D", {"size": 3}, SEQUENCE),
    Row("UpSampling2D", {"size": (2, 3)}, IMAGE),
    Row("UpSampling2D", {"size": 2, **FIRST}, IMAGE),
    *(
        Row("UpSampling2D", {"size": size, "interpolation": method, **layout}, IMAGE)
        for method in ("bilinear", "bicubic", "lanczos3", "lanczos5")
        for size, layout in ((2, {}), ((3, 1), {}), ((2, 3), FIRST))
    ),
    Row("UpSampling2D", {"interpolation": "bilinear"}, (2, 1, 5, 3)),
    Row("UpSampling3D", {"size": (1, 3, 2), **FIRST}, VOLUME),
    Row("UpSampling3D", {}, VOLUME),
    Row("Resizing", {"height": 4, "width": 9}, IMAGE),
    Row("Resizing", {"height": 9, "width": 4, "interpolation": "bicubic", "antialias": True, **FIRST}, IMAGE),
    Row("Resizing", {"height": 4, "width": 4, "crop_to_aspect_ratio": True, "interpolation": "nearest"}, IMAGE),
    Row("Resizing", {"height": 4, "width": 4, "pad_to_aspect_ratio": True, "fill_value": 1.0}, IMAGE),
    Row("CenterCrop", {"height": 4, "width": 3}, IMAGE),
    Row("CenterCrop", {"height": 3, "width": 6, **FIRST}, IMAGE),
    Row("CenterCrop", {"height": 8, "width": 3}, IMAGE),
]
