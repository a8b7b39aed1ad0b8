"""Matrix products on the CPU by the faster of the two libraries that PyTorch carries.

PyTorch's own are MKL's. On AMD's processors MKL leaves half of each AVX-512 register empty; oneDNN, which makes its
kernels for the instructions at hand, is up to twice as fast there. Elsewhere MKL is the faster, by a tenth for large
products and more than half for small ones. PyTorch has no public name for oneDNN's float32 product, and its compiler
calls the operator below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adam_repro.surroundings import vendor


def onednn_is_faster() -> bool:
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and vendor() == "AuthenticAMD"


HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ONEDNN = HAS_ONEDNN and onednn_is_faster()


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [m, k] times the transpose of b [n, k], plus ``bias`` [n] in each row: [m, n]."""
    if ONEDNN and a.dtype == torch.float32 and a.device.type == "cpu":  # it has no float64
        by_onednn = torch.ops.adam_repro.product if torch.compiler.is_compiling() else _by_onednn
        return by_onednn(a, b, bias)
    if bias is not None and torch.compiler.is_compiling():
        return nn.functional.linear(a, b) + bias  # by the pass over the product that what follows makes in any case
    return nn.functional.linear(a, b, bias)


def _by_onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


# PyTorch's compiler takes the operator for one whose b never changes, so its programs call what it cannot see into.
_library = torch.library.Library("adam_repro", "DEF")
_library.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")
_library.impl("product", _by_onednn, "CPU")
torch.library.register_fake("adam_repro::product", lambda a, b, bias: a.new_empty(len(a), len(b)), lib=_library)


class Linear(nn.Linear):
    """``nn.Linear`` by ``product``, its gradients too. Shapes as there, with one batch dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return _Affine.apply(x, self.weight, self.bias)


class _Affine(torch.autograd.Function):
    """x [batch, in], weight [out, in], bias [out]: x times the transpose of weight, plus bias, [batch, out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (g,) = gradients
        back = product(g, weight.t()) if ctx.needs_input_grad[0] else None
        return back, product(g.t(), x.t()), g.sum(0)
