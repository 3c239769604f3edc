"""Derivatives of graphs, as graphs: :func:`jvp` (forward mode) and :func:`vjp` (reverse mode).

Both run before ``decompose``: a convolution's derivative is made of convolutions, and composites with a derivative of
their own keep it. Each op's rules are in its declaration (``ir/ops``); what ops with regions do is here, since it is
made of the derivatives of their regions.
"""

from .forward import jvp
from .reverse import vjp

__all__ = ["jvp", "vjp"]
