"""Vectorization of graphs: :func:`vectorize` gives a function one more dimension.

It runs before ``decompose``, so that what it makes of a convolution is a convolution. Each op's batching rule is in its
declaration (``ir/ops``); what ops with regions do is in ``regions.py``.
"""

from .batch import batch, force, vectorize

__all__ = ["batch", "force", "vectorize"]
