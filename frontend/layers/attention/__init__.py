"""Attention: every query is answered by a mean of values, weighted by how well their keys fit it."""

from .heads import GroupedQueryAttention, MultiHeadAttention
from .single import AdditiveAttention, Attention

# Keras's name for it.
GroupQueryAttention = GroupedQueryAttention

__all__ = ["AdditiveAttention", "Attention", "GroupQueryAttention", "GroupedQueryAttention", "MultiHeadAttention"]
