"""The online Hessian approximation: BFGS from a subfunction's own history."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_CURVATURE = 1e-8
"""Of the largest eigenvalue of a Hessian: a smaller one is raised."""


@dataclass
class Hessian:
    """H = beta I + V diag(excess) V^T, for V [K, r] with r of a few columns: curvature beta in all other directions."""

    beta: float
    V: Tensor
    excess: Tensor

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.beta * x + self.V @ (self.excess * (self.V.T @ x))


def bfgs(dx: Tensor, dg: Tensor) -> Hessian | None:
    """The Hessian that a history of changes, of positions ``dx`` and of gradients ``dg`` [L, K], tells, oldest first.

    With B_0 = beta I, for each pair::

        B <- B + dg dg^T / (dg^T dx) - B dx dx^T B / (dx^T B dx)

    All B are beta I outside the span of the history: they are formed inside it, as matrices of at most 2 L rows. A
    pair without positive curvature would make B indefinite and is left out; None where no pair is left.
    """
    curved = (dx * dg).sum(1) > 0
    dx, dg = dx[curved], dg[curved]
    if not len(dx):
        return None
    basis, _ = torch.linalg.qr(torch.cat([dx, dg]).T)
    dx, dg = dx @ basis, dg @ basis
    beta = typical_curvature(dx, dg)
    B = beta * torch.eye(basis.shape[1], dtype=dx.dtype)
    for s, y in zip(dx, dg, strict=True):
        Bs = B @ s
        B += torch.outer(y, y) / (y @ s) - torch.outer(Bs, Bs) / (s @ Bs)
    eigenvalues, U = torch.linalg.eigh(B)
    small = eigenvalues < LEAST_CURVATURE * eigenvalues[-1]
    eigenvalues[small] = eigenvalues[~small].median()
    return Hessian(beta, basis @ U, eigenvalues - beta)


def typical_curvature(dx: Tensor, dg: Tensor) -> float:
    """beta: of the symmetric Q of least Frobenius norm that meets the squared secant equations of all pairs,
    (Q dx)^T (Q dx) = dg^T dg, that is Q = [(dx^+)^T dg^T dg dx^+]^(1/2), the median positive eigenvalue.

    The paper takes the smallest. On the network of Figure 2 that left the models with a third of the objective's
    curvature along steps, and costs that had come down to 0.016 rose from the tenth pass on.
    """
    lengths = dx.norm(dim=1, keepdim=True)
    values = torch.linalg.svdvals(torch.linalg.pinv(dx / lengths, rtol=1e-6) @ (dg / lengths))
    return float(values[values > LEAST_CURVATURE * values[0]].median())
