"""Matrix products on the CPU by the faster of the two libraries that PyTorch carries.

``torch.mm`` is MKL's product, which on AMD's processors leaves half of each vector register empty. oneDNN makes its
kernels for the processor at hand; PyTorch has no public name for its float32 product and its compiler calls the
operator below.
"""

from __future__ import annotations

import torch
from torch import Tensor

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def product(a: Tensor, b: Tensor) -> Tensor:
    """a [m, k] times the transpose of b [n, k]: [m, n]."""
    if ONEDNN and a.dtype == torch.float32:  # it has no float64
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return torch.mm(a, b.t())
